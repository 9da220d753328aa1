#!/usr/bin/env python3
"""What a job of Blender costs with a process of its own, and with one that all jobs of a slot share.

    python misc/bench/blender.py [JOBS [FILE.blend]]

The work itself is made small (tiles of 64 x 48 pixels, 1 sample), so that start-up and loading of the scene are what is measured; without
a file it is a scene of Blender's default cube and 200 spheres. Both ways run one job after another, as one slot does.
"""

from __future__ import annotations

import json
import queue
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from clusterray.common import process
from clusterray.common.kinds.blender import BLENDER
from clusterray.common.kinds.blender_plan import border
from clusterray.common.kinds.blender_run import command, recipe, scripts
from clusterray.common.kinds.kind import WARM_DONE, Place, Recipe
from clusterray.common.model import TaskSpec
from clusterray.common.testing_kinds import PlainFiles

WIDTH, HEIGHT, COLUMNS = 640, 480, 10
MAKE = """
import bpy, sys
bpy.ops.wm.read_factory_settings(use_empty=False)
for number in range(200):
    bpy.ops.mesh.primitive_uv_sphere_add(segments=64, ring_count=32, radius=.2, location=(number % 20 - 10, number // 20 - 5, 0))
bpy.context.scene.render.engine = "CYCLES"
bpy.ops.wm.save_as_mainfile(filepath=sys.argv[-1])
"""
FORM = {"format": "OPEN_EXR", "bits": 32, "color": "RGBA", "quality": 90}


def blender() -> str:
    own = Path(__file__).resolve().parents[2] / ".venv-blender" / "bin" / "python"
    found = str(own) if own.exists() else process.find_program("blender")
    if not found:
        raise SystemExit("There is no Blender here; ./run install blender makes .venv-blender.")
    return found


def recipes(root: Path, inputs: Path, name: str, count: int) -> list[Recipe]:
    """One tile each."""
    options = {"width": WIDTH, "height": HEIGHT, "samples": 1, "missing": "ignore"}
    spec = BLENDER.examine(TaskSpec(kind="blender", name="bench", options=options), PlainFiles(inputs)).spec
    made = []
    for number in range(count):
        scratch = root / f"{name}{number}"
        (scratch / "out").mkdir(parents=True)
        left, top = number % COLUMNS * 64, number // COLUMNS % COLUMNS * 48
        request = {
            "do": "picture",
            "name": "part.exr",
            "frame": None,
            "format": FORM,
            "plain": True,
            "border": border((left, top, left + 64, top + 48), WIDTH, HEIGHT),
            "subset": None,
            "guides": [],
        }
        place = Place(inputs=inputs, scratch=scratch, cores=1, programs={"blender": blender()})
        made.append(recipe(spec.options, place, request, ("part.exr",)))
    return made


def cold(root: Path, jobs: list[Recipe]) -> list[float]:
    """Seconds of each job."""
    times = []
    for job in jobs:
        begun = time.perf_counter()
        done = process.run(job.argv, timeout=300, cwd=root, env=process.plain_env(root))
        times.append(time.perf_counter() - begun)
        if done.code:
            raise SystemExit(done.stderr)
    return times


def warm(root: Path, jobs: list[Recipe]) -> list[float]:
    """Seconds of each job; the first has the start in it."""
    home = root / "warm"
    (home / "inside").mkdir(parents=True)
    for name, data in scripts().items():
        (home / name).write_bytes(data)
    lines: queue.Queue[str] = queue.Queue()
    times = []
    begun = time.perf_counter()
    fed = process.start_fed(command(blender(), "start.py", "--serve"), cwd=home, env=process.plain_env(home), on_line=lines.put)
    try:
        for number, job in enumerate(jobs):
            assert job.warm is not None
            out = root / f"warm{number}" / "out"
            fed.feed(json.dumps({**job.warm.request, "out": str(out)}).encode() + b"\n")
            while (line := lines.get(timeout=300)) != WARM_DONE:
                if line.startswith("clusterray: failed"):
                    raise SystemExit(line)
            times.append(time.perf_counter() - begun)
            begun = time.perf_counter()
    finally:
        fed.stop()
    return times


def show(what: str, times: list[float]) -> None:
    print(f"{what}: {statistics.mean(times):.2f} s per job (median {statistics.median(times):.2f}), {sum(times):.1f} s in all")


def main(count: int, blend: Path | None) -> None:
    root = Path(tempfile.mkdtemp(prefix="clusterray-bench-"))
    try:
        inputs = root / "inputs"
        inputs.mkdir()
        if blend:
            shutil.copy(blend, inputs / "scene.blend")
        else:
            (root / "make.py").write_text(MAKE)
            process.run(command(blender(), str(root / "make.py"), str(inputs / "scene.blend")), timeout=300, env=process.plain_env(root))
        one, shared = cold(root, recipes(root, inputs, "cold", count)), warm(root, recipes(root, inputs, "warm", count))
        print(f"{count} jobs, {(inputs / 'scene.blend').stat().st_size / 1e6:.1f} MB of scene, one after another, {blender()}")
        show("a process for each job", one)
        show("one process for all", shared)
        print(f"its first job {shared[0]:.2f} s; ratio of the whole {sum(one) / sum(shared):.1f}")
    finally:
        shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 20, Path(sys.argv[2]) if sys.argv[2:] else None)
