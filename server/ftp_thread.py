"""The FTP thread: moves bytes, nothing else. Hashing, fsync and names are the keeper's.

pyftpdlib with TLS 1.3 required on both channels, an authorizer and a tree of our own, and a short list of commands: what
is not needed cannot be abused. 226 says nothing about a file (a cut upload gets it too); the answer on port 5007 does.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import queue
import sys
import threading
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from OpenSSL import SSL
from pyftpdlib.exceptions import AuthenticationFailed, FilesystemError
from pyftpdlib.handlers import TLS_DTPHandler, TLS_FTPHandler
from pyftpdlib.handlers.ftp.dispatchers import PassiveDTP
from pyftpdlib.ioloop import IOLoop
from pyftpdlib.servers import FTPServer

from ..common.errors import UsageError
from ..common.ports import holder
from ..common.security import Identity
from ..common.service import Service
from .ftp_accounts import Accounts, FtpAccount, Names, Upload, free_bytes

log = logging.getLogger(__name__)

COMMANDS = (
    "ABOR", "APPE", "AUTH", "EPSV", "FEAT", "NOOP", "PASS", "PASV", "PBSZ", "PROT", "QUIT", "REST", "RETR", "SIZE", "STOR", "TYPE", "USER",
)  # fmt: skip
LOGIN_TIME = 30
"""Seconds until a peer must have logged in: a mute one may hold one of the connections no longer."""


class _RangeSpent(OSError):
    """All ports of the passive range are taken."""


class _Passive(PassiveDTP):  # type: ignore[misc]
    """A data listener that stays within the range that the firewall lets through; pyftpdlib would take any port instead."""

    def __init__(self, session: _Session, extmode: bool = False) -> None:
        try:
            super().__init__(session, extmode)
        except OSError:
            self.close()
            raise

    def listen(self, backlog: int) -> None:
        allowed = self.cmd_channel.passive_ports
        if allowed is not None and self.socket.getsockname()[1] not in allowed:
            raise _RangeSpent
        super().listen(backlog)


class _Channel(TLS_DTPHandler):  # type: ignore[misc]
    """A data connection; a full disk is said with its own code, and the control connection lives on."""

    def handle_error(self) -> None:
        error = sys.exc_info()[1]
        cause = error.__cause__ if isinstance(error, OSError) else None
        if isinstance(cause, OSError):  # of the file, not of the network
            code = 452 if cause.errno in (errno.ENOSPC, errno.EDQUOT) else 426
            self._resp = (f"{code} Transfer aborted: {cause.strerror}.", log.warning)
            self.hang_up()
        else:
            super().handle_error()

    def hang_up(self) -> None:
        """Close at once, without the farewell of TLS, which needs the peer."""
        self._error = True
        self.close()


class _Tree:
    """The made-up tree. Names stay what the peer wrote; the account decides what they mean."""

    root = cwd = "/"

    def __init__(self, root: str, cmd_channel: _Session) -> None:
        self.cmd_channel: _Session | None = cmd_channel
        self._accounts: Accounts = cmd_channel.accounts
        self._user: str = cmd_channel.username

    def ftp2fs(self, name: str) -> str:
        return name.removeprefix("/")

    def fs2ftp(self, name: str) -> str:
        return "/" + name

    def validpath(self, name: str) -> bool:
        return True

    def realpath(self, name: str) -> str:
        return name

    def isfile(self, name: str) -> bool:
        path = self._accounts.locate(self._user, name)
        return path is not None and path.is_file()

    def getsize(self, name: str) -> int:
        path = self._accounts.locate(self._user, name)
        if path is None:
            raise FilesystemError("No such file")
        return path.stat().st_size

    def open(self, name: str, mode: str) -> BinaryIO | Upload:
        if mode == "rb":
            account = self._accounts.find(self._user)
            path = account.readable(name) if account is not None else None
            if path is not None:
                return path.open("rb")
        elif upload := self._accounts.store(self._user, name, mode):
            return upload
        raise FilesystemError("No such file")


class _Authorizer:
    """pyftpdlib's questions about users, answered from the accounts."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts

    def validate_authentication(self, user: str, password: str, handler: object) -> None:
        if not self._accounts.admits(user, password):
            raise AuthenticationFailed("Authentication failed.")

    def has_perm(self, user: str, perm: str, path: str | None = None) -> bool:
        return path is not None and self._accounts.may(user, perm, path)

    def get_home_dir(self, user: str) -> str:
        return "/"

    def get_msg_login(self, user: str) -> str:
        return "Login successful."

    def get_msg_quit(self, user: str) -> str:
        return "Goodbye."

    def impersonate_user(self, user: str, password: str) -> None: ...

    def terminate_impersonation(self, user: str) -> None: ...


