"""Getting and putting packs over FTPS: pinned, resumed, verified.

One Courier is one session at a time. What a server answers is believed for nothing but going on: a file gets its name when
its digest is right, and an upload is done when the server has as many bytes as were meant; its digest is judged on port 5007.
"""

from __future__ import annotations

import contextlib
import errno
import ftplib
import io
import itertools
import logging
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar

from . import encoding
from .clock import Clock, backoff
from .errors import DigestMismatch, DiskFull, FileError, Refused, TransferError, UnsafeArchive
from .model import Account, PackRef
from .security import client_context, pin_of

log = logging.getLogger(__name__)

BLOCK = 1 << 18
BUSY_TRIES = 240
"""Tries on 425 (all data ports taken), some two seconds each: the others are moving bytes, so it passes."""

Progress = Callable[[int], None]
Result = TypeVar("Result")


class AccountGone(TransferError):
    """The account is not known any more: its lease or upload is over, or the server was started again; ask for a new one."""

    code = "account"


class Stopped(TransferError):
    """The caller asked for an end."""

    code = "stopped"


class _PinnedFtp(ftplib.FTP_TLS):
    """FTP_TLS that shows no secret and reads no byte before it knows whom it talks to, on each channel."""

    def __init__(self, pin: str, timeout: float) -> None:
        super().__init__(context=client_context(), timeout=timeout)
        self._pin = pin
        self._known = b""
        """The certificate that was found to have the right key; data channels show it again."""

    def pinned(self, sock: object) -> ssl.SSLSocket:
        """The socket, if the peer showed the key of the join code; Refused otherwise."""
        shown = sock.getpeercert(binary_form=True) if isinstance(sock, ssl.SSLSocket) else None
        if not isinstance(sock, ssl.SSLSocket) or shown is None or (shown != self._known and pin_of(shown) != self._pin):
            raise Refused(
                f"The file server at {self.host}:{self.port} shows another key than the one in the join code; "
                "it is another server, or its keys were made anew: ask for a new join code.",
                code="pin",
            )
        self._known = shown
        return sock

    def channel(self, command: str, rest: int) -> ssl.SSLSocket:
        """Open a data connection for a command."""
        sock, _ = self.ntransfercmd(command, rest or None)
        try:
            return self.pinned(sock)
        except BaseException:
            sock.close()
            raise


@dataclass(frozen=True)
class _Parcel:
    """Something to send: under which name, and how."""

    name: str
    what: str
    source: Callable[[], BinaryIO]
    compress: bool
    progress: Progress


