"""What is split when, and what is stitched; the clock is moved by hand, the hands are real."""

from __future__ import annotations

import pytest
from clusterray.common.model import Cause, Failure, Needs
from clusterray.server import task_thread
from clusterray.server.store import StoreError

from .bench import ME, OTHER, Bell


def states(bench, *tasks):
    return [bench.state(task) for task in tasks]


def test_nothing_is_split_before_somebody_can_do_it(bench):
    """A task waits in the queue until a node is there, and is cut for the nodes that are."""
    task = bench.submit(jobs=1)
    bench.settle()
    assert bench.state(task) == "queued"
    bench.node()
    bench.settle()
    assert bench.state(task) == "running"


def test_the_next_task_waits_until_it_is_needed(bench):
    """While the first has unleased jobs the second stays in the queue, where an urgent one may still overtake it."""
    slot = bench.node()
    first, second = bench.submit(jobs=2), bench.submit(jobs=1)
    bench.settle()
    assert states(bench, first, second) == ["running", "queued"]
    bench.ask(slot)
    bench.settle()
    assert bench.state(second) == "queued"
    bench.ask(slot._replace(number=1))
    bench.settle()
    assert bench.state(second) == "running", "the first has no job left to give"


def test_a_more_urgent_task_is_split_at_once(bench):
    """Though the one in work has jobs left."""
    bench.node()
    bench.submit(jobs=5)
    bench.settle()
    urgent = bench.submit(jobs=1, priority=1)
    bench.settle()
    assert bench.state(urgent) == "running"


def test_submitters_take_turns(bench):
    """Who submits three tasks is followed by who submits one."""
    slot = bench.node()
    tasks = [bench.submit(ME, jobs=1), bench.submit(ME, jobs=1), bench.submit(ME, jobs=1), bench.submit(OTHER, jobs=1)]
    served = []
    for number in range(4):
        bench.settle()
        (grant,) = bench.ask(slot._replace(number=number))
        served.append(tasks.index(grant.task))
    assert served == [0, 3, 1, 2]


def test_an_idle_slot_that_cannot_serve_the_first_task_gets_the_next(bench):
    """No slot idles while a later task has work for it."""
    bench.node("large", memory=100)
    slot = bench.node("small", memory=10)
    bench.submit(jobs=5, needs=Needs(memory=50))
    bench.settle()
    later = bench.submit(jobs=1)
    bench.settle()
    assert bench.state(later) == "queued"
    assert bench.ask(slot, Bell()) == ()
    bench.settle()
    assert bench.ask(slot)[0].task == later


def test_a_hanging_split_does_not_hold_up_the_rest(bench):
    """A kind that hangs costs its own task: after a few seconds the next one is split for those that stand idle."""
    slot = bench.node()
    hanging = bench.submit(jobs=1, kind="slow", where="split", how="")
    fine = bench.submit(jobs=1)
    bench.thread.claim()
    assert states(bench, hanging, fine) == ["running", "queued"]
    bench.ask(slot, Bell())
    bench.thread.claim()
    assert bench.state(fine) == "queued"
    bench.clock.advance(task_thread.PATIENCE)
    bench.thread.claim()
    assert bench.state(fine) == "running"
    bench.settle()


def test_a_split_that_fails_fails_the_task_with_its_sentence(bench):
    """And the thread goes on."""
    bench.node()
    bad = bench.submit(jobs=1, kind="slow", where="split", how="raise")
    fine = bench.submit(jobs=1)
    bench.settle()
    assert states(bench, bad, fine) == ["failed", "running"]
    assert "told to raise" in bench.desk.view(ME, bad).error


def test_a_stitch_that_fails_fails_the_task_and_leaves_nothing(bench):
    """What was half written goes."""
    slot = bench.node()
    task, (grant,) = bench.in_work(slot, jobs=1, kind="slow", where="stitch", how="raise")
    bench.finish(slot, grant)
    bench.settle()
    assert bench.state(task) == "failed" and "told to raise" in bench.desk.view(ME, task).error
    assert list((bench.data / "tasks").iterdir()) == []


def test_what_a_stitch_finds_wrong_with_the_input_is_told_as_it_is(bench):
    """Photos that do not overlap are not pieces that could not be joined."""
    slot = bench.node()
    task, (grant,) = bench.in_work(slot, jobs=1, kind="slow", where="stitch", how="blame")
    bench.finish(slot, grant)
    bench.settle()
    assert bench.state(task) == "failed" and bench.desk.view(ME, task).error == "The photos do not overlap."


