"""Packs rectangles into pages: shelves, the highest rectangles first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

EVEN = 16
"""A page's height is a multiple of it: JPEG's blocks with colours at half size."""


@dataclass(frozen=True, kw_only=True)
class Packing:
    places: NDArray[np.int64]
    """(n, 3) page, left, top of each rectangle"""
    pages: tuple[tuple[int, int], ...]
    """Width and height of each page"""


def pack(sizes: NDArray[np.int64], side: int, most: int) -> Packing | None:
    """Put rectangles (n, 2: width, height) into at most ``most`` pages of at most ``side`` x ``side``; None where they do not fit."""
    import numpy as np

    if len(sizes) and sizes.max() > side:
        return None
    order = np.lexsort((np.arange(len(sizes)), -sizes[:, 0], -sizes[:, 1]))
    places = np.zeros((len(sizes), 3), np.int64)
    free: list[int] = []  # of each shelf, what is left of its width
    where: list[tuple[int, int]] = []  # page and top of each shelf
    full: list[int] = []  # of each page, the height that is used
    first = 0
    for number in order:
        width, height = int(sizes[number, 0]), int(sizes[number, 1])
        while first < len(free) and free[first] < 4:
            first += 1
        shelf = next((n for n in range(first, len(free)) if free[n] >= width), -1)
        if shelf < 0:
            page = next((n for n, used in enumerate(full) if used + height <= side), -1)
            if page < 0:
                if len(full) == most:
                    return None
                page = len(full)
                full.append(0)
            shelf = len(free)
            free.append(side)
            where.append((page, full[page]))
            full[page] += height
        page, top = where[shelf]
        places[number] = page, side - free[shelf], top
        free[shelf] -= width
    return Packing(places=places, pages=tuple((side, min(side, -(-used // EVEN) * EVEN)) for used in full))


def pack_small(sizes: NDArray[np.int64], side: int, most: int) -> Packing | None:
    """As ``pack``, but one page of half the side, a quarter … where that is enough."""
    small = side
    tries = []
    while small >= 128:
        tries.append(small)
        small //= 2
    area = int((sizes[:, 0] * sizes[:, 1]).sum())
    for small in reversed(tries):
        if area <= small * small and (found := pack(sizes, small, 1)) is not None:
            return found
    return pack(sizes, side, most)
