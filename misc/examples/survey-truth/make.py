"""Make an aerial survey of which everything is known: rendered by a farm, with EXIF and GPS.

    .venv/bin/python misc/examples/survey-truth/make.py small /tmp/truth

See the README beside this file.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # a script of a checkout: its package lies beside it

from survey_truth import exact, studio
from survey_truth.photos import Faults
from survey_truth.place import SIZES


def render(*folders: Path) -> None:
    """On a farm of this machine: each folder's results in ``<folder>-result``."""
    program = Path(sys.executable).with_name("clusterray")
    subprocess.run([program, "submit", "--local", "--overwrite", "--progress", "plain", *folders], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("size", choices=sorted(SIZES))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=4, help="another number, another place")
    parser.add_argument("--focal-error", type=float, default=0.0, help="by how much the EXIF's focal length is too long (0.01: 1 %%)")
    parser.add_argument("--exact", action="store_true", help="also write exact/task: what perfect early stages would leave")
    asked = parser.parse_args()
    folder: Path = asked.folder.resolve()
    truth = studio.write_scenes(folder, SIZES[asked.size], asked.seed)
    render(folder / "photo", folder / "above")
    truth = studio.finish(folder, truth, Faults(focal=asked.focal_error))
    if asked.exact:
        shutil.rmtree(folder / "exact", ignore_errors=True)
        shutil.copytree(folder / "task/images", folder / "exact/task/images")
        points = exact.write_stages(folder / "exact/task", truth.ground, truth.cameras, truth.said)
        print(f"{folder}/exact/task: {points} points")
    print(f"{folder}/task: {len(truth.cameras)} photos, {truth.gsd * 100:g} cm per pixel")


if __name__ == "__main__":
    main()
