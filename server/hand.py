"""The child: ``python -m clusterray.server.hand`` runs kinds' code for the server, one call at a time, until its input ends.

It is a process of its own so that a kind that crashes, hangs or eats the memory takes nobody with it. What a kind prints
goes to stderr, so that it cannot disturb the pipe.
"""

from __future__ import annotations

import os
import shutil
import threading
import traceback
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import msgspec

from ..common.bundle import BundleFolder, MappingFolder
from ..common.clock import SystemClock
from ..common.errors import ClusterRayError, OutputRejected, SplitFailed
from ..common.kinds.kind import Piece
from ..common.kinds.registry import kind
from ..common.model import Region
from .calls import AnyCall, Failed, Files, Going, Look, LookDone, Reply, Split, SplitDone, Stitch, StitchDone, Verify, VerifyDone, get, put

MOST_JOBS = 1_000_000
"""Of one stage: they pass through the server's memory."""


def answer(call: AnyCall, tell: BinaryIO) -> Reply:
    """Do what is asked."""
    if isinstance(call, Look):
        made_by = kind(call.spec.kind)
        return LookDone(needs=made_by.needs(call.spec), allow=made_by.allow)
    try:
        if isinstance(call, Split):
            return split(call)
        if isinstance(call, Verify):
            return verify(call)
        return stitch(call, tell)
    finally:
        shutil.rmtree(call.work, ignore_errors=True)


def split(call: Split) -> SplitDone:
    made_by = kind(call.spec.kind)
    folder = BundleFolder(Path(call.manifest), lambda digest: Path(call.packs[digest]), Path(call.work))
    examined = made_by.examine(call.spec, folder)
    stages = made_by.stages(examined.spec)
    if len(stages) != 1:
        raise SplitFailed(f"The kind {call.spec.kind} has {len(stages)} stages; this version runs kinds of one stage.")
    regions = list(islice(stages[call.stage].split(examined.spec, folder, call.farm), MOST_JOBS + 1))
    if len(regions) > MOST_JOBS:
        raise SplitFailed(f"The kind {call.spec.kind} cut the task into more than {MOST_JOBS} jobs: choose larger pieces.")
    names = [region.name for region in regions]
    if not regions or len(set(names)) != len(names):
        raise SplitFailed(f"The kind {call.spec.kind} cut the task into {len(regions)} jobs, which are none or have a name twice.")
    return SplitDone(
        spec=examined.spec,
        stage=stages[call.stage].name,
        regions=regions,
        needs=made_by.needs(examined.spec),
        allow=made_by.allow,
        version=made_by.version,
        warnings=examined.warnings,
    )


def verify(call: Verify) -> VerifyDone:
    stage = kind(call.spec.kind).stages(call.spec)[call.stage]
    reasons = []
    for number, (region, files) in enumerate(call.jobs):
        try:
            stage.verify(call.spec, region, folder_of(files, Path(call.work) / str(number)))
            reasons.append("")
        except OutputRejected as error:
            reasons.append(str(error) or "The output is not what was asked for.")
        except Exception as error:
            # whatever a decoder throws at bytes that a node sent is a verdict on the bytes
            reasons.append(f"The output cannot be read: {type(error).__name__}: {error}")
    return VerifyDone(reasons=reasons)


def stitch(call: Stitch, tell: BinaryIO) -> StitchDone:
    stage = kind(call.spec.kind).stages(call.spec)[call.stage]
    clock = SystemClock()
    told = [clock.monotonic()]

    def progress(fraction: float) -> None:
        if clock.monotonic() - told[0] > 0.5:
            told[0] = clock.monotonic()
            put(tell, Going(fraction=fraction))

    stage.stitch(call.spec, MappingFolder({}, Path(call.work)), pieces(call.pieces, Path(call.work)), Path(call.out), progress)
    return StitchDone()


def pieces(given: list[tuple[Region, Files]], work: Path) -> Iterator[Piece]:
    for number, (region, files) in enumerate(given):
        yield Piece(region=region, files=folder_of(files, work / str(number)))


def folder_of(files: Files, work: Path) -> MappingFolder:
    return MappingFolder({name: Path(file.path) if file.data is None else file.data for name, file in files.items()}, work)


def leave_with(parent: int) -> None:
    """A server that was killed cannot end its hands; one that is in the midst of a call would go on, perhaps for ever."""
    never = threading.Event()
    while os.getppid() == parent:
        never.wait(2.0)
    os._exit(1)


def main() -> None:
    threading.Thread(target=leave_with, args=(os.getppid(),), daemon=True).start()
    asked = os.fdopen(os.dup(0), "rb")
    tell = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    decoder = msgspec.msgpack.Decoder(AnyCall)
    while (data := get(asked)) is not None:
        try:
            reply = answer(decoder.decode(data), tell)
        except ClusterRayError as error:
            reply = Failed(code=error.code, sentence=str(error))
        except MemoryError:
            reply = Failed(code="memory", sentence="There was not enough memory ([server] hand_memory).")
        except Exception as error:
            reply = Failed(code="internal", sentence=f"{type(error).__name__}: {error}", trace=traceback.format_exc())
        put(tell, reply)


if __name__ == "__main__":
    main()
