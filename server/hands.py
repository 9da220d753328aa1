"""Warm child processes with limits, in which kinds' code runs for the server.

Two lanes, so that a long stitch never holds up the verification of results: ``quick`` (verify) and ``heavy`` (split,
stitch). Each lane has threads, each thread one child, started when first needed. A child that crashes, hangs or overruns
its limits fails the call that it was serving; the next call gets a fresh one.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import TypeVar

import msgspec

from ..common.errors import HandDied, KindError, OutputRejected, SplitFailed, StitchFailed, TaskFileError
from ..common.process import Piped, ProcessLimits, plain_env, start_piped
from .calls import AnyCall, Failed, Going, Look, LookDone, Reply, Split, SplitDone, Stitch, StitchDone, Verify, VerifyDone, get, put

log = logging.getLogger(__name__)
R = TypeVar("R", LookDone, SplitDone, VerifyDone, StitchDone)
HANDED_ON = ("CLUSTERRAY_EXTRA_KINDS", "PYTHONPATH")
STOPPING = "The server is stopping."
NO_PROGRESS: Callable[[float], None] = lambda fraction: None  # noqa: E731


class Hands:
    """``call`` blocks, ``submit`` gives a Future; both raise KindError's children."""

    def __init__(self, *, quick: int, heavy: int, memory: int, seconds: float) -> None:
        self._limits = ProcessLimits(address_space=memory)
        self._seconds = seconds
        self._env = {**plain_env(), **{name: os.environ[name] for name in HANDED_ON if name in os.environ}}
        self._local = threading.local()
        self._lock = threading.Lock()
        self._children: list[Piped] = []
        self._closed = False
        self._lanes = {
            "quick": ThreadPoolExecutor(quick, thread_name_prefix="hand-quick"),
            "heavy": ThreadPoolExecutor(heavy, thread_name_prefix="hand-heavy"),
        }

    @property
    def closed(self) -> bool:
        return self._closed

    def look(self, call: Look) -> LookDone:
        return self._wait(self._submit("quick", call, LookDone))

    def split(self, call: Split) -> Future[SplitDone]:
        return self._submit("heavy", call, SplitDone)

    def verify(self, call: Verify) -> VerifyDone:
        return self._wait(self._submit("quick", call, VerifyDone))

    def stitch(self, call: Stitch, progress: Callable[[float], None]) -> Future[StitchDone]:
        return self._submit("heavy", call, StitchDone, progress)

    def _submit(self, lane: str, call: AnyCall, expected: type[R], progress: Callable[[float], None] = NO_PROGRESS) -> Future[R]:
        try:
            return self._lanes[lane].submit(self._serve, call, expected, progress)
        except RuntimeError as error:  # after close()
            raise HandDied(STOPPING) from error

    def _wait(self, future: Future[R]) -> R:
        try:
            return future.result()
        except CancelledError as error:  # close() came while it waited for its turn
            raise HandDied(STOPPING) from error

    def warm(self) -> None:
        """Start the first hand of each lane before it is needed."""
        for lane in self._lanes.values():
            lane.submit(self._child)

    def close(self) -> None:
        """End all children; calls under way fail with HandDied."""
        with self._lock:
            self._closed = True
            children = list(self._children)
        for child in children:
            child.stop(grace=0.5)
        for lane in self._lanes.values():
            lane.shutdown(wait=True, cancel_futures=True)
        for child in children:
            child.close()

    def _child(self) -> Piped:
        child: Piped | None = getattr(self._local, "child", None)
        if child is not None:
            if child.poll() is None:
                return child
            self._drop(child)  # it ended between two calls
        with self._lock:
            if self._closed:
                raise HandDied(STOPPING)
            child = start_piped(
                [sys.executable, "-P", "-m", f"{__package__}.hand"],
                cwd="/",
                env=self._env,
                limits=self._limits,
                on_line=lambda line: log.info("hand: %s", line),
            )
            self._children.append(child)
        self._local.child = child
        return child

    def _serve(self, call: AnyCall, expected: type[R], progress: Callable[[float], None]) -> R:
        child = self._child()
        overdue = threading.Event()

        def too_late() -> None:
            overdue.set()
            child.stop(grace=0.0)

        what = f"{type(call).__name__.lower()} of kind {call.spec.kind}"
        timer = threading.Timer(self._seconds, too_late)
        timer.daemon = True
        timer.start()
        try:
            put(child.stdin, call)
            while True:
                data = get(child.stdout)
                if data is None:
                    raise HandDied(f"The {what} {self._how(child, overdue.is_set())}.")
                reply: Reply = msgspec.msgpack.decode(data, type=Reply)
                if not isinstance(reply, Going):
                    break
                progress(reply.fraction)
        except (OSError, ValueError) as error:
            self._drop(child)
            raise HandDied(f"The {what} {self._how(child, overdue.is_set())}.") from error
        except BaseException:  # what is left in the pipes would be taken for the next call's
            self._drop(child)
            raise
        finally:
            timer.cancel()
        if overdue.is_set():  # it answered in the last moment, and is being ended
            self._drop(child)
        if isinstance(reply, Failed):
            raise self._error(call, reply)
        if not isinstance(reply, expected):
            self._drop(child)
            raise HandDied(f"The {what} was answered by {type(reply).__name__}.")
        return reply

    def _how(self, child: Piped, overdue: bool) -> str:
        if overdue:
            return f"took more than {self._seconds:.0f} s ([server] hand_time) and was stopped"
        code = child.wait(2.0)
        if code is None:
            return "broke off the talk with the server"
        return f"crashed (signal {-code})" if code < 0 else f"ended its process (exit code {code})"

    def _drop(self, child: Piped) -> None:
        child.stop(grace=0.5)
        child.close()
        with self._lock:
            if child in self._children:
                self._children.remove(child)
        self._local.child = None

    def _error(self, call: AnyCall, failed: Failed) -> KindError:
        if failed.trace:
            log.error("%s of kind %s broke:\n%s", type(call).__name__, call.spec.kind, failed.trace)
        if failed.code == OutputRejected.code:
            return OutputRejected(failed.sentence)
        if isinstance(call, Stitch):
            return StitchFailed(failed.sentence)
        prefix = "" if failed.code in (SplitFailed.code, TaskFileError.code, "usage") else f"The kind {call.spec.kind} cannot split it: "
        return SplitFailed(prefix + failed.sentence)
