"""The nodes: who is here, what each can do, what it has in hand.

A cache of the ``nodes`` table plus what only lives in memory: open links, and the memory, cores and GPUs taken by leases.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from ..common.clock import Clock
from ..common.model import FarmShape, Needs, NodeInfo

LONGEST_WISH = 100
SILENT = 25.0
"""Seconds without a word after which an open link no longer speaks for its incarnation: a parked ask takes 20."""


@dataclass
class Presence:
    """One node as the server sees it now."""

    id: str
    info: NodeInfo
    incarnation: str = ""
    locked: bool = False
    draining: bool = False
    links: dict[int, object] = field(default_factory=dict)
    """Slot number -> its link."""
    heard: float = 0.0
    """Monotonic time of its last word."""
    taken: dict[str, Needs] = field(default_factory=dict)
    """Lease -> what it occupies."""
    notes: dict[int, str] = field(default_factory=dict)
    """Slot number -> why it takes no job for now, in its own words."""

    @property
    def online(self) -> bool:
        return bool(self.links)

    @property
    def resting(self) -> str:
        """Why none of its slots takes a job for now; empty where one does."""
        return self.notes[min(self.notes)] if self.links and all(slot in self.notes for slot in self.links) else ""


def version_key(version: str) -> tuple[int, ...]:
    """``3.7.0.10`` -> (3, 7, 0, 10), so that versions compare as numbers."""
    return tuple(int(n[:18]) for n in re.findall(r"\d+", version[:100]))


def program_matches(wish: str, name: str, version: str) -> bool:
    """Whether a program satisfies ``name``, ``name>=version`` or ``name==version`` (the latter also for a leading part, as 3.7)."""
    if len(wish) > LONGEST_WISH:  # strangers write these, and the pattern must not be given room to wander
        return False
    match = re.fullmatch(r"\s*([\w.+-]+?)\s*(?:(>=|==|<=|<|>)\s*([\w.~+-]+))?\s*", wish)
    if match is None or match[1] != name:
        return False
    if match[2] is None:
        return True
    have, want = version_key(version), version_key(match[3])
    if match[2] == "==":
        return have[: len(want)] == want
    return {">=": have >= want, "<=": have <= want or have[: len(want)] == want, "<": have < want, ">": have > want}[match[2]]


def lacks(info: NodeInfo, needs: Needs, allow: str) -> str:
    """Why a node can never run such a job, as the end of "node X ..."; empty where it can."""
    if allow not in info.allow:
        return f"does not allow {allow} (its owner's setting [node] allow)"
    if allow != "render" and info.confined not in ("bubblewrap", "off"):
        return f"runs built-in renderers only: {info.confined or 'it is unconfined'}"
    if needs.program and not any(program_matches(needs.program, p.name, p.version) for p in info.programs):
        have = ", ".join(f"{p.name} {p.version}" for p in info.programs)
        return f"has no {needs.program}" + (f" (it has {have})" if have else "")
    forbidden = [name for name in needs.command.split() if not {"any", name}.intersection(info.commands)]
    if forbidden:
        return f"does not allow the program {forbidden[0]} (its owner's setting [node] commands)"
    if needs.memory > info.memory > 0:
        return f"has {info.memory / 1e9:.1f} GB of memory, a job needs {needs.memory / 1e9:.1f} GB"
    if needs.cores > info.cores:
        return f"has {info.cores} cores, a job needs {needs.cores:g}"
    if needs.gpu > len(info.gpus):
        return f"has {len(info.gpus)} GPUs, a job needs {needs.gpu}"
    if needs.scratch > info.disk > 0:
        return f"has {info.disk / 1e9:.1f} GB of free disk, a job needs {needs.scratch / 1e9:.1f} GB"
    missing = set(needs.tags) - set(info.tags)
    return f"lacks the tag {sorted(missing)[0]}" if missing else ""


class Roster:
    """Thread-safe. Node threads report here; the dispatcher and the desk look."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._lock = threading.RLock()
        self._nodes: dict[str, Presence] = {}
        self.shared_bar: Callable[[Presence, str], str] = lambda node, root: f"has no shared root {root}"
        """Why a node may not serve a shared root, as the end of "node X ..."; the prober knows."""

    def load(self, node: str, info: NodeInfo, *, locked: bool, draining: bool) -> None:
        """A node that the store knows from before."""
        with self._lock:
            self._nodes[node] = Presence(node, info, locked=locked, draining=draining)

    def clash(self, node: str, incarnation: str) -> bool:
        """Whether another incarnation of this node still speaks: the newcomer is a cloned disk."""
        with self._lock:
            known = self._nodes.get(node)
            if known is None or not known.online or known.incarnation in ("", incarnation):
                return False
            return self.clock.monotonic() - known.heard < SILENT

    def arrive(self, node: str, incarnation: str, slot: int, info: NodeInfo, link: object) -> list[object]:
        """A slot's link is greeted; returns the links that it replaces: the slot's older one, or all of an older incarnation."""
        with self._lock:
            known = self._nodes.setdefault(node, Presence(node, info))
            older: list[object] = []
            if known.incarnation != incarnation:
                older = list(known.links.values())
                known.links.clear()
                known.notes.clear()
                if known.incarnation:  # after a start of the server it may be the same life that was told to drain
                    known.draining = False
                known.incarnation = incarnation
            known.info = info
            known.heard = self.clock.monotonic()
            if slot in known.links:
                older.append(known.links[slot])
            known.links[slot] = link
            return older

    def leave(self, node: str, slot: int, link: object) -> None:
        with self._lock:
            known = self._nodes.get(node)
            if known is not None and known.links.get(slot) is link:
                del known.links[slot]
                known.notes.pop(slot, None)

    def heard(self, node: str) -> None:
        with self._lock:
            if node in self._nodes:
                self._nodes[node].heard = self.clock.monotonic()

    def say(self, node: str, slot: int, note: str) -> None:
        """Why a slot takes no job for now; empty: it does."""
        with self._lock:
            known = self._nodes.get(node)
            if known is not None and note:
                known.notes[slot] = note[:500]
            elif known is not None:
                known.notes.pop(slot, None)

    def take(self, node: str, lease: str, needs: Needs) -> None:
        with self._lock:
            if node in self._nodes:
                self._nodes[node].taken[lease] = needs

    def free(self, node: str, leases: Iterable[str]) -> None:
        with self._lock:
            if node in self._nodes:
                for lease in leases:
                    self._nodes[node].taken.pop(lease, None)

    def set(self, node: str, *, locked: bool | None = None, draining: bool | None = None) -> None:
        with self._lock:
            known = self._nodes.get(node)
            if known is not None:
                known.locked = known.locked if locked is None else locked
                known.draining = known.draining if draining is None else draining

    def forget(self, node: str) -> None:
        with self._lock:
            self._nodes.pop(node, None)

    def get(self, node: str) -> Presence | None:
        with self._lock:
            return self._nodes.get(node)

    def all(self) -> list[Presence]:
        with self._lock:
            return list(self._nodes.values())

    def able(self, needs: Needs, allow: str) -> list[Presence]:
        """Nodes that are here, open for work, and could ever run such a job."""
        with self._lock:
            return [n for n in self._nodes.values() if n.online and not n.locked and not n.draining and not self._unfit(n, needs, allow)]

    def fits_now(self, node: str, needs: Needs, allow: str) -> bool:
        """Whether such a job fits beside what the node has in hand."""
        with self._lock:
            known = self._nodes.get(node)
            if known is None or known.locked or known.draining or self._unfit(known, needs, allow):
                return False
            taken = known.taken.values()
            return (
                (not needs.memory or not known.info.memory or sum(t.memory for t in taken) + needs.memory <= known.info.memory)
                and (not needs.cores or sum(t.cores for t in taken) + needs.cores <= known.info.cores)
                and sum(t.gpu for t in taken) + needs.gpu <= max(len(known.info.gpus), needs.gpu if not needs.gpu else 0)
            )

    def shape(self, needs: Needs, allow: str) -> FarmShape:
        """The part of the farm that can serve such a task, on the one version of its program that most slots have."""
        able = self.able(needs, allow)
        program = ""
        if needs.program:
            votes: dict[str, int] = {}
            for node in able:
                for p in {f"{p.name}=={p.version}" for p in node.info.programs if program_matches(needs.program, p.name, p.version)}:
                    votes[p] = votes.get(p, 0) + max(1, node.info.slots)
            if votes:
                program = max(votes, key=lambda p: (votes[p], version_key(p)))
                able = [n for n in able if any(f"{p.name}=={p.version}" == program for p in n.info.programs)]
        slots = sum(max(1, n.info.slots) for n in able)
        cores = sum(n.info.cores for n in able)
        return FarmShape(
            slots=max(1, slots),
            nodes=max(1, len(able)),
            cores_per_slot=cores / slots if slots else 1.0,
            program=program,
            gpus=tuple(sorted(gpu for node in able for gpu in node.info.gpus)),
        )

    def why_none(self, needs: Needs, allow: str) -> str:
        """One sentence on why no node present can run such a job; empty where one can."""
        with self._lock:
            if any(not n.resting for n in self.able(needs, allow)):
                return ""
            here = [n for n in self._nodes.values() if n.online]
            if not here:
                return "No node is connected, so the task waits: start one with `clusterray node start --join CODE`."
            reasons = [f"node {n.info.name} {self._not_now(n, needs, allow)}" for n in here[:3]]
            return f"No node can run it now, so it waits: {'; '.join(reasons)}{' …' if len(here) > 3 else ''}."

    def left_out(self, needs: Needs, allow: str, program: str) -> str:
        """One sentence on the nodes that could run such a job, were it not for another version of its program; empty: there are none."""
        name, _, version = program.partition("==")
        with self._lock:
            able = self.able(needs, allow)
            other = [n for n in able if not any(program_matches(program, p.name, p.version) for p in n.info.programs)]
        if not other or not version:
            return ""
        have = [f"{n.info.name} (it has {', '.join(p.version for p in n.info.programs if p.name == name)})" for n in other[:3]]
        waits = ", and no node with that one is here now" if len(other) == len(able) else ""
        word, verb = ("Node", "is") if len(other) == 1 else ("Nodes", "are")
        more = " and more" if len(other) > 3 else ""
        return f"{word} {', '.join(have)}{more} {verb} left out, because the task runs on {name} {version} alone{waits}."

    def _unfit(self, node: Presence, needs: Needs, allow: str) -> str:
        """Why a node cannot run such a job, as things stand, as the end of "node X ..."."""
        return lacks(node.info, needs, allow) or (self.shared_bar(node, needs.shared) if needs.shared else "")

    def _not_now(self, node: Presence, needs: Needs, allow: str) -> str:
        """Why a node takes no such job, as the end of "node X ..."."""
        if node.locked or node.draining:
            return "is locked" if node.locked else "is draining"
        return self._unfit(node, needs, allow) or f"takes no job now: {node.resting.rstrip('.')}"
