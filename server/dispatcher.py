"""Which job for which slot: an ordered index in memory, rebuilt at start.

Tasks stand in the order in which the task thread claimed them, higher priorities first; a slot gets the first job of the
first task that it can serve. A job that ended badly on a node goes to another one first. The index is a cache: the lease
itself is a transaction, which refuses what the store knows better. Doorbells ring as many parked slots as there are jobs.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from types import MappingProxyType
from typing import Protocol

from ..common.model import Needs
from .locality import LOOK, Locality, Want
from .roster import Presence, Roster, program_matches

SHORT = 0.2
"""Jobs that take less than this many seconds are leased in batches."""
BATCH = 64
REST = 5.0
"""Seconds before a job that a node gave back is offered to it again; doubled each time."""
REST_MOST = 60.0


class Bell(Protocol):
    """What a parked node thread sleeps on."""

    def ring(self) -> None: ...


@dataclass
class Refusal:
    """What a node gave back of one task."""

    why: str = ""
    count: int = 0
    """Jobs in a row."""
    until: float = 0.0
    """Until then it is offered no other one of this task."""
    pause: float = REST / 2
    """For how long that was."""


@dataclass
class Waiting:
    """The unleased jobs of one task in work."""

    task: str
    run: int
    priority: int
    order: int
    needs: Needs
    allow: str
    program: str
    slots: int
    jobs: dict[str, set[str]] = field(default_factory=dict)
    """Job -> nodes that tried it, in the order in which they are leased."""
    measured: list[float] = field(default_factory=list)
    most: int = BATCH
    """Jobs whose grants fit one answer."""
    wants: dict[str, Want] = field(default_factory=dict)
    """What each job reads, where jobs read different files."""
    out: dict[str, set[str]] = field(default_factory=dict)
    """Job that was taken -> nodes that tried it before."""
    rests: dict[tuple[str, str], tuple[float, float]] = field(default_factory=dict)
    """(job, node) -> until when it is not offered again, and for how long that was."""
    refused: dict[str, Refusal] = field(default_factory=dict)
    """By node that gave jobs back and has done none since."""

    @property
    def batch(self) -> int:
        """How many jobs a slot may lease at once."""
        if len(self.measured) < 2 or sum(self.measured) / len(self.measured) >= SHORT:
            return 1
        return max(1, min(self.most, math.ceil(len(self.jobs) / (2 * max(1, self.slots)))))


class Dispatcher:
    """Thread-safe."""

    def __init__(self, roster: Roster, locality: Locality | None = None) -> None:
        self._roster = roster
        self.locality = locality or Locality()
        self._lock = threading.Lock()
        self._waiting: dict[str, Waiting] = {}
        self._order = 0
        self._parked: dict[Bell, str] = {}
        self.on_hungry: Callable[[], None] = lambda: None
        """Called, without the lock, when a slot finds nothing: the task thread may split ahead."""

    def open(self, task: str, run: int, *, priority: int, needs: Needs, allow: str, program: str, slots: int, most: int = BATCH) -> None:
        """A task comes into work, behind those of its priority that are there already; its next stage keeps its place."""
        with self._lock:
            before = self._waiting.get(task)
            self._order += 1
            order = before.order if before is not None and before.run == run else self._order
            self._waiting[task] = Waiting(task, run, priority, order, needs, allow, program, slots, most=most)

    def close(self, task: str, run: int | None = None) -> None:
        """Nothing more of this task is leased; with ``run``, only if it is still that run which is in work."""
        with self._lock:
            waiting = self._waiting.get(task)
            if waiting is not None and run in (None, waiting.run):
                del self._waiting[task]

    def add(self, task: str, jobs: Iterable[tuple[str, Iterable[str]]], wants: Mapping[str, Want] = MappingProxyType({})) -> None:
        """Jobs to lease, with the nodes that tried each; ``wants``: what each reads, where that tells them apart."""
        with self._lock:
            waiting = self._waiting.get(task)
            if waiting is None:
                return
            waiting.wants.update(wants)
            count = 0
            for job, tried in jobs:
                waiting.jobs[job] = set(tried)
                count += 1
            bells = self._takers(waiting, count)
        for bell in bells:
            bell.ring()

    def again(self, task: str, job: str, node: str, *, given_back: str = "") -> None:
        """A job comes back and goes first. A node that gave it back itself, and why, is not offered it again for a while, longer each time.

        Nor, after a second one, any other of the task: what it cannot do must not keep its slots from tasks further back.
        """
        with self._lock:
            waiting = self._waiting.get(task)
            if waiting is None:
                return
            if given_back:
                pause = min(REST_MOST, 2 * waiting.rests.get((job, node), (0.0, REST / 2))[1])
                now = self._roster.clock.monotonic()
                waiting.rests[job, node] = (now + pause, pause)
                refusal = waiting.refused.setdefault(node, Refusal())
                if refusal.count and now >= refusal.until:  # one that was under way in another slot says nothing new
                    refusal.pause = min(REST_MOST, 2 * refusal.pause)
                    refusal.until = now + refusal.pause
                refusal.count += 1
                refusal.why = given_back
            else:
                waiting.refused.pop(node, None)
            tried = waiting.jobs.pop(job, set()) | waiting.out.pop(job, set()) | {node}
            waiting.jobs = {job: tried, **waiting.jobs}
            bells = self._takers(waiting, 1)
        for bell in bells:
            bell.ring()

    def look_again(self) -> None:
        """Ring parked slots that could take something now: time has passed, memory came free, a node has left. Called every few seconds."""
        with self._lock:
            bells = [bell for waiting in self._in_order() for bell in self._takers(waiting, len(waiting.jobs))] if self._parked else []
        for bell in bells:
            bell.ring()

    def take(self, node: str, bell: Bell | None = None) -> list[str]:
        """Jobs for an idle slot of this node, taken out of the index; empty: the bell is parked and rings when there may be some."""
        with self._lock:
            for waiting in self._in_order():
                if not waiting.jobs or not self._serves(waiting, node) or not self._roster.fits_now(node, waiting.needs, waiting.allow):
                    continue
                taken = self._choose(waiting, node)
                for job in taken:
                    waiting.out[job] = waiting.jobs.pop(job)
                if taken:
                    return taken
            if bell is not None:
                self._parked[bell] = node
        self.on_hungry()
        return []

    def unpark(self, bell: Bell) -> None:
        with self._lock:
            self._parked.pop(bell, None)

    def put_back(self, jobs: Iterable[str]) -> None:
        """Jobs that were taken but could not be leased for now (the store was full)."""
        wanted = set(jobs)
        with self._lock:
            for waiting in self._waiting.values():
                mine = {job: waiting.out.pop(job) for job in wanted.intersection(waiting.out)}
                waiting.jobs = {**mine, **waiting.jobs} if mine else waiting.jobs

    def done(self, task: str, job: str, seconds: float, node: str = "") -> None:
        """An accepted job, and how long it took on its node."""
        with self._lock:
            waiting = self._waiting.get(task)
            if waiting is not None:
                waiting.out.pop(job, None)
                waiting.wants.pop(job, None)
                waiting.refused.pop(node, None)
                for key in [key for key in waiting.rests if key[0] == job] if waiting.rests else ():
                    del waiting.rests[key]
                waiting.measured = [*waiting.measured[-15:], seconds]

    def reprioritise(self, task: str, priority: int) -> None:
        with self._lock:
            if task in self._waiting:
                self._waiting[task].priority = priority

    def task_of(self, task: str) -> Waiting | None:
        with self._lock:
            return self._waiting.get(task)

    def refusals(self, task: str) -> dict[str, str]:
        """Nodes that give back what they get of a task, and why."""
        with self._lock:
            waiting = self._waiting.get(task)
            return {node: one.why for node, one in waiting.refused.items()} if waiting is not None else {}

    def has(self, task: str, run: int) -> bool:
        """Whether this run is in work here."""
        with self._lock:
            waiting = self._waiting.get(task)
            return waiting is not None and waiting.run == run

    def wants(self) -> tuple[int | None, list[str]]:
        """For the task thread: the highest priority among servable unleased jobs (None: there are none), and the nodes of parked slots."""
        with self._lock:
            servable = [w.priority for w in self._waiting.values() if w.jobs and self._servers(w)]
            return (max(servable) if servable else None), list(self._parked.values())

    def wake_all(self) -> None:
        """Nodes were unlocked, settings changed: let every parked slot look again."""
        with self._lock:
            bells = list(self._parked)
            self._parked.clear()
        for bell in bells:
            bell.ring()

    def _choose(self, waiting: Waiting, node: str) -> list[str]:
        """The next jobs for this node; of many long ones, the one whose files it has."""
        open_jobs = self._open_to(waiting, node, self._others(waiting, node))
        if waiting.batch > 1 or not waiting.wants:
            return list(islice(open_jobs, waiting.batch))
        near = list(islice(open_jobs, LOOK))
        return [self.locality.best(node, near, waiting.wants)] if near else []

    def _open_to(self, waiting: Waiting, node: str, elsewhere: set[str]) -> Iterator[str]:
        """The jobs that this node may have now, in order: not those that others should try first, or that it gave back just now."""
        now = self._roster.clock.monotonic()
        if node in waiting.refused and waiting.refused[node].until > now:
            return
        for job, tried in waiting.jobs.items():
            if not (node in tried and elsewhere - tried) and waiting.rests.get((job, node), (0.0, 0.0))[0] <= now:
                yield job

    def _takers(self, waiting: Waiting, most: int) -> list[Bell]:
        """Unpark the bells of up to so many slots that would get a job of this task if they asked now."""
        bells: list[Bell] = []
        would: dict[str, bool] = {}
        for bell, node in self._parked.items():
            if len(bells) >= most:
                break
            if node not in would:
                able = self._serves(waiting, node) and self._roster.fits_now(node, waiting.needs, waiting.allow)
                would[node] = able and next(self._open_to(waiting, node, self._others(waiting, node)), None) is not None
            if would[node]:
                bells.append(bell)
        for bell in bells:
            del self._parked[bell]
        return bells

    def _in_order(self) -> list[Waiting]:
        return sorted(self._waiting.values(), key=lambda w: (-w.priority, w.order))

    def _serves(self, waiting: Waiting, node: str) -> bool:
        return any(n.id == node for n in self._servers(waiting))

    def _servers(self, waiting: Waiting) -> list[Presence]:
        able = self._roster.able(waiting.needs, waiting.allow)
        if not waiting.program:
            return able
        return [n for n in able if any(program_matches(waiting.program, p.name, p.version) for p in n.info.programs)]

    def _others(self, waiting: Waiting, node: str) -> set[str]:
        return {n.id for n in self._servers(waiting)} - {node}
