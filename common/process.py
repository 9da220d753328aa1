"""The only place where a program starts: by argv (never a shell), in a process group of its own, with limits, stoppable as a whole tree.

A process with threads must not run Python code between fork and exec, so there is no ``preexec_fn``: the group comes from
``process_group=0`` and the limits from /usr/bin/prlimit, which sets them on itself and then becomes the program (no moment
without limits, and the pid stays). Where prlimit is missing they are set from outside right after the start.

Output is read as bytes by one thread for each program and cut into lines at CR and LF; whatever a program prints, only its
last lines are held. The same thread waits for the exit (by pidfd), so nobody polls.

Trap: a program with PR_SET_PDEATHSIG (bubblewrap's --die-with-parent) dies with the *thread* that started it. Start such
programs from a thread that lives at least as long.
"""

from __future__ import annotations

import logging
import os
import resource
import select
import shutil
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from . import proc
from .errors import FileError
from .lines import LineSplitter
from .model import new_id

log = logging.getLogger(__name__)

LAST_LINES = 200
DRAIN_CAP = 1 << 20
"""Bytes still read after the program's end, while a descendant may go on printing."""
GRACE = 2.0
"""Seconds between SIGTERM and SIGKILL. With the killing rounds a stop ends within 5 s."""

OnLine = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class ProcessLimits:
    """Limits of one program and what it starts. 0: none (``core``: no core file). Bytes, seconds, numbers."""

    address_space: int = 0
    cpu: int = 0
    file_size: int = 0
    open_files: int = 0
    core: int = 0
    nice: int = 0


@dataclass(frozen=True, kw_only=True)
class Completed:
    """A program that was run to its end. ``code``: negative for a signal. ``timed_out``: it was stopped."""

    code: int
    stdout: str
    stderr: str
    timed_out: bool = False


