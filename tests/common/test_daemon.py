"""Daemons really start and stop here: each test has its own pid file and a small program in the daemon's place."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from clusterray.common.clock import SystemClock
from clusterray.common.daemon import DaemonError, control, module_argv
from clusterray.common.errors import UsageError
from clusterray.common.pidfile import PidFile, Status

PROGRAM = """
import os, signal, sys, threading
from clusterray.common.daemon import announce_failure, announce_ready

mode = sys.argv[1]
print("printed by", mode, flush=True)
if mode == "crash":
    raise RuntimeError("no such wheel")
if mode == "refuse":
    announce_failure("Port 5007 is in use by pid 77 (python3): set server.port.", 2)
    sys.exit(2)
stop = threading.Event()
terms = []
def on_term(number, frame):
    terms.append(number)
    if mode != "deaf" and (mode != "drain" or len(terms) == 2):
        stop.set()
signal.signal(signal.SIGTERM, on_term)
signal.signal(signal.SIGINT, on_term)
threading.Thread(target=stop.wait, daemon=True).start()
if mode != "mute":
    announce_ready("join code: cr1-abc\\n")
open("facts", "w").write(f"{os.getpid()} {os.getsid(0)} {os.umask(0):o} {sorted(k for k in os.environ if k.startswith('CLUSTERRAY_'))}")
while not stop.wait(0.05):
    pass
print("stopped in order", flush=True)
"""


class Bench:
    """One daemon in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pidfile = folder / "run" / "sample.pid"
        self.logfile = folder / "log" / "sample.log"
        self.output = folder / "log" / "sample.log.out"
        self.said: list[str] = []
        self.program = folder / "program.py"
        self.program.write_text(PROGRAM)

    def __call__(self, verb: str, mode: str = "good", patience: float = 20.0, grace: float = 20.0) -> int:
        self.said = []
        argv = [sys.executable, str(self.program), mode]
        return control(
            "sample",
            verb,
            pidfile=self.pidfile,
            logfile=self.logfile,
            argv=argv,
            say=self.said.append,
            patience=patience,
            grace=grace,
            last_grace=0.3 if mode == "deaf" else 20.0,
        )

    @property
    def pid(self) -> int:
        return PidFile(self.pidfile).look()[1]

    def gone(self, pid: int) -> bool:
        """Wait until the process is no more."""
        clock, never = SystemClock(), threading.Event()
        task = Path(f"/proc/{pid}/task")
        for _ in range(200):
            with suppress(FileNotFoundError):  # a zombie whose other threads are gone as well has closed its files
                if "\nState:\tZ" not in (task.parent / "status").read_text() or len(list(task.iterdir())) > 1:
                    clock.wait(never, 0.05)
                    continue
            return True
        return False


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.chdir(tmp_path)
    bench = Bench(tmp_path)
    yield bench
    status, pid = PidFile(bench.pidfile).look()
    if status is Status.RUNNING:
        os.kill(pid, signal.SIGKILL)
        bench.gone(pid)


def test_start_shows_what_the_daemon_has_to_say_and_stop_leaves_nothing(bench: Bench) -> None:
    """The join codes of a first start appear at the terminal; after a stop neither process nor pid file is left."""
    assert bench("status") == 3
    assert bench("start") == 0
    pid = bench.pid
    assert bench.said == ["join code: cr1-abc", f"The sample is running (pid {pid})."]
    assert bench("status") == 0
    assert bench("stop") == 0
    assert bench.said == ["The sample has stopped."]
    assert bench.gone(pid)
    assert not bench.pidfile.exists()
    assert bench("status") == 3
    assert bench.output.read_text() == "printed by good\nstopped in order\n"
    assert "cr1-" not in bench.output.read_text()
    assert bench.output.stat().st_mode & 0o007 == 0


def test_a_daemon_leaves_its_terminal_and_closes_its_files_to_others(bench: Bench) -> None:
    """It has a session of its own, umask 027, and none of the starter's private variables."""
    bench("start")
    pid = bench.pid
    bench("stop")
    own, session, umask, left = (bench.folder / "facts").read_text().split(" ", 3)
    assert int(own) == pid
    assert int(session) != os.getsid(0)
    assert umask == "27"
    assert "CLUSTERRAY_READY_FD" not in left
    assert "CLUSTERRAY_PID_LOCK" not in left


def test_starting_twice_and_stopping_twice_do_no_harm(bench: Bench) -> None:
    """As LSB wants it: a start of a running service and a stop of a stopped one succeed."""
    bench("start")
    pid = bench.pid
    assert bench("start") == 0
    assert bench.said == [f"The sample is already running (pid {pid})."]
    assert bench("stop") == 0
    assert bench("stop") == 0
    assert bench.said == ["The sample is not running."]


def test_a_stale_pid_file_is_no_obstacle(bench: Bench) -> None:
    """After kill -9 the status is 'dead' (1), and the next start works, even if another process has that pid by now."""
    bench("start")
    pid = bench.pid
    os.kill(pid, signal.SIGKILL)
    assert bench.gone(pid)
    assert bench("status") == 1
    bench.pidfile.write_text(f"{os.getpid()}\n")
    assert bench("status") == 1
    assert bench("start") == 0
    assert bench.pid not in (pid, os.getpid())


def test_stop_after_a_kill_tidies_up(bench: Bench) -> None:
    """Stopping what is dead already removes the pid file and harms nobody who has the pid now."""
    bench.pidfile.parent.mkdir()
    bench.pidfile.write_text(f"{os.getpid()}\n")
    assert bench("stop") == 0
    assert bench("status") == 3


