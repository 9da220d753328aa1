"""Terms of leases, in memory."""

from __future__ import annotations

import pytest
from clusterray.common.model import Progress
from clusterray.common.testing import FakeClock
from clusterray.server.terms import TELL, Terms


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def terms(clock):
    made = Terms(clock, 60.0)
    begin(made, "l")
    return made


def begin(terms, lease, slot=0):
    return terms.begin(lease, task="t", job="j", node="n", incarnation="i", slot=slot)


def test_progress_never_goes_back_and_never_over(terms):
    """Whatever a node says."""
    for said, shown in ((0.5, 0.5), (0.2, 0.5), (-7.0, 0.5), (9e9, 1.0)):
        assert terms.beat("n", Progress(lease="l", fraction=said, phase="p" * 1000)).fraction == shown
    assert len(terms.get("l").phase) <= 40


def test_what_the_server_holds_does_not_run_out(terms, clock):
    """While it verifies, however long; then the term runs again."""
    terms.hold("l")
    clock.advance(10_000)
    assert terms.over() == []
    terms.renew("l")
    clock.advance(60)
    assert terms.over() == ["l"]


def test_who_was_called_off_hears_of_it(terms, clock):
    """At the next beat, until it has answered or for an hour: what nobody asks for is not kept for ever."""
    terms.cancel(["l", "m"])
    assert terms.beat("n", Progress(lease="l")) is None and terms.canceled("l")
    terms.end(["l"])
    assert not terms.canceled("l") and terms.canceled("m")
    clock.advance(TELL)
    terms.over()
    assert not terms.canceled("m")


def test_a_term_does_not_begin_after_its_end(terms):
    """The cancel came between the commit of a lease and its grant."""
    terms.cancel(["later"])
    assert not begin(terms, "later")
    assert terms.get("later") is None


def test_a_slot_is_one_of_one_life_of_one_node(terms):
    """Leases of other slots and other lives are not its own."""
    begin(terms, "m", slot=1)
    assert terms.of_slot("n", "i", 0) == ["l"]
    assert terms.of_slot("n", "another life", 0) == []
    assert sorted(t.lease for t in terms.of_node("n")) == ["l", "m"]


def test_the_reaper_sleeps_no_longer_than_the_next_term(terms, clock):
    """And not at all when one is over."""
    clock.advance(50)
    begin(terms, "m")
    assert terms.soonest() == 10.0
    clock.advance(100)
    assert terms.soonest() == 0.0
