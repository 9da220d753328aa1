"""One process for many jobs of a task: that it is used, and that nothing which goes wrong with it costs a job. Real programs."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from clusterray.common import proc
from clusterray.common.clock import SystemClock
from clusterray.common.kinds.kind import Place, Recipe, Warm
from clusterray.common.model import Cause, Limits, Needs, PackRef, TaskSpec
from clusterray.common.testing_node import FolderCache, FolderCourier, grant
from clusterray.node import sandbox
from clusterray.node.cards import Card, Cards
from clusterray.node.means import Means
from clusterray.node.runner import Runner
from clusterray.node.sandbox import Confinement
from clusterray.node.scratch import Scratch
from clusterray.node.warm import _move
from clusterray.node.work import Ending, Work

PROGRAM = Path(__file__).parent.parent / "programs" / "warm.py"


class LateClock(SystemClock):
    """The real one, which a test sets forward."""

    late = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.late


class WarmKind:
    """Its jobs do what the option ``do`` says, warm; alone they always succeed."""

    name, version, allow, options = "only", 1, "render", ()

    def stages(self, task: TaskSpec) -> tuple[Any, ...]:
        return (self,)

    def process(self, task: TaskSpec, region: Any, place: Place) -> Recipe:
        said = {name: value for name, value in task.options.items() if name != "key"}
        warm = Warm(
            key=task.options.get("key", "k"), argv=(sys.executable, "-u", str(PROGRAM)), request=said, files={"name": b"a file of its own"}
        )
        return Recipe(
            argv=(sys.executable, str(PROGRAM), str(place.scratch / "out")),
            warm=warm,
            see=(PROGRAM.parent,),
            outputs=("pid", "deep/*"),
            progress=lambda line: 0.5 if line == "half" else None,
        )


class PinningCache(FolderCache):
    """Counts who reads a bundle's files."""

    pins = 0

    @contextlib.contextmanager
    def use(self, bundle: PackRef) -> Iterator[None]:
        self.pins += 1
        try:
            yield
        finally:
            self.pins -= 1


class Bench:
    """One slot."""

    def __init__(self, folder: Path, confinement: Confinement | None = None, cards: Cards | None = None) -> None:
        folder.mkdir(exist_ok=True)
        self.data = folder / "data"
        self.scratch = Scratch(self.data)
        (folder / "inputs").mkdir()
        self.cache = PinningCache(folder / "inputs")
        self.clock = LateClock()
        self.cards = cards or Cards(())
        means = Means(allow=("render",), programs=(), confinement=confinement or Confinement(), cores=1, keep_free=0, cards=self.cards)
        kind: Any = WarmKind()
        self.runner = Runner(
            means=means,
            kinds=lambda name: kind,
            cache=self.cache,
            couriers=lambda account, stop: FolderCourier(self.data, account, set()),
            scratch=self.scratch,
            clock=self.clock,
        )
        self.work = Work(grant(), threading.Event())

    def job(self, do: str = "work", *, task: str = "task", key: str = "k", **more: Any) -> str:
        """Do a job; the process that did it, or the cause of its failure. ``log`` has its lines."""
        known = {name: more.pop(name) for name in ("limits", "needs") if name in more}
        given = msgspec.structs.replace(grant("only", do=do, key=key, **known, **more), task=task)
        self.work = Work(given, threading.Event())
        result = self.runner.run(self.work).result
        assert result is not None
        self.log = result.lines
        self.scratch.remove(given.lease)
        if result.failure is not None:
            return str(result.failure.cause)
        return next(output.data for output in result.outputs if output.path == "pid" and output.data).decode()

    @property
    def notes(self) -> list[Path]:
        """What the next life of the node would look for."""
        return list((self.data / "running").iterdir())


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path / "node")
    yield bench
    bench.runner.close()
    assert list(bench.scratch.folder.glob("*/*/*")) == []
    assert (bench.notes, bench.cache.pins) == ([], 0), "a slot that has ended leaves nothing"


@pytest.mark.parametrize("confined", [False, True])
def test_jobs_of_a_task_share_one_process(tmp_path: Path, confined: bool) -> None:
    """Confined or not: started once, its outputs, folders included, are the job's, its lines and progress too; its files stay in place."""
    bench = Bench(tmp_path / "node", sandbox.try_out(tmp_path, "auto") if confined else Confinement())
    first = bench.job()
    assert bench.log == ("a line",)
    assert bench.work.progress().fraction == 1.0
    assert bench.cache.pins == 1, "what the program reads is not evicted between two jobs"
    assert bench.job() == first
    assert len(bench.notes) == 1
    bench.runner.close()
    assert (bench.notes, bench.cache.pins, list(bench.scratch.folder.glob("warm*"))) == ([], 0, [])


def test_another_task_or_key_gets_another_process(bench: Bench) -> None:
    """A scene that was loaded for one task serves no other; one program is there at a time."""
    first = bench.job()
    second = bench.job(task="other")
    third = bench.job(task="other", key="another scene")
    assert len({first, second, third}) == 3
    assert len(bench.notes) == 1
    assert proc.look(int(second)) is None


@pytest.mark.parametrize(
    ("do", "why"),
    [
        ("die", "it ended with code 3: segmentation fault, say"),
        ("fail", "the scene would not load"),
        ("lie", "made no file 'pid'"),
    ],
)
def test_a_job_that_fails_warm_is_done_alone_in_the_same_attempt(bench: Bench, do: str, why: str) -> None:
    """Also in the second job; the log says why. The next job starts a new one; after two failures in a row none is started any more."""
    first = bench.job()
    alone = bench.job(do)
    assert alone not in (first, str(Cause.ERROR))
    assert any(why in line and line.startswith("The shared program of this slot failed") for line in bench.log), bench.log
    again = bench.job()
    assert bench.job() == again
    for _ in range(2):
        bench.job(do)
    assert bench.job() != bench.job()
    assert bench.notes == []
    assert bench.job(key="another scene") == bench.job(key="another scene"), "other jobs may still share one"


