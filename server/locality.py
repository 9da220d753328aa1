"""Which node probably holds which packs, so that a job goes where its files are. A guess: what was leased to a node once, it fetched.

A node that has thrown a pack away fetches it again; nobody waits for a node that holds more: an idle slot takes the best that there is.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

LEAST = 64 << 10
"""Bytes; smaller packs are quickly fetched and not counted."""
REMEMBERED = 20_000
"""Packs for each node, the latest first."""
LOOK = 64
"""So many of the next jobs are compared."""


@dataclass(frozen=True)
class Want:
    """What a job reads."""

    turn: int
    packs: Mapping[str, int]
    """Digest -> bytes; jobs with the same needs share one."""


class Locality:
    """Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[str, OrderedDict[str, None]] = {}
        """Node -> digests, the latest last."""
        self._holders: dict[str, set[str]] = {}

    def sent(self, node: str, packs: Mapping[str, int]) -> None:
        """A lease was given that reads these (digest -> bytes)."""
        with self._lock:
            held = self._held.setdefault(node, OrderedDict())
            for digest, size in packs.items():
                if size >= LEAST:
                    held[digest] = None
                    held.move_to_end(digest)
                    self._holders.setdefault(digest, set()).add(node)
            while len(held) > REMEMBERED:
                self._lose(node, held.popitem(last=False)[0])

    def forget(self, nodes: Iterable[str]) -> None:
        """Nodes that are not known any more."""
        with self._lock:
            for node in nodes:
                for digest in self._held.pop(node, ()):
                    self._lose(node, digest)

    def best(self, node: str, jobs: Sequence[str], wants: Mapping[str, Want]) -> str:
        """The one of ``jobs`` (at least one, in their order) for which this node has the most bytes and others the fewest.

        Only jobs of the first one's turn are compared; the earlier one wins a tie.
        """
        first = wants.get(jobs[0])
        if first is None:
            return jobs[0]
        with self._lock:
            if not self._holders:
                return jobs[0]
            scores: dict[int, int] = {}
            best, most = jobs[0], self._score(node, first.packs)
            scores[id(first.packs)] = most
            for job in jobs[1:LOOK]:
                want = wants.get(job)
                if want is None or want.turn != first.turn:
                    break
                score = scores.get(id(want.packs))
                if score is None:
                    score = scores[id(want.packs)] = self._score(node, want.packs)
                if score > most:
                    best, most = job, score
        return best

    def _score(self, node: str, packs: Mapping[str, int]) -> int:
        """Bytes that are here, less those that are elsewhere only."""
        score = 0
        for digest, size in packs.items():
            holders = self._holders.get(digest)
            if holders:
                score += size if node in holders else -size
        return score

    def _lose(self, node: str, digest: str) -> None:
        holders = self._holders[digest]
        holders.discard(node)
        if not holders:
            del self._holders[digest]
