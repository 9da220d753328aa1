"""A submitter's link: every question an answer, over a real one."""

from __future__ import annotations

import threading

import pytest
from clusterray.common.errors import DeskError, LinkLost, NoSuchTask, NotAllowed, PacksMissing
from clusterray.common.model import Caller, Role, TaskSpec, new_task_id
from clusterray.common.security import token_id
from clusterray.common.wire.messages import (
    Change,
    ChangeNode,
    Fetch,
    Have,
    Log,
    Nodes,
    Show,
    Status,
    Stored,
    Submit,
    Submitted,
    Tasks,
    Watch,
)

from .bench import ref
from .live import until

ECHO = TaskSpec(kind="echo", name="work", options={"jobs": 1})


def me(live):
    return Caller(token=token_id(live.farm.tokens.current(Role.SUBMIT)), role=Role.SUBMIT)


def test_every_question_has_its_answer(live):
    """From the first pack to the last look."""
    link = live.submitter()
    bundle, session = live.send(me(live), live.folder())
    task = new_task_id()
    assert isinstance(link.ask(Submit(task=task, spec=ECHO, bundle=bundle, session=session)), Submitted)
    assert [view.id for view in link.ask(Tasks()).tasks] == [task]
    assert link.ask(Show(task=task)).task.name == "work"
    assert link.ask(Log(task=task)).lines == ()
    assert link.ask(Have(packs=(ref(b"x"),))).packs == (ref(b"x").digest,)
    assert link.ask(Nodes()).nodes == ()
    status = link.ask(Status())
    assert status.tasks == {"queued": 1} and status.nodes == 0
    assert link.ask(Change(task=task, verb="priority", value=3)).task.priority == 3
    assert link.ask(Change(task=task, verb="cancel")).task.state == "canceled"
    assert link.ask(Change(task=task, verb="restart")).task.state == "queued"
    link.ask(Change(task=task, verb="cancel"))
    assert link.ask(Change(task=task, verb="remove")).task is None
    assert link.ask(Tasks()).tasks == ()


def test_a_no_leaves_the_link_open(live):
    """Each with the error that it is, and the next question is answered."""
    link = live.submitter()
    bundle = ref(b"never sent")
    with pytest.raises(PacksMissing) as missing:
        link.ask(Submit(task=new_task_id(), spec=ECHO, bundle=bundle))
    assert missing.value.digests == (bundle.digest,)
    for question, error in (
        (Show(task="f" * 36), NoSuchTask),
        (Fetch(task=""), NoSuchTask),
        (Change(task="f", verb="cancel"), NoSuchTask),
        (Change(task="f", verb="explode"), DeskError),
        (ChangeNode(node="n", verb="lock"), NotAllowed),
        (Stored(session="../..", packs=()), DeskError),
    ):
        with pytest.raises(error):
            link.ask(question)
    assert link.ask(Tasks()).tasks == ()


@pytest.mark.parametrize(
    "question",
    [
        Show(task="f", after=-(10**30), limit=-5),
        Tasks(limit=10**30),
        Tasks(after="x" * 100_000),
        Log(task="f", after=10**30, limit=10**30),
        Watch(tasks=("x" * 10_000,) * 50, event=-(10**30), wait=-5.0),
        Watch(tasks=(), wait=-1.0),
        Have(packs=(ref(b"x"), ref(b"x"))),
    ],
)
def test_numbers_and_words_without_sense_break_nothing(live, question):
    """They get an answer or a no, never an error of the server."""
    link = live.submitter()
    try:
        link.ask(question, timeout=10.0)
    except DeskError:
        pass
    assert link.ask(Tasks()).tasks == ()


def test_an_offset_beyond_all_numbers_is_an_empty_page(live):
    """Of a task that is there."""
    task = live.submit(me(live), jobs=1)
    assert live.submitter().ask(Show(task=task, after=10**30)).jobs == ()


def test_a_watcher_is_told_of_a_change_and_of_a_removal(live):
    """It sleeps until then."""
    link = live.submitter()
    task = live.submit(me(live), jobs=1)
    first = link.ask(Watch(tasks=(task,)))
    got = []
    watching = threading.Thread(target=lambda: got.append(link.ask(Watch(tasks=(task,), event=first.event))))
    watching.start()
    until(lambda: live.farm.board._watchers)
    live.desk.cancel(me(live), task)
    watching.join(10)
    assert got[0].tasks[0].state == "canceled" and got[0].event > first.event
    live.desk.remove(me(live), task)
    assert link.ask(Watch(tasks=(task,), event=got[0].event)).gone == (task,)
    assert not live.farm.board._watchers


def test_a_watcher_who_leaves_is_forgotten(live):
    """His doorbell is closed, his thread ends."""
    link = live.submitter()
    task = live.submit(me(live), jobs=1)
    event = link.ask(Watch(tasks=(task,))).event

    def watch():
        with pytest.raises(LinkLost):
            link.ask(Watch(tasks=(task,), event=event), timeout=20.0)

    watching = threading.Thread(target=watch)
    watching.start()
    until(lambda: live.farm.board._watchers)
    link.abort()
    watching.join(10)
    until(lambda: not live.farm.board._watchers and not live.farm.listener.threads())


def test_a_crowd_of_watchers_of_waiting_tasks(live):
    """Thirty of them, all at once, and the farm still answers."""
    task = live.submit(me(live), jobs=1)
    links = [live.submitter() for _ in range(30)]
    seen = []

    def look(link):
        seen.extend(link.ask(Show(task=task), timeout=20.0).task.place for _ in range(10))

    threads = [threading.Thread(target=look, args=(link,)) for link in links]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert seen == [1] * 300
