"""Files that a .blend uses are packed, in the folder, or named before anything is sent."""

from __future__ import annotations

import shutil

import pytest
from clusterray.common.errors import TaskFileError
from clusterray.common.kinds.blender import BLENDER
from clusterray.common.kinds.blender_links import Link, _there, faults, inside
from clusterray.common.model import TaskSpec
from clusterray.common.testing_kinds import PlainFiles


def examine(folder, **options):
    return BLENDER.examine(TaskSpec(kind="blender", name="pic", options=options), PlainFiles(folder))


def test_a_texture_that_is_missing_is_found_before_the_upload(blender, tmp_path):
    """The sentence names the datablock, its path and how to pack it; missing = "ignore" makes a warning of it."""
    shutil.copy(blender.scene("wood") / "scene.blend", tmp_path)
    with pytest.raises(TaskFileError, match=r'scene.blend: .*image "Wood" uses //tex/wood.png, which is not in the task.*Pack Resources'):
        examine(tmp_path)
    assert any("Wood" in warning for warning in examine(tmp_path, missing="ignore").warnings)
    (tmp_path / "Tex").mkdir()
    (tmp_path / "Tex" / "wood.png").write_bytes(b"x")
    assert "there is Tex/wood.png, spelt otherwise" in faults("scene.blend", PlainFiles(tmp_path))[0]


def test_what_is_packed_or_beside_the_file_is_fine(blender, tmp_path):
    assert not examine(blender.scene("wood")).warnings
    shutil.copy(blender.scene("packed") / "scene.blend", tmp_path)
    assert not examine(tmp_path).warnings


def test_linked_files_are_followed(blender, tmp_path):
    """A library is a file too, and what it lacks is lacking."""
    linked = blender.scene("linked")
    assert not faults("scene.blend", PlainFiles(linked))
    shutil.copytree(linked, tmp_path / "task")
    (tmp_path / "task" / "lib" / "lib.blend").unlink()
    assert 'the library "' in faults("scene.blend", PlainFiles(tmp_path / "task"))[0]
    (tmp_path / "task" / "lib" / "lib.blend").write_bytes((blender.scene("wood") / "scene.blend").read_bytes())
    assert "lib/lib.blend: the image" in faults("scene.blend", PlainFiles(tmp_path / "task"))[0]


def test_paths_are_those_of_blender():
    """// is the .blend's own folder, backslashes come from Windows, and nothing leads out of the task."""
    assert inside("a/b.blend", "//tex/x.png") == "a/tex/x.png"
    assert inside("a/b.blend", "//..\\tex\\x.png") == "tex/x.png"
    assert inside("b.blend", "//../x.png") is None
    assert inside("b.blend", "/home/me/x.png") is None
    assert inside("b.blend", "C:\\x.png") is None


class Names:
    def __init__(self, *names):
        self._names = names

    def names(self):
        return self._names


@pytest.mark.parametrize(
    ("where", "source", "kind", "there"),
    [
        ("t/x.<UDIM>.png", 6, "image", "t/x.1001.png"),
        ("t/x_0001.png", 2, "image", "t/x_0042.png"),
        ("t/smoke_0001.vdb", 1, "volume", "t/smoke_0100.vdb"),
    ],
)
def test_sequences_and_udim_tiles_are_there_when_one_of_them_is(where, source, kind, there):
    link = Link(kind=kind, name="x", path=f"//{where}", source=source)
    assert _there(where, link, Names(there))
    assert not _there(where, link, Names("t/other.png"))