def test_one_that_answers_without_being_asked_is_not_trusted(bench: Bench) -> None:
    """An answer too many could be taken for that of the next job."""
    bench.job("twice")
    before = bench.notes
    while not proc_is_quiet(bench):
        pass
    alone = bench.job("twice")
    assert "it answered without being asked" in bench.log[-1] or "made no file" in bench.log[-1]
    assert alone.isdigit()
    assert bench.notes == [] != before


def proc_is_quiet(bench: Bench) -> bool:
    """Whether the second answer was heard."""
    program = bench.runner._warm._program
    return program is not None and program._breach


def test_its_folder_is_never_followed_elsewhere(bench: Bench, tmp_path: Path) -> None:
    """A program that lives on may exchange folders for links; the node would move its own files."""
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "pid").write_text("secret")
    assert bench.job("link", to=str(secret)).isdigit()
    assert (secret / "pid").read_text() == "secret"


def test_a_folder_that_the_program_made_first_is_not_used(bench: Bench, tmp_path: Path) -> None:
    """It could be a link: the node would make folders elsewhere."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    warm = bench.job("first", to=str(elsewhere))
    assert bench.job() != warm
    assert list(elsewhere.iterdir()) == []


def test_a_folder_that_is_held_open_is_not_taken_over(tmp_path: Path) -> None:
    """The program lives on: through a folder of outputs that it has open it could change what is collected."""
    (tmp_path / "job" / "out" / "deep").mkdir(parents=True)
    (tmp_path / "job" / "out" / "deep" / "a").write_text("a")
    (tmp_path / "to").mkdir()
    held = os.open(tmp_path / "job" / "out" / "deep", os.O_RDONLY)
    try:
        _move(tmp_path, "job", tmp_path / "to")
        os.symlink("/nowhere", "later", dir_fd=held)
    finally:
        os.close(held)
    assert [path.relative_to(tmp_path / "to").as_posix() for path in sorted((tmp_path / "to").rglob("*"))] == ["deep", "deep/a"]


def test_a_hanging_one_is_stopped_as_any_program(bench: Bench) -> None:
    """Time and progress are limited; what hangs twice is left to programs of their own."""
    assert bench.job("hang", limits=Limits(timeout=0.3)) == Cause.TIMEOUT
    assert bench.job("hang", limits=Limits(stall=0.3)) == Cause.STALL
    assert bench.notes == []
    assert bench.job("hang").isdigit()


def test_a_cancel_ends_it_and_is_no_fault_of_its_own(bench: Bench) -> None:
    """Within 5 s; the next job gets a new one, however often tasks are cancelled."""
    for _ in range(2):
        bench.job()
        timer = threading.Timer(0.3, lambda: bench.work.end(Ending.CANCELED))
        timer.start()
        begun = bench.clock.monotonic()
        assert bench.job("hang and be deaf") == Cause.CANCELED
        assert bench.clock.monotonic() - begun < 5.5
        timer.join()
        assert bench.notes == []
    assert bench.job() == bench.job()


def test_a_request_that_is_not_read_does_not_hold_up_a_stop(bench: Bench) -> None:
    """More than a pipe takes, for a program that does not listen."""
    first = bench.job()
    proc_of = proc.look(int(first))
    assert proc_of is not None
    proc.send(proc_of, signal.SIGSTOP)
    assert bench.job(limits=Limits(timeout=0.4), much="x" * 300_000) == Cause.TIMEOUT
    assert len(bench.job(much="x" * 300_000)) > 0


def test_an_idle_one_ends_after_a_minute(bench: Bench) -> None:
    """Its memory is for others then."""
    assert bench.runner.rest() is None
    first = bench.job()
    left = bench.runner.rest()
    assert left is not None and 50 < left <= 60
    bench.clock.late += 61
    assert bench.runner.rest() is None
    assert proc.look(int(first)) is None
    assert bench.job() != first


def test_one_that_died_between_two_jobs_is_no_failure(bench: Bench) -> None:
    """The kernel may have ended it for its memory; the next job starts another."""
    first = bench.job()
    process = proc.look(int(first))
    assert process is not None
    proc.send(process, signal.SIGKILL)
    program = bench.runner._warm._program
    assert program is not None and program.running is not None and program.running.wait(10) is not None
    second = bench.job()
    assert second != first
    assert bench.job() == second


def test_the_next_life_of_a_crashed_node_ends_it(bench: Bench) -> None:
    """Its note is on disk from before its start."""
    pid = int(bench.job())
    assert Scratch(bench.data).clear() >= 1
    process = proc.look(pid)
    assert process is None or process.dead


def test_a_job_of_another_slot_gets_the_card_that_an_idle_one_rests_on(tmp_path: Path) -> None:
    """A card belongs to one job alone: the program that waits on it is ended first."""
    cards = Cards([Card(maker="NVIDIA", number=0, name="One")])
    one, two = Bench(tmp_path / "one", cards=cards), Bench(tmp_path / "two", cards=cards)
    needs = Needs(gpu=1)
    first = one.job(needs=needs)
    assert one.job(needs=needs) == first, "the same job's kind keeps its card"
    second = two.job(needs=needs)
    assert proc.look(int(first)) is None
    assert one.job(needs=needs) != first
    assert proc.look(int(second)) is None
    one.runner.close()
    two.runner.close()
