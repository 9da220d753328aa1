"""How photos hang together by their matches: islands, which no match ties to each other, and how they are told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .records import Matches

NAMED = 8
"""Photos named in a sentence; the report has all."""


def islands(matches: Matches, numbers: Sequence[int]) -> list[list[int]]:
    """Photo numbers in groups that matches connect, the largest first, then that of the lowest number; photos without a match alone."""
    parent = {number: number for number in numbers}

    def root(number: int) -> int:
        while parent[number] != number:
            parent[number] = parent[parent[number]]
            number = parent[number]
        return number

    for first, second in matches.pairs.tolist():
        if first in parent and second in parent:
            low, high = sorted((root(first), root(second)))
            parent[high] = low
    groups: dict[int, list[int]] = {}
    for number in sorted(numbers):
        groups.setdefault(root(number), []).append(number)
    return sorted(groups.values(), key=lambda group: (-len(group), group[0]))


def told(groups: Sequence[Sequence[int]], names: Mapping[int, str]) -> list[str]:
    """Sentences for the one who took the photos; none where all hang together."""
    several = [group for group in groups if len(group) > 1]
    alone = [group[0] for group in groups if len(group) == 1]
    sentences = []
    if len(several) > 1:
        which = "; ".join(f"{len(group)} photos: {listed([names[number] for number in group])}" for group in several)
        sentences.append(
            f"The photos fall into {len(several)} islands that show nothing in common ({which}). The largest is used; submit the others as"
            " tasks of their own, or add photos between them."
        )
    if alone:
        them = "shows" if len(alone) == 1 else "show"
        what = "photo" if len(alone) == 1 else "photos"
        sentences.append(
            f"{len(alone)} {what} {them} nothing that another one shows and cannot be used: {listed([names[number] for number in alone])}."
        )
    return sentences


def listed(names: Sequence[str]) -> str:
    """``a, b, c``; of many the first ones and how many more."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
