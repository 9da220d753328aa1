"""The composition root: builds every object of the server, starts and stops its services in order. No logic.

Started: store, hands, FTP thread, listener's port, recovery, reaper, task thread, janitor, previewer, and last the listener's loop.
Stopped in reverse: nobody comes in, links are cut, threads end, hands end, and the store closes when nobody writes any more.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import shutil
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from .. import __version__
from ..common.clock import Clock
from ..common.model import Output, Region, Role, new_id
from ..common.ports import join_address, own_addresses, split_address
from ..common.security import FolderLock, JoinCode, Tokens, make_identity, server_context
from ..common.settings import Settings
from ..common.wire.link import Link
from ..common.wire.messages import Hello
from .aftermath import Aftermath
from .board import Board
from .client_thread import ClientThread
from .desk import Desk
from .dispatcher import Dispatcher
from .ftp_thread import FtpThread
from .gate import Gate
from .hands import Hands
from .janitor import Janitor
from .judge import Judge
from .keeper import Keeper
from .lessor import Lessor
from .listener import Listener
from .logbook import Logbook
from .node_thread import NodeThread
from .previewer import Previewer
from .prober import Prober
from .reaper import Reaper
from .recovery import rebuild, verify_again
from .roster import Roster
from .shared import Shared
from .shared_desk import SharedDesk
from .shared_leases import SharedLeases
from .splitter import Splitter
from .stitcher import Stitcher
from .store import Row, Store
from .task_thread import TaskThread
from .terms import Terms
from .works import Works

log = logging.getLogger(__name__)


class Farm:
    """One server. ``start()``, then ``stop()``; afterwards no thread and no child of it is left."""

    def __init__(self, settings: Settings, data: Path, clock: Clock) -> None:
        data.mkdir(parents=True, exist_ok=True, mode=0o750)
        self.data = data
        self._settings = settings
        self._clock = clock
        self._lock = FolderLock(data)
        self._lock.acquire()
        try:
            self._build(settings, data, clock)
        except BaseException:
            if hasattr(self, "store"):
                self.store.close()
            self._lock.release()
            raise

    def _build(self, settings: Settings, data: Path, clock: Clock) -> None:
        server, ftp = settings.server, settings.ftp
        self.name = server.name or platform.node() or "server"
        self.tokens = Tokens(data)
        self.identity = make_identity(data)
        self.first_start = not (data / "clusterray.db").exists()
        self.store = Store(data / "clusterray.db", clock)
        self.farm_id = self._farm_id()
        self.roster = Roster(clock)
        self.terms = Terms(clock, settings.farm.term)
        self.dispatcher = Dispatcher(self.roster)
        self.board = Board()
        self.logbook = Logbook(data / "logs")
        self.ftp = FtpThread(
            ftp.listen,
            ftp.port,
            ftp.passive_range,
            self.identity,
            public_address=ftp.public_address,
            keep_free=settings.retention.keep_free,
        )
        self.keeper = Keeper(
            data,
            clock,
            in_use=self._in_use,
            cap=settings.retention.packs,
            keep_free=settings.retention.keep_free,
            writing=self.ftp.writing,
        )
        cores = len(os.sched_getaffinity(0))
        hands = server.hands or max(1, min(4, cores))
        self.hands = Hands(quick=hands, heavy=max(2, hands), memory=server.hand_memory, seconds=server.hand_time)
        work = data / "work"
        self.works = Works(self.keeper)
        self.shared = Shared(settings.shared, self.keeper, work)
        self.prober = Prober(settings.shared, self.roster, clock)
        self.roster.shared_bar = self.prober.bar
        self.aftermath = Aftermath(self.dispatcher, self.terms, self.roster, self.board, self.ftp)
        self.aftermath.forget_files = self._forget_files
        self.aftermath.forget_run = self.works.drop
        self.splitter = Splitter(self.store, self.hands, self.roster, self.works, self.dispatcher, self.aftermath, self.shared, work)
        self.stitcher = Stitcher(
            self.store, self.hands, self.keeper, self.works, self.splitter, self.aftermath, self.shared, data / "tasks"
        )
        self.aftermath.accepted = self.stitcher.ring
        self.aftermath.end_stream = self.stitcher.call_off
        self.task_thread = TaskThread(self.store, self.dispatcher, self.roster, self.splitter, self.stitcher, clock)
        self.aftermath.wake_task_thread = self.task_thread.wake
        self.dispatcher.on_hungry = self.task_thread.wake
        self.lessor = Lessor(
            self.store, self.dispatcher, self.terms, self.roster, self.works, self.ftp, self.keeper, self.logbook, self.aftermath
        )
        self.judge = Judge(
            self.store, self.hands, self.keeper, self.dispatcher, self.terms, self.roster, self.lessor, self.logbook, self.aftermath, work
        )
        self.judge.changed = self._input_changed
        self.judge.gave_back = self._doubt
        self.judge.bring = self._bring
        self.judge.forget = self._forget_files
        self.shared_leases = SharedLeases(settings.shared, clock)
        self.lessor.granted = self.shared_leases.expect
        self.prober.judged = self._node_passed
        self.reaper = Reaper(self.store, self.terms, self.aftermath, clock)
        self.previewer = Previewer(self.store, self.hands, self.keeper, self.works, self.shared, data / "previews", work, clock)
        self.desk = Desk(
            self.store,
            self.keeper,
            self.hands,
            self.ftp,
            self.roster,
            self.terms,
            self.dispatcher,
            self.task_thread,
            self.logbook,
            self.aftermath,
            self.previewer,
            self.works,
            self.shared,
            self.prober,
            work,
            clock,
        )
        self.janitor = Janitor(self.store, self.desk, self.keeper, self.logbook, settings.retention, clock)
        self.gate = Gate(self.store, self.tokens, self.roster, name=self.name, farm=self.farm_id, beat=settings.farm.beat)
        self.nodes = NodeThread(
            self.store,
            self.roster,
            self.dispatcher,
            self.terms,
            self.lessor,
            self.judge,
            self.works,
            self.logbook,
            self.aftermath,
            self.prober,
        )
        shared_desk = SharedDesk(self.prober)
        self.clients = ClientThread(self.desk, shared_desk, self.board, name=self.name, version=__version__, started=clock.now())
        self.listener = Listener(server.listen, server.port, server_context(self.identity), self._serve, clock=clock)
        self._verifying: threading.Thread | None = None

    @property
    def port(self) -> int:
        return self.listener.port

    @property
    def ftp_port(self) -> int:
        return self.ftp.port

    def start(self) -> None:
        """Everything up, or an error and everything down again."""
        try:
            self.listener.open()
            self.ftp.open()
            leases = rebuild(self.store, self.splitter, self.terms, self.roster, self.logbook)
            self._clean()
            self.ftp.start()
            self.hands.warm()
            self.terms.renew_all()
            self.reaper.start()
            self.task_thread.start()
            self.janitor.start()
            self.previewer.start()
            if self._settings.shared:
                self.shared_leases.start()
            self.listener.start()
        except BaseException:
            self.stop()
            raise
        if leases:
            self._verifying = threading.Thread(target=verify_again, args=(self.judge, leases), name="verify again", daemon=True)
            self._verifying.start()
        self.task_thread.wake()
        listening = {"port": self.port, "addresses": list(self._settings.server.addresses or self._bound())}
        (self.data / "listening.json").write_text(json.dumps(listening))  # for `join-code`, which need not know our settings
        log.info("server %s is up: farm %s, port %d, FTP port %d", self.name, self.farm_id[:8], self.port, self.ftp_port)

    def stop(self) -> None:
        """In the reverse of the order of starting; hands back ports, locks and files."""
        self.listener.stop()
        self.listener.join(5.0)
        self.listener.close_all(1.0)  # who waits for a hand ends with the hands, below
        for service in (self.shared_leases, self.previewer, self.janitor, self.task_thread, self.reaper):
            service.stop()
            service.join(10.0)
        self.stitcher.close()
        self.hands.close()
        if self._verifying is not None:
            self._verifying.join(10.0)
        self.listener.close_all()
        self.ftp.stop()
        self.ftp.join(10.0)
        self.store.close()
        self._lock.release()
        log.info("server %s has stopped", self.name)

    def join_code(self, role: Role, addresses: Sequence[str] = ()) -> str:
        """One line that lets a node, a submitter or an admin in."""
        wanted = tuple(addresses) or self._settings.server.addresses or self._bound()
        return JoinCode(
            role=role, addresses=tuple(self._with_port(a) for a in wanted), pin=self.identity.pin, token=self.tokens.current(role)
        ).encode()

    def _bound(self) -> tuple[str, ...]:
        listen = self._settings.server.listen
        return own_addresses() if listen in ("0.0.0.0", "::", "") else (listen,)

    def _with_port(self, address: str) -> str:
        try:
            split_address(address)
        except Exception:
            return join_address(address, self.port)
        return address

    def _serve(self, link: Link) -> None:
        """One link, in its own thread, from its first word."""
        hello = link.receive(10.0)
        if not isinstance(hello, Hello):
            return
        admitted = self.gate.admit(hello, link.peer)
        self.listener.authenticated(link)
        if admitted.node:
            self.nodes.serve(link, hello, admitted)
        else:
            self.clients.serve(link, admitted)

    def _input_changed(self, attempt: Row, looked: dict[Any, str]) -> str:
        work = self.works.get(attempt["task"])
        if work is None or not work.needs.shared or work.run != attempt["run"]:
            return ""
        region = msgspec.json.decode(attempt["region"], type=Region)
        key = (work.task, work.run, region.needs)
        if key not in looked:
            looked[key] = self.shared.changed(work.files, region)
        return looked[key]

    def _doubt(self, node: str, task: str) -> None:
        work = self.works.get(task)
        if work is not None and work.needs.shared:
            self.prober.doubt(node, work.needs.shared)

    def _bring(self, attempt: Row, output: Output, to: Path) -> None:
        work = self.works.get(attempt["task"])
        if work is not None and work.needs.shared:
            self.shared_leases.bring(work.needs.shared, attempt["lease"], output, to)

    def _forget_files(self, lease: str) -> None:
        self.keeper.drop_lease(lease)
        self.shared_leases.drop(lease)

    def _node_passed(self) -> None:
        self.dispatcher.look_again()
        self.task_thread.wake()

    def _farm_id(self) -> str:
        with self.store.read() as tx:
            row = tx.one("meta", key="farm")
        if row is not None:
            known: str = row["value"]
            return known
        fresh = new_id()
        self.store.write(lambda tx: tx.run("set_meta", key="farm", value=fresh))
        return fresh

    def _in_use(self) -> set[str]:
        with self.store.read() as tx:
            return {row["digest"] for row in tx.all("packs_in_use")}

    def _clean(self) -> None:
        with self.store.read() as tx:
            leases = {row["lease"] for row in tx.all("attempts_live")}
            sessions = {row["id"] for row in tx.all("all_sessions")}
        self.keeper.clean(leases, sessions)
        for folder in ("work", "tasks"):
            shutil.rmtree(self.data / folder, ignore_errors=True)