class _Session(TLS_FTPHandler):  # type: ignore[misc]
    """One control connection. The class is made anew for each thread, with what is common to its sessions."""

    accounts: Accounts
    thread: FtpThread
    idle: float
    data_channel: Any
    _in_dtp_queue: Any
    _out_dtp_queue: Any
    _idler: Any
    banner = "ClusterRay"
    timeout: float = LOGIN_TIME
    tls_control_required = tls_data_required = True
    dtp_handler = _Channel
    passive_dtp = _Passive
    abstracted_fs = _Tree
    proto_cmds = {name: rule for name, rule in TLS_FTPHandler.proto_cmds.items() if name in COMMANDS}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._current_type = "i"  # there is no text here, and SIZE and REST want it
        self._deaf = False

    def pre_process_command(self, line: str, cmd: str, arg: str) -> None:
        if self._deaf:
            return  # a wrong password waits for its answer: guesses sent behind it are not looked at
        if cmd.endswith("ABOR"):
            cmd, arg = "ABOR", ""  # clients put Telnet's interrupt before it
        if cmd not in COMMANDS:
            self.respond("502 This server takes only " + " ".join(COMMANDS) + ".")
        elif cmd == "USER" and self.authenticated:
            self.respond("503 Logged in already; connect again for another account.")
        else:
            super().pre_process_command(line, cmd, arg)

    def ftp_AUTH(self, line: str) -> None:  # noqa: N802
        super().ftp_AUTH(line)
        self.ac_in_buffer = b""  # whatever came in clear text behind AUTH was not said under TLS

    def ftp_PROT(self, line: str) -> None:  # noqa: N802
        if line.upper() == "P":
            super().ftp_PROT(line)
        else:
            self.respond("534 Data connections are private here (PROT P).")

    def ftp_TYPE(self, line: str) -> None:  # noqa: N802
        self.respond("200 Type set to: Binary." if line.upper() in ("I", "L8", "L 8") else "504 Files are binary here (TYPE I).")

    def ftp_RETR(self, file: str) -> Any:  # noqa: N802
        return super().ftp_RETR(file) if self._one_at_a_time() else None

    def ftp_STOR(self, file: str, mode: str = "w") -> Any:  # noqa: N802
        if not self._one_at_a_time():
            return None
        account = self.accounts.find(self.username)
        path = account.writable(file) if account is not None else None
        sentence = self.accounts.refuses(self.username)
        if sentence:
            self._restart_position = 0
            self.respond(f"452 Not stored: {sentence}.")
            return None
        if path is not None:
            self.thread.take_over(path, self)
        return super().ftp_STOR(file, mode)

    def ftp_ABOR(self, line: str) -> None:  # noqa: N802
        self._forget()
        super().ftp_ABOR(line)

    def _forget(self) -> None:
        """Drop a transfer that was announced and never got its connection, so that the next connection is not taken for it."""
        for pending, place in ((self._in_dtp_queue, 0), (self._out_dtp_queue, 2)):
            if pending is not None and pending[place] is not None:
                pending[place].close()
        self._in_dtp_queue = self._out_dtp_queue = None

    def _one_at_a_time(self) -> bool:
        """Whether a transfer may begin."""
        self._forget()
        if self.data_channel is not None and self.data_channel.file_obj is not None:
            self.respond("503 One transfer at a time.")
            return False
        return True

    def stores(self, path: Path) -> bool:
        """Whether this session has the file open for storing."""
        files = [self.data_channel.file_obj if self.data_channel is not None else None]
        files.append(self._in_dtp_queue[0] if self._in_dtp_queue is not None else None)
        return any(isinstance(file, Upload) and file.name == str(path) for file in files)

    def _make_epasv(self, extmode: bool = False) -> None:
        self._forget()
        try:
            super()._make_epasv(extmode)
        except _RangeSpent:
            self.respond("425 All data ports are taken; try again soon.")

    def handle_auth_failed(self, msg: str, password: str) -> None:
        """Answer late, to slow guessing down, on the loop's clock: nobody else waits."""
        self.username = ""
        self.attempted_logins += 1
        self._deaf = True

        def answer() -> None:
            self._deaf = False
            self.respond(f"530 {msg}")
            if self.attempted_logins >= self.max_login_attempts:
                self.close_when_done()

        self.call_later(self.auth_failed_timeout, answer)

    def on_login(self, username: str) -> None:
        self.timeout = self.idle
        self._idler.cancel()
        self._idler = self.ioloop.call_later(self.timeout, self.handle_timeout, _errback=self.handle_error)
        self.thread.logged_in(self)

    def close(self) -> None:
        self.thread.gone(self)
        if not self._closed and self.data_channel is not None:
            self.data_channel.hang_up()  # nobody is left to hear how the transfer ended
        super().close()

    def hang_up(self) -> None:
        """Close both channels at once; not a byte more is written."""
        self._error = True
        self.close()


