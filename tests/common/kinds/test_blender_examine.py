"""What is wrong with a Blender task is said before anything is sent, without Blender."""

from __future__ import annotations

import shutil

import pytest
from clusterray.common.errors import TaskFileError
from clusterray.common.kinds.blender import BLENDER
from clusterray.common.kinds.blender_file import BlendFile, shown_version
from clusterray.common.model import Needs, TaskSpec
from clusterray.common.testing_kinds import PlainFiles


def examine(folder, program="", **options):
    spec = TaskSpec(kind="blender", name="pic", options=options, needs=Needs(program=program))
    return BLENDER.examine(spec, PlainFiles(folder))


def test_the_version_that_wrote_the_file_is_the_least_that_opens_it(blender):
    """A node with an older Blender gets no job; the submitter's own wish wins."""
    folder = blender.scene("plain")
    version = shown_version(BlendFile.read(folder / "scene.blend").version)
    assert examine(folder).spec.needs.program == f"blender>={version}"
    assert examine(folder, "blender==4.5.3").spec.needs.program == "blender==4.5.3"


def test_examining_twice_changes_nothing(blender):
    once = examine(blender.scene("work"), animation={"frames": "1-3"}, format="exr").spec
    assert BLENDER.examine(once, PlainFiles(blender.scene("work"))).spec == once
    assert set(once.options) == {option.name for option in BLENDER.options}
    assert (once.options["bits"], once.options["color"]) == (16, "rgba")


def test_a_bare_folder_with_a_blend_is_ours(blender, tmp_path):
    assert BLENDER.recognise(PlainFiles(blender.scene("plain")))
    assert not BLENDER.recognise(PlainFiles(tmp_path))


@pytest.mark.parametrize(
    ("options", "key", "said"),
    [
        ({"bits": 32}, "options.bits", "png has 8 or 16 bits"),
        ({"format": "jpeg", "color": "rgba"}, "options.color", "no transparency"),
        ({"split": "whole", "tiles": [2, 2]}, "options.tiles", "keep one of the two"),
        ({"parts": 4}, "options.parts", 'split = "samples"'),
        ({"split": "samples", "engine": "eevee"}, "options.split", "Only Cycles"),
        ({"blend": "other"}, "options.blend", "scene.blend"),
        ({"device": "cpu", "mixed": True}, "options.mixed", "not for cpu"),
        ({"frame": 3, "animation": {"frames": "1-4"}}, "options.frame", "for a still"),
        ({"engine": "povray"}, "options.engine", "cannot be"),
        ({"rna": {"scene.world": {"a": 1}}}, "rna.scene.world", "takes a number"),
    ],
)
def test_what_makes_no_sense_is_one_sentence(blender, options, key, said):
    with pytest.raises(TaskFileError, match=said) as caught:
        examine(blender.scene("plain"), **options)
    assert caught.value.key == key


def test_a_folder_with_two_scenes_asks_for_one(blender, tmp_path):
    for name in ("a.blend", "b.blend"):
        shutil.copy(blender.scene("plain") / "scene.blend", tmp_path / name)
    with pytest.raises(TaskFileError, match=r'blend = "a\.blend"'):
        examine(tmp_path)
    assert examine(tmp_path, blend="b").spec.options["blend"] == "b.blend"


def test_a_file_that_is_no_blend_is_named(tmp_path):
    (tmp_path / "scene.blend").write_bytes(b"")
    with pytest.raises(TaskFileError, match=r"scene.blend: this is no \.blend file"):
        examine(tmp_path)


def test_another_program_is_refused(blender):
    with pytest.raises(TaskFileError, match="runs blender"):
        examine(blender.scene("plain"), "povray>=3.7")