class Children:
    """The programs that this process started, kept to tell them from orphans that the kernel handed us (see proc.adopt_orphans).

    Starting and reaping exclude each other, lest a program that ends at once be taken for an orphan and its exit code be lost.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.pids: set[int] = set()

    def reap_adopted(self) -> None:
        """Collect dead orphans; the kernel keeps them as zombies until then."""
        me = os.getpid()
        with self.lock:
            for one in proc.table().values():
                if one.dead and one.parent == me and one.pid not in self.pids:
                    try:
                        os.waitpid(one.pid, os.WNOHANG)
                    except ChildProcessError:
                        pass


_CHILDREN = Children()  # one table, as the kernel's own table of children is one for each process


class Running:
    """A program that was started. ``ended`` is set when it has exited and its output was read."""

    def __init__(self, popen: subprocess.Popen[bytes], output: IO[bytes], mark: str, on_line: OnLine | None) -> None:
        self.pid = popen.pid
        self.mark = mark
        self.ended = threading.Event()
        seen = proc.look(popen.pid)
        self.started = seen.started if seen is not None else 0
        self._popen = popen
        self._output = output
        self._on_line = on_line
        self._last: deque[str] = deque(maxlen=LAST_LINES)
        self._stop_lock = threading.Lock()
        self._thread = threading.Thread(target=self._watch, name=f"output-{popen.pid}", daemon=True)
        self._thread.start()

    def poll(self) -> int | None:
        """The exit code (negative: ended by that signal), or None while it runs."""
        return self._popen.returncode if self.ended.is_set() else None

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait for the end; None: it still runs."""
        self.ended.wait(timeout)
        return self.poll()

    def lines(self) -> tuple[str, ...]:
        """The last lines that it printed, at most 200."""
        return tuple(self._last)

    def family(self) -> list[proc.Proc]:
        """Every living process that belongs to it."""
        return proc.family(self.pid, self.started, self.mark)

    def stop(self, grace: float = GRACE) -> None:
        """End the whole tree: SIGTERM, ``grace`` seconds, SIGKILL; returns when nothing of it lives, within ``grace`` + 3 s."""
        with self._stop_lock:
            if grace > 0 and self._signal_all(signal.SIGTERM):
                self._wait_for_silence(grace)
            self._kill_rest()
            self.ended.wait(1.0)
            _CHILDREN.reap_adopted()

    def sweep(self) -> None:
        """After its own end: kill what it left running."""
        with self._stop_lock:
            if self.family():
                self._kill_rest()
            _CHILDREN.reap_adopted()

    def _signal_all(self, number: int) -> bool:
        members = self.family()
        if not members and not Path("/proc/self").is_dir():  # no /proc: the group is all that we know
            return self._signal_group(number)
        if number == signal.SIGKILL and any(one.group == self.pid for one in members):
            self._signal_group(number)  # at once, so that the group cannot outrun us by forking
        for one in members:
            proc.send(one, number)
        return bool(members)

    def _signal_group(self, number: int) -> bool:
        try:
            os.killpg(self.pid, number)
        except (ProcessLookupError, PermissionError):
            return False
        return True

    def _wait_for_silence(self, seconds: float) -> None:
        pause, waited = 0.02, 0.0
        never = threading.Event()
        while waited < seconds:
            (never if self.ended.is_set() else self.ended).wait(pause)
            waited += pause
            pause = min(pause * 1.5, 0.2)
            if self.ended.is_set() and not self.family():
                return

    def _kill_rest(self) -> None:
        never = threading.Event()
        for _ in range(80):  # 2 s in all; a tree that forks while we look is met again in the next round
            if not self._signal_all(signal.SIGKILL):
                return
            never.wait(0.025)
        log.warning("some processes of pid %d could not be ended; they may hang in the kernel", self.pid)

    # --- the output thread

    def _watch(self) -> None:
        try:
            self._read_until_exit()
        except Exception:
            log.exception("reading the output of pid %d failed", self.pid)
            self._popen.wait()
        finally:
            self._output.close()
            with _CHILDREN.lock:
                _CHILDREN.pids.discard(self.pid)
            self.ended.set()

    def _read_until_exit(self) -> None:
        pipe = self._output.fileno()
        poller = select.poll()
        poller.register(pipe, select.POLLIN)
        handle = _exit_handle(self.pid)
        if handle is not None:
            poller.register(handle, select.POLLIN)
        splitter, open_ = LineSplitter(), True
        try:
            while self._popen.poll() is None:
                ready = {fd for fd, _ in poller.poll(None if handle is not None else 50)}
                if open_ and pipe in ready:
                    data = os.read(pipe, 65536)
                    self._hear(splitter.feed(data))
                    if not data:
                        open_ = False
                        poller.unregister(pipe)
            if handle is not None:
                poller.unregister(handle)
            drained = 0
            while open_ and drained < DRAIN_CAP and poller.poll(0):
                data = os.read(pipe, 65536)
                self._hear(splitter.feed(data))
                drained += len(data)
                open_ = bool(data)
            self._hear(splitter.end())
        finally:
            if handle is not None:
                os.close(handle)

    def _hear(self, lines: Sequence[str]) -> None:
        self._last.extend(lines)
        if self._on_line is None:
            return
        try:
            for line in lines:
                self._on_line(line)
        except Exception:
            log.exception("a listener to the output of pid %d failed; it hears no more", self.pid)
            self._on_line = None


class Piped(Running):
    """A program with binary pipes to its standard input and from its standard output; lines are those of stderr."""

    def __init__(self, popen: subprocess.Popen[bytes], mark: str, on_line: OnLine | None) -> None:
        assert popen.stdin is not None and popen.stdout is not None and popen.stderr is not None
        self.stdin: IO[bytes] = popen.stdin
        self.stdout: IO[bytes] = popen.stdout
        super().__init__(popen, popen.stderr, mark, on_line)

    def close(self) -> None:
        """Close both pipes, after stop() or the end; a program that reads its input sees the end of it."""
        for pipe in (self.stdin, self.stdout):
            try:
                pipe.close()
            except OSError:  # unsent bytes for a program that is gone
                pass


