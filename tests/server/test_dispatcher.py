"""Which job for which slot."""

from __future__ import annotations

import pytest
from clusterray.common.model import Needs, NodeInfo, Program
from clusterray.common.testing import FakeClock
from clusterray.server.dispatcher import Dispatcher
from clusterray.server.roster import Roster, program_matches

POV = Needs(program="povray")


class Bell:
    def __init__(self):
        self.rang = 0

    def ring(self):
        self.rang += 1


@pytest.fixture
def roster():
    return Roster(FakeClock())


@pytest.fixture
def dispatcher(roster):
    return Dispatcher(roster)


PROGRAMS = (Program(name="povray", version="3.7.0.10"),)


def arrive(roster, node, programs=PROGRAMS, **more):
    roster.arrive(node, "i", 0, NodeInfo(name=node, programs=programs, **more), object())


def open_task(dispatcher, task, jobs, *, priority=0, needs=POV, program="povray==3.7.0.10"):
    dispatcher.open(task, 1, priority=priority, needs=needs, allow="render", program=program, slots=2)
    dispatcher.add(task, [(job, ()) for job in jobs])


def test_tasks_are_served_in_order_and_higher_priority_first(roster, dispatcher):
    """Leases are given in the order of the queue."""
    arrive(roster, "n")
    open_task(dispatcher, "first", ["f1", "f2"])
    open_task(dispatcher, "second", ["s1"])
    open_task(dispatcher, "urgent", ["u1"], priority=9)
    assert [dispatcher.take("n") for _ in range(5)] == [["u1"], ["f1"], ["f2"], ["s1"], []]


def test_the_next_stage_keeps_the_place_of_its_task(roster, dispatcher):
    """A task that was begun first is not overtaken between two of its stages; a new run goes to the end."""
    arrive(roster, "n")
    open_task(dispatcher, "first", ["f1"])
    open_task(dispatcher, "second", ["s1"])
    assert dispatcher.take("n") == ["f1"]
    open_task(dispatcher, "first", ["f2"])
    assert dispatcher.take("n") == ["f2"]
    dispatcher.close("first", 1)
    open_task(dispatcher, "first", ["f3"])
    assert dispatcher.take("n") == ["s1"]


def test_a_failed_job_goes_to_another_node_first(roster, dispatcher):
    """A bad node does not eat all attempts of a job while there is another one."""
    arrive(roster, "bad")
    arrive(roster, "good")
    open_task(dispatcher, "t", ["j"])
    assert dispatcher.take("bad") == ["j"]
    dispatcher.again("t", "j", "bad")
    assert dispatcher.take("bad") == []
    assert dispatcher.take("good") == ["j"]
    dispatcher.again("t", "j", "good")
    assert dispatcher.take("bad") == ["j"], "when all have tried it, anyone may again"


def test_a_failed_job_comes_back_to_the_only_node(roster, dispatcher):
    """With one node there is nobody else to ask."""
    arrive(roster, "only")
    open_task(dispatcher, "t", ["j"])
    dispatcher.take("only")
    dispatcher.again("t", "j", "only")
    assert dispatcher.take("only") == ["j"]


def test_a_task_that_a_node_gives_back_does_not_keep_it_from_others(roster, dispatcher):
    """After the second job in a row the node is offered no other one of that task for a while, longer each time."""
    arrive(roster, "n")
    open_task(dispatcher, "bad", [f"b{n}" for n in range(9)])
    open_task(dispatcher, "good", ["g1", "g2"])
    for job in ("b0", "b1"):
        assert dispatcher.take("n") == [job]
        dispatcher.again("bad", job, "n", given_back="no such program")
    assert dispatcher.take("n") == ["g1"]
    assert dispatcher.refusals("bad") == {"n": "no such program"}
    roster.clock.advance(5.1)
    (again,) = dispatcher.take("n")
    assert again.startswith("b")
    dispatcher.again("bad", again, "n", given_back="no such program")
    roster.clock.advance(5.1)
    assert dispatcher.take("n") == ["g2"], "ten seconds now"
    roster.clock.advance(5.1)
    (again,) = dispatcher.take("n")
    dispatcher.done("bad", again, 1.0, "n")
    assert dispatcher.refusals("bad") == {}
    assert dispatcher.take("n")[0].startswith("b"), "it can do them after all"


def test_a_slot_that_cannot_serve_the_first_task_takes_a_later_one(roster, dispatcher):
    """No slot idles while a later task has work for it."""
    arrive(roster, "plain", programs=())
    open_task(dispatcher, "scene", ["s"])
    open_task(dispatcher, "other", ["o"], needs=Needs(), program="")
    assert dispatcher.take("plain") == ["o"]
    assert dispatcher.take("plain") == []


