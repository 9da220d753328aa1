"""The exam that every kind passes, ours and others': run it on yours with ``check_kind(kind, spec, folder, work)``.

It goes through a task as the farm does, in one process and with real programs: examine, split, process, verify, stitch. What it
asks for is what the farm relies on: examining is idempotent, splitting is deterministic, job names are fit for files, an
output that was tampered with or is missing is refused, the stitched bytes do not depend on the order in which jobs ended,
and a region that was lost is named. Whether the regions cover the whole once is the kind's own knowledge: it hands in a
``covers`` that returns a sentence where they do not.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .errors import OutputRejected, StitchFailed
from .kinds.kind import Folder, Kind, Piece, Place, Recipe, Stage
from .model import FarmShape, Region, TaskSpec
from .process import run

JOB_SECONDS = 120.0
Covers = Callable[[TaskSpec, Sequence[Region]], str]


class PlainFiles:
    """A folder on disk, all of it, as the kind's Folder."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def names(self) -> tuple[str, ...]:
        return tuple(sorted(path.relative_to(self._root).as_posix() for path in self._root.rglob("*") if path.is_file()))

    def size(self, name: str) -> int:
        return self._at(name).stat().st_size

    def read(self, name: str) -> bytes:
        return self._at(name).read_bytes()

    def path(self, name: str) -> Path:
        return self._at(name)

    def _at(self, name: str) -> Path:
        path = self._root / name
        if not path.is_file():
            raise KeyError(name)
        return path


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """One task on its way through a kind, without a farm."""

    kind: Kind
    spec: TaskSpec
    """Examined."""
    stage: Stage
    files: Folder
    inputs: Path
    work: Path
    warnings: tuple[str, ...]
    cores: int = 1
    programs: Mapping[str, str] = field(default_factory=dict)
    """As in Place."""

    def split(self, farm: FarmShape | None = None) -> list[Region]:
        return list(self.stage.split(self.spec, self.files, farm or FarmShape(slots=2)))

    def recipe(self, region: Region) -> Recipe:
        scratch = self.work / region.name
        (scratch / "out").mkdir(parents=True, exist_ok=True)
        return self.stage.process(self.spec, region, Place(inputs=self.inputs, scratch=scratch, cores=self.cores, programs=self.programs))

    def process(self, region: Region) -> Folder:
        """Do one job; raises AssertionError with its diagnosis where it fails."""
        recipe = self.recipe(region)
        scratch = self.work / region.name
        if recipe.call is not None:
            recipe.call()
        if recipe.argv:
            env = {"PATH": "/usr/local/bin:/usr/bin:/bin", **recipe.env}
            done = run(recipe.argv, timeout=JOB_SECONDS, cwd=recipe.cwd or scratch, env=env)
            assert done.code == 0, recipe.diagnose(done.code, [*done.stdout.splitlines(), *done.stderr.splitlines()])
        if recipe.finish is not None:
            recipe.finish()
        outputs = PlainFiles(scratch / "out")
        for pattern in recipe.outputs:
            assert list((scratch / "out").glob(pattern)), f"{region.name} made nothing that matches {pattern}"
        return outputs

    def stitch(self, pieces: Iterable[Piece], name: str = "result") -> dict[str, bytes]:
        """The assets by name."""
        out = self.work / name
        out.mkdir(parents=True)
        told: list[float] = []
        self.stage.stitch(self.spec, self.files, iter(pieces), out, told.append)
        assert told == sorted(told) and all(0 <= fraction <= 1 for fraction in told), "progress goes from 0 to 1"
        return {path: (out / path).read_bytes() for path in PlainFiles(out).names()}

    def whole(self, name: str = "result", farm: FarmShape | None = None) -> dict[str, bytes]:
        """Split, process, verify and stitch in order."""
        return self.stitch(list(self.pieces(self.split(farm))), name)

    def pieces(self, regions: Iterable[Region]) -> Iterator[Piece]:
        for region in regions:
            outputs = self.process(region)
            self.stage.verify(self.spec, region, outputs)
            yield Piece(region=region, files=outputs)


def rehearse(kind: Kind, spec: TaskSpec, inputs: Path, work: Path, *, cores: int = 1) -> Rehearsal:
    """Examine a task of a folder on disk and set it up; ``work`` takes scratch folders and results."""
    files = PlainFiles(inputs)
    examined = kind.examine(spec, files)
    settled = kind.settle(examined.spec, FarmShape(slots=2))
    stage = kind.stages(settled)[0]
    return Rehearsal(
        kind=kind, spec=settled, stage=stage, files=files, inputs=inputs, work=work, warnings=examined.warnings, cores=cores
    )


