"""Hands for the whole session, with the kinds that tests need; benches that use them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from clusterray.common.clock import SystemClock
from clusterray.common.testing import FakeClock

from .bench import Bench, SharedHands, farm_with
from .live import Live

KINDS = "clusterray.common.kinds.echo:ECHO,slow_kind:SLOW"
PLACE = str(Path(__file__).parents[1] / "farm" / "path")


def set_kinds(patch: pytest.MonkeyPatch) -> None:
    """The environment that hands are started in."""
    patch.setenv("CLUSTERRAY_EXTRA_KINDS", KINDS)
    patch.setenv("PYTHONPATH", PLACE)


@pytest.fixture
def with_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    """For this test's own hands; nobody after it sees these kinds."""
    set_kinds(monkeypatch)


@pytest.fixture(scope="session")
def hands() -> Iterator[SharedHands]:
    with pytest.MonkeyPatch.context() as patch:
        set_kinds(patch)
        shared = SharedHands(quick=1, heavy=2, memory=4_000_000_000, seconds=60.0)  # keeps the environment for all its children
    shared.warm()
    yield shared
    super(SharedHands, shared).close()


@pytest.fixture
def make_bench(tmp_path: Path, hands: SharedHands) -> Iterator[Callable[..., Bench]]:
    """Benches on one data folder, one after the other: closing one and making the next is a restart."""
    made: list[Bench] = []

    def make(**retention: object) -> Bench:
        for old in made:
            old.close()
        clock = FakeClock()
        made[:] = [Bench(farm_with(hands, tmp_path / "data", clock, **retention), clock)]
        return made[0]

    yield make
    for bench in made:
        bench.close()


@pytest.fixture
def bench(make_bench: Callable[..., Bench]) -> Bench:
    return make_bench()



@pytest.fixture
def live(tmp_path: Path, hands: SharedHands) -> Iterator[Live]:
    """A farm that is up."""
    farm = Live(farm_with(hands, tmp_path / "data", SystemClock()))
    yield farm
    farm.close()
