"""``submit --local``: a farm of this machine alone, for one command alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from clusterray.client.commands_submit import demo_scene

from .conftest import Terminal

SCENE = b"camera { location <0,1,-4> look_at 0 } light_source { <5,5,-5> color rgb 1 } sphere { 0, 1 pigment { color rgb <1,0,0> } }"
COPIES = b"""
kind = "command"
[options]
command = ["cp", "{input}", "{output}"]
files = ["*.txt"]
outputs = ["{stem}.copy"]
"""
ENDLESS = b"#declare I = 0; #while (I < 1) #declare J = sin(I); #end sphere { 0, 1 }"


@pytest.fixture
def rooms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where farms of one command keep their state."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def start(person: Terminal, rooms: Path, *argv: str | Path) -> subprocess.Popen[str]:
    env = {"PATH": os.environ["PATH"], "TMPDIR": str(rooms), **person.env}
    code = "from clusterray.client.cli import main; main()"
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-P", "-c", code, *argv], env=env, cwd=person.cwd, stdout=pipe, stderr=pipe, text=True)


def left(rooms: Path) -> list[str]:
    """Processes that still work for a farm in this folder."""
    found = []
    for process in psutil.process_iter():
        try:
            line = " ".join(process.cmdline())
        except psutil.Error:
            continue
        if str(rooms) in line:
            found.append(line)
    return found


def test_a_picture_without_any_farm(stranger: Terminal, rooms: Path) -> None:
    """No login, no server: the folder becomes a picture, and nothing of the farm is left, neither process nor file."""
    done = start(stranger, rooms, "submit", "--local", stranger.scene("ball", {"ball.pov": SCENE}), "-o", "width=32", "-o", "height=24")
    out, err = done.communicate(timeout=120)
    assert (done.returncode, out) == (0, f"{stranger.cwd / 'ball-result'}\n"), err
    assert (stranger.cwd / "ball-result/ball.png").read_bytes().startswith(b"\x89PNG")
    assert not left(rooms) and not any(rooms.iterdir())


@pytest.mark.parametrize(("number", "when"), [(signal.SIGINT, "running on 1 node"), (signal.SIGTERM, "Starting a server")])
def test_an_end_from_outside_ends_all_of_it(stranger: Terminal, rooms: Path, number: signal.Signals, when: str) -> None:
    """Ctrl-C in mid-render, or a kill while it all starts: exit code 130, and no process is left."""
    scene = stranger.scene("ball", {"ball.pov": ENDLESS})
    done = start(stranger, rooms, "submit", "--local", scene, "-o", "width=32", "-o", "height=24")
    assert done.stderr is not None
    for line in done.stderr:
        if when in line:
            break
    done.send_signal(number)
    out, err = done.communicate(timeout=60)
    assert (done.returncode, out) == (130, ""), err
    assert not left(rooms) and not any(rooms.iterdir())


def test_a_syntax_error_is_povrays_own_message(stranger: Terminal, rooms: Path) -> None:
    """With file and line, at once, and exit code 1."""
    scene = stranger.scene("ball", {"ball.pov": SCENE + b"\nsphere { oops\n"})
    done = start(stranger, rooms, "submit", "--local", scene, "-o", "width=32", "-o", "height=24")
    _, err = done.communicate(timeout=120)
    assert done.returncode == 1
    assert "ball.pov" in err and "line 2" in err.replace("ball.pov:2", "line 2")
    assert not left(rooms)


def test_a_demo_without_a_renderer_says_what_to_install(stranger: Terminal, rooms: Path) -> None:
    """POV-Ray or, by pip alone, Mitsuba; nothing of the farm is left."""
    stranger.env["CLUSTERRAY_NODE_PROGRAMS"] = "povray=,mitsuba="  # found nowhere
    done = start(stranger, rooms, "demo")
    out, err = done.communicate(timeout=120)
    assert (done.returncode, out) == (2, "")
    assert "apt-get install povray" in err and "pip install 'clusterray[mitsuba]'" in err
    assert not left(rooms) and not any(rooms.iterdir())


@pytest.mark.parametrize(("here", "scene"), [({"povray", "mitsuba"}, "demo"), ({"blender", "mitsuba"}, "mitsuba")])
def test_the_demo_takes_the_renderer_that_is_there(here: set[str], scene: str) -> None:
    """Its scenes are in the package; a person hears why it is not POV-Ray."""
    told: list[str] = []
    call: Any = SimpleNamespace(tell=told.append)
    chosen = demo_scene(call, here)
    assert chosen.name == scene
    assert (chosen / "task.toml").is_file()
    assert bool(told) == (scene != "demo")


def test_a_command_needs_the_owners_word_also_at_home(stranger: Terminal, rooms: Path) -> None:
    """A folder that came from somewhere starts no program just because it was submitted; the setting is named."""
    folder = stranger.scene("copies", {"a.txt": b"a", "task.toml": COPIES})
    done = start(stranger, rooms, "submit", "--local", folder)
    out, err = done.communicate(timeout=120)
    assert (done.returncode, out) == (2, ""), err
    assert "[node] commands" in err and "CLUSTERRAY_NODE_COMMANDS=cp" in err
    assert not left(rooms)


def test_a_command_that_is_not_on_this_machine_is_said_at_once(stranger: Terminal, rooms: Path) -> None:
    """No other node will ever join, so that the task would wait for ever."""
    folder = stranger.scene("copies", {"a.txt": b"a", "task.toml": COPIES.replace(b'"cp"', b'"no-such-program"')})
    stranger.env["CLUSTERRAY_NODE_COMMANDS"] = "any"
    done = start(stranger, rooms, "submit", "--local", folder)
    _, err = done.communicate(timeout=120)
    assert done.returncode == 2 and "copies runs no-such-program, which is not on this machine: install it" in err, err
    assert not left(rooms)
