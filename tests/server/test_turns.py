"""The order of the queue."""

from __future__ import annotations

from clusterray.server.turns import Queued, in_turn, place_of
from hypothesis import given
from hypothesis import strategies as st


def q(task, owner="a", priority=0, arrival=0):
    return Queued(task, owner, priority, (float(arrival), arrival))


def names(order):
    return [queued.task for queued in order]


def test_priority_goes_before_arrival():
    """An urgent task overtakes those that came earlier."""
    assert names(in_turn([q("old", arrival=1), q("urgent", priority=5, arrival=2)], {})) == ["urgent", "old"]


def test_submitters_of_equal_priority_take_turns():
    """Who hands in a hundred tasks does not hold up who comes after with one."""
    many = [q(f"a{n}", "a", arrival=n) for n in range(3)]
    assert names(in_turn([*many, q("b0", "b", arrival=9)], {})) == ["a0", "b0", "a1", "a2"]


def test_who_was_served_last_waits():
    """Turns go on where they were."""
    assert names(in_turn([q("a0", "a", arrival=1), q("b0", "b", arrival=2)], {"a": 1})) == ["b0", "a0"]


def test_place_counts_from_one():
    """A waiting task is told its place."""
    order = in_turn([q("x", arrival=1), q("y", arrival=2)], {})
    assert (place_of("y", order), place_of("z", order)) == (2, None)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 2), st.integers(0, 99)), max_size=20))
def test_nobody_is_left_out_and_ones_own_order_holds(tasks):
    """Each task comes once; within one owner and priority, arrival decides."""
    queued = [q(str(n), owner, priority, arrival) for n, (owner, priority, arrival) in enumerate(tasks)]
    order = in_turn(queued, {})
    assert sorted(order) == sorted(queued)
    assert [o.priority for o in order] == sorted((o.priority for o in order), reverse=True)
    for owner in "abc":
        for priority in range(3):
            mine = [o.arrival for o in order if (o.owner, o.priority) == (owner, priority)]
            assert mine == sorted(mine)
