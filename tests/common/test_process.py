"""What holds for every program that ClusterRay starts, tried with real ones."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from clusterray.common import proc, process
from clusterray.common.errors import FileError
from clusterray.common.lines import LINE_CAP

PROGRAMS = Path(__file__).parent.parent / "programs"


def program(name: str, *args: str) -> tuple[str, ...]:
    return (sys.executable, str(PROGRAMS / f"{name}.py"), *args)


def alive(pid: int) -> bool:
    found = proc.look(pid)
    return found is not None and not found.dead


@pytest.fixture(scope="module", autouse=True)
def parent_of_orphans() -> Iterator[None]:
    assert proc.adopt_orphans()
    yield


class Heard(list[str]):
    """Lines, and a way to wait for one."""

    def __init__(self) -> None:
        self.any = threading.Event()

    def __call__(self, line: str) -> None:
        self.append(line)
        self.any.set()


def test_lines_are_split_at_cr_and_lf_and_both_outputs_are_heard(tmp_path: Path) -> None:
    """Progress that a renderer writes with carriage returns arrives line by line, and so do its errors."""
    heard = Heard()
    code = r"import sys; sys.stdout.write('a\rb\r\nc\n\nd'); sys.stdout.flush(); sys.stderr.write('\ne\x1b[2J\n')"
    child = process.start((sys.executable, "-c", code), cwd=tmp_path, on_line=heard)
    assert child.wait(20) == 0
    assert heard == ["a", "b", "c", "d", "e\ufffd[2J"]
    assert child.lines() == tuple(heard)


@pytest.mark.parametrize("how", ["line", "lines"])
def test_a_chatterer_fills_no_memory(tmp_path: Path, how: str) -> None:
    """A program may print 64 MB, in one line or in many: the last 200 lines are kept, each cut at 4 KiB."""
    child = process.start(program("chatter", how, "64"), cwd=tmp_path)
    assert child.wait(60) == 0
    lines = child.lines()
    assert lines[-1] == "the end"
    assert len(lines) == (2 if how == "line" else process.LAST_LINES)
    assert max(map(len, lines)) <= LINE_CAP


def test_exit_codes_and_signals_are_told_apart(tmp_path: Path) -> None:
    """A crash is reported by its signal, a failure by its code, each with the program's last words."""
    for code in (3, -signal.SIGSEGV):
        child = process.start(program("crash", str(code)), cwd=tmp_path)
        assert child.wait(20) == code
        assert "about to fail" in child.lines()


def test_a_deaf_program_is_stopped(tmp_path: Path) -> None:
    """SIGTERM first, SIGKILL for those who do not listen."""
    heard = Heard()
    child = process.start(program("deaf"), cwd=tmp_path, on_line=heard)
    assert heard.any.wait(20)
    assert child.poll() is None
    child.stop(grace=0.2)
    assert child.poll() == -signal.SIGKILL
    assert not alive(child.pid)


def test_a_polite_program_may_end_by_itself(tmp_path: Path) -> None:
    """Between the two signals a program has time to put its things away."""
    heard = Heard()
    code = "import signal,sys,time\nsignal.signal(15, lambda *_: sys.exit(7))\nprint('up', flush=True)\ntime.sleep(60)"
    child = process.start((sys.executable, "-c", code), cwd=tmp_path, on_line=heard)
    assert heard.any.wait(20)
    child.stop(grace=10)
    assert child.poll() == 7


@pytest.mark.parametrize("stay", [True, False])
def test_nothing_of_the_tree_lives_on(tmp_path: Path, stay: bool) -> None:
    """Children in the group and grandchildren that left it end with their program, stopped or ended by itself."""
    heard = Heard()
    pids = tmp_path / "pids"
    child = process.start(program("forks", str(pids), *(["stay"] if stay else [])), cwd=tmp_path, on_line=heard)
    assert heard.any.wait(20)
    family = [int(line) for line in pids.read_text().split()]
    assert len(family) == 2
    assert all(alive(pid) for pid in family)
    if stay:
        child.stop(grace=0.1)
    else:
        assert child.wait(20) == 0
        child.sweep()
    assert not any(alive(pid) for pid in family)
    assert not any(proc.look(pid) for pid in family), "dead orphans are reaped"


def test_limits_hold_from_the_first_instruction(tmp_path: Path) -> None:
    """Memory, file size and core files are bounded before the program runs."""
    limits = process.ProcessLimits(address_space=400 << 20, file_size=1 << 20, nice=3)
    hog = process.start(program("hog", "1000"), cwd=tmp_path, limits=limits)
    assert hog.wait(20) == 1
    assert "MemoryError" in "\n".join(hog.lines())
    code = "import os,resource as r; print(r.getrlimit(r.RLIMIT_CORE), r.getrlimit(r.RLIMIT_FSIZE), os.getpgid(0) == os.getpid())"
    tells = process.start((sys.executable, "-c", code), cwd=tmp_path, limits=limits)
    assert tells.wait(20) == 0
    assert tells.lines() == ("(0, 0) (1048576, 1048576) True",)


