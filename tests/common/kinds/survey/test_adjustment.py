"""Stage ``adjustment``: split, process on a node, verify, stitch."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from clusterray.common.errors import OutputRejected, StitchFailed
from clusterray.common.kinds.kind import Piece, Place
from clusterray.common.kinds.options import normalise
from clusterray.common.kinds.survey.adjustment import OUTPUTS, Adjustment
from clusterray.common.kinds.survey.options import OPTIONS
from clusterray.common.model import Cause, FarmShape, Region, TaskSpec
from clusterray.common.process import run
from clusterray.common.survey.records import Frame, load
from clusterray.common.testing_kinds import PlainFiles

from ...survey.worlds import flight, put, with_gps

STAGE = Adjustment()


def task(**options: object) -> TaskSpec:
    return TaskSpec(kind="survey", name="small", options=normalise("survey", OPTIONS, options))


def process(folder: Path, scratch: Path, spec: TaskSpec) -> tuple[Region, PlainFiles, int, str]:
    """As a node does it; the exit code and what was written to the log."""
    (region,) = STAGE.split(spec, PlainFiles(folder), FarmShape(slots=2))
    (scratch / "out").mkdir(parents=True)
    recipe = STAGE.process(spec, region, Place(inputs=folder, scratch=scratch))
    done = run(recipe.argv, timeout=120, cwd=scratch, env={"PATH": "/usr/bin:/bin", **recipe.env})
    return region, PlainFiles(scratch / "out"), done.code, done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return put(with_gps(flight(lines=2, each=4)), tmp_path_factory.mktemp("task"))


def test_a_job(folder: Path, tmp_path: Path) -> None:
    """One job on a node makes the model; verify takes it, the stitch hands it on, and its notes are told."""
    region, outputs, code, _ = process(folder, tmp_path / "job", task())
    assert code == 0
    assert outputs.names() == tuple(sorted(OUTPUTS))
    STAGE.verify(task(), region, outputs)
    (tmp_path / "stages").mkdir()
    STAGE.stitch(task(), PlainFiles(folder), iter([Piece(region=region, files=outputs)]), tmp_path / "stages", lambda _: None)
    assert load(tmp_path / "stages" / "frame.json", Frame).crs == "EPSG:32633"
    with pytest.raises(StitchFailed, match="adjustment"):
        STAGE.stitch(task(), PlainFiles(folder), iter([]), tmp_path / "lost", lambda _: None)


def test_refusals(folder: Path, tmp_path: Path) -> None:
    """An output that is missing, cut, damaged by a byte, or not what it says is refused by a sentence with the job's name."""
    region, good, _, _ = process(folder, tmp_path / "job", task())
    for name in OUTPUTS:
        data = good.read(name)
        middle = len(data) // 2
        flipped = data[:middle] + bytes([data[middle] ^ 0x55]) + data[middle + 1 :]
        for number, bad in enumerate((None, b"", data[:-1], flipped, data + b"x")):
            place = tmp_path / "bad" / f"{number}-{name.replace('/', '-')}"
            for other in good.names():
                (place / other).parent.mkdir(parents=True, exist_ok=True)
                if other != name:
                    (place / other).write_bytes(good.read(other))
                elif bad is not None:
                    (place / other).write_bytes(bad)
            with pytest.raises(OutputRejected, match="adjustment"):
                STAGE.verify(task(), region, PlainFiles(place))


def test_bad_input_is_one_sentence(folder: Path, tmp_path: Path) -> None:
    """A CRS in degrees fails the task at once, by its cause and one sentence."""
    region, _, code, said = process(folder, tmp_path / "job", task(crs="EPSG:4326"))
    recipe = STAGE.process(task(), region, Place(inputs=folder, scratch=tmp_path / "job"))
    failure = recipe.diagnose(code, said.splitlines())
    assert failure.cause == Cause.INPUT
    assert "EPSG:4326" in failure.sentence and "not projected" in failure.sentence


def test_what_it_depends_on(folder: Path, tmp_path: Path) -> None:
    """It reads what it needs alone, and a change of options that do not concern it keeps its model."""
    (region,) = STAGE.split(task(), PlainFiles(folder), FarmShape(slots=2))
    assert "stages/mapping/all/images.bin" in region.needs
    assert "stages/features/00003.npz" in region.needs
    assert not any(name.endswith(".jpg") for name in region.needs)
    assert all((folder / name).is_file() for name in region.needs)
    before = STAGE.reads(task(), region)
    assert STAGE.reads(task(**{"mesh-size": 1000, "pc-quality": "high", "crop": 1.0}), region) == before
    assert STAGE.reads(task(crs="EPSG:25833"), region) != before
    assert msgspec.json.encode(before)


def test_control_points_are_found(folder: Path, tmp_path: Path) -> None:
    """gcp_list.txt beside the photos is read without being asked for."""
    (tmp_path / "gcp_list.txt").write_text("EPSG:32633\n")
    (region,) = STAGE.split(task(), PlainFiles(tmp_path), FarmShape(slots=2))
    assert region.data == {"gcp": "gcp_list.txt"}
    assert "gcp_list.txt" in region.needs
