"""The stage ``depth``: pairs in jobs, the same whoever does them."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest
from clusterray.common.kinds.kind import Piece
from clusterray.common.kinds.survey.depth import Depth
from clusterray.common.model import FarmShape
from clusterray.common.survey import colmap
from clusterray.common.survey.depth_index import DepthIndex
from clusterray.common.survey.records import Block, load, save
from clusterray.common.survey.scene import MODEL, NEEDS
from clusterray.common.testing_kinds import Rehearsal, check_refusals

from ....common.survey import grained
from .rounds import check_loss, rehearsal


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = grained.build(tmp_path_factory.mktemp("depth") / "task")
    save([Block(name="west", core=(0, 1, 5), photos=(0, 1, 4, 5)), Block(name="east", core=(2, 3, 4), photos=(1, 2, 3, 4))],
         made / "stages/calibration/blocks.json")  # fmt: skip
    return made


@pytest.fixture(scope="module")
def done(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Rehearsal, list[Piece], dict[str, bytes]]:
    run = rehearsal(Depth(), folder, tmp_path_factory.mktemp("done") / "work")
    pieces = list(run.pieces(run.split()))
    return run, pieces, run.stitch(pieces)


Done = tuple[Rehearsal, list[Piece], dict[str, bytes]]


def test_the_index_says_what_was_found(done: Done) -> None:
    """Each pair once, where its points lie, how fine they are, and which submodel they belong to."""
    _, pieces, files = done
    index = load(files["index.json"], DepthIndex)
    names = [pair.name for pair in index.pairs]
    assert len(pieces) >= 2 and names == sorted(set(names)) and {f"{name}.npz" for name in names} < set(files)
    assert index.gsd == pytest.approx(grained.GSD, rel=0.15)
    assert {pair.block for pair in index.pairs} == {"west", "east", ""}
    assert all(pair.block == "west" for pair in index.pairs if {pair.first, pair.second} <= {0, 1, 5})
    assert all(all(sight.ground for sight in pair.sights) and pair.points > 1000 and pair.low[0] < pair.high[0] for pair in index.pairs)
    report = msgspec.json.decode(files["report.json"])
    assert report["pairs"] >= report["with_points"] == len(names) and report["notes"] == []


def test_a_pair_gives_the_same_bytes_with_whichever_others_it_is_done(done: Done, folder: Path, tmp_path: Path) -> None:
    """Also with several at a time."""
    _, pieces, _ = done
    region = pieces[0].region
    alone = msgspec.structs.replace(region, name="alone", data={"pairs": region.data["pairs"][1:3]})
    again = rehearsal(Depth(), folder, tmp_path / "work")
    several = Rehearsal(**{**{name: getattr(again, name) for name in again.__dataclass_fields__}, "cores": 2})
    outputs = several.process(alone)
    for first, second, *_ in alone.data["pairs"]:
        name = f"{first:05d}-{second:05d}.npz"
        assert outputs.read(name) == pieces[0].files.read(name)


def test_a_job_is_given_its_photos_alone(done: Done) -> None:
    run, pieces, _ = done
    for piece in pieces:
        photos = {one for first, second, *_ in piece.region.data["pairs"] for one in (first, second)}
        assert set(piece.region.needs) == {*NEEDS, *(f"images/p{photo:02d}.png" for photo in photos)}
    assert run.split(FarmShape(slots=50)) == run.split(FarmShape(slots=1)), "a node more does not make jobs anew"


def test_only_the_quality_makes_depth_anew(done: Done, folder: Path, tmp_path: Path) -> None:
    """A restart with another resolution or filter keeps what was found."""
    run, pieces, _ = done
    region = pieces[0].region

    def key(**options: object) -> object:
        other = rehearsal(Depth(), folder, tmp_path / "-".join(options), **options)
        return other.stage.reads(other.spec, region)

    assert key(dem_resolution=20.0, pc_filter=1.0, dtm=True) == run.stage.reads(run.spec, region)
    assert key(pc_quality="ultra") != run.stage.reads(run.spec, region)


def test_damaged_pairs_are_refused_and_lost_jobs_named(done: Done) -> None:
    run, pieces, _ = done
    small = msgspec.structs.replace(pieces[-1].region, name="small", data={"pairs": pieces[-1].region.data["pairs"][:1]})
    check_refusals(run, small, run.process(small))
    check_loss(run, pieces)


def test_photos_without_common_points_are_told(folder: Path, tmp_path: Path) -> None:
    """No pair, no job: the submitter hears of it."""
    bare = tmp_path / "task"
    shutil.copytree(folder, bare)
    run = rehearsal(Depth(), bare, tmp_path / "work")
    model = colmap.read_model(bare / MODEL)
    for key in list(model.points3D):
        model.delete_point3D(key)
    shutil.rmtree(bare / MODEL)
    colmap.write_model(model, bare / MODEL)
    assert run.split() == []
    report = msgspec.json.decode(run.stitch([], "empty")["report.json"])
    assert "No pair of photos gave depth" in report["notes"][0]
