"""Warm child processes with limits, in which kinds' code runs for the server.

Lanes, so that a long stitch never holds up the verification of results: ``quick`` (verify), ``heavy`` (split, stitch),
``stream`` (stitches that wait for their pieces) and ``preview``. Each lane has threads, each thread one child, started when
first needed; those of streams and previews end when there is nothing to do. A child that crashes, hangs or overruns its
limits fails the call that it was serving; the next call gets a fresh one.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import ParamSpec, Protocol, TypeVar

import msgspec

from ..common.errors import HandDied, KindError, OutputRejected, SharedChanged, SharedError, SplitFailed, StitchFailed, TaskFileError
from ..common.process import Piped, ProcessLimits, plain_env, start_piped
from .calls import (
    AnyCall,
    Draw,
    DrawDone,
    Failed,
    Given,
    Going,
    Look,
    LookDone,
    More,
    Reply,
    Split,
    SplitDone,
    Stitch,
    StitchDone,
    Verify,
    VerifyDone,
    get,
    put,
)

log = logging.getLogger(__name__)
R = TypeVar("R", LookDone, SplitDone, VerifyDone, StitchDone, DrawDone)
T = TypeVar("T")
P = ParamSpec("P")
HANDED_ON = ("CLUSTERRAY_EXTRA_KINDS", "PYTHONPATH")
STOPPING = "The server is stopping."
NO_PROGRESS: Callable[[float], None] = lambda fraction: None  # noqa: E731
STREAMS = 3
"""Stitches at once that wait for their pieces: each keeps a child, and what a film needs to be encoded, in memory."""


class Feed(Protocol):
    """Where a stitch has its pieces from."""

    def more(self) -> Given:
        """The next ones; may block. Raises what then ends the call."""

    def stop(self) -> None:
        """The call is called off: more() raises, at once and from now on."""


class Alarm:
    """Ends a child that works for too long at one go; what it waits for the server is not counted."""

    def __init__(self, child: Piped, seconds: float) -> None:
        self._child = child
        self._seconds = seconds
        self.rang = False
        self.wind()

    def wind(self) -> None:
        self._timer = threading.Timer(self._seconds, self._ring)
        self._timer.daemon = True
        self._timer.start()

    def stop(self) -> None:
        self._timer.cancel()

    def _ring(self) -> None:
        self.rang = True
        self._child.stop(grace=0.0)


class Hands:
    """``call`` blocks, ``submit`` gives a Future; both raise KindError's children."""

    def __init__(self, *, quick: int, heavy: int, memory: int, seconds: float) -> None:
        self._limits = ProcessLimits(address_space=memory)
        self._seconds = seconds
        self._env = {**plain_env(), **{name: os.environ[name] for name in HANDED_ON if name in os.environ}}
        self._local = threading.local()
        self._lock = threading.Lock()
        self._children: list[Piped] = []
        self._fed: dict[Feed, Piped] = {}
        self._closed = False
        self._lanes = {
            "quick": ThreadPoolExecutor(quick, thread_name_prefix="hand-quick"),
            "heavy": ThreadPoolExecutor(heavy, thread_name_prefix="hand-heavy"),
            "stream": ThreadPoolExecutor(STREAMS, thread_name_prefix="hand-stream"),
            "preview": ThreadPoolExecutor(1, thread_name_prefix="hand-preview"),
        }

    @property
    def closed(self) -> bool:
        return self._closed

    def look(self, call: Look) -> LookDone:
        return self._wait(self._submit("quick", self._serve, call, LookDone))

    def split(self, call: Split) -> Future[SplitDone]:
        return self._submit("heavy", self._serve, call, SplitDone)

    def verify(self, call: Verify) -> VerifyDone:
        return self._wait(self._submit("quick", self._serve, call, VerifyDone))

    def stitch(self, call: Stitch, feed: Feed, progress: Callable[[float], None], then: Callable[[], T]) -> Future[T]:
        """``then`` is done in the same thread, when the hand is through and before the future is."""
        return self._submit("heavy", self._stitch, call, feed, progress, then)

    def stream(self, call: Stitch, feed: Feed, progress: Callable[[float], None], then: Callable[[], T]) -> Future[T]:
        """As stitch(), for a feed that blocks. Its child ends with it."""

        def serve() -> T:
            try:
                return self._stitch(call, feed, progress, then)
            finally:
                self._end_idle()

        return self._submit("stream", serve)

    def call_off(self, feed: Feed) -> None:
        """End the stitch that is fed by this, at once; one that has ended already is left alone."""
        feed.stop()
        with self._lock:
            child = self._fed.get(feed)
        if child is not None:
            child.stop(grace=0.0)

    def _stitch(self, call: Stitch, feed: Feed, progress: Callable[[float], None], then: Callable[[], T]) -> T:
        self._serve(call, StitchDone, progress, feed)
        return then()

    def draw(self, call: Draw) -> Future[DrawDone]:
        return self._submit("preview", self._serve, call, DrawDone)

    def rest(self) -> None:
        """Nothing was drawn for a while: the child that does it ends, and the next call gets a fresh one."""
        with contextlib.suppress(RuntimeError):  # after close()
            self._lanes["preview"].submit(self._end_idle)

    def _end_idle(self) -> None:
        child: Piped | None = getattr(self._local, "child", None)
        if child is not None:
            self._drop(child)

    def _submit(self, lane: str, serve: Callable[P, T], *given: P.args, **named: P.kwargs) -> Future[T]:
        try:
            return self._lanes[lane].submit(serve, *given, **named)
        except RuntimeError as error:  # after close()
            raise HandDied(STOPPING) from error

    def _wait(self, future: Future[T]) -> T:
        try:
            return future.result()
        except CancelledError as error:  # close() came while it waited for its turn
            raise HandDied(STOPPING) from error

    def warm(self) -> None:
        """Start the first hand of each lane before it is needed."""
        for lane in ("quick", "heavy"):
            self._lanes[lane].submit(self._child)

    def close(self) -> None:
        """End all children; calls under way fail with HandDied."""
        with self._lock:
            self._closed = True
            children = list(self._children)
            fed = list(self._fed)
        for feed in fed:
            feed.stop()
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

    def _serve(self, call: AnyCall, expected: type[R], progress: Callable[[float], None] = NO_PROGRESS, feed: Feed | None = None) -> R:
        child = self._child()
        what = f"{type(call).__name__.lower()} of kind {call.spec.kind}"
        alarm = Alarm(child, self._seconds)
        try:
            if feed is not None:
                with self._lock:
                    self._fed[feed] = child
            put(child.stdin, call)
            while True:
                data = get(child.stdout)
                if data is None:
                    raise HandDied(f"The {what} {self._how(child, alarm.rang)}.")
                reply: Reply = msgspec.msgpack.decode(data, type=Reply)
                if isinstance(reply, Going):
                    progress(reply.fraction)
                elif isinstance(reply, More) and feed is not None:
                    alarm.stop()
                    given = feed.more()
                    alarm.wind()
                    put(child.stdin, given)
                else:
                    break
        except (OSError, ValueError) as error:
            self._drop(child)
            raise HandDied(f"The {what} {self._how(child, alarm.rang)}.") from error
        except BaseException:  # what is left in the pipes would be taken for the next call's
            self._drop(child)
            raise
        finally:
            alarm.stop()
            if feed is not None:
                with self._lock:
                    self._fed.pop(feed, None)
        if alarm.rang:  # it answered in the last moment, and is being ended
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
        if isinstance(call, Draw):
            return KindError(failed.sentence)
        if isinstance(call, Stitch):  # a verdict on what was submitted stands as it is
            return (SplitFailed if failed.code == SplitFailed.code else StitchFailed)(failed.sentence)
        plain = (SplitFailed.code, TaskFileError.code, SharedError.code, SharedChanged.code, "usage")
        prefix = "" if failed.code in plain else f"The kind {call.spec.kind} cannot split it: "
        return SplitFailed(prefix + failed.sentence)
