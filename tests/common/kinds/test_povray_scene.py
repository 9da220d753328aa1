"""Looking at a scene: what is missing is found before anything is sent, and nothing that is only a comment counts."""

from __future__ import annotations

from pathlib import Path

import pytest
from clusterray.common.bundle import MappingFolder
from clusterray.common.errors import TaskFileError
from clusterray.common.kinds import povray_scene
from clusterray.common.kinds.povray_library import STANDARD
from clusterray.common.kinds.povray_scene import Scene, examine_scene


def look(tmp_path: Path, scene: str, library: tuple[str, ...] = (), name: str = "a.pov", **files: str) -> Scene:
    others = {key.replace("__", "/").replace("_inc", ".inc"): text.encode() for key, text in files.items()}
    return examine_scene(MappingFolder({name: scene.encode(), **others}, tmp_path), name, library)


@pytest.mark.parametrize(
    "scene",
    [
        '// #include "nope.inc"\nsphere {0, 1}',
        '/* #include "x" /* inner */ #include "nope.inc" */ sphere {0, 1}',
        '#declare S = "#include \\"nope.inc\\"";',
        '#include "colors.inc"\n#include "textures"',
        '#include "x.inc"',
        '#include "x"',
    ],
)
def test_nothing_to_complain_of(scene: str, tmp_path: Path) -> None:
    """Comments nest and texts are texts; POV-Ray's own files and those of the folder are there, with or without their ending."""
    found = look(tmp_path, scene, x_inc="// empty")
    assert not found.warnings and not found.empty


@pytest.mark.parametrize(
    ("include", "words"),
    [
        ("nope.inc", "neither in the folder nor in POV-Ray's own libraries."),
        ("colours.inc", 'did you mean "colors.inc"'),
        ("Colors.inc", 'did you mean "colors.inc"'),
        ("X.inc", 'the folder has "x.inc": upper and lower case matter'),
        ("../x.inc", "outside of the folder"),
        ("/home/me/x.inc", "outside of the folder"),
        ("sub\\\\x.inc", "written with /"),
        ("café.inc", "outside of ASCII"),
        ("y.inc", "neither"),
    ],
)
def test_a_missing_include_is_refused(include: str, words: str, tmp_path: Path) -> None:
    """With file and line and the likely cause. A file beside the *including* file does not count: POV-Ray does not look there."""
    with pytest.raises(TaskFileError) as caught:
        look(tmp_path, f'sphere {{0, 1}}\n\n#include "{include}"\n', x_inc="", sub__y_inc="")
    assert str(caught.value).startswith("a.pov:3: ") and words in str(caught.value)


def test_includes_are_followed(tmp_path: Path) -> None:
    """A missing include of an include is named with the file that wants it; circles end."""
    with pytest.raises(TaskFileError, match=r"^sub/y\.inc:2: "):
        look(tmp_path, '#include "sub/y.inc"', sub__y_inc='#include "sub/y.inc"\n#include "nope.inc"')


def test_where_povray_looks(tmp_path: Path) -> None:
    """Beside the scene, in the library folders, at the top of the task's folder."""
    look(tmp_path, '#include "y.inc"', name="sub/a.pov", sub__y_inc="")
    look(tmp_path, '#include "y.inc"', library=("sub",), sub__y_inc="")
    look(tmp_path, '#include "x.inc"', name="sub/a.pov", x_inc="")


@pytest.mark.parametrize(
    "scene",
    ['#include concat("a", ".inc")', "#include Name", '#if (0)\n#include "nope.inc"\n#end', '#macro M()\n#include "nope.inc"\n#end'],
)
def test_what_may_be_fine_is_only_warned_of(scene: str, tmp_path: Path) -> None:
    """A computed name, or an include that POV-Ray may never come to."""
    assert len(look(tmp_path, scene).warnings) == 1


def test_missing_pictures_and_fonts_are_warned_of(tmp_path: Path) -> None:
    """POV-Ray's own fonts and maps are known."""
    found = look(
        tmp_path,
        'image_map { png "no.png" }\ntext { ttf "timrom.ttf" "Hi" 1, 0 }\nheight_field { "hill.png" }\ntext { ttf "no.ttf" "png" }',
    )
    assert [warning.split(":")[1] for warning in found.warnings] == ["1", "3", "4"]


@pytest.mark.parametrize(
    ("scene", "traits"),
    [
        ("global_settings { radiosity { count 40 } }", {"radiosity"}),
        ("global_settings { photons { count 9000 } }", {"photons"}),
        ("global_settings { photons { spacing 0.1 } }", {"photons"}),
        ("sphere { 0, 1 photons { target } }", set()),
        ("light_source { 0 area_light x, y, 3, 3 jitter }", {"noise"}),
        ("media { method 2 }", {"noise"}),
        ("media { method 3 }", set()),
        ("finish { crand 0.1 }", {"noise"}),
        ("// radiosity { }\nsphere { 0, 1 }", set()),
    ],
)
def test_traits(scene: str, traits: set[str], tmp_path: Path) -> None:
    """What does not tile exactly is recognised."""
    assert look(tmp_path, scene).traits == traits


def test_emptiness_and_version(tmp_path: Path) -> None:
    """Comments alone are no scene; the version decides what POV-Ray does with gamma."""
    assert look(tmp_path, "// nothing\n/* at all */").empty
    assert look(tmp_path, "#version 3.7;\nsphere { 0, 1 }").version == 3.7


def test_a_huge_file_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mesh data by the gigabyte do not hold up a submitter."""
    monkeypatch.setattr(povray_scene, "BIGGEST", 10)
    assert not look(tmp_path, '#include "nope.inc"').warnings


def test_the_shipped_list_is_what_povray_brings() -> None:
    """A machine without POV-Ray judges as one with it does."""
    there = {path.name for path in Path("/usr/share/povray-3.7/include").iterdir()}
    assert there == STANDARD
