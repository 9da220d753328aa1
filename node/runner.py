"""One grant, from the lease to its result: check, fetch, run, collect.

What this machine cannot do is given back (RETURNED, which costs the task no attempt); what the job itself did wrong is a
failure with its evidence. A job that can be done by the slot's warm program is; else it gets a program of its own, and whatever that
leaves running is ended before its outputs are looked at.

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
from ..common.errors import ClusterRayError, DiskFull, FileError, KindError, LinkError, OutputRejected, SharedError, UsageError
from ..common.kinds.kind import Kind, Place, Recipe, Stage
from ..common.model import Account, Cause, Failure, Output, PackRef, Result, TaskSpec
from .means import Means
from .outputs import collect, make_plain
from .probe import free_disk
from .program import MIB, Ended, Launch, Launcher, Watch, returned
from .scratch import Scratch
from .warm import WarmSlot
from .work import LINE_CAP, Work

log = logging.getLogger(__name__)

FETCH_ROUNDS = 3
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

    def shared(self, bundle: PackRef) -> tuple[Path, ...]: ...


Couriers = Callable[[Account, threading.Event], Carrier]
"""(account, stop event) -> a courier that connects when it is used."""


@dataclass(frozen=True)
class Outcome:
    """How a grant ended. ``result`` None: nothing to report. ``out``: the folder whose files have to be sent first."""

    result: Result | None
    out: Path | None = None
    no_room: bool = False


class Runner:
    """Runs the grants of one slot, one after another. Scratch folders of outcomes with files are the caller's to remove."""

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
        self._launcher = Launcher(means=means, scratch=scratch, clock=clock)
        self._warm = WarmSlot(launcher=self._launcher, pin=cache.use, scratch=scratch, cards=means.cards, clock=clock)

    def rest(self) -> float | None:
        """For the work thread between two jobs: ends a warm program that has idled; returns in how many seconds to call again."""
        return self._warm.rest()

    def close(self) -> None:
        """For the work thread at its end."""
        self._warm.close()

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
        self._check_commands(kind, spec)
        stage = _stage(kind, spec, grant.stage)
        programs = self._programs(grant.program)
        self._check_room(grant.needs.scratch)
        with self._cache.use(grant.bundle), self._means.cards.take(grant.needs.gpu, self._warm.end) as cards:
            if cards is None:
                raise returned(f"The job needs {grant.needs.gpu} graphics cards of its own; not so many of this node's are free.")
            inputs = self._fetch(work)
            scratch = self._scratch.make(work.lease)
            see = self._cache.shared(grant.bundle) if grant.needs.shared else ()
            place = Place(inputs=inputs, scratch=scratch, cores=self._means.cores, programs=programs, gpus=cards, see=see)
            work.enter("working")
            recipe = stage.process(spec, grant.region, place)
            outputs = self._warm.run(work, recipe, place, lambda: self._gather(work, recipe, place))
            if outputs is not None:
                return outputs
            if recipe.call is not None:
                self._check_stop(work)
                recipe.call()
            else:
                self._run_alone(work, recipe, place)
            return self._gather(work, recipe, place)

    def _gather(self, work: Work, recipe: Recipe, place: Place) -> tuple[Output, ...]:
        """What the job made, after its end."""
        if recipe.call is None:
            make_plain(place.scratch)
        if recipe.finish is not None:
            recipe.finish()
        self._check_stop(work)
        work.advance(1.0)
        return collect(place.scratch / "out", recipe.outputs)

    # --- may we, can we

    def _kind(self, work: Work) -> Kind:
        grant = work.grant
        try:
            kind = self._kinds(grant.kind)
        except UsageError as error:
            raise returned(f"This node does not know the kind {grant.kind!r}: {error}") from error
        if kind.version != grant.kind_version:
            raise returned(
                f"This node has version {kind.version} of the kind {grant.kind!r}, the server {grant.kind_version}: "
                "install the same version of ClusterRay on both."
            )
        if kind.allow not in self._means.allow:
            raise returned(f"The owner of this node does not allow {kind.allow!r} there ([node] allow).")
        built_in = kind.allow == "render" and type(kind).__module__.startswith(__package__.rpartition(".")[0] + ".common.")
        objection = self._means.confinement.objection(built_in_render=built_in)
        if objection:
            raise returned(f"The kind {grant.kind!r} may not run here: {objection}")
        return kind

    def _check_commands(self, kind: Kind, spec: TaskSpec) -> None:
        """The programs that the options lead to, as the kind here reads them: what the task says that it needs proves nothing."""
        if kind.allow != "commands" or "any" in self._means.commands:
            return
        for name in kind.needs(spec).command.split() or ["?"]:  # a kind that does not say which may run where all may
            if name not in self._means.commands:
                allowed = ", ".join(self._means.commands) or "none"
                raise returned(f"The owner of this node does not allow the program {name!r} there ([node] commands has {allowed}).")

    def _programs(self, wanted: str) -> dict[str, str]:
        if not wanted:
            return {one.name: one.path for one in reversed(self._means.programs)}
        name, _, version = wanted.partition("==")
        for one in self._means.programs:
            if one.name == name and (not version or one.version == version):
                return {name: one.path}
        here = ", ".join(f"{one.name} {one.version}" for one in self._means.programs if one.name == name) or f"no {name}"
        raise returned(f"The job needs {name} {version}; this node has {here}.")

    def _check_room(self, scratch: int) -> None:
        free, needed = free_disk(self._scratch.folder), self._means.keep_free + scratch
        if free < needed:
            raise returned(
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
                raise returned(str(error), no_room=True) from error
            except SharedError as error:  # no account helps: the server judges whether the files have changed, or only this node errs
                raise returned(str(error)) from error
            except (FileError, LinkError) as error:
                self._check_stop(work)
                log.info("lease %s: fetching failed: %s", work.lease[:8], error)
                if last or not work.renew_account():
                    self._check_stop(work)
                    raise returned(f"The task's files could not be fetched: {error}") from error
            finally:
                courier.close()
        raise AssertionError("unreachable")

    # --- run

    def _run_alone(self, work: Work, recipe: Recipe, place: Place) -> None:
        """The job in a program of its own."""
        watch = Watch(work, recipe.progress, self._clock)
        killed_before = proc.oom_kills()
        launch = Launch(
            name=work.lease,
            folder=place.scratch,
            argv=recipe.argv,
            env=recipe.env,
            inputs=place.inputs,
            cwd=recipe.cwd or place.scratch,
            see=(*recipe.see, *place.see),
            network=recipe.network,
            cards=place.gpus,
            memory=work.grant.needs.memory,
        )
        running = self._launcher.start(launch, watch.hear)
        try:
            self._launcher.attend(work, running, watch, running.ended)
        except BaseException:
            running.stop()
            raise
        running.sweep()
        code = running.poll() or 0
        if code != 0:
            if self._means.confinement.bwrap and 128 < code <= 128 + 64:
                code = 128 - code  # bwrap tells a signal as a shell does
            raise Ended(self._diagnose(recipe, code, running.lines(), proc.oom_kills() > killed_before))
        work.advance(1.0)

    def _diagnose(self, recipe: Recipe, code: int, tail: Sequence[str], oom: bool) -> Failure:
        # "bwrap: execvp" is the fault of the program
        its_own = len(tail) == 1 and tail[0].startswith("bwrap: ") and not tail[0].startswith("bwrap: execvp ")
        if self._means.confinement.bwrap and code == 1 and its_own:
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


def _stage(kind: Kind, spec: TaskSpec, name: str) -> Stage:
    stages: Sequence[Stage] = kind.stages(spec)
    for number, stage in enumerate(stages):
        if name in (stage.name, str(number)):  # the server counts them
            return stage
    raise returned(f"The kind {spec.kind!r} on this node has no stage {name!r}.")


def _blame(error: Exception, kind: str) -> Failure:
    tail = tuple(traceback.format_exception(error)[-1].splitlines()[-5:])
    if isinstance(error, MemoryError):
        return Failure(cause=Cause.MEMORY, sentence="The node ran out of memory on this job.", tail=tail)
    return Failure(cause=Cause.ERROR, sentence=f"The kind {kind!r} failed on this node: {type(error).__name__}: {error}", tail=tail)
