"""Pictures of tasks under way: current, out of the way, and gone when they are of no use."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from clusterray.common.errors import NoSuchTask
from clusterray.common.kinds.png import Format, write_tile
from clusterray.common.model import Program, Result, TaskSpec, new_task_id
from clusterray.server import previewer
from PIL import Image

from .bench import ME, OTHER, Bench

SCENE = b"camera { location -5*z look_at 0 } light_source { -9*z 1 } sphere { 0, 1 pigment { rgb x } }"
RED = bytes((200, 10, 20))


class Picture:
    """A POV-Ray task of 64 x 48 pixels in four tiles, leased to one node, that are finished one by one."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.slot = bench.node(programs=(Program(name="povray", version="3.7.0.10"),))
        bundle, session = bench.send(ME, bench.folder("scene", **{"a.pov": SCENE}))
        self.task = new_task_id()
        spec = TaskSpec(kind="povray", name="ball", options={"scene": "a.pov", "width": 64, "height": 48, "tiles": [2, 2]})
        bench.desk.submit(ME, self.task, spec, bundle, session)
        bench.settle()
        self.grants = []
        while got := bench.dispatcher.take(self.slot.node):
            leased = bench.store.write(lambda tx, got=got: bench.lessor.lease(tx, self.slot, got))
            self.grants += bench.lessor.grants(self.slot, leased)
        assert len(self.grants) == 4

    def finish(self, count: int = 1) -> None:
        """The next tiles come in, all red."""
        for _ in range(count):
            grant = self.grants.pop(0)
            left, top, right, bottom = grant.region.data["rect"]
            path = self.bench.data.parent / "tile.png"
            write_tile(path, Format(width=right - left, height=bottom - top, bits=8, channels=3), [RED * (right - left)] * (bottom - top))
            output = self.bench.upload(grant, path.read_bytes(), "tile.png")
            result = Result(lease=grant.lease, outputs=(output,), seconds=2.5)
            assert self.bench.judge.judge(self.slot, [result], False)[0][0].ruling == "accepted"

    def folder(self, run: int = 1) -> Path:
        return self.bench.data / "previews" / self.task / f"run-{run}"

    def show(self, **more: object) -> previewer.Seen:
        return self.bench.farm.previewer.show(self.task, **{"full": False, "wait": 30.0, **more})


@pytest.fixture
def picture(bench: Bench) -> Picture:
    return Picture(bench)


def step(bench: Bench, seconds: float = 0.0) -> None:
    """One round, and the end of what it began."""
    bench.clock.advance(seconds)
    bench.farm.previewer.wake()
    bench.farm.previewer.step()
    settle(bench)


def settle(bench: Bench) -> None:
    for _ in range(3000):
        if all(sight.future is None for sight in bench.farm.previewer._sights.values()):
            return
        time.sleep(0.01)
    raise AssertionError("nothing was drawn")


def reds(path: Path) -> int:
    with Image.open(path) as image:
        return int((np.asarray(image) == list(RED)).all(axis=2).sum())


def test_a_task_in_work_has_a_current_preview(bench, picture):
    """Nothing before the first piece; then what is accepted stands in its place, and each later piece joins it."""
    step(bench)
    assert not picture.folder().exists()
    picture.finish()
    step(bench, 5)
    assert reds(picture.folder() / "stage-0" / "preview.png") == 32 * 24
    picture.finish(2)
    step(bench, 60)
    assert reds(picture.folder() / "stage-0" / "preview.png") == 3 * 32 * 24
    assert {path.name for path in (picture.folder() / "stage-0").glob("*.png")} == {"preview.png", "heat.png", "nodes.png"}


def test_nothing_is_drawn_twice_nor_too_often(bench, picture):
    """Without new pieces the hand is left alone; new ones wait until it is time again."""
    times = []

    def after(seconds: float) -> int:
        step(bench, seconds)
        times.append((picture.folder() / "stage-0" / "heat.png").stat().st_mtime_ns)
        return len(set(times))

    picture.finish()
    assert (after(0), after(100)) == (1, 1)
    picture.finish()
    assert after(100) == 2
    picture.finish()
    assert after(previewer.EVERY / 2) == 2
    assert after(100) == 3


def test_a_task_that_ended_is_drawn_once_more_and_keeps_its_preview(bench, picture):
    """The last picture is whole, although the task was over before it was time."""
    picture.finish()
    step(bench)
    picture.finish(3)
    bench.settle()
    assert bench.state(picture.task) == "completed"
    step(bench)
    step(bench, 100)
    assert reds(picture.folder() / "stage-0" / "preview.png") == 64 * 48
    step(bench, 100)
    assert bench.farm.previewer._followed == set()


