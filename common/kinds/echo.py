"""A kind that does next to nothing: each job writes a small file, the stitch puts them one after the other.

For tests and for the bench, which measures the farm and not a renderer. It is no entry point; see registry.EXTRA. With
``seconds`` a job runs the real program ``sleep``, so that beats, cancels and stops have something to work on; with ``fail``
the jobs of these numbers exit with 3. With ``stages = 2`` a second stage turns each job's part of what the first one made
back to front; with ``streams`` the pieces are joined as they come.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from ..errors import OutputRejected, SplitFailed, StitchFailed
from ..model import FarmShape, Needs, Region, TaskSpec
from .kind import Examined, Folder, Kind, Option, Piece, Place, Recipe, Stage
from .options import normalise

OPTIONS = (
    Option(name="jobs", type="int", default=4, help="how many jobs", minimum=0, maximum=1_000_000),
    Option(name="bytes", type="int", default=16, help="how many bytes each job makes", minimum=1, maximum=1 << 30),
    Option(name="seconds", type="float", default=0.0, help="how long each job sleeps, as a program of its own", minimum=0.0),
    Option(name="fail", type="strings", default=[], help="numbers of the jobs that exit with 3"),
    Option(name="stages", type="int", default=1, help="how many stages", minimum=1, maximum=2),
    Option(name="streams", type="bool", default=False, help="whether pieces are joined as they come"),
)


def content(number: int, size: int) -> bytes:
    """What job ``number`` makes: its number in ten digits, again and again."""
    word = f"{number:010d}".encode()
    return (word * (size // len(word) + 1))[:size]


class EchoStage(Stage):
    """One job per number."""

    name = "echo"
    optional = True

    def notes(self, task: TaskSpec, files: Folder) -> tuple[str, ...]:
        return () if task.options["jobs"] else (f"Stage {self.name} has nothing to do.",)

    def __init__(self, streams: bool = False) -> None:
        self.streams = streams

    def split(self, task: TaskSpec, files: Folder, farm: FarmShape) -> Iterable[Region]:
        return [Region(name=f"job{number:07d}", data={"number": number}) for number in range(task.options["jobs"])]

    def process(self, task: TaskSpec, region: Region, place: Place) -> Recipe:
        number = region.data["number"]
        write = partial(_write, place.scratch / "out" / "echo.txt", self.make(task, number, place.inputs))
        if str(number) in task.options["fail"]:
            return Recipe(argv=("sh", "-c", f"echo this job was told to fail >&2; sleep {task.options['seconds']}; exit 3"))
        if task.options["seconds"]:
            return Recipe(argv=("sleep", str(task.options["seconds"])), outputs=("echo.txt",), finish=write)
        return Recipe(call=write, outputs=("echo.txt",))

    def verify(self, task: TaskSpec, region: Region, outputs: Folder) -> None:
        if outputs.names() != ("echo.txt",):
            raise OutputRejected(f"echo.txt was expected, {', '.join(outputs.names()) or 'nothing'} came.")
        if outputs.read("echo.txt") != self.expected(task, region.data["number"]):
            raise OutputRejected("echo.txt does not hold what it should.")

    def make(self, task: TaskSpec, number: int, inputs: Path) -> bytes:
        """What a job writes."""
        return content(number, task.options["bytes"])

    def expected(self, task: TaskSpec, number: int) -> bytes:
        """What it should have written."""
        return content(number, task.options["bytes"])

    def reads(self, task: TaskSpec, region: Region) -> Any:
        return [task.options["bytes"], region.data]

    def stitch(self, task: TaskSpec, files: Folder, pieces: Iterator[Piece], out: Path, progress: Callable[[float], None]) -> None:
        jobs = task.options["jobs"]
        done = 0
        with (out / f"{task.name}.txt").open("wb") as file:
            for piece in pieces:
                if piece.region.data["number"] != done:
                    break
                file.write(piece.files.read("echo.txt"))
                done += 1
                progress(done / jobs)
        if done != jobs:
            raise StitchFailed(f"The output of job{done:07d} is missing.")


class AgainStage(EchoStage):
    """Each job reads its part of the first stage's file and writes it back to front."""

    name = "again"

    def split(self, task: TaskSpec, files: Folder, farm: FarmShape) -> Iterable[Region]:
        source = f"stages/echo/{task.name}.txt"
        if files.size(source) != task.options["jobs"] * task.options["bytes"]:
            raise SplitFailed(f"{source} has {files.size(source)} bytes.")
        return [msgspec.structs.replace(region, needs=("stages/echo",)) for region in super().split(task, files, farm)]

    def make(self, task: TaskSpec, number: int, inputs: Path) -> bytes:
        size = task.options["bytes"]
        return (inputs / "stages" / "echo" / f"{task.name}.txt").read_bytes()[number * size : (number + 1) * size][::-1]

    def expected(self, task: TaskSpec, number: int) -> bytes:
        return content(number, task.options["bytes"])[::-1]


class Echo(Kind):
    """See the head of this file."""

    name = "echo"
    version = 1
    allow = "render"
    options = OPTIONS

    def recognise(self, files: Folder) -> bool:
        return False

    def examine(self, spec: TaskSpec, files: Folder) -> Examined:
        options = normalise(self.name, OPTIONS, spec.options)
        return Examined(spec=msgspec.structs.replace(spec, options=options))

    def needs(self, spec: TaskSpec) -> Needs:
        return spec.needs

    def stages(self, task: TaskSpec) -> tuple[Stage, ...]:
        streams = task.options.get("streams", False)
        return (EchoStage(streams), AgainStage(streams))[: task.options.get("stages", 1)]


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)


ECHO = Echo()
