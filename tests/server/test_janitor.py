"""What is thrown away, when, and what never without a warning."""

from __future__ import annotations

import logging

import pytest
from clusterray.common.model import Cause, Failure
from clusterray.server.janitor import DAY, SESSION

from .bench import ME, ref

KEEP = {"results": 10 * DAY, "failures": 5 * DAY, "events": 30 * DAY}


@pytest.fixture
def bench(make_bench):
    return make_bench(**KEEP)


def finished(bench, name="work"):
    slot = bench.node(name)
    task, (grant,) = bench.in_work(slot, jobs=1, name=name)
    bench.finish(slot, grant)
    bench.settle()
    assert bench.state(task) == "completed"
    return task


def tidy(bench, days=0.0):
    bench.clock.advance(days * DAY)
    bench.farm.janitor.tidy()


def test_a_fetched_result_goes_after_its_time(bench):
    """With its log and its rows, but not before."""
    task = finished(bench)
    bench.farm.logbook.add(task, "x.log", ["line"])
    bench.desk.fetch(ME, task)
    tidy(bench, 9.9)
    assert bench.state(task) == "completed"
    tidy(bench, 0.2)
    assert bench.state(task) == "gone" and not (bench.data / "logs" / task).exists()


def test_nothing_unfetched_goes_without_a_warning_a_day_before(bench, caplog):
    """It is named in the log, with the time at which it goes; and then it goes."""
    task = finished(bench)
    with caplog.at_level(logging.WARNING):
        tidy(bench, 9.5)
        tidy(bench, 0.6)
    assert [record.message for record in caplog.records if "never fetched" in record.message] != []
    assert len([r for r in caplog.records if "never fetched" in r.message]) == 1
    assert bench.state(task) == "completed", "the warning was less than a day ago"
    tidy(bench, 0.5)
    assert bench.state(task) == "gone"


def test_a_server_that_was_off_for_long_warns_first(make_bench):
    """Nothing is thrown away in the first round after a start, however old it is; and a restart does not begin the day anew."""
    bench = make_bench(**KEEP)
    task = finished(bench)
    now = bench.clock.now()
    bench = make_bench(**KEEP)
    bench.clock.set_wall(now + 100 * DAY)
    tidy(bench)
    assert bench.state(task) == "completed"
    bench = make_bench(**KEEP)
    bench.clock.set_wall(now + 101 * DAY + 60)
    tidy(bench)
    assert bench.state(task) == "gone"


def test_a_warning_about_an_earlier_run_does_not_count(bench):
    """The task was restarted meanwhile: its new result has its own time and its own warning."""
    task = finished(bench)
    tidy(bench, 9.5)
    bench.desk.restart(ME, task, fresh=True)
    bench.settle()
    slot = bench.node("again")
    (grant,) = bench.ask(slot)
    bench.finish(slot, grant)
    bench.settle()
    tidy(bench, 10.5)
    assert bench.state(task) == "completed"


def test_failures_go_after_their_own_time(bench):
    """Canceled tasks too; and what is queued or runs is never touched."""
    slot = bench.node()
    failed, (grant,) = bench.in_work(slot, jobs=1)
    bench.finish(slot, grant, outputs=(), failure=Failure(cause=Cause.INPUT, sentence="no"))
    canceled, live = bench.submit(jobs=1), bench.submit(jobs=1)
    bench.desk.cancel(ME, canceled)
    tidy(bench, 5.1)
    assert [bench.state(task) for task in (failed, canceled, live)] == ["gone", "gone", "queued"]


def test_old_upload_sessions_end(bench):
    """What was half sent goes, and its pins with it."""
    session, _, _ = bench.desk.have(ME, "", [ref(b"x")])
    bench.clock.advance(SESSION - 10)
    bench.desk.have(ME, session, [ref(b"y")])
    tidy(bench, 60 / DAY)
    with bench.store.read() as tx:
        assert tx.one("session", id=session) is not None
    tidy(bench, SESSION / DAY)
    with bench.store.read() as tx:
        assert tx.one("session", id=session) is None and tx.all("packs_in_use") == []


def test_only_what_nobody_uses_is_evicted(make_bench):
    """A cap of nothing keeps the files of a task, and drops them with it."""
    bench = make_bench(packs=0)
    task = bench.submit(jobs=1)
    tidy(bench)
    assert bench.farm.keeper.total() > 0
    bench.desk.cancel(ME, task)
    bench.desk.remove(ME, task)
    tidy(bench)
    assert bench.farm.keeper.total() == 0


def test_an_asset_that_is_being_published_is_not_evicted(make_bench, monkeypatch):
    """The disk is short just when a result has its name and no row yet speaks of it."""
    bench = make_bench(packs=0)
    publish = bench.farm.stitcher._store.write
    slot = bench.node()
    task, (grant,) = bench.in_work(slot, jobs=1)
    bench.finish(slot, grant)

    def evicting(change):
        bench.desk.evict()
        return publish(change)

    bench.thread.stitch()
    bench.thread._stitching[task].future.result(30)
    with monkeypatch.context() as patch:
        patch.setattr(bench.store, "write", evicting)
        bench.desk.evict = lambda: bench.farm.keeper.evict()
        bench.thread.collect()
    (asset,) = bench.desk.view(ME, task).assets
    assert bench.farm.keeper.has(asset.digest)
    assert not bench.farm.keeper._pinned, "and it is not held for ever"


def test_the_history_goes_after_its_time(bench):
    """But not that of what is still in work."""
    live, old = bench.submit(jobs=1), bench.submit(jobs=1)
    bench.desk.cancel(ME, old)
    tidy(bench, 31)
    with bench.store.read() as tx:
        assert tx.all("events_of_task", task=live) and all(e["new"] == "removed" for e in tx.all("events_of_task", task=old))


def test_lost_leases_leave_no_files(bench):
    """A node that died in mid-upload does not fill the server's disk."""
    slot = bench.node()
    _, (grant,) = bench.in_work(slot, jobs=1)
    bench.upload(grant, b"half of it")
    bench.clock.advance(bench.terms.seconds)
    bench.farm.reaper.reap()
    assert not bench.farm.keeper.lease_folder(grant.lease).exists()
