"""Any property of Blender from task.toml: a path is walked, never run, and a wrong one is named."""

from __future__ import annotations

import json

import pytest
from clusterray.common.errors import TaskFileError
from clusterray.common.kinds.blender import BLENDER
from clusterray.common.kinds.blender_rna import WrongPath, parse, shown
from clusterray.common.model import TaskSpec
from clusterray.common.testing_kinds import PlainFiles
from hypothesis import given
from hypothesis import strategies as st

LOOK = {"do": "look", "name": "look.json"}


@given(st.text(alphabet="ab.[]'\"0\\_", max_size=30))
def test_a_path_is_understood_or_refused(text):
    """Whatever is written, there are steps or a sentence; and the steps lead back to a path with the same steps."""
    try:
        steps = parse(text)
    except WrongPath:
        return
    assert parse(shown(steps)) == steps


@pytest.mark.parametrize(
    "path",
    ["scene", "scene.__class__.x", "__import__('os').system", "scene.render()", "objects['a", "a..b", "a.b c", "a.b + 1", "a[1:2].b"],
)
def test_python_is_no_path(blender, path):
    """Found on the submitter's machine, with the table's name."""
    with pytest.raises(TaskFileError, match=r"\[rna\]"):
        BLENDER.examine(TaskSpec(kind="blender", name="x", options={"rna": {path: 1}}), PlainFiles(blender.scene("plain")))


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("objects['Cubo'].location", [0, 0, 1], "objects has no 'Cubo'; did you mean 'Cube'?"),
        ("scene.cycles.max_bouncs", 4, "scene.cycles has no 'max_bouncs'; did you mean 'max_bounces'"),
        ("scene.cycles.max_bounces", "four", "scene.cycles.max_bounces cannot be 'four'"),
        ("objects['Cube'].location[7]", 1.0, "objects['Cube'].location has no element 7, it has 3"),
        ("scene.camera", "Kamera", "scene.camera cannot be 'Kamera': did you mean 'Camera'?"),
        ("objects['Cube']['glw']", 1.0, "no custom property 'glw'; did you mean 'glow'?"),
        ("objects['Cube'].matrix_world.bl_rna", 1, "has no 'bl_rna'"),
        ("nonsense.x", 1, "cannot begin with 'nonsense'"),
        ("scene.frame_current_final", 1.0, "cannot be set"),
    ],
)
def test_a_property_that_does_not_exist_is_named_with_its_neighbours(blender, tmp_path, path, value, said):
    answer = blender.ask(blender.scene("plain"), tmp_path / "out", LOOK, rna={path: value})
    assert answer.startswith("clusterray: failed [rna] ")
    assert said in answer


def test_properties_of_all_sorts_are_set(blender, tmp_path):
    """Numbers, lists, elements, choices, datablocks by name, custom properties; seen in what Blender then says of the scene."""
    rna = {
        "render.resolution_x": 100,
        "scene.cycles.samples": 3,
        "view_layer.use_pass_z": True,
        "objects['Cube'].location": [0, 0, 1],
        'objects["Cube"].scale[2]': 2.0,
        "objects['Cube']['glow']": 2.5,
        "scene.camera": "Camera",
        "lights[0].shape": "DISK",
        "materials['Material'].diffuse_color[0]": 1.0,
        "scene.render.use_freestyle": False,
    }
    assert blender.ask(blender.scene("plain"), tmp_path / "out", LOOK, rna=rna) == "clusterray: done"
    look = json.loads((tmp_path / "out" / "look.json").read_text())
    assert (look["width"], look["samples"], look["unmixable"]) == (100, 3, ["z"])


def test_a_variable_that_has_no_keyframes_is_named(blender):
    options = {"rna": {"objects['Cube'].location[0]": "$wlak"}, "animation": {"frames": "1-2"}, "keyframes": {"walk": {"points": [[1, 0]]}}}
    with pytest.raises(TaskFileError, match=r"'wlak'.*did you mean .walk."):
        BLENDER.examine(TaskSpec(kind="blender", name="x", options=options), PlainFiles(blender.scene("plain")))
