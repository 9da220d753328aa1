"""Which renderers a node says that it has: real ones, where they are installed."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest
from clusterray.common.model import Program
from clusterray.node import renderers


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    return tmp_path / "renderers.json"


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_the_renderers_of_this_machine_are_found(notes: Path, checkout: Path) -> None:
    """POV-Ray by its version; the wheels of Blender and Mitsuba by a real import, which is done once."""
    found, sentences = renderers.find({}, notes, {})
    assert sentences == []
    by_name = {one.name: one for one in found}
    assert list(by_name) == ["povray", "blender", "mitsuba", "survey"], "./run test installs them"
    assert by_name["povray"].path == shutil.which("povray")
    assert by_name["mitsuba"].path == sys.executable
    assert all(one.version.count(".") >= 1 for one in found)
    before = notes.stat().st_mtime_ns
    assert renderers.find({}, notes, {})[0] == found
    assert notes.stat().st_mtime_ns == before


def test_several_versions_may_be_named(tmp_path: Path, notes: Path) -> None:
    """What is none is left out with a sentence, and the same version counts once."""
    other = script(tmp_path / "povray", "echo 'POV-Ray 3.8.0-beta' >&2")
    blender = script(tmp_path / "b" / "blender", "echo 'Blender 4.2.3 LTS'; echo '\tbuild date: 2024-10-14'")
    paths = {"povray": f"{other}:{tmp_path}/none:{other}", "blender": str(blender)}
    found, sentences = renderers.find(paths, notes, {}, known=("povray", "blender"))
    assert found == [
        Program(name="povray", version="3.8.0", path=str(other)),
        Program(name="blender", version="4.2.3", path=str(blender)),
    ]
    assert sentences == [f"[node] programs: {tmp_path}/none is no povray that can be started here; it is left out."]


def environment(folder: Path, module: str) -> Path:
    """An environment of this very Python with a module of this text for ``bpy``."""
    packages = folder / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
    packages.mkdir(parents=True)
    (packages / "bpy.py").write_text(module)
    (folder / "bin").mkdir()
    (folder / "bin" / "python").symlink_to(sys.executable)
    (folder / "pyvenv.cfg").write_text(f"home = {Path(sys.executable).resolve().parent}\ninclude-system-site-packages = false\n")
    return folder / "bin" / "python"


GOOD = "class app:\n    version = (4, 5, 1)\n"


def test_the_environment_with_bpy_may_be_named_by_a_variable(tmp_path: Path, notes: Path) -> None:
    """And the owner's setting may name an interpreter instead of a Blender."""
    python = environment(tmp_path / "env", GOOD)
    expected = Program(name="blender", version="4.5.1", path=str(python))
    assert renderers.find({}, notes, {renderers.BLENDER: str(tmp_path / "env")}, known=("blender",)) == ([expected], [])
    assert renderers.find({"blender": str(python)}, notes, {}, known=()) == ([expected], [])
    assert renderers.find({"povray": str(python)}, notes, {}, known=())[0] == []


def test_a_wheel_that_does_not_load_is_not_announced(tmp_path: Path, notes: Path) -> None:
    """A missing system library shows only when it is imported; what to install is said, and the next best Blender is taken."""
    environment(tmp_path / "env", "raise ImportError('libX11.so.6: cannot open shared object file')")
    found, sentences = renderers.find({}, notes, {renderers.BLENDER: str(tmp_path / "env")}, known=("blender",))
    assert [one.path for one in found] == [str(Path(__file__).parents[2] / ".venv-blender" / "bin" / "python")]
    assert len(sentences) == 1
    assert "libX11.so.6" in sentences[0]
    assert "libxkbcommon0" in sentences[0]
    assert str(tmp_path) not in notes.read_text(), "a failure is tried again at the next start"


def test_a_changed_environment_is_tried_again(tmp_path: Path, notes: Path) -> None:
    """An upgrade shows at the next start; notes that cannot be read are no notes."""
    python = environment(tmp_path / "env", GOOD)
    paths = {"blender": str(python)}
    assert renderers.find(paths, notes, {}, known=())[0][0].version == "4.5.1"
    (packages,) = tmp_path.glob("env/lib/*/site-packages")
    (packages / "bpy.py").write_text(GOOD.replace("1)", "12)"))
    os.utime(packages, (1, 1))
    assert renderers.find(paths, notes, {}, known=())[0][0].version == "4.5.12"
    assert json.loads(notes.read_text())
    notes.write_text("[]")
    assert renderers.find(paths, notes, {}, known=())[0][0].version == "4.5.12"