class Courier:
    """Moves packs and outputs for one account. Not thread-safe: one Courier per thread.

    Raises Refused (code ``pin``: another server), AccountGone, DiskFull, DigestMismatch or TransferError, each with a sentence;
    cut connections, busy servers and restarts are waited out first, ``tries`` times without a byte of headway.
    """

    def __init__(
        self, account: Account, host: str, pin: str, clock: Clock, *, tries: int = 8, stop: threading.Event | None = None,
        timeout: float = 30.0,
    ) -> None:  # fmt: skip
        self._account = account
        self._host = account.host or host
        self._pin = pin
        self._clock = clock
        self._tries = tries
        self._stop = stop or threading.Event()
        self._timeout = timeout
        self._ftp: _PinnedFtp | None = None

    def __enter__(self) -> Courier:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the session; the next transfer opens one again."""
        ftp, self._ftp = self._ftp, None
        if ftp is not None:
            with contextlib.suppress(*ftplib.all_errors):
                if ftp.sock is not None:
                    ftp.sock.settimeout(2.0)
                ftp.quit()
            ftp.close()

    # --- the three errands

    def get_pack(self, pack: PackRef, dest: Path, progress: Progress | None = None) -> None:
        """Fetch a pack. ``dest`` appears, plain and not fsynced, when the digest is right; what lay half-fetched beside it is gone on with.

        ``progress`` hears how many of ``pack.size`` bytes are here.
        """
        what = f"pack {pack.digest[:12]}"
        name, size = self._persist(what, lambda ftp, _: _offered(ftp, pack))
        encoded = name.endswith(encoding.SUFFIX)
        if size > encoding.most(pack.size):
            raise TransferError(f"The server offers {size} bytes for {what}, which has {pack.size}; it is not this pack.")
        dest.parent.mkdir(parents=True, exist_ok=True)
        part = dest.with_name(dest.name + (encoding.SUFFIX if encoded else "") + ".part")

        def here(count: int) -> None:
            if progress is not None:
                progress(count * pack.size // max(size, 1))

        for last in (False, True):  # bytes of an earlier life may be wrong: once more from the start before giving up
            self._persist(what, lambda ftp, headway: self._retrieve(ftp, name, size, part, here, headway))
            try:
                _name_it(part, pack, encoded, dest)
                return
            except (DigestMismatch, UnsafeArchive):
                part.unlink(missing_ok=True)
                if last:
                    raise

    def put_pack(self, pack: PackRef, source: Callable[[], BinaryIO], *, compress: bool, progress: Progress | None = None) -> None:
        """Send a pack, encoded if wished. The caller then tells the server (``Stored``), which hashes it.

        ``progress`` hears how many of ``pack.size`` plain bytes were taken up.
        """
        name = f"packs/{pack.digest}{encoding.SUFFIX if compress else ''}"
        self._send(_Parcel(name, f"pack {pack.digest[:12]}", source, compress, progress or _deaf))

    def put_file(self, name: str, path: Path, progress: Progress | None = None) -> None:
        """Send an output as it is into ``out/<name>``."""
        self._send(_Parcel(f"out/{name}", name, lambda: path.open("rb"), False, progress or _deaf))

    # --- one try each

    def _retrieve(self, ftp: _PinnedFtp, name: str, size: int, part: Path, here: Progress, headway: Progress) -> None:
        with _disk(part), part.open("ab", buffering=0) as out:
            have = out.tell()
            if have > size:
                have = out.truncate(0)
            if have < size:
                with self._data(ftp, f"RETR {name}", have) as sock:
                    for block in _received(sock):
                        have += len(block)
                        if have > size:
                            raise TransferError(f"The server sends more of {name} than it said.")
                        _write(out, block, part)
                        headway(have)
                        here(have)
                        self._go_on()
                ftp.voidresp()
        if have < size:
            raise EOFError("the data connection ended early")
        here(size)

    def _send(self, parcel: _Parcel) -> None:
        try:
            file = parcel.source()
        except OSError as error:
            raise FileError(f"{parcel.what} cannot be read ({error.strerror or error}).") from error
        with file:
            self._persist(parcel.what, lambda ftp, headway: self._store(ftp, parcel, file, headway))

    def _store(self, ftp: _PinnedFtp, parcel: _Parcel, file: BinaryIO, headway: Progress) -> None:
        there = _size(ftp, parcel.name)
        at, blocks = _from(file, parcel.compress, there or 0)
        if at != there:  # nothing is there, or more than we have: begin anew
            at, blocks = _from(file, parcel.compress, 0)
        headway(at)
        with self._data(ftp, f"APPE {parcel.name}" if at else f"STOR {parcel.name}", 0) as sock:
            for block in blocks:
                self._go_on()
                sock.sendall(block)
                at += len(block)
                parcel.progress(file.tell())
        ftp.voidresp()
        there = _size(ftp, parcel.name)
        if there != at:
            raise EOFError(f"the server has {there} bytes of {at}")

    @contextlib.contextmanager
    def _data(self, ftp: _PinnedFtp, command: str, rest: int) -> Iterator[ssl.SSLSocket]:
        """A data connection; at its end TLS is closed properly, so that the last bytes are not lost to a reset."""
        sock = ftp.channel(command, rest)
        try:
            yield sock
            with contextlib.suppress(OSError):  # the peer may have closed first; the size tells the truth
                sock.unwrap()
        except OSError:
            sock.close()
            _reason(ftp)
            raise
        finally:
            sock.close()

    # --- persistence

    def _persist(self, what: str, work: Callable[[_PinnedFtp, Progress], Result]) -> Result:
        """Try until it is done. ``work`` tells its second argument how far it is; getting farther than ever starts the count anew."""
        failed = busy = farthest = 0

        def headway(at: int) -> None:
            nonlocal failed, busy, farthest
            if at > farthest:
                failed, busy, farthest = 0, 0, at

        while True:
            self._go_on()
            stale = self._ftp is not None
            try:
                return work(self._session(), headway)
            except (ftplib.Error, OSError, EOFError) as error:
                self._drop()
                trouble = f"{error}" or type(error).__name__
                _judge(error, what)
            except BaseException:
                self._drop()
                raise
            if stale:  # an idle session ends by itself (421); that is no failure
                continue
            if trouble.startswith("425") and busy < BUSY_TRIES:
                busy += 1
                self._rest(backoff(busy, base=0.2, cap=2.0))
                continue
            failed += 1
            if failed >= self._tries:
                raise TransferError(
                    f"Moving {what} failed {failed} times, last with: {trouble}; "
                    f"is the file server at {self._host}:{self._account.port} reachable?"
                )
            log.info("ftp: %s: %s; try %d follows", what, trouble, failed + 1)
            self._rest(backoff(failed - 1))

    def _session(self) -> _PinnedFtp:
        if self._ftp is None:
            ftp = _PinnedFtp(self._pin, self._timeout)
            try:
                ftp.connect(self._host, self._account.port)
                ftp.auth()
                ftp.pinned(ftp.sock)
                ftp.login(self._account.user, self._account.password, secure=False)
                ftp.prot_p()
                ftp.voidcmd("TYPE I")
            except BaseException:
                ftp.close()
                raise
            self._ftp = ftp
        return self._ftp

    def _drop(self) -> None:
        """Forget a session of unknown state; only a new one is in step."""
        ftp, self._ftp = self._ftp, None
        if ftp is not None:
            ftp.close()

    def _rest(self, seconds: float) -> None:
        self._clock.wait(self._stop, seconds)
        self._go_on()

    def _go_on(self) -> None:
        if self._stop.is_set():
            raise Stopped("The transfer was stopped.")


def _deaf(_: int) -> None:
    """Nobody listens to the progress."""


def _judge(error: Exception, what: str) -> None:
    """Raise where trying again cannot help."""
    if not isinstance(error, ftplib.Error):
        return
    code, text = str(error)[:3], str(error)[4:].strip()
    if code in ("452", "552"):
        raise DiskFull(f"The server took no more of {what}: {text}") from error
    if code == "530":
        raise AccountGone(f"The file server does not know this account any more; {what} needs a new one.") from error
    if code.startswith("5"):
        raise TransferError(f"The file server refused {what}: {text}") from error


def _reason(ftp: _PinnedFtp) -> None:
    """After a broken data connection: raise what the server says of it, if it says something."""
    if ftp.sock is not None:
        with contextlib.suppress(OSError, EOFError):
            ftp.sock.settimeout(2.0)
            ftp.voidresp()


def _offered(ftp: _PinnedFtp, pack: PackRef) -> tuple[str, int]:
    """Under which name the server has a pack, and how many bytes that is."""
    for name in (f"packs/{pack.digest}{encoding.SUFFIX}", f"packs/{pack.digest}"):
        size = _size(ftp, name)
        if size is not None:
            return name, size
    raise TransferError(f"The server does not offer pack {pack.digest[:12]} to this account.")


def _size(ftp: _PinnedFtp, name: str) -> int | None:
    """Bytes that the server has under a name, or None."""
    try:
        return ftp.size(name)
    except ftplib.error_perm as error:
        if str(error).startswith("550"):
            return None
        raise


def _from(file: BinaryIO, compress: bool, start: int) -> tuple[int, Iterator[bytes]]:
    """What there is to send from byte ``start`` of the way on, and where that really begins: less than asked where it ends before."""
    if not compress:
        file.seek(min(start, file.seek(0, 2)))
        return file.tell(), iter(lambda: file.read(BLOCK), b"")
    file.seek(0)
    at, blocks = 0, encoding.encode(file)
    while at < start and (block := next(blocks, b"")):
        if at + len(block) > start:
            return start, itertools.chain([block[start - at :]], blocks)
        at += len(block)
    return at, blocks


def _received(sock: ssl.SSLSocket) -> Iterator[memoryview]:
    """What comes, in blocks of some size: TLS hands over 16 KiB at most, which is little to write and to report.

    Before an error of the connection is raised, what came until then is handed out too: it need not come again.
    """
    view, filled, count = memoryview(bytearray(BLOCK)), 0, 1
    trouble: OSError | None = None
    while count:
        try:
            count = sock.recv_into(view[filled:])
        except OSError as error:
            count, trouble = 0, error
        filled += count
        if filled == BLOCK or (filled and not count):
            yield view[:filled]
            filled = 0
    if trouble is not None:
        raise trouble


def _write(out: io.FileIO, block: memoryview, path: Path) -> None:
    try:
        while block:
            block = block[out.write(block) :]
    except OSError as error:
        raise _of_disk(error, path) from error


@contextlib.contextmanager
def _disk(path: Path) -> Iterator[None]:
    """Around what touches the disk and the network: an error that names a file is of the disk."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            raise
        raise _of_disk(error, path) from error


def _of_disk(error: OSError, path: Path) -> FileError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(f"The disk of {path.parent} is full; free some room there.")
    return FileError(f"{path} cannot be written ({error.strerror or error}).")


def _name_it(part: Path, pack: PackRef, encoded: bool, dest: Path) -> None:
    """Verify, and only then give the name."""
    if not encoded:
        encoding.verify(part, pack, encoded=False)
        part.replace(dest)
        return
    plain = dest.with_name(dest.name + ".plain.part")
    try:
        with plain.open("wb") as out:
            encoding.verify(part, pack, encoded=True, to=out)
        plain.replace(dest)
        part.unlink()
    except OSError as error:
        raise _of_disk(error, plain) from error
    finally:
        plain.unlink(missing_ok=True)
