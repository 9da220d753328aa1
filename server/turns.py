"""The order of the queue: priority, then arrival; submitters of equal priority in turn. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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
    remaining = sorted(queued, key=lambda q: (-q.priority, q.arrival))
    while remaining:
        top = remaining[0].priority
        level = [q for q in remaining if q.priority == top]
        first_of: dict[str, Queued] = {}
        for q in level:
            first_of.setdefault(q.owner, q)
        following = min(first_of.values(), key=lambda q: (last.get(q.owner, 0), q.arrival))
        turn += 1
        last[following.owner] = turn
        order.append(following)
        remaining.remove(following)
    return order


def place_of(task: str, order: Sequence[Queued]) -> int | None:
    """Place in the queue, from 1."""
    return next((n for n, q in enumerate(order, 1) if q.task == task), None)