def test_restart_gives_a_new_process(bench: Bench) -> None:
    """Also of a daemon that was not running."""
    assert bench("restart") == 0
    first = bench.pid
    assert bench("restart") == 0
    assert bench.pid != first
    assert bench.gone(first)


def test_a_daemon_that_cannot_start_says_why(bench: Bench) -> None:
    """Its own sentence and exit code reach the one who typed start; nothing is left behind."""
    with pytest.raises(DaemonError, match=r"Port 5007 is in use by pid 77 \(python3\): set server.port.") as caught:
        bench("start", "refuse")
    assert caught.value.exit_code == 2
    assert bench("status") == 3


def test_a_daemon_that_crashes_at_start_shows_its_last_line(bench: Bench) -> None:
    """No silence: the last line of what it printed, and where the rest is."""
    with pytest.raises(DaemonError, match=r"did not start; it ended with: RuntimeError: no such wheel \(see .*sample.log.out\)"):
        bench("start", "crash")
    assert bench("status") == 3


def test_a_program_that_does_not_exist_is_named(tmp_path: Path) -> None:
    """A wrong interpreter path gives one sentence."""
    with pytest.raises(DaemonError, match="No such file or directory"):
        control("sample", "start", pidfile=tmp_path / "p", logfile=tmp_path / "l", argv=["/no/such/program"], say=lambda _: None)


def test_start_does_not_wait_for_ever(bench: Bench) -> None:
    """A daemon that takes long is reported as still starting, and can be stopped."""
    assert bench("start", "mute", patience=1.0) == 0
    assert "still starting after 1 s" in bench.said[0]
    assert bench("status") == 0
    assert bench("stop") == 0


def test_a_draining_daemon_is_told_now_after_the_grace(bench: Bench) -> None:
    """The first SIGTERM drains; when the grace is over a second one stops at once."""
    bench("start", "drain")
    assert bench("stop", grace=0.3) == 0
    assert bench.said[-1] == "The sample has stopped."
    assert bench.output.read_text().endswith("stopped in order\n")


def test_a_deaf_daemon_is_killed_in_the_end(bench: Bench) -> None:
    """Two polite requests, each with its time, then SIGKILL; the stop says so and still succeeds."""
    bench("start", "deaf")
    pid = bench.pid
    assert bench("stop", "deaf", grace=0.3) == 0
    assert bench.said[:2] == [f"The sample (pid {pid}) has not stopped within 0.3 s."] * 2
    assert bench.gone(pid)
    assert bench("status") == 3


def test_the_foreground_keeps_terminal_and_process(bench: Bench) -> None:
    """One process, its output on the terminal, Ctrl-C stops it in order, and a second one is refused meanwhile."""
    code = (
        "from pathlib import Path; from clusterray.common.daemon import control; import sys;"
        f"control('sample', 'foreground', pidfile=Path({str(bench.pidfile)!r}), logfile=Path('x'),"
        f" argv=[sys.executable, {str(bench.program)!r}, 'good'])"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "printed by good\n"
        assert process.stdout.readline() == "join code: cr1-abc\n"
        assert bench("status") == 0
        assert bench.pid == process.pid
        with pytest.raises(DaemonError, match="already running"):
            bench("foreground")
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == "\nstopped in order\n"
    assert process.returncode == 0
    assert bench("status") == 3


def test_root_becomes_the_service_user_and_nobody_else_changes() -> None:
    """As root a daemon runs as its user, who owns the folders made for it; the caller's own user otherwise."""
    code = (
        "import os, sys; from pathlib import Path; from clusterray.common.daemon import control; here = Path(sys.argv[1]);"
        "code = control('sample', 'status', pidfile=here / 'run/a/x.pid', logfile=here / 'log/x.log', argv=[], user='nobody');"
        "print(code, os.getuid(), *{path.stat().st_uid for path in (here / 'run', here / 'run/a', here / 'log')})"
    )
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        done = subprocess.run([sys.executable, "-c", code, folder], stdout=subprocess.PIPE, text=True, check=True)
    uid = os.getuid() or pwd.getpwnam("nobody").pw_uid
    assert done.stdout == f"The sample is stopped.\n3 {uid} {uid}\n"


def test_a_daemon_of_somebody_else_is_named_as_such() -> None:
    """Whoever may not look gets one sentence with the way out, and LSB's code for 'unknown'."""
    code = (
        "import sys; from pathlib import Path; from clusterray.common import daemon; here = Path(sys.argv[1])\n"
        "try: daemon.control('sample', 'status', pidfile=here / 'x.pid', logfile=here / 'x.log', argv=[], user='nobody')\n"
        "except daemon.DaemonError as error: print(error.exit_code, error)"
    )
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0)
        done = subprocess.run([sys.executable, "-c", code, folder], stdout=subprocess.PIPE, text=True, check=True)
        Path(folder).chmod(0o700)
    assert done.stdout == f"4 The sample of {folder}/x.pid belongs to another user (Permission denied): do this as that user or as root.\n"


def test_an_unknown_verb_is_wrong_usage(bench: Bench) -> None:
    """One sentence with all that may be said."""
    with pytest.raises(UsageError, match="start, stop, restart, status or run in the foreground, not 'begin'"):
        bench("begin")


def test_files_of_the_current_folder_cannot_shadow_modules() -> None:
    """A submitter's folder may hold a json.py; started from there, the daemon still gets the interpreter's own."""
    assert module_argv("clusterray.server", "--data", "x") == (sys.executable, "-P", "-m", "clusterray.server", "--data", "x")
