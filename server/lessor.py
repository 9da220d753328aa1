"""Leases to slots: from the index, through the store, to the grant that a node gets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

from ..common.model import Account, Cause, Grant
from ..common.security import new_token
from . import ledger
from .aftermath import Aftermath
from .dispatcher import Bell, Dispatcher
from .ledger import Leased
from .logbook import Logbook
from .roster import Roster
from .store import Store, Tx
from .terms import Terms
from .works import Work, Works


class Slot(NamedTuple):
    """Who asks: one slot of one life of one node."""

    node: str
    incarnation: str
    number: int


class Door(Protocol):
    """The FTP thread's part in it."""

    port: int

    def grant(
        self, user: str, password: str, *, read: Mapping[str, Path], write: Path | None, write_names: Literal["packs", "out"]
    ) -> None: ...
    def revoke(self, user: str) -> object: ...


class Folders(Protocol):
    """The keeper's part in it."""

    def sending_folder(self, lease: str) -> Path: ...


class Lessor:
    def __init__(
        self,
        store: Store,
        dispatcher: Dispatcher,
        terms: Terms,
        roster: Roster,
        works: Works,
        door: Door,
        folders: Folders,
        logbook: Logbook,
        aftermath: Aftermath,
    ) -> None:
        self._store = store
        self._dispatcher = dispatcher
        self._terms = terms
        self._roster = roster
        self._works = works
        self._door = door
        self._folders = folders
        self._logbook = logbook
        self._aftermath = aftermath
        self.granted: Callable[[str, str], None] = lambda root, lease: None
        """A lease was given whose outputs may come by way of this shared root."""

    def ask(self, slot: Slot, bell: Bell) -> tuple[Grant, ...]:
        """Work for an idle slot; empty: the bell is parked. A slot that asks holds nothing: what the books say otherwise is returned."""
        held = self._terms.of_slot(*slot)
        if held:
            ends = self._store.write(
                lambda tx: [(one, ledger.fail_many(tx, [one], Cause.RETURNED, "The slot asked anew.")) for one in held]
            )
            for lease, ended in ends:
                for end in ended:
                    self._aftermath.ended(slot.node, lease, end)
        while jobs := self._dispatcher.take(slot.node, bell):
            try:
                leased = self._store.write(lambda tx, jobs=jobs: self.lease(tx, slot, jobs))  # type: ignore[misc]
            except BaseException:
                self._dispatcher.put_back(jobs)
                raise
            grants = self.grants(slot, leased)
            if grants:
                return grants
        return ()

    def lease(self, tx: Tx, slot: Slot, jobs: Sequence[str]) -> list[Leased]:
        return ledger.lease(tx, slot.node, slot.incarnation, slot.number, jobs)

    def grants(self, slot: Slot, leased: Sequence[Leased]) -> tuple[Grant, ...]:
        """After the commit: terms begin, accounts open."""
        given = []
        for one in leased:
            work = self._works.get(one.task)
            if work is not None:
                self._roster.take(slot.node, one.lease, work.needs)
            name = self._logbook.name(one.position, one.number, one.lease)
            begun = self._terms.begin(
                one.lease, task=one.task, job=one.job, node=slot.node, incarnation=slot.incarnation, slot=slot.number, log=name
            )
            if not begun:  # cancelled since the commit
                self._roster.free(slot.node, [one.lease])
            elif work is not None:  # without: the term runs out, or the slot asks anew, and the job is queued again
                self._dispatcher.locality.sent(slot.node, work.sizes_for(one.region))
                given.append(self._grant(one, work))
                if work.needs.shared:
                    self.granted(work.needs.shared, one.lease)
                self.still(one.lease)
        for task in {one.task for one in leased}:
            self._aftermath.changed(task)
        return tuple(given)

    def still(self, lease: str) -> bool:
        """Whether a lease whose account was just opened has not been called off meanwhile; else the account ends too."""
        if self._terms.get(lease) is not None:
            return True
        self._door.revoke(lease)
        return False

    def account(self, lease: str, packs: Mapping[str, Path]) -> Account:
        """A fresh account for a lease; an older one of it ends."""
        password = new_token()
        self._door.grant(lease, password, read=packs, write=self._folders.sending_folder(lease), write_names="out")
        return Account(user=lease, password=password, port=self._door.port)

    def _grant(self, one: Leased, work: Work) -> Grant:
        return Grant(
            lease=one.lease,
            job=one.job,
            number=one.number,
            task=work.task,
            task_name=work.spec.name,
            kind=work.spec.kind,
            kind_version=work.kind_version,
            stage=work.stage,
            region=one.region,
            options=work.spec.options,
            limits=work.spec.limits,
            needs=work.needs,
            program=work.program,
            bundle=work.bundle,
            term=self._terms.seconds,
            account=self.account(one.lease, work.packs_for(one.region)),
            results=work.needs.shared,
        )
