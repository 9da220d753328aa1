"""What tiles share: radiosity samples and photons are gathered once, and the tiles then fit together."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clusterray.common.errors import OutputRejected, StitchFailed
from clusterray.common.kinds.kind import Piece
from clusterray.common.kinds.povray import POVRAY
from clusterray.common.kinds.povray_prepass import Photons, Radiosity, with_photons
from clusterray.common.model import FarmShape, TaskSpec
from clusterray.common.testing_kinds import PlainFiles, Rehearsal, check_refusals, rehearse, whole_task

from .povray_house import BALLS, SKY, folder, pixels, unsplit

ROOM = BALLS.replace("assumed_gamma 1.0", "assumed_gamma 1.0 radiosity { count 30 error_bound 0.7 }") + SKY
LENS = BALLS.replace("interior {", "photons { target refraction on } interior {") + "global_settings { photons { count 900 } }"
SIZE = {"width": 90, "height": 70}
SETTINGS = "\nglobal_settings { radiosity { pretrace_start 1 pretrace_end 1 always_sample off } }\n"


def task_of(inputs: Path, work: Path, **options: Any) -> Rehearsal:
    return rehearse(POVRAY, TaskSpec(kind="povray", name="picture", options=SIZE | options), inputs, work)


def made(inputs: Path, work: Path, **options: Any) -> np.ndarray:
    """The stitched picture as (rows, bytes)."""
    whole_task(POVRAY, TaskSpec(kind="povray", name="picture", options=SIZE | options), inputs, work)
    return pixels(max(path for path in work.iterdir() if path.name.isdigit()) / "result" / "picture.png")


def test_tiles_with_shared_radiosity_fit(tmp_path: Path) -> None:
    """They equal one picture rendered with the same samples, but for a few pixels where none can be used; without sharing they do not."""
    inputs = folder(tmp_path, **{"scene.pov": ROOM})
    ours = made(inputs, tmp_path / "work", tiles=[2, 2]).astype(int)
    samples = tmp_path / "work" / "inputs" / "stages" / "radiosity" / "samples.rad"
    (inputs / "scene.pov").write_text(ROOM + SETTINGS)
    wanted = unsplit(inputs, tmp_path, "+W90", "+H70", "+FN", "+WT1", f"+RF{samples}", "+RFI").astype(int)
    off = np.abs(ours - wanted).reshape(70, 90, 3).max(axis=2)
    assert (off > 0).mean() < 0.02 and off.max() <= 16, (int((off > 0).sum()), int(off.max()))
    (inputs / "scene.pov").write_text(ROOM)
    apart = made(inputs, tmp_path / "apart", tiles=[2, 2], radiosity="tiles").astype(int)
    whole = unsplit(inputs, tmp_path, "+W90", "+H70", "+FN", "+WT1").astype(int)
    assert (np.abs(apart - whole) > 0).mean() > 0.1, "this scene shows what sharing is for"


def test_a_scene_without_samples_renders_all_the_same(tmp_path: Path) -> None:
    """Radiosity and photons that stand in a branch that POV-Ray never takes: the shared files are empty, and nothing is turned on."""
    off = "#if (0) global_settings { radiosity { count 9 } photons { count 900 } } #end\n"
    inputs = folder(tmp_path, **{"scene.pov": BALLS + SKY + off})
    ours = made(inputs, tmp_path / "work", tiles=[2, 1])
    assert (ours == unsplit(inputs, tmp_path, "+W90", "+H70", "+FN")).all()
    assert not (tmp_path / "work" / "inputs" / "stages" / "radiosity" / "samples.rad").read_bytes()


@pytest.mark.parametrize(("stage", "scene"), [(Radiosity(), ROOM), (Photons(), LENS)])
def test_damaged_files_are_refused(stage: Any, scene: str, tmp_path: Path) -> None:
    """Cut short, changed, empty, missing, or whole and no samples at all."""
    task = task_of(folder(tmp_path, **{"scene.pov": scene}), tmp_path / "work", tiles=[3, 2])
    step = Rehearsal(kind=POVRAY, spec=task.spec, stage=stage, files=task.files, inputs=task.inputs, work=task.work, warnings=())
    region = step.split(FarmShape(slots=8))[0]
    check_refusals(step, region, step.process(region))
    place = tmp_path / "bad"
    place.mkdir()
    (place / f"{stage.result}.gz").write_bytes(gzip.compress(b"C1\tthis is no sample\n"))
    with pytest.raises(OutputRejected, match=region.name):
        stage.verify(task.spec, region, PlainFiles(place))


def test_lost_samples_are_named(tmp_path: Path) -> None:
    """And those taken twice, along the edges, are kept once."""
    task = task_of(folder(tmp_path, **{"scene.pov": ROOM}), tmp_path / "work", width=640, height=480, radiosity="prepass")
    regions = task.split(FarmShape(slots=4))
    assert len(regions) == 8, "two for each slot"
    pieces = []
    for number, region in enumerate(regions):
        out = tmp_path / "pieces" / region.name
        out.mkdir(parents=True)
        lines = [f"C1\t{value}\t0\t0\t7f7f7f\t0.1\t0.1\t0.1\t1\t1\t7f7f7f\n" for value in (number, number + 1)]
        (out / "samples.rad.gz").write_bytes(gzip.compress("".join(lines).encode()))
        pieces.append(Piece(region=region, files=PlainFiles(out)))
        task.stage.verify(task.spec, region, pieces[-1].files)
    joined = task.stitch(pieces)["samples.rad"].decode().splitlines()
    assert [line.split("\t")[1] for line in joined] == [str(number) for number in range(9)]
    with pytest.raises(StitchFailed, match=regions[3].name):
        task.stitch(pieces[:3] + pieces[4:], "lost")


def test_settings_of_photons_stay_on_their_line() -> None:
    """In the scene's own block, since a second one would take its place; comments and texts are no settings, and every byte stays."""
    scene = '// photons { count 1 }\n#declare S = "photons { count 2 }"; /* photons { count 3 } */\n'
    scene += "global_settings { photons {\n count 4 } } // \xe9"
    changed = with_photons(scene.encode("latin-1"), 'load_file "x"').decode("latin-1")
    assert changed == scene.replace("photons {\n", 'photons { load_file "x"\n')
