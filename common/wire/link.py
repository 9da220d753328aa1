"""The one socket of a link: TLS 1.3, deadlines, and the dialogue in the log. All rules of talk are in protocol.py.

One thread owns a link. The socket never blocks: every wait is a poll() with a deadline, so a peer that says nothing, reads
nothing or drips bytes costs its own time only. TLS keeps bytes that it has decrypted, which poll() cannot see: whoever
waits reads first and polls only when nothing is left. From other threads only ``abort()`` may be called.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import select
import socket
import ssl
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal, TypeVar

from .. import security
from ..clock import Clock, SystemClock
from ..errors import (
    ClusterRayError,
    DeskError,
    FileError,
    FrameError,
    KindError,
    LinkError,
    LinkLost,
    NoServer,
    PacksMissing,
    ProtocolError,
    Refused,
    UsageError,
)
from ..ports import join_address, split_address
from . import messages
from .dialogue import describe
from .messages import AnyMessage
from .protocol import Conversation, Side

log = logging.getLogger(__name__)

WRITE = 30.0
"""Seconds that a peer may take to read one message."""

_GULP = 64 * 1024
_GONE = select.POLLHUP | select.POLLERR | getattr(select, "POLLRDHUP", 0)
_KEEPALIVE = (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3), ("TCP_USER_TIMEOUT", 60_000))
"""A machine that lost its power is noticed after a minute, on a parked link too."""

_RING = (1).to_bytes(8, sys.byteorder)
"""What an eventfd wants to be written; a pipe takes it as well."""

_Got = TypeVar("_Got")


class Doorbell:
    """Wakes a thread that sleeps in poll(). Any thread may ring; a ring is kept until ``clear()``; after ``close()`` it is nothing."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._ends = _doorbell()

    def ring(self) -> None:
        with self._guard, contextlib.suppress(BlockingIOError):  # full: it rings already
            if self._ends:
                os.write(self._ends[1], _RING)

    def clear(self) -> None:
        with self._guard, contextlib.suppress(BlockingIOError):
            while self._ends and os.read(self._ends[0], 4096):
                pass

    def fileno(self) -> int:
        """For poll(); -1 when closed, which poll() passes over."""
        return self._ends[0] if self._ends else -1

    def close(self) -> None:
        with self._guard:
            for end in set(self._ends):
                os.close(end)
            self._ends = ()


def _doorbell() -> tuple[int, ...]:
    """The end to read and the end to write; where the system has eventfd, one and the same: a farm has a thousand doorbells."""
    if hasattr(os, "eventfd"):
        return (os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC),) * 2
    ends = os.pipe()
    for end in ends:
        os.set_blocking(end, False)
    return ends


