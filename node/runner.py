"""One grant, from the lease to its result: check, fetch, run, collect.

What this machine cannot do is given back (RETURNED, which costs the task no attempt); what the job itself did wrong is a
failure with its evidence. A program is watched for its end, its time, its progress and for a word from the link thread, and
whatever it leaves running is ended before its outputs are looked at.

A recipe that is a call into our own code (``Recipe.call``) runs right here, in the work thread: no process, no thread, no
sync to disk, so that thousands a second are possible. It cannot be interrupted; kinds keep such calls short.
"""

from __future__ import annotations

import logging
import signal
import threading
import traceback
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import msgspec

from ..common import proc, process
from ..common.clock import Clock
from ..common.errors import ClusterRayError, DiskFull, FileError, KindError, LinkError, OutputRejected, UsageError
from ..common.kinds.kind import Kind, Place, Recipe, Stage
from ..common.model import Account, Cause, Failure, Output, PackRef, Program, Result, TaskSpec, new_id
from .outputs import collect
from .probe import free_disk
from .sandbox import Confinement
from .scratch import Note, Scratch
from .work import LINE_CAP, Work

log = logging.getLogger(__name__)

LOOK = 0.25
"""Seconds between two looks at a running program's clock; its end is noticed at once."""
FETCH_ROUNDS = 3
MIB = 1 << 20
NICE = 5
"""Jobs yield to the agent's beats and to the person at the machine."""
_MEMORY_WORDS = ("MemoryError", "std::bad_alloc", "Out of memory", "out of memory", "Cannot allocate memory")


class Carrier(Protocol):
    """What the runner needs of a Courier: that it is one, and that it can be put down."""

    def put_file(self, name: str, path: Path) -> None: ...

    def close(self) -> None: ...


class Fetcher(Protocol):
    """What the runner needs of the node's cache."""

    def fetch(
        self, bundle: PackRef, needs: tuple[str, ...], courier: Any, note: Callable[[str], None], *, go_on: Callable[[], None]
    ) -> Path: ...

    def use(self, bundle: PackRef) -> AbstractContextManager[object]: ...

    def held(self) -> tuple[str, ...]: ...


Couriers = Callable[[Account, threading.Event], Carrier]
"""(account, stop event) -> a courier that connects when it is used."""


@dataclass(frozen=True, kw_only=True)
class Means:
    """What this node has and allows."""

    allow: tuple[str, ...]
    programs: tuple[Program, ...]
    confinement: Confinement
    cores: int
    """One slot's share."""
    keep_free: int


@dataclass(frozen=True)
class Outcome:
    """How a grant ended. ``result`` None: nothing to report. ``out``: the folder whose files have to be sent first."""

    result: Result | None
    out: Path | None = None
    no_room: bool = False


class Ended(Exception):
    """The attempt is over without outputs."""

    def __init__(self, failure: Failure | None, *, no_room: bool = False) -> None:
        self.failure = failure
        self.no_room = no_room


def _returned(sentence: str, *, no_room: bool = False) -> Ended:
    return Ended(Failure(cause=Cause.RETURNED, sentence=sentence), no_room=no_room)


