"""One thread per submitter: every question goes to the desk, every answer comes from it."""

from __future__ import annotations

import logging

from ..common.errors import DeskError, DiskFull, FileError, PacksMissing, UsageError
from ..common.model import Caller
from ..common.wire.link import Doorbell, Link
from ..common.wire.messages import (
    Answer,
    AnyMessage,
    Assets,
    Bye,
    Change,
    Changed,
    ChangeNode,
    CheckShared,
    Denied,
    Fetch,
    Have,
    Kept,
    Lines,
    Log,
    Missing,
    News,
    NodeList,
    Nodes,
    Preview,
    Previewed,
    ServerStatus,
    SharedChecked,
    Show,
    Status,
    Stored,
    Submit,
    Submitted,
    TaskDetail,
    TaskList,
    Tasks,
    Watch,
)
from .board import Board
from .desk import Desk
from .gate import Admitted
from .shared_desk import SharedDesk

log = logging.getLogger(__name__)
PARK = 20.0
SILENCE = 3600.0
"""A submitter may think for an hour; one that went without a word is found by TCP's keepalive."""
CALM = 0.2
"""Seconds between two answers to a watcher, so that a farm in a hurry does not talk all the time."""


class ClientThread:
    """Serves links of submitters and admins; the same object for all of them, each call in its own thread."""

    def __init__(self, desk: Desk, shared: SharedDesk, board: Board, *, name: str, version: str, started: float) -> None:
        self._desk = desk
        self._shared = shared
        self._board = board
        self._name = name
        self._version = version
        self._started = started

    def serve(self, link: Link, admitted: Admitted) -> None:
        link.answer(admitted.welcome)
        while (question := link.receive(SILENCE)) is not None:
            if isinstance(question, Bye):
                return
            try:
                answer = (
                    self._watch(link, admitted.caller, question) if isinstance(question, Watch) else self._answer(admitted.caller, question)
                )
            except PacksMissing as error:
                answer = Denied(code=error.code, sentence=str(error), digests=error.digests[:5000])
            except (DeskError, FileError, UsageError) as error:
                if isinstance(error, DiskFull):
                    log.warning("%s", error)
                answer = Denied(code=error.code, sentence=str(error))
            link.answer(answer)

    def _answer(self, caller: Caller, question: AnyMessage) -> Answer:
        desk = self._desk
        match question:
            case Have():
                session, missing, account = desk.have(caller, question.session, question.packs)
                return Missing(session=session, packs=missing, account=account)
            case Stored():
                kept, again = desk.stored(caller, question.session, question.packs)
                return Kept(kept=kept, again=again)
            case Submit():
                return Submitted(task=desk.submit(caller, question.task, question.spec, question.bundle, question.session))
            case Tasks():
                tasks, more = desk.tasks(caller, question.after, question.limit, question.live)
                return TaskList(tasks=tasks, more=more)
            case Show():
                task, jobs, more = desk.show(caller, question.task, question.after, question.limit)
                return TaskDetail(task=task, jobs=jobs, more=more)
            case Change():
                return self._change(caller, question)
            case Fetch():
                page = desk.fetch(caller, question.task, question.after, question.limit)
                return Assets(task=page.task, assets=page.assets, account=page.account, more=page.more, size=page.size)
            case Preview():
                task, seen, reader = desk.preview(caller, question.task, question.full)
                files = tuple(asset for asset, _ in seen.files)
                return Previewed(task=task, files=files, account=reader, why=seen.why, pending=seen.pending)
            case Log():
                lines, following, more = desk.log(caller, question.task, question.job, question.after, question.limit)
                return Lines(lines=lines, next=following, more=more)
            case Nodes():
                return NodeList(nodes=desk.nodes(caller))
            case ChangeNode():
                desk.change_node(caller, question.node, question.verb)
                return Changed()
            case CheckShared():
                return SharedChecked(found=self._shared.check(caller))
            case Status():
                nodes = desk.nodes(caller)
                return ServerStatus(
                    name=self._name,
                    version=self._version,
                    started=self._started,
                    tasks=desk.counts(),
                    nodes=sum(node.online for node in nodes),
                    slots=sum(node.slots for node in nodes if node.online),
                    busy=sum(node.busy for node in nodes if node.online),
                )
        raise DeskError(f"{type(question).__name__} is no question of a submitter.")

    def _change(self, caller: Caller, question: Change) -> Answer:
        if question.verb == "remove":
            self._desk.remove(caller, question.task)
            return Changed()
        if question.verb == "priority":
            return Changed(task=self._desk.priority(caller, question.task, question.value))
        if question.verb == "restart":
            return Changed(task=self._desk.restart(
                caller, question.task, fresh=question.fresh, anew=question.anew, words=question.options
            ))
        if question.verb != "cancel":
            raise DeskError(f"A task can be told cancel, restart, remove or priority, not {question.verb}.")
        return Changed(task=self._desk.cancel(caller, question.task))

    def _watch(self, link: Link, caller: Caller, question: Watch) -> Answer:
        """Parked until one of the tasks has moved on from what the watcher knows."""
        bell = Doorbell()
        try:
            views, gone, last = self._desk.news(caller, question.tasks)
            self._board.watch(bell, [view.id for view in views])
            views, gone, last = self._desk.news(caller, question.tasks)
            if last <= question.event and not gone and link.wait(bell, min(PARK, question.wait)) == "rang":
                link.wait(None, CALM)
            views, gone, last = self._desk.news(caller, question.tasks)
            return News(tasks=views, event=last, gone=gone)
        finally:
            self._board.leave(bell)
            bell.close()
