"""A slot's warm program: one process that does job after job of a task, so that starting it and loading the scene are paid once.

It runs in the same confinement as any program, in a scratch folder of its own. For each job it gets a line of JSON and a fresh folder for
its outputs, which are moved to the lease's own when it says that it is done (see kind.Warm). It is only ever a shortcut: whatever goes
wrong with it, the job is done by a program of its own in the same attempt. After two failures in a row it is not tried again for such jobs.

It ends with the task: when a job of another sort comes to the slot, when none has come for a minute, when the node leaves.
"""

from __future__ import annotations

import logging
import os
import stat
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from ..common import process
from ..common.clock import Clock
from ..common.errors import FileError, OutputRejected
from ..common.kinds.kind import WARM_DONE, WARM_FAILED, Place, Recipe, Warm
from ..common.model import PackRef, new_id
from .cards import Cards
from .program import Ended, Launch, Launcher, Watch
from .scratch import Scratch, remove_tree
from .work import Work

log = logging.getLogger(__name__)

IDLE = 60.0
"""Seconds that a program waits for its next job."""
TRIES = 2
"""Failures in a row after which such jobs are left to programs of their own."""
REMEMBERED = 100
"""Sorts of jobs whose failures are remembered."""

Sort = tuple[Any, ...]
"""Jobs of one sort may share a program."""
Pin = Callable[[PackRef], AbstractContextManager[object]]
T = TypeVar("T")


class Fault(Exception):
    """The warm program is of no use; the job has to be done without it."""


class WarmProgram:
    """One warm program while it lives; ``hear`` is called by its output thread, all else by the slot's work thread."""

    def __init__(self, sort: Sort, folder: Path, cards: tuple[int, ...]) -> None:
        self.sort = sort
        self.folder = folder
        self.cards = cards
        self.pins = ExitStack()
        """What is let go when it has ended."""
        self.running: process.Fed | None = None
        self._answered = threading.Event()
        self._watch: Watch | None = None
        self._failure = ""
        self._jobs = 0
        self._breach = False

    @property
    def ended(self) -> bool:
        return self.running is not None and self.running.ended.is_set()

    def job(self, work: Work, watch: Watch, request: Warm, start: Callable[[], process.Fed], launcher: Launcher, out: Path) -> None:
        """Have one job done and its outputs moved to ``out``, starting the program if need be. Raises Fault; Ended as Launcher.attend."""
        if self._breach:
            raise Fault("it answered without being asked")
        self._jobs += 1
        name = f"job-{self._jobs}"
        _make(self.folder, name)
        self._answered.clear()
        self._watch = watch
        try:
            if self.running is None:
                self.running = start()
            words = {**request.request, "out": str(self.folder / name / "out")}
            self.running.feed(msgspec.json.encode(words) + b"\n")
            launcher.attend(work, self.running, watch, self._answered)
        finally:
            self._watch = None
        if not self._answered.is_set():
            last = next((line for line in reversed(self.running.lines()) if line.strip()), "it printed nothing")
            raise Fault(f"it ended with code {self.running.poll()}: {last.strip()}")
        if self._failure:
            raise Fault(self._failure)
        try:
            _move(self.folder, name, out)
        except OSError as error:
            raise Fault(f"its outputs cannot be taken over: {error}") from error
        remove_tree(self.folder / name)

    def hear(self, line: str) -> None:
        """A line of its output: an answer, or for the job in hand."""
        watch, said = self._watch, line.strip()
        if said != WARM_DONE and not said.startswith(WARM_FAILED):
            if watch is not None:
                watch.hear(line)
        elif watch is None:
            self._breach = True
        else:
            self._failure = "" if said == WARM_DONE else said.removeprefix(WARM_FAILED).lstrip(" :") or "it did not say why"
            self._watch = None
            self._answered.set()

    def end(self) -> None:
        """Stop it, whatever it does. From any thread; within 5 s."""
        if self.running is not None:
            self.running.stop()


