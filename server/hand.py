"""The child: ``python -m clusterray.server.hand`` runs kinds' code for the server, one call at a time, until its input ends.

It is a process of its own so that a kind that crashes, hangs or eats the memory takes nobody with it. What a kind prints
goes to stderr, so that it cannot disturb the pipe.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from ..common.bundle import BundleFolder, MappingFolder
from ..common.clock import SystemClock
from ..common.errors import ClusterRayError, OutputRejected, SplitFailed
from ..common.kinds.kind import Kind, Piece, Stage
from ..common.kinds.registry import kind
from ..common.manifest import Bundle, Chooser
from ..common.model import Needs, Region, TaskSpec
from ..common.taskfile import changed
from .calls import (
    AnyCall,
    Draw,
    DrawDone,
    Failed,
    Files,
    Given,
    Going,
    Look,
    LookDone,
    More,
    Reply,
    Split,
    SplitDone,
    Stitch,
    StitchDone,
    Verify,
    VerifyDone,
    get,
    put,
)

MOST_JOBS = 1_000_000
"""Of one stage: they pass through the server's memory."""

GIVE_WAY = 10
"""Niceness of the child that draws previews."""


def answer(call: AnyCall, tell: BinaryIO, asked: BinaryIO) -> Reply:
    """Do what is asked."""
    if isinstance(call, Look) and not call.words:
        return look(call)
    try:
        if isinstance(call, Look):
            return look(call)
        if isinstance(call, Split):
            return split(call)
        if isinstance(call, Verify):
            return verify(call)
        if isinstance(call, Draw):
            return draw(call)
        return stitch(call, tell, asked)
    finally:
        shutil.rmtree(call.work, ignore_errors=True)


def look(call: Look) -> LookDone:
    made_by = kind(call.spec.kind)
    spec = changed(call.spec, call.words, folder_at(call)) if call.words else call.spec
    needs = made_by.needs(spec)
    return LookDone(spec=spec, needs=on_share(needs, folder_at(call).bundle) if call.manifest else needs, allow=made_by.allow)


def split(call: Split) -> SplitDone:
    made_by = kind(call.spec.kind)
    folder = folder_at(call)
    spec = call.spec
    warnings: tuple[str, ...] = ()
    if call.stage == 0:
        examined = made_by.examine(call.spec, folder)
        spec, warnings = made_by.settle(examined.spec, call.farm), examined.warnings
    stages = made_by.stages(spec)
    stage = stages[call.stage]
    if call.stage == 0:
        check_names([stage.name for stage in stages], folder.names(), made_by.name)
    regions = list(islice(stage.split(spec, folder, call.farm), MOST_JOBS + 1))
    if len(regions) > MOST_JOBS:
        raise SplitFailed(f"The kind {call.spec.kind} cut the task into more than {MOST_JOBS} jobs: choose larger pieces.")
    names = [region.name for region in regions]
    if (not regions and not stage.optional) or len(set(names)) != len(names):
        raise SplitFailed(f"The kind {call.spec.kind} cut the task into {len(regions)} jobs, which are none or have a name twice.")
    return SplitDone(
        spec=spec,
        stage=stage.name,
        stages=len(stages),
        streams=stage.streams,
        regions=regions,
        keys=keys(made_by, spec, stage, regions, Chooser(folder.bundle), call.farm.program),
        needs=on_share(made_by.needs(spec), folder.bundle),
        allow=made_by.allow,
        version=made_by.version,
        warnings=(*warnings, *stage.notes(spec, folder)),
    )


def folder_at(call: Look | Split | Stitch | Draw) -> BundleFolder:
    shared = Path(call.shared) if call.shared else None
    return BundleFolder(Path(call.manifest), lambda digest: Path(call.packs[digest]), Path(call.work) / "files", shared)


