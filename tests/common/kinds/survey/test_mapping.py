"""Stage ``mapping``: a model of each submodel."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pycolmap
import pytest
from clusterray.common.errors import OutputRejected
from clusterray.common.kinds.survey.mapping import BLOCKS, LENSES, Mapping
from clusterray.common.model import FarmShape
from clusterray.common.survey import colmap
from clusterray.common.survey.mapping import REPORT, Mapped
from clusterray.common.survey.records import Block, load, save
from clusterray.common.survey.seal import seal
from clusterray.common.testing_kinds import PlainFiles, check_refusals

from ...survey.described import put
from ...survey.worlds import LENS, flight
from .rounds import check_loss, rehearsal, through

STAGE = Mapping()


@pytest.fixture(scope="module")
def survey(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """15 photos in two submodels that share 6; photo 14 is matched to nothing."""
    folder = tmp_path_factory.mktemp("survey")
    put(folder, flight(lines=2, each=7, points=500), flight(lines=1, each=1, points=60))
    save({"cam": LENS}, folder / LENSES)
    left, right = (0, 1, 2, 3, 10, 11, 12, 13), (4, 5, 6, 7, 8, 9, 14)
    blocks = [
        Block(name="block000", core=left, photos=(0, 1, 2, 3, 4, 9, 10, 11, 12, 13)),
        Block(name="block001", core=right, photos=(2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 14)),
    ]
    save(blocks, folder / BLOCKS)
    return folder


def test_submodels_are_placed_and_agree(survey: Path, tmp_path: Path) -> None:
    """The photos that two submodels share lie on each other to 10 cm; a photo that could not be placed is named; damage is refused."""
    round_, pieces = through(STAGE, survey, tmp_path / "work")
    report = msgspec.json.decode((survey / "stages/mapping/report.json").read_bytes())
    assert (report["placed"], report["of"], report["not_placed"]) == (14, 15, ["images/014.jpg"])
    assert any("images/014.jpg" in note for note in report["notes"])
    one, other = (colmap.centres(colmap.read_model(survey / "stages/mapping" / name)) for name in ("block000", "block001"))
    truth = flight(lines=2, each=7, points=500).centres
    shared = sorted(set(one) & set(other))
    moves = [pycolmap.estimate_sim3d(np.array(list(some.values())), truth[list(some)]) for some in (one, other)]
    apart = [np.linalg.norm(moves[0] * one[number] - moves[1] * other[number]) for number in shared]
    assert len(shared) == 6 and max(apart) < 0.1
    check_refusals(round_, pieces[0].region, pieces[0].files)
    check_loss(round_, pieces)


def test_a_job_reads_its_own_photos_alone(survey: Path, tmp_path: Path) -> None:
    """The other submodel's features are not fetched, and how many nodes there are is no matter."""
    round_ = rehearsal(STAGE, survey, tmp_path / "work")
    first, second = round_.split()
    assert "stages/features/00000.npz" in first.needs and "stages/features/00000.npz" not in second.needs
    assert "stages/calibration/blocks.json" not in first.needs and round_.split(FarmShape(nodes=9)) == [first, second]


def test_going_on_without_a_submodel_keeps_the_others(survey: Path, tmp_path: Path) -> None:
    """One failed after hours; ``restart -o split-failed=leave-out`` does not make the others again. Another lens does."""
    round_ = rehearsal(STAGE, survey, tmp_path / "work")
    region = round_.split()[0]
    for name, value, kept in (("split-failed", "leave-out", True), ("use-fixed-camera-params", True, False)):
        other = msgspec.structs.replace(round_.spec, options=round_.spec.options | {name: value})
        assert (STAGE.reads(other, region) == STAGE.reads(round_.spec, region)) == kept


def test_a_submodel_without_a_model_is_accepted_only_where_asked_for(survey: Path, tmp_path: Path) -> None:
    """split-failed = leave-out; otherwise a node that says so is not believed."""
    save(Mapped(block="block000", photos=10, why="It is dark."), tmp_path / "out/block000" / REPORT)
    seal(tmp_path / "out/block000")
    for choice in ("leave-out", "fail"):
        round_ = rehearsal(STAGE, survey, tmp_path / choice, split_failed=choice)
        region = round_.split()[0]
        if choice == "leave-out":
            STAGE.verify(round_.spec, region, PlainFiles(tmp_path / "out"))
        else:
            with pytest.raises(OutputRejected, match="no model"):
                STAGE.verify(round_.spec, region, PlainFiles(tmp_path / "out"))


def test_a_model_of_other_photos_is_refused(survey: Path, tmp_path: Path) -> None:
    """Another submodel's output under this one's name."""
    round_ = rehearsal(STAGE, survey, tmp_path / "work")
    first, second = round_.split()
    made = round_.process(second)
    for name in made.names():
        to = tmp_path / "bad" / name.replace("block001", "block000")
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_bytes(made.read(name))
    mapped = load(tmp_path / "bad/block000" / REPORT, Mapped)
    save(msgspec.structs.replace(mapped, block="block000"), tmp_path / "bad/block000" / REPORT)
    seal(tmp_path / "bad/block000")
    with pytest.raises(OutputRejected, match="other photos"):
        STAGE.verify(round_.spec, first, PlainFiles(tmp_path / "bad"))
