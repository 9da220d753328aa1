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
    """What a task needs, before it is taken in: the submitter's word is not enough. ``words`` (``key=value``) change it first; it is
    examined then with its files, as at its submission."""

    spec: TaskSpec
    words: tuple[str, ...] = ()
    manifest: str = ""
    packs: dict[str, str] = {}
    work: str = ""
    shared: str = ""
    """Where the server sees the shared root of the manifest's linked files."""


class Split(Call, frozen=True, kw_only=True):
    """Cut one stage. The first: examine again (the submitter's word is not taken for it) and settle; later ones get the settled spec."""

    spec: TaskSpec
    manifest: str
    packs: dict[str, str]
    work: str
    stage: int
    farm: FarmShape
    shared: str = ""


class Verify(Call, frozen=True, kw_only=True):
    """Check the outputs of some jobs of one stage."""

    spec: TaskSpec
    stage: int
    jobs: list[tuple[Region, Files]]
    work: str


class Stitch(Call, frozen=True, kw_only=True):
    """Join one stage into the folder ``out``, which exists and is empty. The hand asks for the pieces: More, answered by Given."""

    spec: TaskSpec
    stage: int
    manifest: str
    packs: dict[str, str]
    out: str
    work: str
    shared: str = ""


class GivenPiece(msgspec.Struct, frozen=True, array_like=True):
    region: Region
    files: Files
    seconds: float = 0.0
    node: str = ""


class Given(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The next pieces in split order, at least one unless they were all given before; ``last``: there are no more."""

    pieces: list[GivenPiece]
    last: bool


class Made(msgspec.Struct, frozen=True, array_like=True):
    """An accepted piece of a stage in work."""

    at: int
    """Place of its region in the list of all."""
    files: Files
    seconds: float = 0.0
    node: str = ""


class Draw(Call, frozen=True, kw_only=True):
    """Draw how far one stage is into the folder ``out``, which holds what the last call left there."""

    spec: TaskSpec
    stage: int
    manifest: str
    packs: dict[str, str]
    regions: list[Region]
    pieces: list[Made]
    out: str
    work: str
    size: int
    shared: str = ""


class LookDone(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    spec: TaskSpec
    needs: Needs
    allow: str


class SplitDone(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    spec: TaskSpec
    stage: str
    """Its name."""
    stages: int
    """How many there are."""
    streams: bool
    regions: list[Region]
    keys: list[str]
    """Of each region: the digest of all that its outputs depend on."""
    needs: Needs
    allow: str
    version: int
    warnings: tuple[str, ...]


class VerifyDone(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """For each job an empty string, or why its outputs are rejected."""

    reasons: list[str]


class StitchDone(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    pass


class DrawDone(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    drawn: bool
    """False: there is nothing to see."""


class More(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A stitch is through with the pieces that it has; the server answers when there are more, and may take its time."""


class Going(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The call goes on; told now and then by long ones."""

    fraction: float


class Failed(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The kind said no (``code`` of errors.py), or broke (code ``internal``, with the trace for the log)."""

    code: str
    sentence: str
    trace: str = ""


AnyCall = Union[Look, Split, Verify, Stitch, Draw]
Reply = Union[LookDone, SplitDone, VerifyDone, StitchDone, DrawDone, More, Going, Failed]


def put(stream: IO[bytes], message: AnyCall | Given | Reply) -> None:
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
