"""What the server asks of a hand, and what comes back: the messages on the pipe between them (msgpack, length first)."""

from __future__ import annotations

import struct
from typing import IO, Union

import msgspec

from ..common.model import FarmShape, Needs, Region, TaskSpec

LENGTH = struct.Struct(">I")
CAP = 1 << 30


class File(msgspec.Struct, frozen=True, array_like=True):
    """A file with these bytes, or the bytes themselves."""

    path: str = ""
    data: bytes | None = None


Files = dict[str, File]
"""By name within the folder or the outputs."""


class Call(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Base of what is asked."""


class Look(Call, frozen=True, kw_only=True):
    """What a task needs, before it is taken in: the submitter's word is not enough."""

    spec: TaskSpec


class Split(Call, frozen=True, kw_only=True):
    """Examine again (the submitter's word is not taken for it), then cut one stage."""

    spec: TaskSpec
    manifest: str
    packs: dict[str, str]
    work: str
    stage: int
    farm: FarmShape


class Verify(Call, frozen=True, kw_only=True):
    """Check the outputs of some jobs of one stage."""

    spec: TaskSpec
    stage: int
    jobs: list[tuple[Region, Files]]
    work: str


class Stitch(Call, frozen=True, kw_only=True):
    """Join one stage into the folder ``out``, which exists and is empty."""

    spec: TaskSpec
    stage: int
    pieces: list[tuple[Region, Files]]
    out: str
    work: str


class LookDone(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    needs: Needs
    allow: str


class SplitDone(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    spec: TaskSpec
    stage: str
    regions: list[Region]
    needs: Needs
    allow: str
    version: int
    warnings: tuple[str, ...]


class VerifyDone(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """For each job an empty string, or why its outputs are rejected."""

    reasons: list[str]


class StitchDone(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    pass


class Going(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The call goes on; told now and then by long ones."""

    fraction: float


class Failed(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The kind said no (``code`` of errors.py), or broke (code ``internal``, with the trace for the log)."""

    code: str
    sentence: str
    trace: str = ""


AnyCall = Union[Look, Split, Verify, Stitch]
Reply = Union[LookDone, SplitDone, VerifyDone, StitchDone, Going, Failed]


def put(stream: IO[bytes], message: AnyCall | Reply) -> None:
    data = msgspec.msgpack.encode(message)
    stream.write(LENGTH.pack(len(data)) + data)
    stream.flush()


def get(stream: IO[bytes]) -> bytes | None:
    """The next message's bytes; None at the end of the stream."""
    head = stream.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    size: int = LENGTH.unpack(head)[0]
    if size > CAP:
        return None
    data = stream.read(size)
    return data if len(data) == size else None