class WarmSlot:
    """The warm program of one slot, or none. All calls come from the slot's work thread."""

    def __init__(self, *, launcher: Launcher, pin: Pin, scratch: Scratch, cards: Cards, clock: Clock) -> None:
        """``pin`` keeps a bundle's files where they are while a program may read them."""
        self._launcher = launcher
        self._pin = pin
        self._scratch = scratch
        self._cards = cards
        self._clock = clock
        self._program: WarmProgram | None = None
        self._name = ""
        self._rested = 0.0
        self._failures: dict[Sort, int] = {}

    @property
    def end(self) -> Callable[[], None] | None:
        """What ends the program, for Cards.take; None: there is none."""
        return self._program.end if self._program is not None else None

    def run(self, work: Work, recipe: Recipe, place: Place, gather: Callable[[], T]) -> T | None:
        """Do the job and return what ``gather`` makes of ``scratch/out``; None: not done, and nothing is left of the try.

        Raises Ended where the lease or one of its limits has ended.
        """
        sort = _sort(work, recipe, place)
        if self._program is not None and (self._program.sort != sort or self._program.ended):
            self.close()
        if recipe.warm is None or sort is None or self._failures.get(sort, 0) >= TRIES:
            return None
        try:
            program = self._program or self._new(work, sort, place)
            watch = Watch(work, recipe.progress, self._clock)
            program.job(work, watch, recipe.warm, lambda: self._start(program, work, recipe, place), self._launcher, place.scratch / "out")
            gathered = gather()
        except Ended:
            if not work.stop.is_set():  # a program that hangs is no better than one that dies
                self._failed(sort)
            self.close()
            raise
        except (Fault, FileError, OutputRejected, OSError) as error:
            self._failed(sort)
            self.close()
            log.info("lease %s: the warm program failed: %s", work.lease[:8], error)
            work.say(f"The shared program of this slot failed ({str(error).rstrip('.')}); the job is done by a program of its own.")
            for path in (place.scratch / "out").iterdir():
                remove_tree(path)
            return None
        self._failures.pop(sort, None)
        self._rested = self._clock.monotonic()
        self._cards.rest(program.cards, program.end)
        return gathered

    def rest(self) -> float | None:
        """Between two jobs: end the program if it was idle for too long. Returns when to call again, in seconds; None: there is none."""
        if self._program is None:
            return None
        left = self._rested + IDLE - self._clock.monotonic()
        if left <= 0 or self._program.ended:
            self.close()
            return None
        return left

    def close(self) -> None:
        """End the program, if there is one."""
        program, self._program = self._program, None
        if program is not None:
            program.end()
            self._cards.gone(program.end)
            program.pins.close()
            self._scratch.remove(self._name)

    def _new(self, work: Work, sort: Sort, place: Place) -> WarmProgram:
        self._name = f"warm-{new_id()}"
        program = self._program = WarmProgram(sort, self._scratch.make(self._name), place.gpus)
        program.pins.enter_context(self._pin(work.grant.bundle))
        return program

    def _start(self, program: WarmProgram, work: Work, recipe: Recipe, place: Place) -> process.Fed:
        assert recipe.warm is not None
        for name, data in recipe.warm.files.items():
            path = program.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        launch = Launch(
            name=self._name,
            folder=program.folder,
            argv=recipe.warm.argv,
            env={**recipe.env, **recipe.warm.env},
            inputs=place.inputs,
            cwd=program.folder,
            see=(*recipe.see, *place.see),
            network=recipe.network,
            cards=place.gpus,
            memory=work.grant.needs.memory,
        )
        return self._launcher.start_fed(launch, program.hear)

    def _failed(self, sort: Sort) -> None:
        self._failures[sort] = self._failures.pop(sort, 0) + 1
        while len(self._failures) > REMEMBERED:
            del self._failures[next(iter(self._failures))]


def _sort(work: Work, recipe: Recipe, place: Place) -> Sort | None:
    """What jobs must have in common to share a program: their task, its files, the kind's own key and the cards."""
    if recipe.warm is None:
        return None
    grant = work.grant
    return (grant.task, grant.kind, grant.kind_version, grant.bundle.digest, grant.program, recipe.warm.key, place.gpus)


class _Open(ExitStack):
    """Folders that are open until the end of the block. The program lives on and may exchange folders for links: none is followed."""

    def folder(self, name: str | Path, above: int | None = None) -> int:
        handle = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=above)
        self.callback(os.close, handle)
        return handle


def _make(folder: Path, job: str) -> None:
    """Make ``folder/job/out``. Raises OSError where the program was there first."""
    with _Open() as opened:
        above = opened.folder(folder)
        os.mkdir(job, dir_fd=above)
        os.mkdir("out", dir_fd=opened.folder(job, above))


def _move(folder: Path, job: str, to: Path) -> None:
    """Move what lies in ``folder/job/out``: its files, into folders of our own, as the program may hold its folders open and go on writing
    into them wherever they are. A link cannot be put in the place of a file: what is linked here is a file, or later seen to be none."""

    def move(source: int, target: int) -> None:
        with _Open() as opened:
            for name in os.listdir(source):
                if stat.S_ISDIR(os.stat(name, dir_fd=source, follow_symlinks=False).st_mode):
                    os.mkdir(name, dir_fd=target)
                    move(opened.folder(name, source), opened.folder(name, target))
                else:
                    os.link(name, name, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)

    with _Open() as opened:
        move(opened.folder("out", opened.folder(job, opened.folder(folder))), opened.folder(to))
