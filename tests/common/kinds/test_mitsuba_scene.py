"""A Mitsuba scene is understood before anything is sent: its parameters, its size, its samples, its files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from clusterray.common.errors import TaskFileError
from clusterray.common.kinds.mitsuba import MITSUBA, shares
from clusterray.common.model import FarmShape, Needs, TaskSpec
from clusterray.common.testing_kinds import PlainFiles
from hypothesis import given
from hypothesis import strategies as st

SCENE = """\
<scene version="3.0.0">
  <default name="spp" value="12"/>
  <default name="wide" value="40"/>
  <integrator type="path"/>
  <sensor type="perspective">
    <sampler type="independent"><integer name="sample_count" value="$spp"/></sampler>
    <film type="hdrfilm"><integer name="width" value="$wide"/><integer name="height" value="30"/></film>
  </sensor>
  <emitter type="constant"/>
  MORE
</scene>
"""


def folder(tmp_path: Path, more: str = "", **files: str) -> PlainFiles:
    (tmp_path / "scene.xml").write_text(SCENE.replace("MORE", more))
    for name, text in files.items():
        path = tmp_path / name.replace("__", "/").replace("_xml", ".xml").replace("_png", ".png")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return PlainFiles(tmp_path)


def examined(files: PlainFiles, **options: Any) -> TaskSpec:
    return MITSUBA.examine(TaskSpec(kind="mitsuba", name="x", options=options), files).spec


def refused(files: PlainFiles, **options: Any) -> TaskFileError:
    with pytest.raises(TaskFileError) as error:
        examined(files, **options)
    return error.value


def test_size_and_samples_come_from_the_scene(tmp_path: Path) -> None:
    """Parameters are replaced; options win over the film; what nothing says is Mitsuba's own default."""
    files = folder(tmp_path)
    spec = examined(files)
    assert [spec.options[name] for name in ("width", "height", "samples", "output")] == [40, 30, 12, ["png", "exr"]]
    assert spec.needs.program == "mitsuba"
    spec = examined(files, parameters={"spp": 99, "wide": 64}, height=7)
    assert [spec.options[name] for name in ("width", "height", "samples")] == [64, 7, 99]
    assert spec.options["parameters"] == {"spp": "99", "wide": "64"}
    (tmp_path / "scene.xml").write_text('<scene version="3.0.0"><integrator type="path"/><sensor type="perspective"/></scene>')
    spec = examined(files)
    assert [spec.options[name] for name in ("width", "height", "samples")] == [768, 576, 4]


def test_parameters_are_checked(tmp_path: Path) -> None:
    """An unknown one is told the known ones; one without a value is told where to give it, with file and line."""
    files = folder(tmp_path, '<shape type="sphere"><float name="radius" value="$size"/></shape>')
    error = refused(files, parameters={"size": 1.5, "sp": 3})
    assert 'uses no parameter "sp"; it uses size, spp, wide.' in str(error) and error.key == "parameters.sp"
    error = refused(files)
    assert "The parameter $size has no value" in error.sentence and (error.path, error.line) == ("scene.xml", 10)
    assert refused(files, parameters={"size": [1]}).key == "parameters.size"
    assert examined(files, parameters={"size": 1e-7}).options["parameters"] == {"size": "0.0000001"}
    assert "whole number from 1 on" in refused(files, parameters={"size": 1, "spp": "many"}).sentence


def test_files_that_are_missing_are_found(tmp_path: Path) -> None:
    """Textures, meshes, spectra and includes; in the scene's folder, or in one that a <path> names, as Mitsuba looks for them."""
    texture = '<texture type="bitmap"><string name="filename" value="NAME"/></texture>'
    for more, words in [
        (texture.replace("NAME", "wood.png"), 'The file "wood.png" is not in the folder.'),
        (texture.replace("NAME", "/home/me/wood.png"), "copy the file into the folder"),
        (texture.replace("NAME", "C:\\\\me\\\\wood.png"), "copy the file into the folder"),
        (texture.replace("NAME", "../wood.png"), "outside of the folder"),
        ('<spectrum name="radiance" filename="lamp.spd"/>', 'The file "lamp.spd"'),
        ('<include filename="parts.xml"/>', 'The file "parts.xml"'),
    ]:
        error = refused(folder(tmp_path, more))
        assert words in error.sentence and (error.path, error.line) == ("scene.xml", 10), error
    inside = '<scene version="3.0.0"><default name="wood" value="wood.png"/>' + texture.replace("NAME", "$wood") + "</scene>"
    more = '<path value="pictures"/>\n<include filename="parts/a.xml"/>'
    files = folder(tmp_path, more, parts__a_xml=inside)
    error = refused(files)
    assert 'The file "wood.png"' in error.sentence and error.path == "parts/a.xml"
    folder(tmp_path, more, parts__a_xml=inside, parts__wood_png="not there, says Mitsuba")
    assert "wood.png" in refused(files).sentence
    folder(tmp_path, more, parts__a_xml=inside, pictures__wood_png="x")
    assert examined(files).options["scene"] == "scene.xml"
    assert "wooden.png" in refused(files, parameters={"wood": "wooden.png"}).sentence


def test_a_scene_without_light_is_told(tmp_path: Path) -> None:
    """A black picture is no mistake, but nobody wants one; what shows no light needs none."""
    files = folder(tmp_path)
    for text, warned in [("", 0), ("emitter", 1), ("emitter path", 0)]:
        scene = SCENE.replace("MORE", "")
        scene = scene.replace('<emitter type="constant"/>', "") if "emitter" in text else scene
        (tmp_path / "scene.xml").write_text(scene.replace('integrator type="path"', 'integrator type="aov"') if "path" in text else scene)
        found = MITSUBA.examine(TaskSpec(kind="mitsuba", name="x"), files).warnings
        assert sum("has no <emitter>, so that the picture will be black" in one for one in found) == warned, text


