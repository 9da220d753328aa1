"""A job's program on this machine: started in the confinement, then watched for its time, its progress and a word from the link thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from ..common import proc, process
from ..common.clock import Clock
from ..common.model import Cause, Failure, new_id
from .means import Means
from .probe import free_disk
from .scratch import Note, Scratch
from .work import Work

LOOK = 0.25
"""Seconds between two looks at a running program's clock; its end is noticed at once."""
MIB = 1 << 20
NICE = 5
"""Jobs yield to the agent's beats and to the person at the machine."""

OnLine = Callable[[str], None]
R = TypeVar("R", bound=process.Running)


class Ended(Exception):
    """The attempt is over without outputs."""

    def __init__(self, failure: Failure | None, *, no_room: bool = False) -> None:
        self.failure = failure
        self.no_room = no_room


def returned(sentence: str, *, no_room: bool = False) -> Ended:
    """The job is given back, which costs the task no attempt."""
    return Ended(Failure(cause=Cause.RETURNED, sentence=sentence), no_room=no_room)


class Watch:
    """Hears a program's lines: progress goes into the beats, all else into the submitter's log."""

    def __init__(self, work: Work, progress: Callable[[str], float | None] | None, clock: Clock) -> None:
        self._work = work
        self._progress = progress
        self._clock = clock
        self.moved = clock.monotonic()
        """When it last went on; without a progress parser any line counts."""

    def hear(self, line: str) -> None:
        fraction = self._progress(line) if self._progress is not None else None
        if fraction is None:
            self._work.say(line)
        if self._progress is None or (fraction is not None and self._work.advance(fraction)):
            self.moved = self._clock.monotonic()


@dataclass(frozen=True, kw_only=True)
class Launch:
    """A program to be started."""

    name: str
    """Of its scratch folder and of the note that the next life of this node would find it by: a lease, or a warm program's own."""
    folder: Path
    """Its scratch folder, all that it may write to."""
    argv: Sequence[str]
    env: Mapping[str, str]
    inputs: Path
    cwd: Path
    see: Sequence[Path] = ()
    network: bool = False
    cards: Sequence[int] = ()
    """Graphics cards that it may use; no others are shown to it."""
    memory: int = 0
    """Bytes that it may have; 0: any."""


class Launcher:
    """Starts programs as this node runs them. A slot calls it from its work thread, as bubblewrap dies with the thread that started it."""

    def __init__(self, *, means: Means, scratch: Scratch, clock: Clock) -> None:
        self._means = means
        self._scratch = scratch
        self._clock = clock

    def start(self, launch: Launch, on_line: OnLine) -> process.Running:
        """Start it with nothing on its standard input. Raises FileError where the program is not there."""
        return self._start(process.start, launch, on_line)

    def start_fed(self, launch: Launch, on_line: OnLine) -> process.Fed:
        """Start it with a pipe to its standard input."""
        return self._start(process.start_fed, launch, on_line)

    def attend(self, work: Work, running: process.Running, watch: Watch, over: threading.Event) -> None:
        """Until ``over`` is set or the program has ended. Raises Ended, with the program stopped, where the lease or a limit ends first."""
        limits = work.grant.limits
        begun = self._clock.monotonic()
        while not self._clock.wait(over, LOOK) and not running.ended.is_set():
            if isinstance(running, process.Fed):
                running.feed()
            if work.stop.is_set():
                running.stop()
                raise Ended(work.failure())
            now = self._clock.monotonic()
            if limits.timeout > 0 and now - begun > limits.timeout:
                running.stop()
                sentence = f"The job took longer than its limit of {limits.timeout:g} s ([limits] timeout)."
                raise Ended(Failure(cause=Cause.TIMEOUT, sentence=sentence, tail=running.lines()))
            if limits.stall > 0 and now - watch.moved > limits.stall:
                running.stop()
                sentence = f"The job showed no progress for {limits.stall:g} s ([limits] stall)."
                raise Ended(Failure(cause=Cause.STALL, sentence=sentence, tail=running.lines()))

    def _start(self, starter: Callable[..., R], launch: Launch, on_line: OnLine) -> R:
        mark, temporary = new_id(), launch.folder / "tmp"
        env = process.plain_env(launch.folder) | {"TMPDIR": str(temporary)} | self._means.cards.environment(launch.cards)
        env |= {**launch.env, proc.MARK: mark}
        temporary.mkdir(exist_ok=True)
        argv = self._means.confinement.wrap(
            launch.argv,
            inputs=launch.inputs,
            scratch=launch.folder,
            cwd=launch.cwd,
            env=env,
            see=launch.see,
            network=launch.network,
            cards=bool(launch.cards),
        )
        self._scratch.note(launch.name, Note(mark=mark))
        running = starter(argv, cwd=launch.cwd, env=env, limits=self._limits(launch), on_line=on_line, mark=mark)
        try:
            self._scratch.note(launch.name, Note(mark=mark, pid=running.pid, started=running.started))
        except BaseException:
            running.stop()
            raise
        return running

    def _limits(self, launch: Launch) -> process.ProcessLimits:
        # Address space is more than memory: stacks, arenas of malloc and libraries are reserved and never touched. A graphics card's
        # driver reserves more than any limit (all of the card and of the machine), so that a job with cards goes without.
        memory = launch.memory if not launch.cards else 0
        room = memory + (256 + 128 * self._means.cores) * MIB if memory else 0
        most = max(64 * MIB, free_disk(self._scratch.folder) - self._means.keep_free)
        return process.ProcessLimits(address_space=room, file_size=most, nice=NICE)
