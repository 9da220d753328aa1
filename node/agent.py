"""The node's composition root: builds every object, starts and stops the slots; no logic.

Order of a start: the lock, what the last life left running, scratch, the outbox, what this machine is, the slots. A stop goes
the other way round and hands back what it holds: a drain lets running jobs finish, a stop ``now`` gives them back.
"""

from __future__ import annotations

import logging
import os
import platform
import threading
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from types import MappingProxyType

from ..common import proc
from ..common.clock import Clock
from ..common.kinds.kind import Kind
from ..common.model import Account, NodeInfo, new_id
from ..common.security import FolderLock, JoinCode
from ..common.settings import NodeSettings
from ..common.shared import SharedRoot
from . import cards, probe, renderers, sandbox
from .contact import Contact, Dial, Line
from .identity import NodeIdentity
from .means import Means
from .outbox import Outbox
from .runner import Carrier, Couriers, Fetcher, Runner
from .scratch import Scratch
from .shared import Shares
from .slot import Slot
from .workbench import Workbench

log = logging.getLogger(__name__)

HASTE = 10.0
"""Seconds that a stop ``now`` may take in all; programs are ended within 5."""


class Agent:
    """A node, from ``start()`` to ``join()``."""

    def __init__(
        self,
        settings: NodeSettings,
        data: Path,
        clock: Clock,
        join: JoinCode | None = None,
        *,
        new_id: bool = False,
        dial: Dial | None = None,
        kinds: Callable[[str], Kind] | None = None,
        cache: Fetcher | None = None,
        couriers: Couriers | None = None,
        secrets: Callable[..., None] = lambda *secrets: None,
        shared: Mapping[str, SharedRoot] = MappingProxyType({}),
    ) -> None:
        """``secrets`` registers what no log may show. The other collaborators are the real ones unless given."""
        self.settings = settings
        self.data = data
        self.clock = clock
        self.slots: tuple[Slot, ...] = ()
        self.contact: Contact | None = None
        self._join_code = join
        self._new_id = new_id
        self._dial = dial or _dial
        self._kinds = kinds
        self._cache = cache
        self._couriers = couriers
        self._secrets = secrets
        self._shared = shared
        self._lock = FolderLock(data)

    def start(self) -> None:
        """Everything up to running slots. AlreadyRunning, UsageError: nothing was started."""
        self.data.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock.acquire()
        try:
            identity = NodeIdentity(self.data, self._join_code, new_id=self._new_id)
            self._secrets(*identity.secrets())
            proc.adopt_orphans()
            scratch = Scratch(self.data)
            ended = scratch.clear()
            if ended:
                log.warning("Ended %d processes that the last life of this node had left running.", ended)
            self._build(identity, scratch)
        except BaseException:
            self._lock.release()
            raise
        for slot in self.slots:
            slot.start()

    def stop(self, now: bool = False) -> None:
        """Drain: running jobs finish, then the node leaves. ``now``: they are stopped and given back. Does not wait."""
        for slot in self.slots:
            slot.leave(now=now)

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the slots to end, together ``timeout`` seconds; return whether all have. Then the folder is free."""
        deadline = None if timeout is None else self.clock.monotonic() + timeout
        ended = True
        for slot in self.slots:
            left = None if deadline is None else max(0.0, deadline - self.clock.monotonic())
            ended = slot.join(left) and ended
        if ended:
            self._lock.release()
        return ended

    def run_forever(self, stop: threading.Event, now: threading.Event | None = None) -> int:
        """Until the slots have ended; return the exit code. ``stop`` set: drain; set again, or ``now`` set: stop now.

        So a signal handler that only sets ``stop`` makes the first SIGTERM a drain and the second one a stop.
        """
        draining = False
        while not all(slot.stopping.is_set() for slot in self.slots):
            if now is not None and now.is_set():
                break
            if not self.clock.wait(stop, 0.5):
                continue
            if draining:
                break
            stop.clear()
            draining = True
            log.info("Draining: running jobs finish, no new ones are taken. A second signal stops them.")
            self.stop()
        else:
            self.join(HASTE)
            return self.exit_code
        log.info("Stopping now: running jobs are given back.")
        self.stop(now=True)
        if not self.join(HASTE):
            log.warning("Not all slots ended in time; leaving all the same.")
            for slot in self.slots:
                slot.stop()
            self.join(1.0)
        return self.exit_code

    @property
    def exit_code(self) -> int:
        """0, or 4 where the server would not have us."""
        failure = None if self.contact is None else self.contact.failure
        return 0 if failure is None else failure.exit_code

    def _build(self, identity: NodeIdentity, scratch: Scratch) -> None:
        settings, clock = self.settings, self.clock
        cores = settings.cores or probe.cores()
        count = settings.slots or max(1, cores // 2)
        programs, sentences = renderers.find(settings.programs, self.data / "renderers.json", os.environ)
        allow, commands = settings.permits
        for sentence in sentences:
            log.warning("%s", sentence)
        confinement = sandbox.try_out(self.data, settings.sandbox)
        if confinement.reason:
            log.warning("Programs are not confined here (%s): this node runs the built-in render kinds only.", confinement.reason)
        outbox = Outbox(self.data)
        shares = Shares(self._shared, clock)
        cache = self._cache or _cache(self.data, settings, clock, shares)
        memory, gpus = settings.memory or probe.memory(), cards.Cards(cards.find())
        version = _version()

        def describe() -> NodeInfo:
            return NodeInfo(
                name=settings.name or platform.node(),
                version=version,
                slots=count,
                cores=cores,
                memory=memory,
                disk=probe.free_disk(self.data),
                gpus=tuple(card.title for card in gpus.all),
                programs=tuple(programs),
                allow=allow,
                commands=commands,
                tags=tuple(settings.tags),
                confined=confinement.words,
                bundles=tuple(cache.held())[:64],
                shared=shares.told(),
            )

        def room() -> str:
            free = probe.free_disk(self.data)
            if free >= settings.keep_free:
                return ""
            return f"its disk has {free >> 20} MiB free, and [node] keep_free wants {settings.keep_free >> 20} MiB to stay so."

        contact = self.contact = Contact(
            identity=identity,
            dial=self._dial,
            describe=describe,
            finished=outbox.leases,
            incarnation=new_id(),
            clock=clock,
            secrets=self._secrets,
        )
        couriers = self._couriers or _couriers(contact, identity, clock)
        means = Means(
            allow=allow,
            commands=commands,
            programs=tuple(programs),
            cards=gpus,
            confinement=confinement,
            cores=max(1, cores // count),
            keep_free=settings.keep_free,
        )

        def runner() -> Runner:
            return Runner(means=means, kinds=self._kinds or _kind, cache=cache, couriers=couriers, scratch=scratch, clock=clock)

        self.slots = tuple(
            Slot(
                number,
                count,
                contact=contact,
                bench=Workbench(
                    number, runner=runner(), outbox=outbox, scratch=scratch, couriers=couriers, clock=clock, shares=shares
                ),
                outbox=outbox,
                room=room,
                alone=settings.alone,
                clock=clock,
                shares=shares,
            )
            for number in range(count)
        )


# --- the real collaborators, imported when they are needed: an idle node stays small


def _dial(addresses: Sequence[str], pin: str) -> Line:
    from ..common.wire.link import dial

    return dial(addresses, pin)


def _kind(name: str) -> Kind:
    from ..common.kinds.registry import kind

    return kind(name)


def _cache(data: Path, settings: NodeSettings, clock: Clock, shares: Shares) -> Fetcher:
    from .cache import Cache

    return Cache(data / "cache", settings.cache, clock, keep_free=settings.keep_free, linked=shares.folder)


def _couriers(contact: Contact, identity: NodeIdentity, clock: Clock) -> Couriers:
    def courier(account: Account, stop: threading.Event) -> Carrier:
        from ..common.transfer import Courier

        return Courier(account, account.host or contact.host, identity.code.pin, clock, stop=stop)

    return courier


def _version() -> str:
    try:
        return metadata.version("clusterray")
    except metadata.PackageNotFoundError:
        return ""
