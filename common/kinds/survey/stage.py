"""What all stages of a survey have in common: a region's job is a child process that runs a module of common/survey."""

from __future__ import annotations

import shutil
import signal
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import msgspec

from ...errors import OutputRejected, StitchFailed
from ...libraries import remedy
from ...model import Cause, Failure, Region, TaskSpec
from ...survey.records import load_arrays
from ...survey.work import BAD_INPUT, MARK, NO_LIBRARY
from ..kind import Folder, Piece, Place, Recipe, Stage, plain_diagnosis

PROGRAM = "survey"
"""Stands for the libraries of the extra ``survey`` on a node (node/renderers.py looks for them)."""
REQUEST = "clusterray-request.json"
WORK = "clusterray.common.survey.work"


class SurveyStage(Stage):
    """Subclass it: ``name``, ``job``, ``options``, split, verify; stitch where copying the pieces side by side is not enough."""

    optional = True
    job: str
    """Module of common/survey whose ``run(job)`` does a region."""
    options: tuple[str, ...] = ()
    """Names of the options that the job's outputs depend on; a change of the others keeps them."""
    outputs: tuple[str, ...] = ("**/*",)

    def process(self, task: TaskSpec, region: Region, place: Place) -> Recipe:
        return recipe(self.job, task, region.data, place, self.outputs)

    def reads(self, task: TaskSpec, region: Region) -> Any:
        return [{name: task.options[name] for name in self.options}, region.data]

    def stitch(self, task: TaskSpec, files: Folder, pieces: Iterator[Piece], out: Path, progress: Callable[[float], None]) -> None:
        for _ in keep(pieces, out):
            pass


def recipe(job: str, task: TaskSpec, data: Mapping[str, Any], place: Place, outputs: Sequence[str] = ("**/*",)) -> Recipe:
    """Run module ``job`` of common/survey."""
    request = {
        "inputs": str(place.inputs), "out": str(place.scratch / "out"), "scratch": str(place.scratch / "work"), "cores": place.cores,
        "options": task.options, "data": data,
    }  # fmt: skip
    (place.scratch / REQUEST).write_bytes(msgspec.json.encode(request))
    python = place.programs.get(PROGRAM, sys.executable)
    return Recipe(
        argv=(python, "-P", "-u", "-m", WORK, job, str(place.scratch / REQUEST)),
        env={"HOME": str(place.scratch), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUTF8": "1", "PYTHONHASHSEED": "0"},
        outputs=tuple(outputs),
        progress=_progress,
        diagnose=diagnose,
        see=(Path(__file__).parents[3],),  # an editable installation lies outside of the environment
    )


def _progress(line: str) -> float | None:
    words = line.split()
    return float(words[2]) if words[:2] == [MARK, "progress"] else None


def diagnose(code: int, tail: Sequence[str]) -> Failure:
    """What a job's end means for the one who took the photos, and for the one who runs the node."""
    number = -code if code < 0 else code - 128 if code > 128 else 0
    evidence = tuple(line for line in tail if line.strip() and _progress(line) is None)[-40:]
    marked = [line.removeprefix(MARK).strip().partition(" ") for line in evidence if line.startswith(MARK)]
    words = {word: rest for word, _, rest in marked}
    if code == BAD_INPUT and "input" in words:
        return Failure(cause=Cause.INPUT, sentence=words["input"], exit_code=code, tail=evidence)
    if code == NO_LIBRARY:
        sentence = words.get("library") or f"A library does not work on this node: {remedy('pycolmap')}."
        return Failure(cause=Cause.ERROR, sentence=sentence, exit_code=code, tail=evidence)
    if "memory" in words or number == signal.SIGKILL or any("bad_alloc" in line or "MemoryError" in line for line in evidence):
        return Failure(
            cause=Cause.MEMORY, sentence="The job ran out of memory; give it more with needs.memory.", exit_code=code, tail=evidence
        )
    return plain_diagnosis(code, evidence)


def keep(pieces: Iterator[Piece], out: Path, below: str = "") -> Iterable[Piece]:
    """Copy each piece's files below ``out`` as they are called, and hand it on."""
    for piece in pieces:
        for name in piece.files.names():
            to = out / below / name
            to.parent.mkdir(parents=True, exist_ok=True)
            if to.exists():
                raise StitchFailed(f"Two jobs made {name}; the second is {piece.region.name}.")
            shutil.copyfile(piece.files.path(name), to)
        yield piece


def arrays_of(outputs: Folder, name: str, region: Region) -> Mapping[str, Any]:
    """All arrays of an .npz that a node sent. Raises OutputRejected where it is damaged."""
    try:
        return load_arrays(outputs.read(name))
    except (ValueError, KeyError, OSError, EOFError, BadZipFile, zlib.error) as error:
        raise OutputRejected(f"Job {region.name}: {name} is damaged ({error}).") from error


def complete(regions: Iterable[str], came: Iterable[str]) -> None:
    """Raise StitchFailed, which names the first region that is missing."""
    missing = next((name for name in regions if name not in set(came)), "")
    if missing:
        raise StitchFailed(f"The piece {missing} is missing.")


def expect(outputs: Folder, names: Iterable[str], region: Region) -> None:
    """Raise OutputRejected where other files came than these."""
    wanted = tuple(sorted(names))
    if outputs.names() != wanted:
        came = ", ".join(outputs.names()[:5]) or "nothing"
        raise OutputRejected(f"Job {region.name}: {', '.join(wanted[:5])} was expected, {came} came.")