def test_a_task_runs_on_one_version_only(roster, dispatcher):
    """A node with another povray is left out of a run."""
    arrive(roster, "old", programs=(Program(name="povray", version="3.6.1"),))
    open_task(dispatcher, "t", ["j"])
    assert dispatcher.take("old") == []


def test_bells_ring_for_as_many_slots_as_there_are_jobs(roster, dispatcher):
    """Two new jobs wake two of three sleepers, and none that could not serve them."""
    arrive(roster, "n")
    arrive(roster, "plain", programs=())
    bells = [Bell() for _ in range(3)]
    deaf = Bell()
    dispatcher.take("plain", deaf)
    for bell in bells:
        assert dispatcher.take("n", bell) == []
    open_task(dispatcher, "t", ["a", "b"])
    assert sorted(bell.rang for bell in bells) == [0, 1, 1]
    assert deaf.rang == 0


def test_short_jobs_go_out_in_batches_and_long_ones_singly(roster, dispatcher):
    """Up to 64 at a time where they take less than 0.2 s, never so many that other slots starve."""
    arrive(roster, "n")
    open_task(dispatcher, "t", [str(n) for n in range(1000)])
    assert len(dispatcher.take("n")) == 1
    for job in ("0", "1"):
        dispatcher.done("t", job, 0.01)
    assert len(dispatcher.take("n")) == 64
    for n in range(16):
        dispatcher.done("t", str(n), 5.0)
    assert len(dispatcher.take("n")) == 1


def test_memory_of_running_jobs_counts(roster, dispatcher):
    """A second job that does not fit into the node's memory waits for the first."""
    arrive(roster, "n", memory=3_000)
    needs = Needs(program="povray", memory=2_000)
    open_task(dispatcher, "t", ["a", "b"], needs=needs)
    assert dispatcher.take("n") == ["a"]
    roster.take("n", "lease-a", needs)
    assert dispatcher.take("n") == []
    roster.free("n", ["lease-a"])
    assert dispatcher.take("n") == ["b"]


def test_a_locked_node_gets_nothing(roster, dispatcher):
    """lock and drain keep new work away."""
    arrive(roster, "n")
    open_task(dispatcher, "t", ["a"])
    roster.set("n", locked=True)
    assert dispatcher.take("n") == []
    roster.set("n", locked=False)
    assert dispatcher.take("n") == ["a"]


def test_a_closed_task_gives_no_more_jobs(roster, dispatcher):
    """After a cancel nothing of it is leased."""
    arrive(roster, "n")
    open_task(dispatcher, "t", ["a"])
    dispatcher.close("t")
    assert dispatcher.take("n") == []


@pytest.mark.parametrize(
    ("wish", "version", "fits"),
    [
        ("povray", "3.7.0.10", True),
        ("povray>=3.7", "3.7.0.10", True),
        ("povray>=3.7", "3.10", True),
        ("povray>=3.8", "3.7.0.10", False),
        ("povray==3.7", "3.7.0.10", True),
        ("povray==3.7.0.10", "3.7.0.1", False),
        ("povray<3.7", "3.6.1", True),
        ("blender", "3.7.0.10", False),
        ("povray=>3", "3.7", False),
    ],
)
def test_program_bounds(wish, version, fits):
    """A wish such as povray>=3.7 is judged by numbers, not by letters."""
    assert program_matches(wish, "povray", version) is fits


def test_why_none_names_the_reason(roster):
    """A task that waits says for what."""
    assert "No node is connected" in roster.why_none(POV, "render")
    arrive(roster, "plain", programs=())
    assert "node plain has no povray" in roster.why_none(POV, "render")
    assert "does not allow commands" in roster.why_none(Needs(), "commands")
    arrive(roster, "n")
    assert roster.why_none(POV, "render") == ""


def test_the_commonest_version_serves_a_run(roster):
    """The version that most slots have is chosen; nodes with another are not counted."""
    for n in range(2):
        arrive(roster, f"new{n}", programs=(Program(name="povray", version="3.8"),), slots=1)
    arrive(roster, "old", programs=(Program(name="povray", version="3.7"),), slots=8, cores=8)
    shape = roster.shape(POV, "render")
    assert (shape.program, shape.slots, shape.nodes) == ("povray==3.7", 8, 1)
    assert roster.shape(Needs(program="povray>=3.8"), "render").program == "povray==3.8"


def test_a_cloned_node_is_noticed_while_the_older_one_speaks(roster):
    """The same identity from two machines clashes; after silence the newcomer may take over."""
    arrive(roster, "n")
    assert roster.clash("n", "other")
    assert not roster.clash("n", "i")
    roster.clock.advance(30)
    assert not roster.clash("n", "other")
