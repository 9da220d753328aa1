"""The order of the queue: priority, then arrival; submitters of equal priority in turn. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from heapq import heapify, heappop, heapreplace
from itertools import groupby
from typing import NamedTuple


class Queued(NamedTuple):
    """A task in the queue; ``arrival`` sorts."""

    task: str
    owner: str
    priority: int
    arrival: tuple[float, int]


def in_turn(queued: Iterable[Queued], served: Mapping[str, int]) -> list[Queued]:
    """The whole queue as it will be served. ``served``: owner -> number of the last turn that it had (higher: more recent).

    Within a priority the owner whose last turn is the longest ago comes next, with its oldest task; among owners that
    never had one, the oldest task decides.
    """
    order: list[Queued] = []
    last = dict(served)
    turn = max(last.values(), default=0)
    for _, level in groupby(sorted(queued, key=lambda q: (-q.priority, q.arrival)), key=lambda q: q.priority):
        mine: dict[str, deque[Queued]] = {}
        for one in level:
            mine.setdefault(one.owner, deque()).append(one)
        following = [(last.get(owner, 0), own[0].arrival, owner) for owner, own in mine.items()]
        heapify(following)
        while following:
            owner = following[0][2]
            turn += 1
            last[owner] = turn
            order.append(mine[owner].popleft())
            if mine[owner]:
                heapreplace(following, (turn, mine[owner][0].arrival, owner))
            else:
                heappop(following)
    return order


def place_of(task: str, order: Sequence[Queued]) -> int | None:
    """Place in the queue, from 1."""
    return next((n for n, q in enumerate(order, 1) if q.task == task), None)