def test_a_full_store_is_tried_again_with_a_breath(bench, monkeypatch):
    """The disk is full when a task is to be claimed: the step ends with the error, for the loop to pause, and the task is not lost."""
    bench.node()
    task = bench.submit(jobs=1)
    calls = []

    def full(change):
        calls.append(change)
        raise StoreError("no room")

    with monkeypatch.context() as patch:
        patch.setattr(bench.store, "write", full)
        with pytest.raises(StoreError):
            bench.thread.claim()
    assert len(calls) == 1
    bench.settle()
    assert bench.state(task) == "running"


def test_a_task_that_breaks_the_thread_fails_and_only_it(bench, monkeypatch):
    """An error that nobody thought of, before the task was even claimed."""
    bench.node()
    cursed, fine = bench.submit(jobs=1, priority=1), bench.submit(jobs=1)
    begin = bench.farm.splitter.begin
    monkeypatch.setattr(bench.farm.splitter, "begin", lambda row: begin(row) if row["id"] != cursed else 1 / 0)
    bench.settle()
    assert states(bench, cursed, fine) == ["failed", "running"]
    assert "ZeroDivisionError" in bench.desk.view(ME, cursed).error


def test_what_the_index_lost_is_found_again(bench):
    """A running task whose jobs nobody is offered comes back by itself."""
    slot = bench.node()
    task = bench.submit(jobs=1)
    bench.settle()
    bench.dispatcher.close(task)
    assert bench.ask(slot) == ()
    bench.settle()
    assert bench.ask(slot)[0].task == task


def test_a_cancel_during_the_split_leaves_nothing_behind(bench):
    """The hand's answer comes too late, and memory keeps nothing of it."""
    bench.node()
    task = bench.submit(jobs=1)
    bench.thread.claim()
    bench.desk.cancel(ME, task)
    bench.settle()
    assert bench.state(task) == "canceled"
    assert not bench.dispatcher.has(task, 1) and bench.farm.works.get(task) is None


def test_a_cancel_as_the_split_ends_leaves_nothing_behind(bench, monkeypatch):
    """Between the jobs' commit and their way into the index."""
    slot = bench.node()
    task = bench.submit(jobs=1)
    put = bench.farm.works.put
    monkeypatch.setattr(bench.farm.works, "put", lambda work: (bench.desk.cancel(ME, task), put(work)))
    bench.settle()
    assert bench.state(task) == "canceled" and bench.ask(slot) == ()
    assert not bench.dispatcher.has(task, 1) and bench.farm.works.get(task) is None


@pytest.mark.parametrize("how", ["", "raise"])
def test_a_cancel_and_restart_during_the_stitch_spares_the_new_run(bench, how):
    """The first run's stitch ends, well or not, when the second is at work: it publishes nothing and calls nothing off."""
    slot = bench.node()
    task, (grant,) = bench.in_work(slot, jobs=1, kind="slow", where="stitch", how=how)
    bench.finish(slot, grant)
    bench.thread.stitch()
    assert bench.state(task) == "stitching"
    bench.desk.cancel(ME, task)
    bench.desk.restart(ME, task, fresh=True)
    bench.thread.claim()
    bench.thread._splitting[task].future.result(30)
    bench.thread.collect()
    (second,) = bench.ask(slot)
    bench.settle()
    assert bench.state(task) == "running"
    assert bench.terms.get(second.lease) is not None and bench.farm.works.get(task) is not None
    bench.finish(slot, second)
    bench.settle(6)
    assert bench.state(task) == ("failed" if how else "completed") and bench.desk.view(ME, task).run == 2


def test_parked_slots_look_again_after_a_while(bench):
    """A job that a node gave back is offered to it again when it has rested, without anybody asking anew."""
    slot, bell = bench.node(), Bell()
    _, (grant,) = bench.in_work(slot, jobs=1)
    bench.finish(slot, grant, outputs=(), failure=Failure(cause=Cause.RETURNED, sentence="disk full"))
    assert bench.ask(slot, bell) == ()
    bench.thread.step()
    assert bell.rang == 0, "it rests"
    bench.clock.advance(10)
    bench.thread.step()
    assert bell.rang == 1
    assert bench.ask(slot, bell)


def test_a_job_that_failed_wakes_another_node(bench):
    """Not the one that it failed on."""
    bad, good = bench.node("bad"), bench.node("good")
    _, (grant,) = bench.in_work(bad, jobs=1)
    asleep, other = Bell(), Bell()
    bench.ask(bad._replace(number=1), asleep)
    bench.ask(good, other)
    bench.finish(bad, grant, outputs=(), failure=Failure(cause=Cause.ERROR, sentence="no"))
    assert (asleep.rang, other.rang) == (0, 1)
