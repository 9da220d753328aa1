"""A start after any stop: memory is what it was, and nothing acknowledged is lost. Closing a bench and making the next is the stop."""

from __future__ import annotations

import msgspec
import pytest
from clusterray.common.kinds.echo import content
from clusterray.common.model import Needs, Ruling
from clusterray.common.states import AttemptState
from clusterray.server.recovery import rebuild, verify_again

from .bench import ME, small


def restart(make_bench):
    bench = make_bench()
    farm = bench.farm
    return bench, rebuild(farm.store, farm.splitter, farm.terms, farm.roster, farm.logbook)


def come_back(bench, slot):
    """The node's link, after the start."""
    info = bench.farm.roster.get(slot.node).info
    bench.farm.roster.arrive(slot.node, slot.incarnation, slot.number, info, object())
    return slot


def test_leased_jobs_go_on_and_queued_ones_are_given_out(make_bench):
    """With a full term, the node's memory still taken, and the report counted."""
    bench = make_bench()
    slot = bench.node(memory=100)
    task = bench.submit(jobs=2, needs=Needs(memory=60))
    bench.settle()
    (grant,) = bench.ask(slot)
    bench, verifying = restart(make_bench)
    come_back(bench, slot)
    assert verifying == []
    assert bench.terms.get(grant.lease).ends == bench.clock.monotonic() + bench.terms.seconds
    assert bench.ask(slot._replace(number=1)) == (), "there is no memory for a second one"
    verdict, (following,) = bench.finish(slot, grant, want=True)
    assert verdict.ruling is Ruling.ACCEPTED
    bench.finish(slot, following)
    bench.settle()
    assert bench.state(task) == "completed"


def test_a_node_that_failed_is_remembered(make_bench):
    """The job still goes to another one first."""
    bench = make_bench()
    bad, good = bench.node("bad"), bench.node("good")
    bench.in_work(bad, jobs=1)
    bench.clock.advance(100)
    bench.farm.reaper.reap()
    bench, _ = restart(make_bench)
    come_back(bench, bad)
    come_back(bench, good)
    assert bench.ask(bad) == ()
    assert bench.ask(good)


def verifying(make_bench, *, keep=True):
    """A bench that was stopped when an upload was checked and the verification had begun."""
    bench = make_bench()
    slot = bench.node()
    task, (grant,) = bench.in_work(slot, jobs=1, bytes=50_000)
    output = bench.upload(grant, content(0, 50_000))
    bench.judge._verify = lambda cases: 1 / 0
    with pytest.raises(ZeroDivisionError):
        bench.finish(slot, grant, outputs=(output,))
    if not keep:
        bench.farm.keeper.drop_lease(grant.lease)
    bench, found = restart(make_bench)
    bench.farm.keeper.clean(found, ())
    come_back(bench, slot)
    assert found == [grant.lease]
    return bench, slot, task, grant


def test_a_result_in_verification_is_verified_again(make_bench):
    """Nothing is rendered twice for it."""
    bench, _, task, grant = verifying(make_bench)
    bench.clock.advance(1000)
    assert bench.farm.reaper.reap() == 0, "the server has it in hand"
    verify_again(bench.judge, [grant.lease])
    bench.settle()
    assert bench.state(task) == "completed"


def test_files_that_are_gone_cost_the_attempt_only(make_bench):
    """The job is queued again."""
    bench, slot, _, grant = verifying(make_bench, keep=False)
    verify_again(bench.judge, [grant.lease])
    assert bench.attempt(grant.lease)["state"] == AttemptState.LOST
    assert bench.ask(slot)


def test_the_nodes_own_report_may_be_first(make_bench):
    """It reports again before the server got to it: accepted once, and both are content."""
    bench, slot, task, grant = verifying(make_bench)
    again = msgspec.structs.replace(small(0, 50_000), data=None)
    assert bench.finish(slot, grant, outputs=(again,)).ruling is Ruling.ACCEPTED
    verify_again(bench.judge, [grant.lease])
    bench.settle()
    assert bench.state(task) == "completed"


def test_one_that_breaks_does_not_hold_up_the_others(make_bench, monkeypatch):
    """An unexpected error costs one lease its attempt, after its term, and the rest are verified."""
    bench, slot, _, grant = verifying(make_bench)
    with monkeypatch.context() as patch:
        patch.setattr(bench.judge, "_verify", lambda cases: 1 / 0)
        verify_again(bench.judge, ["unknown", grant.lease])
    bench.clock.advance(bench.terms.seconds)
    assert bench.farm.reaper.reap() == 1
    assert bench.ask(slot)


def test_a_split_that_was_cut_off_is_done_again_for_the_same_farm(make_bench):
    """So that it gives the same jobs."""
    bench = make_bench()
    bench.node("n", cores=6, slots=3)
    task = bench.submit(jobs=2)
    bench.thread.claim()
    bench.thread._splitting[task].future.result(30)  # the answer is never heard
    bench, _ = restart(make_bench)
    bench.settle()
    with bench.store.read() as tx:
        assert '"slots":3' in tx.one("run", task=task, number=1)["farm"]
        assert tx.one("job_counts", task=task, run=1, stage=0)["total"] == 2


def test_a_stitch_that_was_cut_off_is_done_again(make_bench):
    """Into an empty folder."""
    bench = make_bench()
    slot = bench.node()
    task, (grant,) = bench.in_work(slot, jobs=1)
    bench.finish(slot, grant)
    bench.thread.stitch()
    bench.thread._stitching[task].future.result(30)
    assert bench.state(task) == "stitching"
    bench, _ = restart(make_bench)
    bench.settle()
    assert bench.state(task) == "completed" and len(bench.desk.view(ME, task).assets) == 1


def test_a_task_whose_files_are_lost_fails_alone(make_bench):
    """A restored backup without its packs: that task says so, the farm starts."""
    bench = make_bench()
    bench.node()
    task, fine = bench.submit(jobs=1), bench.submit(jobs=1, name="fine", priority=-1)
    bench.settle()
    with bench.store.read() as tx:
        digest = tx.one("task", id=task)["bundle"]
    bench.farm.keeper.path(digest).unlink()
    bench, _ = restart(make_bench)
    assert "could not be read" in bench.desk.view(ME, task).error
    assert bench.state(fine) == "queued"


def test_locks_and_drains_are_kept(make_bench):
    """What an admin said of a node outlives a restart of the server; a new life of the node ends a drain."""
    bench = make_bench()
    slot = bench.node()
    bench.store.write(lambda tx: tx.run("node_draining", id=slot.node, draining=1))
    bench, _ = restart(make_bench)
    come_back(bench, slot)
    assert bench.farm.roster.get(slot.node).draining
    bench.farm.roster.arrive(slot.node, "life2", 0, bench.farm.roster.get(slot.node).info, object())
    assert not bench.farm.roster.get(slot.node).draining
