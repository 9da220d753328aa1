"""A film of cheap frames on a farm of two one-core slots against povray's own animation on two threads.

    .venv/bin/python misc/bench/povray_film.py [--runs 3] [--frames 240]

The frames are those of misc/scenes/film at 160 x 120. Both ends make PNG frames; the farm also makes the film, a poster and a
contact sheet of them. Printed is the median of the makespans and of their ratio, with all single values.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from clusterray.common.taskfile import read_task
from farm import BenchFarm, show

SCENE = Path(__file__).parents[1] / "scenes" / "film" / "film.pov"
SIZE = (160, 120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--frames", type=int, default=240)
    given = parser.parse_args()
    scene = Path(tempfile.mkdtemp(prefix="cr-film-"))
    shutil.copy(SCENE, scene)
    (scene / "task.toml").write_text('kind = "povray"\nname = "film"\n')
    width, height = SIZE
    farm = BenchFarm(2)
    ours, alone = [], []
    try:
        for run in range(given.runs):
            # another Declare= for each run, so that none takes over the frames of the one before
            sun = f"Declare=Sun={40 + run}"
            options = [f"width={width}", f"height={height}", "cyclic=true", f'args=["{sun}"]']
            spec, _ = read_task(scene, [*options, f"animation.frames=1-{given.frames}"])
            begun = time.monotonic()
            farm.finish(farm.submit(scene, spec))
            ours.append(time.monotonic() - begun)
            frames = Path(tempfile.mkdtemp(dir=scene.parent, prefix="cr-alone-"))
            words = [f"+I{SCENE.name}", f"+O{frames}/f.png", f"+W{width}", f"+H{height}", f"+KFF{given.frames}", "+KC", sun]
            begun = time.monotonic()
            subprocess.run(["povray", *words, "+WT2", "-D", "-GA"], cwd=scene, check=True, capture_output=True)
            alone.append(time.monotonic() - begun)
            assert len(list(frames.iterdir())) == given.frames
            shutil.rmtree(frames)
    finally:
        farm.close()
        shutil.rmtree(scene)
    ratios = [one / other for one, other in zip(ours, alone, strict=True)]
    print(f"film of {given.frames} frames {width}x{height}: farm {show(ours)} s, povray +WT2 {show(alone)} s, ratio {show(ratios, 3)}")


if __name__ == "__main__":
    main()