class Runner:
    """Runs grants one after another. Scratch folders of outcomes with files are the caller's to remove."""

    def __init__(
        self,
        *,
        means: Means,
        kinds: Callable[[str], Kind],
        cache: Fetcher,
        couriers: Couriers,
        scratch: Scratch,
        clock: Clock,
    ) -> None:
        self._means = means
        self._kinds = kinds
        self._cache = cache
        self._couriers = couriers
        self._scratch = scratch
        self._clock = clock

    def run(self, work: Work) -> Outcome:
        """Do it; never raises."""
        begun = self._clock.monotonic()
        keep = False
        try:
            outputs = self._attempt(work)
            seconds = self._clock.monotonic() - begun
            keep = bool(outputs) and outputs[0].data is None
            result = Result(lease=work.lease, outputs=outputs, seconds=seconds, lines=work.rest_of_lines())
            return Outcome(result, self._scratch.place(work.lease) / "out" if keep else None)
        except Ended as ended:
            return self._outcome(work, ended.failure, begun, no_room=ended.no_room)
        except ClusterRayError as error:
            cause = Cause.REJECTED if isinstance(error, OutputRejected) else Cause.ERROR if isinstance(error, KindError) else Cause.RETURNED
            return self._outcome(work, Failure(cause=cause, sentence=str(error)), begun)
        except OSError as error:
            log.warning("lease %s: %s", work.lease[:8], error)
            return self._outcome(work, Failure(cause=Cause.RETURNED, sentence=f"The node's disk or system failed: {error}."), begun)
        except Exception as error:
            log.exception("lease %s: unexpected error", work.lease[:8])
            return self._outcome(work, _blame(error, work.grant.kind), begun)
        finally:
            if not keep:
                self._scratch.remove(work.lease)

    def _outcome(self, work: Work, failure: Failure | None, begun: float, *, no_room: bool = False) -> Outcome:
        if work.stop.is_set():  # what the program says of being stopped is no news
            failure = work.failure()
        if failure is None:
            return Outcome(None)
        seconds = self._clock.monotonic() - begun
        failure = msgspec.structs.replace(failure, tail=tuple(line[:LINE_CAP] for line in failure.tail[-process.LAST_LINES :]))
        return Outcome(Result(lease=work.lease, failure=failure, seconds=seconds, lines=work.rest_of_lines()), no_room=no_room)

    def _attempt(self, work: Work) -> tuple[Output, ...]:
        grant = work.grant
        kind = self._kind(work)
        spec = TaskSpec(kind=grant.kind, name=grant.task_name, options=grant.options, limits=grant.limits, needs=grant.needs)
        stage = _stage(kind, spec, grant.stage)
        programs = self._programs(grant.program)
        self._check_room(grant.needs.scratch)
        with self._cache.use(grant.bundle):
            inputs = self._fetch(work)
            place = Place(inputs=inputs, scratch=self._scratch.make(work.lease), cores=self._means.cores, programs=programs)
            work.enter("working")
            recipe = stage.process(spec, grant.region, place)
            if recipe.call is not None:
                self._check_stop(work)
                recipe.call()
            else:
                self._run_program(work, recipe, place)
            if recipe.finish is not None:
                recipe.finish()
            self._check_stop(work)
            return collect(place.scratch / "out", recipe.outputs)

    # --- may we, can we

    def _kind(self, work: Work) -> Kind:
        grant = work.grant
        try:
            kind = self._kinds(grant.kind)
        except UsageError as error:
            raise _returned(f"This node does not know the kind {grant.kind!r}: {error}") from error
        if kind.version != grant.kind_version:
            raise _returned(
                f"This node has version {kind.version} of the kind {grant.kind!r}, the server {grant.kind_version}: "
                "install the same version of ClusterRay on both."
            )
        if kind.allow not in self._means.allow:
            raise _returned(f"The owner of this node does not allow {kind.allow!r} there ([node] allow).")
        built_in = kind.allow == "render" and type(kind).__module__.startswith(__package__.rpartition(".")[0] + ".common.")
        objection = self._means.confinement.objection(built_in_render=built_in)
        if objection:
            raise _returned(f"The kind {grant.kind!r} may not run here: {objection}")
        return kind

    def _programs(self, wanted: str) -> dict[str, str]:
        if not wanted:
            return {one.name: one.path for one in reversed(self._means.programs)}
        name, _, version = wanted.partition("==")
        for one in self._means.programs:
            if one.name == name and (not version or one.version == version):
                return {name: one.path}
        here = ", ".join(f"{one.name} {one.version}" for one in self._means.programs if one.name == name) or f"no {name}"
        raise _returned(f"The job needs {name} {version}; this node has {here}.")

    def _check_room(self, scratch: int) -> None:
        free, needed = free_disk(self._scratch.folder), self._means.keep_free + scratch
        if free < needed:
            raise _returned(
                f"The disk of this node has {free // MIB} MiB free below {self._scratch.folder}; "
                f"{needed // MIB} MiB are needed ([node] keep_free and what the job asks for).",
                no_room=True,
            )

    def _check_stop(self, work: Work) -> None:
        if work.stop.is_set():
            raise Ended(work.failure())

    # --- fetch

    def _fetch(self, work: Work) -> Path:
        """The unpacked inputs. A server that restarted has forgotten the account: a new one is asked for, then it goes on."""
        grant = work.grant
        work.enter("fetching")
        for last in (False,) * (FETCH_ROUNDS - 1) + (True,):
            courier = self._couriers(work.account, work.stop)
            try:
                return self._cache.fetch(grant.bundle, grant.region.needs, courier, work.enter, go_on=lambda: self._check_stop(work))
            except DiskFull as error:
                raise _returned(str(error), no_room=True) from error
            except (FileError, LinkError) as error:
                self._check_stop(work)
                log.info("lease %s: fetching failed: %s", work.lease[:8], error)
                if last or not work.renew_account():
                    self._check_stop(work)
                    raise _returned(f"The task's files could not be fetched: {error}") from error
            finally:
                courier.close()
        raise AssertionError("unreachable")

    # --- run

    def _run_program(self, work: Work, recipe: Recipe, place: Place) -> None:
        env = process.plain_env(place.scratch) | {"TMPDIR": str(place.scratch / "tmp")} | dict(recipe.env)
        mark = new_id()
        env[proc.MARK] = mark
        cwd = recipe.cwd or place.scratch
        (place.scratch / "tmp").mkdir(exist_ok=True)
        argv = self._means.confinement.wrap(
            recipe.argv,
            inputs=place.inputs,
            scratch=place.scratch,
            cwd=cwd,
            env=env,
            see=recipe.see,
            network=recipe.network,
        )
        watch = _Watch(work, recipe, self._clock)
        killed_before = proc.oom_kills()
        self._scratch.note(work.lease, Note(mark=mark))
        running = process.start(argv, cwd=cwd, env=env, limits=self._limits(work), on_line=watch.hear, mark=mark)
        try:
            self._scratch.note(work.lease, Note(mark=mark, pid=running.pid, started=running.started))
            code = self._wait(work, running, watch)
        except BaseException:
            running.stop()
            raise
        running.sweep()
        if code != 0:
            if self._means.confinement.bwrap and 128 < code <= 128 + 64:
                code = 128 - code  # bwrap tells a signal as a shell does
            raise Ended(self._diagnose(recipe, code, running.lines(), proc.oom_kills() > killed_before))
        work.advance(1.0)

    def _limits(self, work: Work) -> process.ProcessLimits:
        memory = work.grant.needs.memory
        # Address space is more than memory: stacks, arenas of malloc and libraries are reserved and never touched.
        room = memory + (256 + 128 * self._means.cores) * MIB if memory else 0
        most = max(64 * MIB, free_disk(self._scratch.folder) - self._means.keep_free)
        return process.ProcessLimits(address_space=room, file_size=most, nice=NICE)

    def _wait(self, work: Work, running: process.Running, watch: _Watch) -> int:
        limits = work.grant.limits
        begun = self._clock.monotonic()
        while not self._clock.wait(running.ended, LOOK):
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
        return running.poll() or 0

    def _diagnose(self, recipe: Recipe, code: int, tail: Sequence[str], oom: bool) -> Failure:
        if self._means.confinement.bwrap and code == 1 and len(tail) == 1 and tail[0].startswith("bwrap: "):
            return Failure(cause=Cause.RETURNED, sentence=f"The confinement of this node failed: {tail[0]}", exit_code=code)
        try:
            failure = recipe.diagnose(code, tail)
        except Exception as error:
            log.exception("a kind's diagnose failed")
            failure = Failure(cause=Cause.ERROR, sentence=f"The program exited with {code} ({error}).", exit_code=code, tail=tuple(tail))
        if failure.cause is not Cause.ERROR:
            return failure
        if free_disk(self._scratch.folder) < MIB:
            return Failure(cause=Cause.RETURNED, sentence="The disk of the node is full.", exit_code=code, tail=tuple(tail))
        if (oom and code == -signal.SIGKILL) or any(word in line for line in tail[-20:] for word in _MEMORY_WORDS):
            sentence = "The program ran out of memory: ask for more ([needs] memory), or make the jobs smaller."
            return Failure(cause=Cause.MEMORY, sentence=sentence, exit_code=code, tail=tuple(tail))
        return failure