def test_who_asks_gets_what_is_there_now(bench, picture):
    """Drawn when asked, not when it is time; the files stay as they were given, whatever is drawn after."""
    assert picture.show().files == () and "ball" in picture.show().why
    picture.finish()
    first = picture.show()
    assert [asset.path for asset, _ in first.files] == ["preview.png", "heat.png", "nodes.png"]
    picture.finish()
    second = picture.show()
    (asset, path), (_, now) = first.files[0], second.files[0]
    assert (reds(path), reds(now)) == (32 * 24, 2 * 32 * 24)
    assert path.name == asset.digest and path.stat().st_size == asset.size


def test_the_full_size_is_drawn_on_demand_and_does_not_stay(bench, picture):
    """One picture, as many pixels as the task's; a quarter of an hour after it was asked for it is gone."""
    picture.finish()
    step(bench)
    assert not (picture.folder() / "full").exists()
    ((asset, path),) = picture.show(full=True).files
    with Image.open(path) as image:
        assert asset.path == "preview.png" and image.size == (64, 48)
    bench.clock.advance(previewer.KEEP * 2)
    bench.farm.previewer.tidy()
    assert not (picture.folder() / "full").exists() and not path.exists()
    assert (picture.folder() / "stage-0" / "preview.png").exists()


def test_a_preview_that_takes_long_is_asked_for_again(bench, picture):
    """Nobody waits in vain: 'being drawn' comes back, and the next question finds it."""
    picture.finish()
    seen = picture.show(full=True, wait=0.0)
    assert seen.pending and seen.files == ()
    settle(bench)
    assert picture.show(full=True, wait=0.0).files


def test_a_task_that_is_removed_takes_its_previews_along(bench, picture):
    """Nothing is left of it."""
    picture.finish()
    step(bench)
    bench.desk.cancel(ME, picture.task)
    bench.desk.remove(ME, picture.task)
    assert list((bench.data / "previews").iterdir()) == []
    late = picture.folder() / "stage-0"
    late.mkdir(parents=True)
    bench.farm.previewer.tidy()
    assert not late.exists()


def test_a_restart_goes_on(make_bench):
    """The old picture is there at once, and new pieces join it."""
    picture = Picture(make_bench())
    picture.finish()
    step(picture.bench)
    picture.bench = make_bench()
    seen = picture.show()
    assert reds(seen.files[0][1]) == 32 * 24


def test_a_drawing_that_fails_is_only_logged(bench, picture, caplog):
    """The task goes on and completes; the log and who asks hear why."""
    picture.finish()
    (bench.data / "previews" / picture.task).mkdir(parents=True)
    (bench.data / "previews" / picture.task / "run-1").write_text("in the way")
    step(bench)
    assert "preview was not drawn" in caplog.text
    assert "cannot be drawn" in picture.show().why
    picture.finish(3)
    bench.settle()
    assert bench.state(picture.task) == "completed"


def test_a_kind_without_previews_costs_one_try(bench):
    """After it had nothing to show, its tasks are left alone; who asks is told so."""
    slot = bench.node()
    task, grants = bench.in_work(slot, jobs=2)
    bench.finish(slot, grants[0])
    step(bench)
    assert bench.farm.previewer._blind == {"echo"}
    seen = bench.farm.previewer.show(task, full=False, wait=30.0)
    assert seen.files == () and "echo draws no preview" in seen.why


def test_the_hand_rests_when_nothing_is_drawn(bench, picture):
    """A minute without a drawing ends its process; the next drawing starts another."""
    picture.finish()
    step(bench)
    before = set(bench.farm.hands._children)
    step(bench, previewer.IDLE + 1)
    bench.farm.hands._lanes["preview"].submit(lambda: None).result(30)
    assert len(before - set(bench.farm.hands._children)) == 1
    picture.finish()
    step(bench, 100)
    assert reds(picture.folder() / "stage-0" / "preview.png") == 2 * 32 * 24


def test_previews_are_for_the_tasks_owner(bench, picture):
    """Others learn nothing; whom it concerns gets an account for these files, which ends."""
    picture.finish()
    with pytest.raises(NoSuchTask):
        bench.desk.preview(OTHER, picture.task, False)
    view, seen, account = bench.desk.preview(ME, picture.task[:8], False)
    assert view.id == picture.task and len(seen.files) == 3 and account is not None
    bench.clock.advance(8000)
    bench.desk.expire()
    assert account.user not in bench.desk._readers