def on_share(needs: Needs, bundle: Bundle) -> Needs:
    """Jobs on linked files need a node that sees their root; the manifest says which, whatever the spec may say."""
    return msgspec.structs.replace(needs, shared="" if isinstance(bundle.share, msgspec.UnsetType) else bundle.share.root)


def check_names(stages: Sequence[str], files: Sequence[str], made_by: str) -> None:
    """What a stage makes goes below ``stages/<its name>``, where the submitter must not have anything of his own."""
    if len(set(stages)) != len(stages) or not all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,50}", name) for name in stages):
        raise SplitFailed(f"The kind {made_by} has stages called {', '.join(stages)}: names that are the same, or not fit for a folder.")
    for stage in stages[:-1]:
        in_the_way = [name for name in files if f"{name}/".startswith(f"stages/{stage}/") or name == "stages"]
        if in_the_way:
            raise SplitFailed(f"The folder has {in_the_way[0]}, but stages/{stage} is for what the farm makes: rename it.")


def keys(made_by: Kind, spec: TaskSpec, stage: Stage, regions: Sequence[Region], files: Chooser, program: str) -> list[str]:
    """For each region the digest of all that its outputs depend on: who makes them, how, and from which bytes."""
    inputs: dict[tuple[str, ...], str] = {}
    made = []
    for region in regions:
        if region.needs not in inputs:
            inputs[region.needs] = digest_of([(entry.path, entry.digest) for entry in files.pick(region.needs)])
        words = [made_by.name, made_by.version, stage.name, program, stage.reads(spec, region), inputs[region.needs]]
        made.append(digest_of(words))
    return made


def digest_of(value: Any) -> str:
    return hashlib.sha256(msgspec.json.encode(value, order="deterministic")).hexdigest()


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


def stitch(call: Stitch, tell: BinaryIO, asked: BinaryIO) -> StitchDone:
    stage = kind(call.spec.kind).stages(call.spec)[call.stage]
    clock = SystemClock()
    told = [clock.monotonic()]

    def progress(fraction: float) -> None:
        if clock.monotonic() - told[0] > 0.5:
            told[0] = clock.monotonic()
            put(tell, Going(fraction=fraction))

    stage.stitch(call.spec, folder_at(call), pieces(tell, asked, Path(call.work) / "pieces"), Path(call.out), progress)
    return StitchDone()


def draw(call: Draw) -> DrawDone:
    """Pictures can wait: this child, which does nothing else, gives way to all others."""
    os.nice(max(0, GIVE_WAY - os.nice(0)))
    stage = kind(call.spec.kind).stages(call.spec)[call.stage]
    out, work = Path(call.out), Path(call.work)
    out.mkdir(parents=True, exist_ok=True)
    made = [
        Piece(region=call.regions[one.at], files=folder_of(one.files, work / str(one.at)), seconds=one.seconds, node=one.node)
        for one in call.pieces
    ]
    return DrawDone(drawn=stage.preview(call.spec, folder_at(call), call.regions, made, out, call.size))


def pieces(tell: BinaryIO, asked: BinaryIO, work: Path) -> Iterator[Piece]:
    """As the server gives them. A kind may stop asking before the last one."""
    number, last = 0, False
    while not last:
        put(tell, More())
        data = get(asked)
        if data is None:  # nobody is left to hear the result
            sys.exit(1)
        given = msgspec.msgpack.decode(data, type=Given)
        last = given.last
        for one in given.pieces:
            yield Piece(region=one.region, files=folder_of(one.files, work / str(number)), seconds=one.seconds, node=one.node)
            number += 1


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
            reply = answer(decoder.decode(data), tell, asked)
        except ClusterRayError as error:
            reply = Failed(code=error.code, sentence=str(error))
        except MemoryError:
            reply = Failed(code="memory", sentence="There was not enough memory ([server] hand_memory).")
        except Exception as error:
            reply = Failed(code="internal", sentence=f"{type(error).__name__}: {error}", trace=traceback.format_exc())
        put(tell, reply)


if __name__ == "__main__":
    main()
