"""Blender for tests: scenes that it made itself, and one process of it that does all jobs, as a node's slot has it."""

from __future__ import annotations

import json
import queue
import shutil
from dataclasses import dataclass
from pathlib import Path

from clusterray.common import process
from clusterray.common.errors import OutputRejected
from clusterray.common.kinds.blender import BLENDER
from clusterray.common.kinds.blender_run import command, recipe, scripts
from clusterray.common.kinds.kind import WARM_DONE, WARM_FAILED, Place
from clusterray.common.model import FarmShape, TaskSpec
from clusterray.common.testing_kinds import PlainFiles, Rehearsal

ROOT = Path(__file__).parents[3]
SCENES = {
    "plain/scene.blend": "a",
    "wide/scene.blend": "0z",
    "late/scene.blend": "dcp",
    "fog/scene.blend": "v",
    "passes/scene.blend": "p",
    "work/scene.blend": "wm",
    "blind/scene.blend": "n",
    "wood/scene.blend": "tg",
    "packed/scene.blend": "Tz",
    "linked/scene.blend": "tl",
}


def program() -> str:
    """The Python of .venv-blender, else the machine's blender."""
    own = ROOT / ".venv-blender" / "bin" / "python"
    found = str(own) if own.is_file() else process.find_program("blender")
    assert found, "Blender is needed: ./run test makes .venv-blender, or install blender"
    return found


def make(folder: Path, *names: str) -> None:
    """Write scenes by Blender."""
    maker = str(ROOT / "tests" / "programs" / "make_blend.py")
    made = process.run(command(program(), maker, str(folder), *(f"{name}={SCENES[name]}" for name in names)), timeout=120)
    assert made.code == 0, made.stderr


def alone(blend: Path, out: Path, *frame: str) -> Path:
    """The picture that Blender makes by itself, without any of our code."""
    renderer = str(ROOT / "tests" / "programs" / "render_blend.py")
    made = process.run(command(program(), renderer, str(blend), str(out), *frame), timeout=120)
    assert made.code == 0, made.stderr
    return out


class Blender:
    """Scenes by their folder's name, and a warm process."""

    def __init__(self, folder: Path) -> None:
        self.program = program()
        self.folder = folder
        make(folder, *SCENES)
        self._lines: queue.Queue[str] = queue.Queue()
        self.heard: list[str] = []
        home = folder / "home"
        home.mkdir()
        for name, data in scripts().items():
            (home / name).parent.mkdir(exist_ok=True)
            (home / name).write_bytes(data)
        self._home = home
        self._fed = self._start()

    def scene(self, name: str) -> Path:
        return self.folder / name

    def _start(self) -> process.Fed:
        argv = command(self.program, "start.py", "--serve")
        return process.start_fed(argv, cwd=self._home, env=process.plain_env(self._home), on_line=self._lines.put)

    def serve(self, request, out: Path) -> str:
        """One job of the warm process: its answer; ``heard`` has its other lines. It is started anew where a job before ended it."""
        line = json.dumps({**request, "out": str(out)}).encode() + b"\n"
        for _ in range(2):
            self.heard = []
            self._fed.feed(line)
            answer = self._answer()
            if answer:
                return answer
            self._fed.stop()
            self._fed = self._start()
        raise AssertionError(self.heard)

    def _answer(self) -> str:
        """Empty: the process ended."""
        while not self._lines.empty() or not self._fed.ended.is_set():
            try:
                line = self._lines.get(timeout=1)
            except queue.Empty:
                continue
            if line == WARM_DONE or line.startswith(WARM_FAILED):
                return line
            self.heard.append(line)
        return ""

    def ask(self, folder: Path, out: Path, request, **options):
        """One request about a scene, with the options of a task."""
        spec = BLENDER.examine(TaskSpec(kind="blender", name="test", options=options), PlainFiles(folder)).spec
        place = Place(inputs=folder, scratch=out.parent, cores=2, programs={"blender": self.program})
        out.mkdir(parents=True, exist_ok=True)
        asked = recipe(spec.options, place, request, ())
        return self.serve(asked.warm.request, out)

    def task(self, name: str, work: Path, *, slots=2, **options) -> Path:
        """A whole task through the warm process; the folder with its assets."""
        merged = work / "inputs"
        shutil.copytree(self.scene(name), merged)
        farm = FarmShape(slots=slots)
        spec = TaskSpec(kind="blender", name="pic", options=options)
        settled = BLENDER.settle(BLENDER.examine(spec, PlainFiles(merged)).spec, farm)
        for stage in BLENDER.stages(settled):
            step = self.rehearsal(settled, stage, merged, work / stage.name)
            step.whole("result", farm)
            shutil.copytree(step.work / "result", merged / "stages" / stage.name)
        return step.work / "result"

    def rehearsal(self, spec, stage, merged: Path, work: Path) -> Served:
        return Served(
            kind=BLENDER,
            spec=spec,
            stage=stage,
            files=PlainFiles(merged),
            inputs=merged,
            work=work,
            warnings=(),
            cores=2,
            programs={"blender": self.program},
            blender=self,
        )

    def close(self) -> None:
        self._fed.stop()


@dataclass(frozen=True, kw_only=True)
class Served(Rehearsal):
    """A rehearsal whose jobs go to the warm process."""

    blender: Blender

    def process(self, region):
        recipe = self.recipe(region)
        if recipe.warm is None:
            return super().process(region)
        out = self.work / region.name / "out"
        answer = self.blender.serve(recipe.warm.request, out)
        if answer != WARM_DONE:
            raise OutputRejected(answer + "\n" + "\n".join(self.blender.heard[-12:]))
        return PlainFiles(out)
