"""Photos that look alike, for sets without GPS: each photo as one vector (VLAD), and the nearest vectors to each.

Jegou et al., Aggregating local descriptors into a compact image representation (2010), with each word's residuals normalised by themselves
(Arandjelovic & Zisserman, All about VLAD, 2013) and the root of all taken. The words are learned from the photos themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from .pairs import Pair

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FEATURES = 800
"""Of a photo, the largest: they are what other distances and angles see too."""
WORDS = 64
LEARNED = 60_000
"""Descriptors that the words are learned from."""
ROUNDS = 15
ALIKE = 20
"""Photos that each one is compared with: above the 13 of GPS, as looks err."""


def similar(
    numbers: Iterable[int], wanted: Iterable[int], descriptors: Callable[[int], NDArray[np.uint8]], count: int = ALIKE
) -> list[Pair]:
    """For each of ``wanted`` its ``count`` nearest among ``numbers``; ``descriptors``: of a photo, (n, 128), the largest scale first."""
    import numpy as np

    all_numbers, some = sorted(numbers), sorted(wanted)
    row = {number: at for at, number in enumerate(all_numbers)}
    held = [np.array(descriptors(number)[:FEATURES]) for number in all_numbers]
    words = learn(held)
    vectors = np.stack([vlad(found, words) for found in held])
    pairs = []
    for number in some:
        near = vectors @ vectors[row[number]]
        near[row[number]] = -np.inf
        best = np.argsort(-near, kind="stable")[: min(count, len(all_numbers) - 1)]
        pairs += [(number, all_numbers[other]) for other in best.tolist()]
    return pairs


def learn(held: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """(WORDS, 128) by k-means over a sample of all photos' descriptors, always the same."""
    import numpy as np

    each = max(1, LEARNED // max(1, len(held)))
    sample = _unit(np.concatenate([found[np.linspace(0, len(found) - 1, min(each, len(found)), dtype=int)] for found in held]))
    words: NDArray[np.float32] = sample[np.random.default_rng(0).choice(len(sample), min(WORDS, len(sample)), replace=False)]
    for _ in range(ROUNDS):
        nearest = _nearest(sample, words)
        sums = np.zeros_like(words)
        np.add.at(sums, nearest, sample)
        counts = np.bincount(nearest, minlength=len(words))[:, None]
        words = np.where(counts > 0, sums / np.maximum(counts, 1).astype(np.float32), words)
    return words


def vlad(found: NDArray[np.uint8], words: NDArray[np.float32]) -> NDArray[np.float32]:
    """(words * 128,) of length 1; zeros where a photo has no features."""
    import numpy as np

    sums: NDArray[np.float32] = np.zeros_like(words)
    if len(found):
        values = _unit(found)
        nearest = _nearest(values, words)
        np.add.at(sums, nearest, values - words[nearest])
    sums /= np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-9).astype(np.float32)
    vector = (np.sign(sums) * np.sqrt(np.abs(sums))).ravel()
    whole: NDArray[np.float32] = (vector / max(float(np.linalg.norm(vector)), 1e-9)).astype(np.float32)
    return whole


def _unit(descriptors: NDArray[np.uint8]) -> NDArray[np.float32]:
    import numpy as np

    values = descriptors.astype(np.float32)
    values /= np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-9)
    return values


def _nearest(values: NDArray[np.float32], words: NDArray[np.float32]) -> NDArray[np.int64]:
    import numpy as np

    found: NDArray[np.int64] = np.argmax(values @ words.T - (words * words).sum(axis=1) / 2, axis=1)
    return found
