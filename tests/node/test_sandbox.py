"""Whether and how programs are confined; what they see inside is in test_runner.py."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from clusterray.common import process
from clusterray.common.errors import FileError
from clusterray.node import sandbox
from clusterray.node.sandbox import Confinement


def test_bubblewrap_is_tried_before_it_is_trusted(tmp_path: Path) -> None:
    """A real run at the start decides; the trial leaves nothing behind."""
    found = sandbox.try_out(tmp_path, "auto")
    assert found.words == "bubblewrap"
    assert list(tmp_path.iterdir()) == []


def test_a_bubblewrap_that_does_not_work_is_told(tmp_path: Path) -> None:
    """Not there, forbidden by the kernel, or doing nothing: the reason is shown, and only our render kinds run."""
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\necho 'bwrap: No permissions to create a new namespace' >&2\nexit 1\n")
    broken.chmod(0o755)
    for program, reason in (("", "not installed"), (str(broken), "No permissions to create"), ("/bin/true", "does not work")):
        found = sandbox.try_out(tmp_path, "auto", program)
        assert found.words.startswith("no: ")
        assert reason in found.words
        assert found.objection(built_in_render=True) == ""
        assert "built-in render kinds only" in found.objection(built_in_render=False)


def test_one_that_confines_nothing_is_not_trusted(tmp_path: Path) -> None:
    """A stand-in that just runs the program is found out by its writing where it must not."""
    fake = tmp_path / "bwrap"
    fake.write_text('#!/bin/sh\nwhile [ "$1" != -- ]; do shift; done\nshift\nexec "$@"\n')
    fake.chmod(0o755)
    assert "read-only" in sandbox.try_out(tmp_path, "auto", str(fake)).words


def test_the_owner_may_switch_it_off(tmp_path: Path) -> None:
    """That is the owner's to decide, and is shown."""
    found = sandbox.try_out(tmp_path, "off")
    assert found.words == "off"
    assert found.objection(built_in_render=False) == ""


def test_killing_bubblewrap_kills_all_inside(tmp_path: Path) -> None:
    """Nothing inside outlives it, whatever it does with sessions and signals."""
    confinement = sandbox.try_out(tmp_path, "auto")
    programs = Path(__file__).parent.parent / "programs"
    inputs, scratch = tmp_path / "in", tmp_path / "scratch"
    inputs.mkdir()
    scratch.mkdir()
    up: list[str] = []
    env = process.plain_env(scratch)
    argv = (sys.executable, str(programs / "forks.py"), str(scratch / "pids"), "stay")
    words = confinement.wrap(argv, inputs=inputs, scratch=scratch, cwd=scratch, env=env, see=(programs,))
    child = process.start(words, cwd=scratch, env=env, on_line=up.append)
    while not up and child.wait(0.02) is None:
        pass
    assert up == ["forked"]
    assert len(child.family()) >= 3
    child.stop(grace=0.0)
    assert child.family() == []


def test_a_folder_that_holds_our_data_is_never_shown(tmp_path: Path) -> None:
    """A renderer in someone's home does not open that home to a scene."""
    program = tmp_path / "povray"
    scratch = tmp_path / "share" / "node" / "scratch" / "l"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    words = Confinement(bwrap="bwrap").wrap(
        (str(program),), inputs=Path("/srv/in"), scratch=scratch, cwd=scratch, env={}, see=(tmp_path / "share",)
    )
    assert str(tmp_path) not in words
    assert str(tmp_path / "share") not in words
    assert str(program) in words


def test_a_program_may_be_named_without_its_path(tmp_path: Path) -> None:
    """It is looked up outside, and never taken for a path of the current folder; one that is missing is named."""
    confinement = sandbox.try_out(tmp_path, "auto")
    (tmp_path / "in").mkdir()
    env = process.plain_env(tmp_path)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    for one in (confinement, Confinement()):
        words = one.wrap(("sleep", "0"), inputs=tmp_path / "in", scratch=scratch, cwd=scratch, env=env)
        assert process.run(words, timeout=20, cwd=scratch, env=env).code == 0
        with pytest.raises(FileError, match="no-such-program"):
            one.wrap(("no-such-program",), inputs=tmp_path / "in", scratch=scratch, cwd=scratch, env=env)


def test_an_environment_of_python_is_shown_whole(tmp_path: Path) -> None:
    """The real one with Blender in it: its interpreter finds its libraries by a file beside bin and lib."""
    confinement = sandbox.try_out(tmp_path, "auto")
    python = Path(__file__).parents[2] / ".venv-blender" / "bin" / "python"
    (tmp_path / "in").mkdir()
    (tmp_path / "scratch").mkdir()
    env = process.plain_env(tmp_path / "scratch")
    words = confinement.wrap(
        (str(python), "-c", "import bpy; print(bpy.app.version[0])"),
        inputs=tmp_path / "in",
        scratch=tmp_path / "scratch",
        cwd=tmp_path / "scratch",
        env=env,
    )
    done = process.run(words, timeout=60, cwd=tmp_path / "scratch", env=env)
    assert done.code == 0, done.stderr
    assert int(done.stdout.split()[-1]) >= 4


def test_only_a_job_with_graphics_cards_sees_their_drivers(tmp_path: Path) -> None:
    """Beside the bare /dev that every program gets."""
    shown = [
        Confinement(bwrap="bwrap").wrap(("true",), inputs=tmp_path, scratch=tmp_path, cwd=tmp_path, env={"PATH": "/bin"}, cards=cards)
        for cards in (False, True)
    ]
    assert ["/sys" in words for words in shown] == [False, True]