class Link:
    """One end of a link. Made by ``dial`` or ``accept``; nothing may be said before ``shake_hands``, which both of them do."""

    def __init__(
        self, sock: socket.socket, context: ssl.SSLContext, side: Side, *, peer: str = "", clock: Clock | None = None
    ) -> None:
        """Takes the connected socket over. OSError: the peer has gone already."""
        self._clock = clock if clock is not None else SystemClock()
        self._side = side
        self._conversation = Conversation(side)
        self._inbox: deque[AnyMessage] = deque()
        self._unread = b""
        self._eof = False
        self._wants = select.POLLIN
        self._shaken = False
        self._closed = False
        self._guard = threading.Lock()
        address = sock.getpeername()
        self.host: str = address[0].removeprefix("::ffff:")
        """The address that was reached, or that came: never a name."""
        self.peer: str = peer or join_address(self.host, address[1])
        """Address (or the name that was dialled) and port, for logs."""
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _KEEPALIVE:
            if hasattr(socket, option):
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
        self._tls = context.wrap_socket(sock, server_side=side is Side.ANSWERER, do_handshake_on_connect=False)

    def __enter__(self) -> Link:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def closed(self) -> bool:
        return self._closed

    def fileno(self) -> int:
        """For a poll() of one's own; mind that ``wait`` knows of decrypted bytes and poll() does not."""
        return self._tls.fileno()

    # --- setting out

    def shake_hands(self, timeout: float, pin: str = "") -> None:
        """TLS, and on the asker's side the check of the server's key before a byte of ours is sent. LinkError says what failed."""
        try:
            done = self._attempt(self._handshake, self._clock.monotonic() + timeout)
        except OSError as error:
            if isinstance(error, ssl.SSLError) and not isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
                hint = "; is it the port of a ClusterRay server?" if self._side is Side.ASKER else ""
                raise LinkError(f"{self.peer} does not speak TLS 1.3 ({_reason(error)}){hint or '.'}") from error
            raise LinkLost(f"{self.peer} closed the connection before it was set up ({_reason(error)}).") from error
        if done is None:
            raise LinkLost(f"{self.peer} did not finish the TLS handshake within {timeout:g} s.")
        if self._side is Side.ASKER and not self._has_key(pin):
            raise Refused(
                f"The server at {self.peer} is not the one of the join code: its key is another; "
                "if the server was set up anew, ask for a new join code (`clusterray join-code` on the server prints it).",
                code="pin",
            )
        self._shaken = True
        log.debug("%s = TLS is up", self.peer)

    def _has_key(self, pin: str) -> bool:
        certificate = self._tls.getpeercert(binary_form=True)
        try:
            return certificate is not None and security.same_token(security.pin_of(certificate), pin.lower())
        except ValueError:  # OpenSSL took a certificate that cryptography cannot read
            return False

    # --- the asker's side

    def ask(self, question: messages.Question, timeout: float = 30.0) -> AnyMessage:
        """One question, its answer. Refused, or the error that a Denied names, is raised; LinkLost closes the link."""
        deadline = self._clock.monotonic() + timeout
        try:
            self._send(question, deadline)
        except LinkLost:
            self._hear_last_words()
            self.close()
            raise
        try:
            answer = self._next(deadline, None)
        except (LinkLost, ProtocolError):
            self.close()
            raise
        if answer is None:
            self.close()
            raise LinkLost(f"{self.peer} did not answer {type(question).__name__} within {timeout:g} s.")
        if isinstance(answer, messages.Refused):
            self.close()
            raise Refused(answer.sentence, code=answer.code)
        if isinstance(answer, messages.Denied):
            raise error_of(answer)
        return answer

    def tell(self, question: messages.Bye) -> None:
        """Say what has no answer. A link that is lost already has heard enough."""
        with contextlib.suppress(LinkLost):
            self._send(question, self._clock.monotonic() + 1.0)

    # --- the answerer's side

    def receive(self, timeout: float | None, doorbell: Doorbell | None = None) -> AnyMessage | None:
        """The next question. None: the time is over, or the doorbell rang. LinkLost: the peer left; ProtocolError: it broke the rules."""
        return self._next(None if timeout is None else self._clock.monotonic() + timeout, doorbell)

    def wait(self, doorbell: Doorbell | None, seconds: float | None) -> Literal["rang", "readable", "timeout"]:
        """Sleep while a question is parked. ``readable``: the peer spoke or left, and ``receive`` tells which; it wins over ``rang``."""
        deadline = None if seconds is None else self._clock.monotonic() + seconds
        while True:
            if self._inbox or self._unread or self._eof:
                return "readable"
            try:
                data = self._read()
            except LinkLost:
                data = b""
            if data is not None:
                self._unread, self._eof = data, not data
                continue
            ready = self._poll(self._wants, deadline, doorbell)
            if ready != "readable":
                return ready

    def answer(self, message: messages.Answer) -> None:
        """Say one answer. LinkLost: the peer has left, or has read nothing for 30 s."""
        self._send(message, self._clock.monotonic() + WRITE)

    def refuse(self, code: str, sentence: str) -> None:
        """Say why, if anybody still hears it, and close. Never raises."""
        with contextlib.suppress(ClusterRayError):
            self._send(messages.Refused(code=code, sentence=sentence), self._clock.monotonic() + 1.0)
        self.close()

    def peer_gone(self) -> bool:
        """Whether the peer has hung up, without waiting and without reading."""
        if self._closed or self._eof:
            return True
        poll = select.poll()
        poll.register(self._tls, _GONE)
        return bool(poll.poll(0))

    # --- leaving

    def close(self) -> None:
        """Hang up, in good form if the peer still listens. The owner's call."""
        with self._guard:
            if self._closed:
                return
            self._closed = True
            if self._shaken:
                with contextlib.suppress(OSError, ValueError):
                    self._tls.unwrap()  # sends the farewell; does not wait for the peer's
            with contextlib.suppress(OSError):
                socket.socket.shutdown(self._tls, socket.SHUT_WR)
                for _ in range(16):  # what lies unread at close() would turn our last words into a reset
                    if not socket.socket.recv(self._tls, _GULP):
                        break
            self._tls.close()
        log.debug("%s = closed", self.peer)

    def abort(self) -> None:
        """From any thread: cut the connection, so that the owner finds LinkLost at once. The owner still closes."""
        with self._guard, contextlib.suppress(OSError):
            if not self._closed:
                # The base class's shutdown: SSLSocket's own would take the TLS state away under its owner.
                socket.socket.shutdown(self._tls, socket.SHUT_RDWR)

    # --- the rim

    def _send(self, message: AnyMessage, deadline: float) -> None:
        if self._closed:
            raise LinkLost(f"The link to {self.peer} is closed.")
        data = self._conversation.send(message)
        if log.isEnabledFor(logging.DEBUG):
            log.debug("%s > %s", self.peer, describe(message))
        view = memoryview(data)
        while view:
            try:
                sent = self._attempt(partial(self._tls.send, view), deadline)
            except OSError as error:
                raise LinkLost(f"The link to {self.peer} broke while sending ({_reason(error)}).") from error
            if sent is None:
                raise LinkLost(f"{self.peer} did not read {type(message).__name__} in time.")
            view = view[sent:]

    def _next(self, deadline: float | None, doorbell: Doorbell | None) -> AnyMessage | None:
        while not self._inbox:
            data = self._unread or (b"" if self._eof else self._read())
            self._unread = b""
            if data is None:
                if self._poll(self._wants, deadline, doorbell) != "readable":
                    return None
            elif data:
                self._inbox.extend(self._conversation.receive(data))
                if not self._inbox and deadline is not None and self._clock.monotonic() >= deadline:
                    return None  # a peer that drips bytes gets no more time than a silent one
            else:
                self._eof = True
                how = "The peer hung up."
                try:
                    self._conversation.receive_eof()
                except FrameError as error:
                    how = str(error)
                raise LinkLost(f"The link to {self.peer} has ended: {how[:1].lower()}{how[1:]}")
        message = self._inbox.popleft()
        if log.isEnabledFor(logging.DEBUG):
            log.debug("%s < %s", self.peer, describe(message))
        return message

    def _hear_last_words(self) -> None:
        """The server may have refused and hung up while we were still writing: then its reason is better than ours."""
        with contextlib.suppress(LinkLost, ProtocolError):
            last = self._next(self._clock.monotonic(), None)
            if isinstance(last, messages.Refused):
                self.close()
                raise Refused(last.sentence, code=last.code)

    def _read(self) -> bytes | None:
        """Decrypted bytes that are there now; None: none; empty: the peer has ended the link."""
        if self._closed:
            raise LinkLost(f"The link to {self.peer} is closed.")
        try:
            return self._tls.recv(_GULP)
        except ssl.SSLWantReadError:
            self._wants = select.POLLIN
        except ssl.SSLWantWriteError:  # TLS itself has something to say, and the peer does not read
            self._wants = select.POLLOUT
        except OSError as error:
            raise LinkLost(f"The link to {self.peer} broke ({_reason(error)}).") from error
        return None

    def _handshake(self) -> bool:
        self._tls.do_handshake()
        return True

    def _attempt(self, step: Callable[[], _Got], deadline: float) -> _Got | None:
        """Do a TLS step, sleeping whenever it wants the socket; None: the deadline came first."""
        while True:
            try:
                return step()
            except ssl.SSLWantReadError:
                events = select.POLLIN
            except ssl.SSLWantWriteError:
                events = select.POLLOUT
            if self._poll(events, deadline, None) == "timeout":
                return None

    def _poll(self, events: int, deadline: float | None, doorbell: Doorbell | None) -> Literal["rang", "readable", "timeout"]:
        """Sleep until the socket is ready (``readable``, for writing too), the doorbell rings or the deadline has come."""
        left = None if deadline is None else math.ceil(max(0.0, deadline - self._clock.monotonic()) * 1000)
        poll = select.poll()
        poll.register(self._tls, events)
        if doorbell is not None and doorbell.fileno() >= 0:
            poll.register(doorbell, select.POLLIN)
        ready = {handle for handle, _ in poll.poll(left)}
        if self._tls.fileno() in ready:
            return "readable"
        return "rang" if ready else "timeout"