class Fed(Running):
    """A program that is told what to do through a pipe to its standard input; stdout and stderr are its lines."""

    def __init__(self, popen: subprocess.Popen[bytes], mark: str, on_line: OnLine | None) -> None:
        assert popen.stdin is not None and popen.stdout is not None
        self._input: IO[bytes] | None = popen.stdin
        self._unsent = b""
        self._input_lock = threading.Lock()
        os.set_blocking(popen.stdin.fileno(), False)
        super().__init__(popen, popen.stdout, mark, on_line)

    def feed(self, data: bytes = b"") -> bool:
        """Send, without ever waiting: what the pipe does not take now goes with the next call. True: all was sent.

        A program that does not listen any more, or is gone, takes nothing: its end shows by ``ended``.
        """
        with self._input_lock:
            self._unsent += data
            try:
                while self._unsent and self._input is not None:
                    self._unsent = self._unsent[os.write(self._input.fileno(), self._unsent) :]
            except (BlockingIOError, BrokenPipeError):
                pass
            return not self._unsent

    def stop(self, grace: float = GRACE) -> None:
        super().stop(grace)
        with self._input_lock:
            if self._input is not None:
                self._input.close()
                self._input = None


def start(
    argv: Sequence[str],
    *,
    cwd: str | Path,
    env: Mapping[str, str] | None = None,
    limits: ProcessLimits = ProcessLimits(),
    on_line: OnLine | None = None,
    mark: str = "",
) -> Running:
    """Start a program with stdout and stderr joined into lines and nothing on its standard input.

    ``env`` is the whole environment (None: a plain one; ours is never inherited, it may hold a join code). ``mark`` is put
    into it, so that descendants are found again (empty: a new one). Raises FileError, naming the program, where it cannot start.
    """
    mark = mark or new_id()
    popen = _popen(argv, cwd, env, limits, mark, subprocess.DEVNULL, subprocess.PIPE, subprocess.STDOUT)
    assert popen.stdout is not None
    return Running(popen, popen.stdout, mark, on_line)


def start_piped(
    argv: Sequence[str],
    *,
    cwd: str | Path,
    env: Mapping[str, str] | None = None,
    limits: ProcessLimits = ProcessLimits(),
    on_line: OnLine | None = None,
    mark: str = "",
) -> Piped:
    """As start(), with binary pipes; ``on_line`` hears stderr."""
    mark = mark or new_id()
    popen = _popen(argv, cwd, env, limits, mark, subprocess.PIPE, subprocess.PIPE, subprocess.PIPE)
    return Piped(popen, mark, on_line)


def start_fed(
    argv: Sequence[str],
    *,
    cwd: str | Path,
    env: Mapping[str, str] | None = None,
    limits: ProcessLimits = ProcessLimits(),
    on_line: OnLine | None = None,
    mark: str = "",
) -> Fed:
    """As start(), with a pipe to its standard input, which stop() closes: call that also after its end."""
    mark = mark or new_id()
    popen = _popen(argv, cwd, env, limits, mark, subprocess.PIPE, subprocess.PIPE, subprocess.STDOUT)
    return Fed(popen, mark, on_line)


def run(
    argv: Sequence[str],
    *,
    timeout: float,
    cwd: str | Path = "/",
    env: Mapping[str, str] | None = None,
    limits: ProcessLimits = ProcessLimits(),
) -> Completed:
    """Run a short program to its end and return what it printed (1 MiB of stdout, its last lines of stderr)."""
    child = start_piped(argv, cwd=cwd, env=env, limits=limits)
    try:
        child.stdin.close()
        late = threading.Event()

        def expire() -> None:
            late.set()
            child.stop(0.0)

        expired = threading.Timer(timeout, expire)
        expired.start()
        try:
            printed = child.stdout.read(DRAIN_CAP)
            while child.stdout.read(DRAIN_CAP):  # the rest is read away, so that it can end
                pass
            child.wait()
        finally:
            expired.cancel()
            expired.join()
        child.sweep()
        text = printed.decode("utf-8", "replace")
        return Completed(code=child.poll() or 0, stdout=text, stderr="\n".join(child.lines()), timed_out=late.is_set())
    finally:
        child.stop(0.0)
        child.close()


