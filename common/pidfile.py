"""A pid file that is locked (flock) for as long as its daemon lives.

So one that ``kill -9`` or a power cut left behind is no obstacle, and a pid that another process got since deceives nobody.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from enum import IntEnum
from pathlib import Path


class Status(IntEnum):
    """What a pid file tells; the values are LSB's exit codes of ``status``."""

    RUNNING = 0
    DEAD = 1
    STOPPED = 3


class PidFile:
    """A pid file that its daemon keeps locked."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fd = -1

    def acquire(self) -> bool:
        """Take the lock; False where a living process has it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(fd)
                return False
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(fd), self.path.stat()):
                    self.fd = fd
                    return True
            os.close(fd)  # its last owner removed it between our open and our lock

    def write(self, pid: int) -> None:
        os.ftruncate(self.fd, 0)
        os.pwrite(self.fd, f"{pid}\n".encode(), 0)

    def release(self, *, remove: bool) -> None:
        """Close our copy of the lock; ``remove`` only as its one holder."""
        if remove:
            self.path.unlink(missing_ok=True)
        os.close(self.fd)
        self.fd = -1

    def look(self) -> tuple[Status, int]:
        """The status, and the pid where it is known (0 else)."""
        try:
            fd = os.open(self.path, os.O_RDONLY)
        except FileNotFoundError:
            return Status.STOPPED, 0
        try:
            text = os.pread(fd, 32, 0).decode("ascii", "replace").strip()
            pid = int(text) if text.isdecimal() else 0
            try:
                fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return Status.RUNNING, pid
            return (Status.DEAD if pid else Status.STOPPED), pid
        finally:
            os.close(fd)
