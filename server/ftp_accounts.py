"""Who may move which bytes: the accounts of the FTP thread, in memory, without any socket.

An account belongs to a lease or to an upload session. It sees a made-up tree: ``packs/<digest>[.zst]`` for the packs that
it may read, and either ``packs/`` or ``out/`` to write into. Names are matched against patterns, never resolved, so that
there is nothing to escape from. Grants come from any thread; bytes are counted on the FTP thread only.
"""

from __future__ import annotations

import contextlib
import errno
import hmac
import os
import re
import shutil
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ..common.manifest import name_fault

_PACK = re.compile(r"packs/([0-9a-f]{64})(\.zst)?")
CHECK_EVERY = 16 << 20
"""Bytes between two looks at the free disk: a look costs microseconds, and 16 MiB is far below any reserve."""

Names = Literal["packs", "out"]


def free_bytes(folder: Path) -> int:
    """Room on the disk that a folder lies on."""
    return shutil.disk_usage(folder).free


@dataclass
class Stored:
    """Bytes that an account has lying on the disk, by file; only the FTP thread touches it."""

    sizes: dict[Path, int] = field(default_factory=dict)
    total: int = 0

    def note(self, path: Path, size: int) -> None:
        self.total += size - self.sizes.get(path, 0)
        self.sizes[path] = size


@dataclass
class FtpAccount:
    """What one user may do."""

    user: str
    password: str
    read: Mapping[str, Path]
    """Digest -> file on disk; its suffix says whether it is offered as ``.zst`` or plain."""
    write: Path | None
    write_names: Names
    cap: int
    """Bytes that may lie in ``write`` from this account; 0: no cap."""
    write_allowed: Collection[str] | None
    """Digests (packs) or names (out) that may be written; None: any."""
    stored: Stored = field(default_factory=lambda: Stored())

    def readable(self, name: str) -> Path | None:
        """The file behind a name that may be fetched."""
        match = _PACK.fullmatch(name)
        path = self.read.get(match[1]) if match else None
        return path if match and path is not None and (path.suffix == ".zst") == bool(match[2]) else None

    def writable(self, name: str) -> Path | None:
        """The file behind a name that may be stored; packs get a ``.part`` and keep it until the keeper has looked at them."""
        if self.write is None:
            return None
        if self.write_names == "packs":
            match = _PACK.fullmatch(name)
            if match is None or (self.write_allowed is not None and match[1] not in self.write_allowed):
                return None
            return self.write / f"{match[1]}{match[2] or ''}.part"
        below = name.removeprefix("out/")
        if below == name or name_fault(below) or (self.write_allowed is not None and below not in self.write_allowed):
            return None
        return self.write / below


class Upload:
    """A file that is being stored. What pyftpdlib wants of a file object, with the account's cap and the disk watched."""

    def __init__(self, path: Path, mode: str, account: FtpAccount, room: Callable[[Path], str], closed: Callable[[Path], None]) -> None:
        self.name = str(path)
        self.closed = False
        self._path, self._account, self._room, self._on_close = path, account, room, closed
        self._unseen = 0
        path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        flags |= os.O_TRUNC if mode.startswith("w") else os.O_APPEND if mode.startswith("a") else 0
        self._fd = os.open(path, flags, 0o640)
        self._size = os.fstat(self._fd).st_size
        account.stored.note(path, self._size)

    def write(self, data: bytes) -> int:
        """Append; OSError with a sentence where the cap or the disk is reached."""
        stored = self._account.stored
        if self._account.cap and stored.total + len(data) > self._account.cap:
            raise OSError(errno.EDQUOT, f"this account may store {self._account.cap} bytes and no more")
        self._unseen += len(data)
        if self._unseen >= CHECK_EVERY:
            self._unseen = 0
            if sentence := self._room(self._path.parent):
                raise OSError(errno.ENOSPC, sentence)
        left = memoryview(data)
        while left:
            left = left[os.write(self._fd, left) :]
        self._size += len(data)
        stored.note(self._path, self._size)
        return len(data)

    def seek(self, position: int) -> int:
        """REST before STOR: what comes replaces all from there on."""
        os.ftruncate(self._fd, position)
        self._size = position
        self._account.stored.note(self._path, position)
        return os.lseek(self._fd, position, os.SEEK_SET)

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            try:
                os.close(self._fd)
            finally:
                self._on_close(self._path)


class Accounts:
    """All accounts, and which files are being written. Thread-safe."""

    def __init__(self, *, keep_free: int = 0, free: Callable[[Path], int] = free_bytes) -> None:
        self._keep_free = keep_free
        self._free = free
        self._lock = threading.Lock()
        self._accounts: dict[str, FtpAccount] = {}
        self._writing: dict[Path, int] = {}

    def grant(self, account: FtpAccount) -> None:
        """Open an account, or give one other rights; what it has stored so far goes on counting."""
        with self._lock:
            old = self._accounts.get(account.user)
            if old is not None:
                account.stored = old.stored
            self._accounts[account.user] = account

    def revoke(self, user: str) -> None:
        with self._lock:
            self._accounts.pop(user, None)

    def find(self, user: str) -> FtpAccount | None:
        with self._lock:
            return self._accounts.get(user)

    def admits(self, user: str, password: str) -> bool:
        """Whether this is the account's password; takes as long for a wrong one."""
        account = self.find(user)
        known = account.password if account is not None else ""
        return hmac.compare_digest(known.encode(), password.encode(errors="replace")) and account is not None

    def may(self, user: str, letter: str, name: str) -> bool:
        """pyftpdlib's permission letters: r fetch, w and a store, l ask for the size."""
        account = self.find(user)
        if account is None:
            return False
        reads, writes = account.readable(name) is not None, account.writable(name) is not None
        return reads if letter == "r" else writes if letter in "wa" else (reads or writes) if letter == "l" else False

    def locate(self, user: str, name: str) -> Path | None:
        """The file that SIZE speaks of: what the account may fetch, else what it has stored."""
        account = self.find(user)
        return None if account is None else account.readable(name) or account.writable(name)

    def no_room(self, folder: Path) -> str:
        """Why nothing more may be stored there; empty: there is room."""
        with contextlib.suppress(OSError):
            free = self._free(folder)
            if free < self._keep_free:
                return f"the server's disk has {free} bytes left and keeps {self._keep_free} free; free some or ask its operator"
        return ""

    def refuses(self, user: str) -> str:
        """Why this account may store nothing more; empty: it may."""
        account = self.find(user)
        return self.no_room(account.write) if account is not None and account.write is not None else ""

    def store(self, user: str, name: str, mode: str) -> Upload | None:
        """Open a file for storing; None: not with this account."""
        account = self.find(user)
        path = account.writable(name) if account is not None else None
        if account is None or path is None:
            return None
        with self._lock:  # told before it is opened, so that nobody ever finds an open file untold
            self._writing[path] = self._writing.get(path, 0) + 1
        try:
            return Upload(path, mode, account, self.no_room, self._closed)
        except OSError:
            self._closed(path)
            raise

    def _closed(self, path: Path) -> None:
        with self._lock:
            left = self._writing.pop(path, 1) - 1
            if left > 0:
                self._writing[path] = left

    def writing(self, path: Path) -> bool:
        """Whether a session has this file open for storing. The keeper asks after it has moved the file away."""
        with self._lock:
            return path in self._writing