def test_programs_do_not_inherit_our_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A join code in the agent's environment is never seen by a scene."""
    monkeypatch.setenv("CLUSTERRAY_JOIN", "secret")
    child = process.start((sys.executable, "-c", "import os; print(*sorted(os.environ))"), cwd=tmp_path)
    assert child.wait(20) == 0
    assert child.lines() == ("CLUSTERRAY_RUN HOME LANG LC_ALL PATH",)


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    """One sentence says which program is missing, or which folder."""
    with pytest.raises(FileError, match="no-such-renderer"):
        process.start(("no-such-renderer", "+W1"), cwd=tmp_path)
    with pytest.raises(FileError, match="folder"):
        process.start(program("slow", "0"), cwd=tmp_path / "gone")


def test_odd_arguments_arrive_as_they_are(tmp_path: Path) -> None:
    """No shell: quotes, dollars and stars are plain letters."""
    words = ("a b", "$HOME", "*", "'", '"', ";rm -rf /", "-x", "--", "\u00e9")
    child = process.start((sys.executable, "-c", "import sys; print(*sys.argv[1:], sep='\\n')", *words), cwd=tmp_path)
    assert child.wait(20) == 0
    assert child.lines() == words


def test_pipes_for_the_hands(tmp_path: Path) -> None:
    """A hand reads requests and writes answers as bytes, and complains on stderr line by line."""
    heard = Heard()
    code = "import sys\nfor line in sys.stdin.buffer:\n  print('got', len(line), file=sys.stderr)\n  sys.stdout.buffer.write(line.upper())"
    code += "\n  sys.stdout.flush()"
    child = process.start_piped((sys.executable, "-c", code), cwd=tmp_path, on_line=heard)
    child.stdin.write(b"abc\n")
    child.stdin.flush()
    assert child.stdout.readline() == b"ABC\n"
    child.stdin.close()
    assert child.wait(20) == 0
    assert heard == ["got 4"]
    child.close()


def test_a_program_may_be_fed(tmp_path: Path) -> None:
    """Requests go in by a pipe, lines come out as from any program; a stop is the end of both, and nothing is left open."""
    heard = Heard()
    code = "import sys\nfor line in sys.stdin:\n  print('got', len(line), flush=True)\nprint('end', file=sys.stderr)"
    child = process.start_fed((sys.executable, "-c", code), cwd=tmp_path, on_line=heard)
    assert child.feed(b"abc\n")
    assert heard.any.wait(20)
    child.stop()
    assert heard[0] == "got 4"
    assert child.poll() is not None
    assert not child.feed(b"too late\n")


def test_feeding_never_waits(tmp_path: Path) -> None:
    """What a pipe does not take is kept for later; a program that is gone takes nothing, and that is no error."""
    heard = Heard()
    code = "import sys\nsys.stdin.buffer.readline()\nprint('hungry', flush=True)\nprint(len(sys.stdin.buffer.readline()))"
    child = process.start_fed((sys.executable, "-c", code), cwd=tmp_path, on_line=heard)
    assert not child.feed(b"go\n" + b"x" * 500_000 + b"\n")
    assert heard.any.wait(20)
    while not child.feed() and child.wait(0.01) is None:
        pass
    assert child.wait(20) == 0
    assert heard == ["hungry", "500001"]
    child.feed(b"anybody there?\n")
    child.stop()


def test_run_returns_what_was_printed_and_stops_what_hangs(tmp_path: Path) -> None:
    """A version query that hangs costs its timeout, not the agent."""
    done = process.run(program("crash", "4"), timeout=20)
    assert (done.code, done.stdout, done.stderr, done.timed_out) == (4, "", "about to fail", False)
    late = process.run(program("deaf"), timeout=0.3)
    assert late.timed_out
    assert late.code == -signal.SIGKILL


def test_leftovers_of_an_earlier_life_are_ended_and_nobody_else(tmp_path: Path) -> None:
    """After a crash of the agent the next one ends what was left running; a pid that was used again is never touched."""
    heard = Heard()
    child = process.start(program("deaf"), cwd=tmp_path, on_line=heard)
    assert heard.any.wait(20)
    assert process.end_leftover(child.pid, child.started + 1, "") == 0
    assert process.end_leftover(os.getpid(), 1, "") == 0
    assert alive(child.pid)
    assert process.end_leftover(child.pid, child.started, "") == 1
    assert child.wait(20) == -signal.SIGKILL
    speaking = Heard()
    other = process.start(program("slow", "60"), cwd=tmp_path, mark="a-mark", on_line=speaking)
    assert speaking.any.wait(20)  # while the launcher becomes the program, the mark cannot be read for a moment
    assert process.end_leftover(0, 0, "a-mark") == 1
    assert other.wait(20) == -signal.SIGKILL