class _Listener(FTPServer):  # type: ignore[misc]
    """The listener; an accept() that fails (no descriptors left) pauses it, where pyftpdlib would close it for good."""

    def handle_error(self) -> None:
        log.exception("ftp: cannot accept, trying again")
        self.del_channel()
        self.ioloop.call_later(0.5, self.add_channel)


class _Bell:
    """Ends the poll from another thread; sits in the loop like a connection."""

    def __init__(self, loop: IOLoop) -> None:
        self._loop = loop
        self._fileno = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._open = True
        self._lock = threading.Lock()
        loop.register(self._fileno, self, loop.READ)

    def ring(self) -> None:
        with self._lock:  # else the number might be somebody else's file by now
            if self._open:
                os.eventfd_write(self._fileno, 1)

    def readable(self) -> bool:
        return True

    def handle_read_event(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._fileno)

    def close(self) -> None:
        with self._lock:
            if self._open:
                self._open = False
                self._loop.unregister(self._fileno)
                os.close(self._fileno)


class _Loop(IOLoop):  # type: ignore[misc]
    """pyftpdlib's loop, in which a handler that raises loses its own connection and nobody else's time."""

    def poll(self, timeout: float | None) -> None:
        for fd, event in self._poller.poll(-1 if timeout is None else timeout):
            one = self.socket_map.get(fd)
            if one is None:
                continue
            try:
                self._serve(one, event)
            except Exception:
                try:
                    one.handle_error()
                except Exception:
                    log.exception("ftp: a connection is dropped")
                    self._drop(fd)

    def _serve(self, one: Any, event: int) -> None:
        if event & self._ERROR and not event & self.READ:
            one.handle_close()
            return
        if event & self.READ and one.readable():
            one.handle_read_event()
        if event & self.WRITE and one.writable():
            one.handle_write_event()

    def _drop(self, fd: int) -> None:
        with contextlib.suppress(Exception):
            self.unregister(fd)
        self.socket_map.pop(fd, None)