def whole_task(
    kind: Kind,
    spec: TaskSpec,
    inputs: Path,
    work: Path,
    *,
    farm: FarmShape | None = None,
    cores: int = 1,
    programs: Mapping[str, str] | None = None,
) -> dict[str, bytes]:
    """The assets of a task of any number of stages: examine, settle, and for each stage split, process, verify, stitch, in this process.

    ``work / "inputs"`` becomes the folder as the last stage saw it, with ``stages/<name>/…`` of the earlier ones.
    """
    merged = work / "inputs"
    shutil.copytree(inputs, merged)
    shape = farm or FarmShape(slots=2)
    settled = kind.settle(kind.examine(spec, PlainFiles(inputs)).spec, shape)
    assets: dict[str, bytes] = {}
    stages = kind.stages(settled)
    for number, stage in enumerate(stages):
        step = Rehearsal(
            kind=kind,
            spec=settled,
            stage=stage,
            files=PlainFiles(merged),
            inputs=merged,
            work=work / f"{number}",
            warnings=(),
            cores=cores,
            programs=programs or {},
        )
        assets = step.whole("result", shape)
        if number + 1 < len(stages):
            shutil.copytree(step.work / "result", merged / "stages" / stage.name)
    return assets


def check_kind(kind: Kind, spec: TaskSpec, inputs: Path, work: Path, covers: Covers, *, farm: FarmShape | None = None) -> dict[str, bytes]:
    """The whole exam on one small task of three or more jobs; returns the assets. Raises AssertionError."""
    task = rehearse(kind, spec, inputs, work)
    assert kind.examine(task.spec, task.files).spec == task.spec, "examining twice changes the task"
    assert set(task.spec.options) == {option.name for option in kind.options}, "examining does not say every option"
    regions = task.split(farm)
    assert len(regions) >= 3, "give the exam a task of three or more jobs"
    assert task.split(farm) == regions, "the same split gives other regions"
    names = [region.name for region in regions]
    assert len(set(names)) == len(names), "two regions have one name"
    assert all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,100}", name) for name in names), "a region's name is not fit for a file"
    assert not covers(task.spec, regions), covers(task.spec, regions)
    assert covers(task.spec, regions[:-1]), "covers() does not notice a region that is missing"

    processed = {piece.region.name: piece for piece in task.pieces(reversed(regions))}
    assets = task.stitch([processed[name] for name in names], "forward")
    again = {piece.region.name: piece for piece in task.pieces(regions[1:] + regions[:1])}
    assert task.stitch((again[name] for name in names), "again") == assets, "the result depends on the order in which jobs end"
    check_refusals(task, regions[1], processed[names[1]].files)
    check_lost(task, [processed[name] for name in names])
    return assets


def check_refusals(task: Rehearsal, region: Region, good: Folder) -> None:
    """An output that is empty, cut short, damaged or another job's is refused by verify."""
    for number, name in enumerate(good.names()):
        data = good.read(name)
        middle = len(data) // 2
        damaged = data[:middle] + bytes([data[middle] ^ 0x55]) + data[middle + 1 :]
        for bad in (None, b"", data[:-1], data[:middle], damaged, data + data[:64]):
            place = task.work / "bad" / f"{number}"
            shutil.rmtree(place, ignore_errors=True)
            for other in good.names():
                (place / other).parent.mkdir(parents=True, exist_ok=True)
                (place / other).write_bytes(good.read(other))
            (place / name).unlink()
            if bad is not None:
                (place / name).write_bytes(bad)
            try:
                task.stage.verify(task.spec, region, PlainFiles(place))
            except OutputRejected as error:
                assert str(error), "a refusal says why"
            else:
                raise AssertionError(f"verify accepts {name} with {'nothing' if bad is None else len(bad)} of {len(data)} bytes")


def check_lost(task: Rehearsal, pieces: Sequence[Piece]) -> None:
    """A region that is lost on its way to the stitch is named."""
    for lost in (0, len(pieces) // 2, len(pieces) - 1):
        rest = [piece for number, piece in enumerate(pieces) if number != lost]
        try:
            task.stitch(rest, f"lost{lost}")
        except StitchFailed as error:
            assert pieces[lost].region.name in str(error), f"{error} does not name {pieces[lost].region.name}"
        else:
            raise AssertionError(f"the stitch does not notice that {pieces[lost].region.name} is missing")
