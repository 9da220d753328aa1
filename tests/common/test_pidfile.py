"""Whether a daemon lives is asked of the lock, never of the number in the file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from clusterray.common.pidfile import PidFile, Status


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "x.pid"


def test_only_one_holds_it(path: Path) -> None:
    """The second asks in vain until the first lets go; the folder is made if need be."""
    first, second = PidFile(path), PidFile(path)
    assert first.acquire()
    assert not second.acquire()
    first.release(remove=False)
    assert second.acquire()
    second.release(remove=True)
    assert not path.exists()


def test_it_tells_running_dead_and_stopped_apart(path: Path) -> None:
    """Locked: running. A number without a lock: dead. Empty or not there: stopped."""
    pid = PidFile(path)
    assert pid.look() == (Status.STOPPED, 0)
    assert pid.acquire()
    assert pid.look() == (Status.RUNNING, 0)
    pid.write(123456)
    pid.write(77)
    assert pid.look() == (Status.RUNNING, 77)
    pid.release(remove=False)
    assert pid.look() == (Status.DEAD, 77)
    path.write_text("")
    assert pid.look() == (Status.STOPPED, 0)
    path.write_text("rubbish\n")
    assert pid.look() == (Status.STOPPED, 0)


def test_a_file_that_was_removed_meanwhile_is_made_anew(path: Path) -> None:
    """Whoever holds the lock of an unlinked file holds nothing: the next one makes a file of its own."""
    first, second = PidFile(path), PidFile(path)
    assert first.acquire()
    path.unlink()
    assert second.acquire()
    second.write(1)
    assert second.look() == (Status.RUNNING, 1)
    first.release(remove=False)
    second.release(remove=True)


def test_a_link_in_its_place_is_refused(path: Path, tmp_path: Path) -> None:
    """Nobody can have root write into another file by it."""
    path.parent.mkdir()
    (tmp_path / "precious").write_text("precious")
    path.symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match=os.strerror(40)):
        PidFile(path).acquire()
    assert (tmp_path / "precious").read_text() == "precious"