class FtpThread(Service):
    """Serves packs and takes uploads, for accounts that other threads grant and revoke."""

    def __init__(
        self, host: str, port: int, passive: tuple[int, int], identity: Identity, *, public_address: str = "", max_connections: int = 512,
        keep_free: int = 0, free: Callable[[Path], int] = free_bytes, idle: float = 300.0, penalty: float = 3.0,
    ) -> None:  # fmt: skip
        """``passive`` (0, 0): any free port. ``keep_free``: bytes of disk below which nothing is stored. ``penalty``: seconds that a
        wrong password waits for its answer."""
        super().__init__("ftp")
        self._address = (host, port)
        self._identity = identity
        self._max = max_connections
        self._accounts = Accounts(keep_free=keep_free, free=free)
        self._traits = {
            "accounts": self._accounts,
            "thread": self,
            "authorizer": _Authorizer(self._accounts),
            "idle": idle,
            "auth_failed_timeout": penalty,
            "passive_ports": range(passive[0], passive[1] + 1) if passive[0] else None,
            "masquerade_address": public_address or None,
        }
        self._sessions: dict[str, set[_Session]] = {}
        self._todo: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._io: _Loop | None = None
        self._bell: _Bell | None = None
        self._soonest: float | None = None
        self.port = port

    def open(self) -> None:
        """Take the port; UsageError where somebody has it."""
        logger = logging.getLogger("pyftpdlib")
        if not logger.handlers:  # else pyftpdlib gives it one on stderr, at level INFO
            logger.addHandler(logging.NullHandler())
        if logger.level == logging.NOTSET:
            logger.setLevel(logging.WARNING)
        loop = _Loop()
        handler = type("Session", (_Session,), {**self._traits, "ssl_context": _context(self._identity)})
        try:
            server = _Listener(self._address, handler, ioloop=loop)
        except OSError as error:
            loop.close()
            host, port = self._address
            why = error.args[0] if error.args and isinstance(error.args[0], OSError) else error  # pyftpdlib wraps it
            by = holder(port) if why.errno == errno.EADDRINUSE else ""
            raise UsageError(
                f"The FTP port {port} on {host} cannot be opened: {why.strerror or why}{f' by {by}' if by else ''}; "
                "end what holds it, or choose another with [ftp] port."
            ) from error
        server.max_cons = self._max
        self.port = server.address[1]
        self._bell, self._io = _Bell(loop), loop

    def step(self) -> None:
        assert self._io is not None
        self._soonest = self._io.loop(1.0 if self._soonest is None else min(1.0, max(0.0, self._soonest)), blocking=False)
        while not self._todo.empty():
            self._todo.get()()

    def wake(self) -> None:
        bell = self._bell
        if bell is not None:
            bell.ring()

    def stop(self) -> None:
        super().stop()
        if self._thread is None:
            self.close()

    def close(self) -> None:
        """Give back the port and all connections; done by the thread itself when it ends."""
        if self._io is None:
            return
        for sessions in list(self._sessions.values()):
            for session in list(sessions):
                session.hang_up()
        for one in list(self._io.socket_map.values()):
            one._error = True
            with contextlib.suppress(Exception):
                one.close()
        self._io.close()
        self._io = self._bell = None

    def _loop(self) -> None:
        try:
            super()._loop()
        finally:
            self.close()

    # --- from any thread

    def grant(
        self, user: str, password: str, *, read: Mapping[str, Path], write: Path | None, write_names: Names,
        cap: int = 0, write_allowed: Collection[str] | None = None,
    ) -> None:  # fmt: skip
        """Open an account, or change one (open sessions go on with the new rights).

        ``read``: digest -> file, offered as ``packs/<digest>`` or, for a ``.zst`` file, as ``packs/<digest>.zst``. ``write``: the
        folder in which ``packs/<name>`` lands as ``<name>.part`` or ``out/<name>`` as ``<name>``.
        """
        self._accounts.grant(FtpAccount(user, password, read, write, write_names, cap, write_allowed))

    def revoke(self, user: str, *, timeout: float = 5.0) -> bool:
        """Close an account and its sessions. True: not a byte more comes from it; what it wrote may be hashed now."""
        self._accounts.revoke(user)
        if user not in self._sessions:  # nobody is logged in; whoever is just about to be finds that it may do nothing
            return True
        done = threading.Event()

        def drop() -> None:
            for session in list(self._sessions.get(user, ())):
                try:
                    session.hang_up()
                except Exception:
                    log.exception("ftp: a session of a closed account did not end well")
            done.set()

        if self._thread is None or not self._thread.is_alive() or threading.current_thread() is self._thread:
            drop()
            return True
        self._todo.put(drop)
        self.wake()
        return done.wait(timeout) or not self._thread.is_alive()

    def writing(self, path: Path) -> bool:
        """Whether a session stores into this file now."""
        return self._accounts.writing(path)

    # --- from its sessions, on its own thread

    def logged_in(self, session: _Session) -> None:
        self._sessions.setdefault(session.username, set()).add(session)

    def gone(self, session: _Session) -> None:
        sessions = self._sessions.get(session.username)
        if sessions is not None:
            sessions.discard(session)
            if not sessions:
                del self._sessions[session.username]

    def take_over(self, path: Path, heir: _Session) -> None:
        """End an older session that still stores into the file: its peer has come again after a cut that we have not noticed."""
        for session in list(self._sessions.get(heir.username, ())):
            if session is not heir and session.stores(path):
                session.hang_up()


def _context(identity: Identity) -> SSL.Context:
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_3_VERSION)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.use_certificate_chain_file(str(identity.cert_path))
    context.use_privatekey_file(str(identity.key_path))
    return context
