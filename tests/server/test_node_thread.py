"""A slot's link, from its first word to its end, over a real one."""

from __future__ import annotations

import logging
import threading

import pytest
from clusterray.common.errors import Refused
from clusterray.common.model import Cause, Failure, NodeInfo, Progress, Result, Role, Ruling
from clusterray.common.states import AttemptState
from clusterray.common.wire.messages import Ask, Beat, Finished, Hello, Judged, Resume

from .bench import ADMIN, ME, small
from .live import bye, lost, until


def test_ask_beat_finish(live):
    """The whole of a slot's day: it gets a job, says how it goes, reports, and gets the next in the same answer."""
    link, _ = live.slot()
    task = live.submit(jobs=2)
    (grant,) = live.lease(link)
    beaten = link.ask(Beat(progress=(Progress(lease=grant.lease, fraction=0.5, lines=("hello", "there")),)))
    assert (beaten.cancel, beaten.not_yours) == ((), ())
    assert "there" in live.desk.log(ME, task, "", 0, 10)[0]
    answer = link.ask(Finished(results=(Result(lease=grant.lease, outputs=(small(0),)),), ask=True))
    assert isinstance(answer, Judged) and answer.verdicts[0].ruling is Ruling.ACCEPTED
    (last,) = answer.grants
    link.ask(Finished(results=(Result(lease=last.lease, outputs=(small(1),)),)))
    until(lambda: live.state(task) == "completed")


def test_a_parked_slot_hears_of_work_at_once(live):
    """It need not ask again."""
    link, _ = live.slot()
    got = []
    asking = threading.Thread(target=lambda: got.append(link.ask(Ask(wait=20.0))))
    asking.start()
    until(lambda: live.dispatcher._parked)
    live.submit(jobs=1)
    asking.join(10)
    assert got and got[0].grants


def test_a_cancel_is_heard_at_the_next_beat(live):
    """And what was never ours is "not yours"."""
    link, _ = live.slot()
    task = live.submit(jobs=1)
    (grant,) = live.lease(link)
    live.desk.cancel(ME, task)
    beaten = link.ask(Beat(progress=(Progress(lease=grant.lease), Progress(lease="0" * 32))))
    assert (beaten.cancel, beaten.not_yours) == ((grant.lease,), ("0" * 32,))
    gone = Failure(cause=Cause.CANCELED, sentence="cancelled")
    assert link.ask(Finished(results=(Result(lease=grant.lease, failure=gone),))).verdicts[0].ruling is Ruling.NOTED
    assert not live.terms.canceled(grant.lease)


def test_a_lost_answer_costs_nothing(live):
    """The grant never arrived: a slot that asks anew holds nothing, and gets the job."""
    link, known = live.slot()
    live.submit(jobs=1)
    (lost_one,) = live.lease(link)
    link.close()
    again, _ = live.slot(known=known)
    (grant,) = live.lease(again)
    assert grant.job == lost_one.job and grant.lease != lost_one.lease
    assert live.attempt(lost_one.lease)["state"] == AttemptState.RETURNED


def test_a_closed_link_gives_nothing_back(live):
    """The node works on, and reports on the next one."""
    link, known = live.slot()
    live.submit(jobs=1)
    (grant,) = live.lease(link)
    link.close()
    until(lambda: not live.farm.roster.get(known[0]).online)
    again, _ = live.slot(known=known)
    assert again.ask(Finished(results=(Result(lease=grant.lease, outputs=(small(0),)),))).verdicts[0].ruling is Ruling.ACCEPTED


def test_a_new_link_of_the_same_slot_replaces_the_old(live):
    """The old one, half dead behind some router, is cut."""
    old, known = live.slot()
    new, _ = live.slot(known=known)
    assert lost(old, Ask(wait=0.0))
    assert not lost(new, Ask(wait=0.0))


def test_a_new_life_ends_the_leases_of_the_old_but_for_what_it_kept(live):
    """Results in its outbox are still taken; the rest is given out again at once."""
    link, known = live.slot()
    other, _ = live.slot(1, known=known)
    live.submit(jobs=2)
    (kept,), (dropped,) = live.lease(link), live.lease(other)
    bye(link)
    bye(other)
    until(lambda: not live.farm.roster.get(known[0]).online)
    again, _ = live.slot(known=known, incarnation="life2", finished=(kept.lease,))
    assert live.attempt(kept.lease)["state"] == AttemptState.LEASED
    assert live.attempt(dropped.lease)["state"] == AttemptState.LOST
    assert live.terms.get(dropped.lease) is None
    assert again.ask(Finished(results=(Result(lease=kept.lease, outputs=(small(0),)),))).verdicts[0].ruling is Ruling.ACCEPTED
    assert live.lease(again)[0].job == dropped.job


def test_a_job_whose_term_memory_lost_is_queued_again(live):
    """A new life ends what the store knows, also where memory knew nothing of it."""
    link, known = live.slot()
    live.submit(jobs=1)
    (grant,) = live.lease(link)
    live.terms.end([grant.lease])
    bye(link)
    until(lambda: not live.farm.roster.get(known[0]).online)
    again, _ = live.slot(known=known, incarnation="life2")
    assert live.lease(again)[0].job == grant.job


def test_links_of_an_older_life_are_cut(live):
    """A machine that slept while its clone took its place does not go on taking work."""
    old, known = live.slot()
    sleeper = live.farm.roster.get(known[0])
    sleeper.heard -= 1000
    live.slot(1, known=known, incarnation="life2")
    assert lost(old, Ask(wait=0.0))


def test_a_clone_is_refused_while_the_other_speaks(live):
    """With the sentence that says what to do."""
    _, known = live.slot()
    with pytest.raises(Refused, match="--new-id"):
        live.slot(known=known, incarnation="life2")


def test_resume_opens_the_account_anew(live):
    """With what the lease may read; for its holder only, and only while it is a lease."""
    link, _ = live.slot()
    task = live.submit(jobs=1)
    (grant,) = live.lease(link)
    account = link.ask(Resume(lease=grant.lease)).account
    assert account.user == grant.lease and account.password != grant.account.password
    stranger, _ = live.slot()
    assert stranger.ask(Resume(lease=grant.lease)).account is None
    live.desk.cancel(ME, task)
    assert link.ask(Resume(lease=grant.lease)).account is None


def test_what_a_node_is_called_cannot_write_into_the_log(live, caplog):
    """Nor onto the terminal of whoever looks at it."""
    with caplog.at_level(logging.INFO):
        evil = NodeInfo(name="a\nroot logged in\x1b[2J")
        live.dial().ask(Hello(role=Role.NODE, token=live.farm.tokens.current(Role.NODE), incarnation="i", node=evil))
    assert not any("\n" in record.getMessage() or "\x1b" in record.getMessage() for record in caplog.records)
    assert [node.name for node in live.desk.nodes(ADMIN)] == ["aroot logged in[2J"]


def test_a_node_that_is_forgotten_in_mid_talk_gets_an_answer(live):
    """Removed by an admin while its last link was going down."""
    link, known = live.slot()
    live.farm.roster.forget(known[0])
    assert link.ask(Ask(wait=0.0)).grants == ()
