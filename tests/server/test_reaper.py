"""Leases whose term is over."""

from __future__ import annotations

import pytest
from clusterray.common.model import Needs, NodeInfo, Progress
from clusterray.common.states import AttemptState
from clusterray.common.testing import FakeClock
from clusterray.server import ledger
from clusterray.server.aftermath import Aftermath
from clusterray.server.board import Board
from clusterray.server.dispatcher import Dispatcher
from clusterray.server.reaper import Reaper
from clusterray.server.roster import Roster
from clusterray.server.store import Store
from clusterray.server.terms import Terms

from .test_ledger import in_work, lease


class NoDoor:
    def __init__(self):
        self.revoked = []

    def revoke(self, user):
        self.revoked.append(user)


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def farm(tmp_path, clock):
    store = Store(tmp_path / "farm.db", clock)
    roster, terms, door = Roster(clock), Terms(clock, 60.0), NoDoor()
    dispatcher = Dispatcher(roster)
    reaper = Reaper(store, terms, Aftermath(dispatcher, terms, roster, Board(), door), clock)
    yield store, terms, dispatcher, roster, reaper, door
    store.close()


def begin(store, terms, job):
    (one,) = lease(store, job)
    terms.begin(one.lease, task=one.task, job=one.job, node="n1", incarnation="i", slot=0)
    return one.lease


def test_a_silent_lease_is_lost_after_its_term_and_the_job_is_queued_again(farm, clock):
    """A node that dies holds its job for a minute, not for ever; its FTP account ends with the lease."""
    store, terms, dispatcher, roster, reaper, door = farm
    task, _, (job, *_) = in_work(store)
    one = begin(store, terms, job)
    dispatcher.open(task, 1, priority=0, needs=Needs(), allow="render", program="", slots=1)
    clock.advance(59)
    assert reaper.reap() == 0
    clock.advance(1)
    assert reaper.reap() == 1
    with store.read() as tx:
        assert ledger.need_attempt(tx, one)["state"] == AttemptState.LOST
    assert door.revoked == [one]
    roster.arrive("n2", "i", 0, NodeInfo(name="n2"), object())
    assert dispatcher.take("n2") == [job]


def test_a_beat_gives_a_full_term(farm, clock):
    """A node that beats keeps its lease however long the job is."""
    store, terms, _, _, reaper, _ = farm
    _, _, (job, *_) = in_work(store)
    one = begin(store, terms, job)
    for _ in range(10):
        clock.advance(50)
        assert terms.beat("n1", Progress(lease=one, fraction=0.1)) is not None
        assert reaper.reap() == 0
    assert terms.beat("another", Progress(lease=one)) is None


def test_the_wall_clock_does_not_matter(farm, clock):
    """Setting the clock a day forward ends no lease."""
    store, terms, _, _, reaper, _ = farm
    _, _, (job, *_) = in_work(store)
    begin(store, terms, job)
    clock.set_wall(clock.now() + 86400)
    assert reaper.reap() == 0


def test_after_a_start_everyone_has_a_full_term(farm, clock):
    """The server's own absence is not held against the nodes."""
    store, terms, _, _, reaper, _ = farm
    _, _, (job, *_) = in_work(store)
    begin(store, terms, job)
    clock.advance(59)
    terms.renew_all()
    clock.advance(59)
    assert reaper.reap() == 0
