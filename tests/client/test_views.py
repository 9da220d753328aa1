"""What is seen while work goes on."""

from __future__ import annotations

import io

import msgspec
import pytest
from clusterray.client.summary import print_columns
from clusterray.client.views import LiveView, NoView, PlainView, bar, make_view
from clusterray.client.words import clean, evidence, state_line
from clusterray.common.model import TaskView
from clusterray.common.states import TaskState
from clusterray.common.testing import FakeClock

from .conftest import at, job, task

S = TaskState


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def view() -> TaskView:
    return task("11111111-aaaa", "scene", "povray", 0, 0)


def test_a_state_is_one_line(view: TaskView) -> None:
    """Tiles done, running and failed, nodes and the time to go; a place while it waits; the reason why it waits."""
    assert state_line(view) == "queued, place 1"
    assert state_line(at(view, S.RUNNING)) == "running, 1 of 3 tiles done, 2 running on 2 nodes, 20s to go"
    assert state_line(at(view, S.STITCHING)) == "joining 3 tiles"
    assert state_line(at(view, S.COMPLETED)) == "completed in 32s"
    assert state_line(at(view, S.CANCELED)) == "cancelled"
    waiting = msgspec.structs.replace(view, notes=("no node has povray\x1b[0m 3.8",))
    assert state_line(waiting) == "queued, place 1, no node has povray[0m 3.8"


def test_plain_lines_come_with_changes_and_now_and_then(view: TaskView) -> None:
    """A log of a task has a line for each state and one every few seconds, not one for each beat."""
    out, clock = io.StringIO(), FakeClock()
    plain = PlainView(out, clock)
    running = at(view, S.RUNNING)
    for shown in (view, view, running, msgspec.structs.replace(running, eta=19.0), msgspec.structs.replace(running, eta=18.0)):
        plain.tasks([shown])
    clock.advance(6)
    plain.tasks([msgspec.structs.replace(running, eta=12.0)])
    plain.tasks([at(view, S.COMPLETED)])
    plain.moving("sending scene", 0, 2_000_000)
    plain.moving("sending scene", 1_000_000, 2_000_000)
    plain.moving("sending scene", 2_000_000, 2_000_000)
    plain.close()
    assert out.getvalue().splitlines() == [
        "scene (11111111): queued, place 1",
        "scene (11111111): running, 1 of 3 tiles done, 2 running on 2 nodes, 20s to go",
        "scene (11111111): running, 1 of 3 tiles done, 2 running on 2 nodes, 12s to go",
        "scene (11111111): completed in 32s",
        "sending scene, 2 MB",
    ]


def test_a_terminal_that_cannot_move_its_cursor_gets_lines(view: TaskView, monkeypatch: pytest.MonkeyPatch) -> None:
    """Emacs, a serial line, a container without TERM: no control characters."""
    for term in ("dumb", ""):
        monkeypatch.setenv("TERM", term)
        assert isinstance(make_view("auto", Screen(), FakeClock()), PlainView)


def test_the_live_view_ends_in_plain_lines(view: TaskView, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal there is a table with bars; when it goes, the last state stays."""
    monkeypatch.setenv("TERM", "xterm-256color")
    out = Screen()
    live = make_view("auto", out, FakeClock())
    assert isinstance(live, LiveView)
    live.moving("scene", 1_000_000, 4_000_000)
    live.tasks([at(view, S.RUNNING)])
    live.note("The server is away.")
    live._live.refresh()
    live.close()
    text = out.getvalue()
    assert "1 of 3 tiles done" in text and "33%" in text and "1 MB of 4 MB" in text and "The server is away." in text
    assert text.rstrip().endswith("20s to go")


def test_which_view(view: TaskView) -> None:
    """Plain where there is no terminal; as asked for otherwise; none says sentences only."""
    out = io.StringIO()
    assert type(make_view("auto", out, FakeClock())) is PlainView
    assert type(make_view("plain", Screen(), FakeClock())) is PlainView
    quiet = make_view("none", out, FakeClock())
    assert type(quiet) is NoView
    quiet.tasks([view])
    quiet.moving("x", 0, 1)
    quiet.note("a sentence")
    quiet.close()
    assert out.getvalue() == "a sentence\n"


def test_a_bar_is_text() -> None:
    """It has a figure and stays within its width."""
    assert bar(0.5, 4) == "██░░  50%"
    assert bar(-1, 2) == "░░   0%" and bar(7, 2) == "██ 100%"


def test_evidence_is_short_and_said_once(view: TaskView) -> None:
    """The same failure of a hundred tiles is told once, with the last lines of the program."""
    failed = at(view, S.FAILED)
    jobs = [job(1, failed)] * 100
    lines = list(evidence(failed, jobs))
    assert lines[0] == "scene failed: The scene has an error."
    assert len(lines) == 4
    many = [
        msgspec.structs.replace(one, attempts=(msgspec.structs.replace(one.attempts[0], sentence=f"way {number}"),))
        for number, one in enumerate(jobs)
    ]
    assert list(evidence(failed, many))[-1].endswith("clusterray show 11111111")


def test_nothing_unprintable_is_printed() -> None:
    """Names and lines of others cannot move the cursor or ring the bell."""
    assert clean("a\tb\x1b[2J\x07ü\u202e漢") == "a b[2Jü漢"


def test_columns_are_never_cut() -> None:
    """A long name goes through a pipe whole."""
    out = io.StringIO()
    print_columns(("A", "B"), [("x" * 300, "1"), ("y", "2")], out)
    assert out.getvalue().splitlines()[1] == "x" * 300 + "  1"