def test_which_scene_is_meant(tmp_path: Path) -> None:
    """Included files and foreign XML are no scenes to render; of two, one must be named."""
    files = folder(tmp_path, '<include filename="a.xml"/>', a_xml='<scene version="3.0.0"/>', note_xml="<note/>", broken_xml="<scene")
    assert MITSUBA.recognise(files) and examined(files).options["scene"] == "scene.xml"
    folder(tmp_path, '<include filename="a.xml"/>', other_xml=SCENE.replace("MORE", ""))
    assert 'say scene = "other.xml"' in str(refused(files))
    assert examined(files, scene="other.xml").options["scene"] == "other.xml"
    assert 'did you mean "other.xml"' in str(refused(files, scene="othr.xml"))
    assert not MITSUBA.recognise(PlainFiles(tmp_path / "nowhere"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("<scene version='3.0.0'>\n<shape>\n</scene>", "no proper XML: mismatched tag"),
        ("<scene/>", 'its root must be <scene version="3.0.0">'),
        ('<!DOCTYPE scene [<!ENTITY a "b">]><scene version="3.0.0"/>', "declares an XML entity"),
        ('<scene version="3.0.0"/>', "has no <sensor>"),
        ('<scene version="3.0.0"><sensor type="perspective"/></scene>', "has no <integrator>"),
    ],
)
def test_what_is_no_scene_is_said(text: str, words: str, tmp_path: Path) -> None:
    """With the file, and the line where there is one."""
    (tmp_path / "scene.xml").write_text(text)
    error = refused(PlainFiles(tmp_path), scene="scene.xml")
    assert words in error.sentence and error.path == "scene.xml"


def test_other_mistakes(tmp_path: Path) -> None:
    """Sensors that are not there, formats that are not written, a crop with another size, another program."""
    files = folder(tmp_path)
    assert refused(files, sensor=1).key == "options.sensor"
    assert refused(files, output=["jpg"]).key == "options.output"
    assert refused(files, bits=12).key == "options.bits"
    assert refused(files, animation={"frames": "1-3"}, output=["png", "exr"]).key == "options.output"
    with pytest.raises(TaskFileError, match="runs mitsuba"):
        MITSUBA.examine(TaskSpec(kind="mitsuba", name="x", needs=Needs(program="povray")), files)
    text = SCENE.replace("MORE", "").replace('<film type="hdrfilm">', '<film type="hdrfilm"><integer name="crop_width" value="20"/>')
    (tmp_path / "scene.xml").write_text(text)
    assert examined(files).options["width"] == 20 and examined(files, width=20, height=30).options["height"] == 30
    assert "crop window" in refused(files, width=40).sentence


def test_a_film_takes_its_parameters_from_keyframes(tmp_path: Path) -> None:
    """Keyframed variables and $frame are parameters; a file for each frame must be there; a name is said once."""
    files = folder(tmp_path, '<shape type="obj"><string name="filename" value="mesh$frame.obj"/><float name="x" value="$turn"/></shape>')
    film = {"animation": {"frames": "1-3"}, "keyframes": {"turn": {"points": [[1, 0], [3, 90]]}}}
    for number in (1, 2):
        (tmp_path / f"mesh{number}.obj").write_text("o")
    assert 'The file "mesh3.obj"' in refused(files, **film).sentence
    (tmp_path / "mesh3.obj").write_text("o")
    spec = examined(files, **film)
    assert spec.options["output"] == ["png"] and MITSUBA.examine(spec, files).spec == spec
    assert refused(files, **film, parameters={"turn": 1}).key == "keyframes.turn"
    wrong = film | {"keyframes": {"tourn": {"points": [[1, 0], [3, 90]]}}}
    error = refused(files, **wrong)
    assert 'uses no parameter "tourn"' in error.sentence and error.key == "keyframes.tourn"


@given(st.integers(1, 5000), st.integers(1, 200), st.sampled_from(["independent", "stratified", "ldsampler", "orthogonal", "multijitter"]))
def test_shares(samples: int, jobs: int, sampler: str) -> None:
    """All samples are rendered, in about as many jobs as were wished for, none of under 8 samples unless there are no more."""
    made = shares(samples, jobs, sampler, exactly=False)
    assert sum(made) >= samples and min(made) >= min(8, samples)
    if sampler == "independent":
        assert sum(made) == samples and max(made) - min(made) <= 1 and len(made) == max(1, min(jobs, samples // 8))
    else:
        assert len(made) <= jobs and sum(made) < samples + max(made)
    assert sum(shares(samples, jobs, "independent", exactly=True)) == samples
    assert len(shares(samples, jobs, "independent", exactly=True)) == min(jobs, samples)


def test_the_farm_decides_how_many(tmp_path: Path) -> None:
    """Four jobs per slot, unless the submitter says; seeds follow each other from the one that is asked for."""
    files = folder(tmp_path)
    spec = examined(files, samples=512, seed=5)
    (stage,) = MITSUBA.stages(spec)
    regions = list(stage.split(spec, files, FarmShape(slots=3)))
    assert [region.data["seed"] for region in regions] == list(range(5, 17))
    assert sum(region.data["samples"] for region in regions) == 512
    assert len(list(stage.split(examined(files, samples=512, parts=2), files, FarmShape(slots=3)))) == 2