def end_leftover(pid: int, started: int, mark: str) -> int:
    """End what an earlier life of this process left running; return how many processes that were.

    Only a process with this pid *and* start time, its group and descendants, and those with the mark: never a pid used again.
    """
    ended: set[tuple[int, int]] = set()
    never = threading.Event()
    for _ in range(80):
        members = proc.family(pid, started, mark)
        if not members:
            break
        for one in members:
            if proc.send(one, signal.SIGKILL):
                ended.add((one.pid, one.started))
        never.wait(0.025)
    return len(ended)


def plain_env(home: str | Path = "/") -> dict[str, str]:
    """The environment that programs get: no secrets, no locale surprises."""
    return {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(home), "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}


def find_program(name: str, path: str | None = None) -> str:
    """The path of a program that can be started; empty: there is none."""
    return shutil.which(name, path=path) or ""


def _popen(
    argv: Sequence[str],
    cwd: str | Path,
    env: Mapping[str, str] | None,
    limits: ProcessLimits,
    mark: str,
    stdin: int,
    stdout: int,
    stderr: int,
) -> subprocess.Popen[bytes]:
    whole = dict(plain_env() if env is None else env)
    whole[proc.MARK] = mark
    program = find_program(argv[0], whole.get("PATH", os.defpath))
    if not program:
        raise FileError(f"The program {argv[0]!r} is not on this machine, or may not be run.")
    if not Path(cwd).is_dir():
        raise FileError(f"{argv[0]} cannot start: its folder {cwd} does not exist.")
    launcher = find_program("prlimit", "/usr/bin:/bin")
    prefix = [launcher, *_prlimit_words(limits), "--"] if launcher else []
    try:
        with _CHILDREN.lock:
            popen = subprocess.Popen(
                [*prefix, program, *argv[1:]],
                cwd=cwd,
                env=whole,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                close_fds=True,
                process_group=0,
                bufsize=0 if stdin == subprocess.DEVNULL else -1,
            )
            _CHILDREN.pids.add(popen.pid)
    except OSError as error:
        raise FileError(f"{argv[0]} cannot start: {error.strerror or error}.") from error
    _limit_from_outside(popen.pid, limits, without_launcher=not launcher)
    return popen


def _limits_by_name(limits: ProcessLimits) -> dict[str, int]:
    wanted = {"as": limits.address_space, "cpu": limits.cpu, "fsize": limits.file_size, "nofile": limits.open_files}
    return {"core": limits.core} | {name: value for name, value in wanted.items() if value > 0}


def _prlimit_words(limits: ProcessLimits) -> list[str]:
    return [f"--{name}={value}:{value}" for name, value in _limits_by_name(limits).items()]


def _limit_from_outside(pid: int, limits: ProcessLimits, *, without_launcher: bool) -> None:
    try:
        if limits.nice:
            os.setpriority(os.PRIO_PGRP, pid, limits.nice)
        if without_launcher and hasattr(resource, "prlimit"):
            for name, value in _limits_by_name(limits).items():
                resource.prlimit(pid, getattr(resource, f"RLIMIT_{name.upper()}"), (value, value))
    except (ProcessLookupError, PermissionError, ValueError):  # it has ended already, or the owner's own limit is lower
        pass


def _exit_handle(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except (OSError, AttributeError):  # an old kernel, or not Linux: the output thread looks every 50 ms
        return None
