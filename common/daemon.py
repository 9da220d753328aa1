"""Daemons: ``control()`` is start, stop, restart, status and foreground; the daemon itself says ``announce_ready()``.

The starter takes the lock of the pid file (pidfile.py) and hands it on through fork and exec by its file descriptor.

``start`` forks nothing in its own process, which may have threads: it spawns this module afresh, that one detaches
(python-daemon) and becomes the daemon by exec. The starter waits at a pipe for one word: ready, or why not.
"""

from __future__ import annotations

import atexit
import json
import os
import pwd
import select
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from .clock import Clock, SystemClock
from .errors import ClusterRayError, UsageError
from .pidfile import PidFile, Status

VERBS = ("start", "stop", "restart", "status", "foreground")
READY_FD = "CLUSTERRAY_READY_FD"
"""Variable with the pipe's number; set for a daemon only. Not a setting."""
PID_LOCK = "CLUSTERRAY_PID_LOCK"
"""Variable with ``number:path`` of the locked pid file; set for a daemon and in the foreground. Not a setting."""


class DaemonError(ClusterRayError):
    """A daemon did not start or does not stop."""

    code = "daemon"


def module_argv(module: str, *arguments: str) -> tuple[str, ...]:
    """The command line that runs one of our modules with this interpreter; files of the current folder cannot shadow anything."""
    return sys.executable, "-P", "-m", module, *arguments


def control(
    name: str,
    verb: str,
    *,
    pidfile: Path,
    logfile: Path,
    argv: Sequence[str],
    user: str = "",
    folders: Sequence[Path] = (),
    patience: float = 60.0,
    grace: float = 60.0,
    last_grace: float = 15.0,
    clock: Clock | None = None,
    say: Callable[[str], None] = print,
) -> int:
    """Do ``verb`` for the daemon ``name`` ("server", "node"); return the exit code that LSB gives for it.

    ``argv`` is exec'd, so its first word is a path (``module_argv``); secrets have no place in it. The daemon's log is its
    own affair; what it prints beside (a crash) goes to ``<logfile>.out``, anew with each start. It keeps the current folder.
    Root becomes ``user`` first, if there is such a one, and for good: call this last. ``folders`` are made for that user.

    ``start`` waits up to ``patience`` seconds for the daemon's word. ``stop`` sends SIGTERM and waits ``grace`` seconds, then
    a second one ("now"), and kills only ``last_grace`` seconds after that.
    Raises DaemonError (exit code of the daemon's own error where it gave one) and UsageError.
    """
    if verb not in VERBS:
        raise UsageError(f"A {name} can {', '.join(VERBS[:-1])} or run in the {VERBS[-1]}, not {verb!r}.")
    _become(user, (*folders, pidfile.parent, logfile.parent))
    call = _Call(name, PidFile(pidfile), Path(f"{logfile}.out"), argv, clock or SystemClock(), say)
    try:
        if verb == "status":
            return call.status()
        if verb in ("stop", "restart"):
            call.stop(grace, last_grace)
        if verb in ("start", "restart"):
            call.start(patience)
        if verb == "foreground":
            call.foreground()
    except PermissionError as error:
        sentence = f"The {name} of {pidfile} belongs to another user ({error.strerror}): do this as that user or as root."
        denied = DaemonError(sentence)
        denied.exit_code = 4  # LSB: unknown; ours: refused
        raise denied from error
    return 0


