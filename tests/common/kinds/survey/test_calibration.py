"""Stage ``calibration``: lenses, and the cut into submodels."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from clusterray.common.errors import OutputRejected
from clusterray.common.kinds.survey.calibration import Calibration
from clusterray.common.model import FarmShape
from clusterray.common.survey.calibration import BLOCKS
from clusterray.common.survey.records import Block, Lens, load, save
from clusterray.common.survey.seal import seal
from clusterray.common.testing_kinds import PlainFiles, check_refusals

from ...survey.described import put, straight
from ...survey.worlds import flight
from .rounds import check_loss, rehearsal, through

STAGE = Calibration()


def test_lenses_and_submodels_of_the_largest_island(tmp_path: Path) -> None:
    """12 photos and 3 of elsewhere, in submodels of 6: two of them, without the 3; damage is refused, loss named."""
    put(tmp_path / "task", flight(lines=3, each=4, points=400), straight(3))
    round_, pieces = through(STAGE, tmp_path / "task", tmp_path / "work", split=6)
    lenses = load(tmp_path / "task/stages/calibration/cameras.json", dict[str, Lens])
    blocks = load(tmp_path / "task/stages/calibration/blocks.json", list[Block])
    assert set(lenses) == {"cam"} and lenses["cam"].fx == pytest.approx(700, rel=0.02)
    assert [len(block.core) for block in blocks] == [6, 6]
    assert sorted(blocks[0].core + blocks[1].core) == list(range(12))
    report = msgspec.json.decode((tmp_path / "task/stages/calibration/report.json").read_bytes())
    assert report["cameras"]["cam"]["exif"] == 700.0 and report["notes"] == []
    for piece in pieces:
        check_refusals(round_, piece.region, piece.files)
    check_loss(round_, pieces)


def test_another_cut_keeps_the_lenses(tmp_path: Path) -> None:
    """split, split-overlap and the number of nodes change the region blocks alone; as many nodes as make no other cut change nothing."""
    put(tmp_path / "task", straight(75, points=2500))
    one = rehearsal(STAGE, tmp_path / "task", tmp_path / "one").split(FarmShape(nodes=1))
    for name, shape, options in (("split", 1, {"split": 25}), ("overlap", 1, {"split_overlap": 9.0}), ("nodes", 4, {})):
        lenses, blocks = rehearsal(STAGE, tmp_path / "task", tmp_path / name, **options).split(FarmShape(nodes=shape))
        assert lenses == one[0] and blocks != one[1], name
    more = (rehearsal(STAGE, tmp_path / "task", tmp_path / f"{nodes}").split(FarmShape(nodes=nodes)) for nodes in (4, 9))
    assert next(more) == next(more)
    assert len(one[0].needs) == 2 + 28, "features of the seed alone"


def test_a_cut_that_loses_a_photo_is_refused(tmp_path: Path) -> None:
    """Well-formed, and a core too small."""
    put(tmp_path / "task", straight(6))
    round_ = rehearsal(STAGE, tmp_path / "task", tmp_path / "work")
    _, region = round_.split()
    save([Block(name="block000", core=(0, 1, 2, 3, 4), photos=(0, 1, 2, 3, 4, 5))], tmp_path / "bad" / BLOCKS)
    seal(tmp_path / "bad")
    with pytest.raises(OutputRejected, match="each photo once"):
        STAGE.verify(round_.spec, region, PlainFiles(tmp_path / "bad"))
