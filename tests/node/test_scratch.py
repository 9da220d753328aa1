"""Scratch folders and what is left by a life that ended badly."""

from __future__ import annotations

import shutil
import sys
import threading
from pathlib import Path

import pytest
from clusterray.common import process
from clusterray.common.errors import FileError
from clusterray.node.scratch import Note, Scratch, _unlock

PROGRAMS = Path(__file__).parent.parent / "programs"


def test_a_lease_has_a_folder_of_its_own(tmp_path: Path) -> None:
    """It begins empty, also the second time, and goes whole."""
    scratch = Scratch(tmp_path)
    place = scratch.make("lease")
    (place / "out" / "a").write_text("x")
    assert list((scratch.make("lease") / "out").iterdir()) == []
    scratch.note("lease", Note(mark="m"))
    scratch.remove("lease")
    scratch.remove("lease")
    assert list(scratch.folder.iterdir()) == []
    assert list((tmp_path / "running").iterdir()) == []


@pytest.mark.parametrize("lease", ["", "..", "a/b", "/etc", "a\0b", "x" * 65])
def test_a_lease_cannot_name_another_folder(tmp_path: Path, lease: str) -> None:
    """The id comes from outside; what is no plain name is refused."""
    with pytest.raises(FileError):
        Scratch(tmp_path).make(lease)


def test_unreadable_folders_are_removed_too(tmp_path: Path) -> None:
    """A program may have locked its own folders."""
    scratch = Scratch(tmp_path)
    inner = scratch.make("lease") / "tmp" / "deep"
    inner.mkdir(parents=True)
    (inner / "file").touch()
    inner.chmod(0)
    scratch.remove("lease")
    assert list(scratch.folder.iterdir()) == []


def test_unlocking_does_not_go_through_a_link(tmp_path: Path) -> None:
    """A program that is still alive may exchange a folder for a link at any moment."""
    theirs = tmp_path / "theirs"
    theirs.mkdir(mode=0o500)
    (tmp_path / "link").symlink_to(theirs)
    _unlock(tmp_path / "link")
    assert theirs.stat().st_mode & 0o777 == 0o500
    _unlock(theirs)
    assert theirs.stat().st_mode & 0o777 == 0o700


def test_a_copied_folder_leaves_the_first_nodes_programs_alone(tmp_path: Path) -> None:
    """A data folder that was copied beside its running node speaks of programs that are not the copy's to end."""
    first = Scratch(tmp_path / "first")
    child = process.start((sys.executable, str(PROGRAMS / "slow.py")), cwd=tmp_path, mark="mark-copied")
    try:
        first.note("lease", Note(mark=child.mark, pid=child.pid, started=child.started))
        shutil.copytree(tmp_path / "first", tmp_path / "copy")
        assert Scratch(tmp_path / "copy").clear() == 0
        assert child.poll() is None
    finally:
        child.stop()


def test_the_next_life_ends_what_was_left_running(tmp_path: Path) -> None:
    """By the note, whether the crash came before the pid was written down or after."""
    children = []
    for lease in ("early", "late"):
        up = threading.Event()
        scratch = Scratch(tmp_path)
        scratch.make(lease)
        child = process.start(
            (sys.executable, str(PROGRAMS / "deaf.py")), cwd=tmp_path, mark=f"mark-{lease}", on_line=lambda _, up=up: up.set()
        )
        known = Note(mark=child.mark, pid=child.pid, started=child.started)
        scratch.note(lease, Note(mark=child.mark) if lease == "early" else known)
        assert up.wait(20)
        children.append(child)
    (tmp_path / "running" / "torn.json").write_text("{")
    assert Scratch(tmp_path).clear() == 2
    assert [child.wait(20) for child in children] == [-9, -9]
    assert list((tmp_path / "running").iterdir()) == []
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_clean_folder_is_used_again_and_never_two_at_a_time(tmp_path: Path) -> None:
    """Quick jobs of our own code do not pay for folders; nothing of one lease is seen by the next."""
    scratch = Scratch(tmp_path)
    first = scratch.make("l1")
    (first / "out" / "a").write_text("x")
    scratch.remove("l1")
    second = scratch.make("l2")
    assert second == first
    assert list((second / "out").iterdir()) == []
    third = scratch.make("l1")
    assert third != second
    (second / "more").touch()
    scratch.remove("l2")
    assert not second.exists()
    scratch.note("l1", Note(mark="m"))
    scratch.remove("l1")
    assert not third.exists()