class _Call:
    """One call of control()."""

    def __init__(self, name: str, pid: PidFile, output: Path, argv: Sequence[str], clock: Clock, say: Callable[[str], None]) -> None:
        self.name, self.pid, self.output, self.argv, self.clock, self.say = name, pid, output, list(argv), clock, say

    def status(self) -> int:
        status, pid = self.pid.look()
        self.say(
            {
                Status.RUNNING: f"The {self.name} is running (pid {pid}).",
                Status.DEAD: f"The {self.name} is dead: process {pid} left {self.pid.path} behind. A start puts that right.",
                Status.STOPPED: f"The {self.name} is stopped.",
            }[status]
        )
        return int(status)

    def foreground(self) -> None:
        """Become the daemon's program, at this terminal; does not return."""
        if not self.pid.acquire():
            raise DaemonError(f"The {self.name} is already running (pid {self.pid.look()[1]}): stop it first.")
        self.pid.write(os.getpid())
        os.set_inheritable(self.pid.fd, True)
        sys.stdout.flush()
        os.execve(self.argv[0], self.argv, {**os.environ, PID_LOCK: f"{self.pid.fd}:{self.pid.path}"})

    def start(self, patience: float) -> None:
        if not self._locked():
            self.say(f"The {self.name} is already running (pid {self.pid.look()[1]}).")
            return
        self.output.parent.mkdir(parents=True, exist_ok=True)
        ready, word = os.pipe()
        try:
            try:
                self._spawn(word)
            finally:
                os.close(word)
                self.pid.release(remove=False)
            told = self._listen(ready, patience)
        finally:
            os.close(ready)
        if told is None:
            self.say(f"The {self.name} is still starting after {patience:.0f} s (pid {self.pid.look()[1]}); its log tells more.")
            return
        kind, _, text = told.partition("\n")
        if kind != "ready":
            if self._locked(wait=5.0):
                self.pid.release(remove=True)
            raise self._failure(kind, text.strip())
        if text.strip():
            self.say(text.rstrip("\n"))
        self.say(f"The {self.name} is running (pid {self.pid.look()[1]}).")

    def _failure(self, kind: str, sentence: str) -> DaemonError:
        if not sentence:
            with suppress(OSError):
                lines = self.output.read_text("utf-8", "replace").strip().splitlines()
                sentence = f"it ended with: {lines[-1]}" if lines else ""
            sentence = f"The {self.name} did not start; {sentence or 'it ended without a word'} (see {self.output})."
        error = DaemonError(sentence)
        code = kind.partition(" ")[2]
        error.exit_code = int(code) if code.isdecimal() else 1
        return error

    def _spawn(self, word: int) -> None:
        """A fresh interpreter, without threads, that detaches and becomes the daemon."""
        for fd in (word, self.pid.fd):
            os.set_inheritable(fd, True)
        env = {**os.environ, READY_FD: str(word), PID_LOCK: f"{self.pid.fd}:{self.pid.path}"}
        plan = json.dumps([str(self.output), self.argv])
        launcher = os.posix_spawn(sys.executable, module_argv(__spec__.name, plan), env)
        os.waitpid(launcher, 0)  # it ends as soon as it has detached

    def _listen(self, ready: int, patience: float) -> str | None:
        """What the daemon says until it closes the pipe, or "" if it died; None when it takes too long."""
        said = b""
        poll = select.poll()
        poll.register(ready, select.POLLIN)
        end = self.clock.monotonic() + patience
        while (left := end - self.clock.monotonic()) > 0:
            if not poll.poll(left * 1000):
                continue
            chunk = os.read(ready, 65536)
            if not chunk:
                return said.decode("utf-8", "replace")
            said += chunk
        return None

    def stop(self, grace: float, last_grace: float) -> None:
        status, pid = self.pid.look()
        if status is not Status.RUNNING:
            if status is Status.DEAD and self.pid.acquire():
                self.pid.release(remove=True)
            self.say(f"The {self.name} is not running.")
            return
        for number, seconds in ((signal.SIGTERM, grace), (signal.SIGTERM, last_grace), (signal.SIGKILL, 10.0)):
            _, pid = self.pid.look()
            if pid:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
            if self._locked(wait=seconds):
                self.pid.release(remove=True)
                self.say(f"The {self.name} has stopped.")
                return
            self.say(f"The {self.name} (pid {pid}) has not stopped within {seconds:g} s.")
        raise DaemonError(f"The {self.name} (pid {pid}) does not end, not even killed: it is stuck in the kernel, perhaps on a dead mount.")

    def _locked(self, wait: float = 0.5) -> bool:
        """Take the lock, for up to ``wait`` seconds (a ``status`` holds it for a blink)."""
        never = threading.Event()
        end = self.clock.monotonic() + wait
        while not self.pid.acquire():
            if self.clock.monotonic() >= end:
                return False
            self.clock.wait(never, 0.05)
        return True


def _become(user: str, folders: Sequence[Path]) -> None:
    """As root: make the folders for ``user`` and be that user from here on. As anybody else: make the folders."""
    entry = None
    if user and os.geteuid() == 0:
        with suppress(KeyError):
            entry = pwd.getpwnam(user)
    for folder in folders:
        missing = [path for path in (folder, *folder.parents) if not path.exists()]
        folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        if entry:
            for path in missing:
                os.chown(path, entry.pw_uid, entry.pw_gid, follow_symlinks=False)
    if entry and entry.pw_uid != 0:
        os.initgroups(entry.pw_name, entry.pw_gid)
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)
        os.environ.update(HOME=entry.pw_dir, USER=entry.pw_name, LOGNAME=entry.pw_name)
        if not os.access(".", os.X_OK):
            os.chdir("/")


def detached() -> bool:
    """Whether ``start`` made this process a daemon, so that it logs to its file; asked before it announces anything."""
    return READY_FD in os.environ


def announce_ready(text: str = "") -> None:
    """The daemon works. ``text`` (join codes, addresses) is shown at the terminal that started it, and kept nowhere."""
    if not _announce(f"ready\n{text}") and text:
        print(text, flush=True)


def announce_failure(sentence: str, exit_code: int = 1) -> None:
    """The daemon cannot start, and why; it ends by itself with ``exit_code`` after this."""
    if not _announce(f"failed {exit_code}\n{sentence}"):
        print(sentence, file=sys.stderr, flush=True)


def _announce(word: str) -> bool:
    """Tell the starter; False in the foreground, where there is none. A daemon that ends in order takes its pid file along."""
    number, path = os.environ.pop(PID_LOCK, ":").split(":", 1)
    if number:
        os.set_inheritable(int(number), False)
        atexit.register(Path(path).unlink, missing_ok=True)
    ready = os.environ.pop(READY_FD, "")
    if not ready:
        return False
    with suppress(BrokenPipeError):  # nobody waits any more
        data = word.encode()
        while data:
            data = data[os.write(int(ready), data) :]
    os.close(int(ready))
    return True


def _launch(plan: str) -> None:
    """Detach, put our pid into the pid file, and become the daemon."""
    output, argv = json.loads(plan)
    lock = PidFile(Path(os.environ[PID_LOCK].split(":", 1)[1]))
    lock.fd = int(os.environ[PID_LOCK].split(":", 1)[0])
    os.umask(0o027)
    try:
        from daemon import DaemonContext

        printed = Path(output).open("wb", buffering=0)  # noqa: SIM115 (it is the daemon's from here on)
        DaemonContext(
            detach_process=True,
            working_directory=str(Path.cwd()),
            umask=0o027,
            signal_map={},
            files_preserve=[lock.fd, int(os.environ[READY_FD])],
            stdout=printed,
            stderr=printed,
        ).open()
        lock.write(os.getpid())
        os.execv(argv[0], argv)
    except Exception as error:
        announce_failure(f"The daemon cannot be started: {error}.")
        os._exit(1)


if __name__ == "__main__":
    _launch(sys.argv[1])
