"""misc/examples: what docs/kinds.md walks through installs as another package and runs."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from clusterray.common.model import TaskSpec
from clusterray.common.testing_kinds import check_kind
from PIL import Image

from .farm.box import Box


@pytest.fixture(scope="module")
def installed(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example, installed by pip as anybody would, into a folder of the test."""
    source, target = tmp_path_factory.mktemp("source") / "mandelbrot", tmp_path_factory.mktemp("site")
    shutil.copytree(checkout / "misc/examples/mandelbrot", source)
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    done = subprocess.run([*pip, "--target", str(target), str(source)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return target


def test_the_example_kind_of_another_package_is_found_and_makes_its_picture(installed: Path, checkout: Path, tmp_path: Path) -> None:
    """Installed beside ClusterRay, and nothing else done: it is listed, submitted, rendered on a confined node and joined."""
    (tmp_path / "box").mkdir()
    box = Box(tmp_path / "box", PYTHONPATH=str(installed), CLUSTERRAY_EXTRA_KINDS="")
    shutil.copytree(checkout / "misc/examples/mandelbrot/zoom", tmp_path / "zoom")
    assert "mandelbrot" in box.run("kinds").stdout
    box.run("submit", tmp_path / "zoom", "--local")
    with Image.open(tmp_path / "zoom-result/zoom.png") as picture:
        assert (picture.size, picture.mode) == ((320, 200), "L")
        assert len(picture.getcolors()) > 50, "there is something to see"


def test_the_example_kind_passes_the_exam_of_kinds(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What docs/kinds.md calls a kind is one: covered once, the same whatever the order, nothing wrong or lost goes unnoticed."""
    monkeypatch.syspath_prepend(checkout / "misc/examples/mandelbrot")
    from clusterray_mandelbrot import MANDELBROT

    def covers(task, regions):
        row = 0
        for region in regions:
            if region.data["rows"][0] != row:
                break
            row = region.data["rows"][1]
        return "" if row == task.options["height"] else f"row {row} is in no region"

    spec = TaskSpec(kind="mandelbrot", name="small", options={"width": 64, "height": 48})
    (tmp_path / "in").mkdir()
    check_kind(MANDELBROT, spec, tmp_path / "in", tmp_path / "work", covers)