class _Watch:
    """Hears a program's lines: progress goes into the beats, all else into the submitter's log."""

    def __init__(self, work: Work, recipe: Recipe, clock: Clock) -> None:
        self._work = work
        self._progress = recipe.progress
        self._clock = clock
        self.moved = clock.monotonic()
        """When it last went on; without a progress parser any line counts."""

    def hear(self, line: str) -> None:
        fraction = self._progress(line) if self._progress is not None else None
        if fraction is None:
            self._work.say(line)
        if self._progress is None or (fraction is not None and self._work.advance(fraction)):
            self.moved = self._clock.monotonic()


def _stage(kind: Kind, spec: TaskSpec, name: str) -> Stage:
    stages: Sequence[Stage] = kind.stages(spec)
    for number, stage in enumerate(stages):
        if name in (stage.name, str(number)):  # the server counts them
            return stage
    raise _returned(f"The kind {spec.kind!r} on this node has no stage {name!r}.")


def _blame(error: Exception, kind: str) -> Failure:
    tail = tuple(traceback.format_exception(error)[-1].splitlines()[-5:])
    if isinstance(error, MemoryError):
        return Failure(cause=Cause.MEMORY, sentence="The node ran out of memory on this job.", tail=tail)
    return Failure(cause=Cause.ERROR, sentence=f"The kind {kind!r} failed on this node: {type(error).__name__}: {error}", tail=tail)