def dial(addresses: Sequence[str], pin: str, *, timeout: float = 10.0, clock: Clock | None = None) -> Link:
    """A link to the first of these ``host:port`` that answers with the pinned key.

    An address where somebody else answers does not end the search: behind a private address there may be another machine
    when the caller is in another network. The most telling failure is raised: Refused (pin), LinkError (no TLS), NoServer.
    """
    if not addresses:
        raise UsageError("There is no server address to try: use a join code, or name one as host:port.")
    failed: list[ClusterRayError] = []
    silent: list[str] = []
    for address in addresses:
        host, port = split_address(address)
        try:
            return _dial_one(address, host, port, pin, timeout, clock)
        except OSError as error:
            silent.append(f"{address} ({_reason(error)})")
        except LinkLost as error:
            silent.append(f"{address} ({str(error).removeprefix(f'{address} ').rstrip('.')})")
        except LinkError as error:
            failed.append(error)
    if failed:
        raise next((error for error in failed if isinstance(error, Refused)), failed[0])
    raise NoServer(f"No server answers at {', '.join(silent)}: is it running, and do the firewalls let port {port} through?")


def _dial_one(address: str, host: str, port: int, pin: str, timeout: float, clock: Clock | None) -> Link:
    sock = socket.create_connection((host, port), timeout)
    try:
        link = Link(sock, security.client_context(), Side.ASKER, peer=address, clock=clock)
    except BaseException:
        sock.close()
        raise
    try:
        link.shake_hands(timeout, pin)
    except BaseException:
        link.close()
        raise
    return link


def accept(sock: socket.socket, context: ssl.SSLContext, *, timeout: float = 10.0, clock: Clock | None = None) -> Link:
    """The server's end of a connection just accepted, hands shaken. LinkError: there will be no link, and the socket is closed."""
    try:
        link = Link(sock, context, Side.ANSWERER, clock=clock)
    except OSError as error:
        sock.close()
        raise LinkLost(f"A peer left before the handshake ({_reason(error)}).") from error
    try:
        link.shake_hands(timeout)
    except BaseException:
        link.close()
        raise
    return link


def error_of(denied: messages.Denied) -> ClusterRayError:
    """The error that the server's desk raised, raised again here: by its code, with its sentence."""
    if denied.code == PacksMissing.code:
        return PacksMissing(denied.digests)
    families: list[type[ClusterRayError]] = [DeskError, UsageError, FileError, KindError]
    for family in families:
        families.extend(family.__subclasses__())
        if family.code == denied.code:
            return family(denied.sentence)
    unknown = DeskError(denied.sentence)
    unknown.code = denied.code
    return unknown


def _reason(error: OSError) -> str:
    """The system's words without numbers and file names."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ssl.SSLError):
        return str(error.reason or "TLS error")
    return error.strerror or type(error).__name__
