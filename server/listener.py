"""The accept loop of port 5007: it accepts and hands over, and no peer can make it do more.

Each connection gets a thread of its own, which shakes hands and then serves. Until ``authenticated`` is called for a link,
it holds one of 64 places. When all are taken, the one that has been silent longest is cut off at once if it has had
``patience`` seconds; before that, newcomers wait in the system's queue. So a crowd of honest nodes after a restart gets
in one after the other, and a crowd of silent peers keeps nobody out.
"""

from __future__ import annotations

import errno
import logging
import math
import select
import socket
import ssl
import threading
from collections.abc import Callable

from ..common import ports
from ..common.clock import Clock, SystemClock
from ..common.errors import LinkError, OtherVersion, ProtocolError, Refused, UsageError
from ..common.service import Service
from ..common.wire.link import Doorbell, Link
from ..common.wire.protocol import Side

log = logging.getLogger(__name__)

_BACKLOG = 512
"""Connections that the system keeps for us while all places are taken."""

_LOOK = 5.0
"""Longest sleep of a step; doorbell and newcomers cut it short."""


class _Guest:
    """One connection with its thread, and whether it still holds one of the places."""

    def __init__(self, link: Link, since: float) -> None:
        self.link = link
        self.since = since
        self.shaken = False
        self.authenticated = False
        self.cut_off: float | None = None
        """When; its thread needs a moment to notice."""
        self.thread: threading.Thread | None = None


class Listener(Service):
    """Accepts on ``host:port`` and calls ``serve(link)`` in a new thread for each peer that has shaken hands.

    ``serve`` calls ``authenticated(link)`` once it knows the peer. What it raises ends that link and thread, nothing else;
    the peer is told the code of Refused, ``protocol`` or ``version`` for what broke the rules, ``internal`` for the rest.
    """

    def __init__(
        self,
        host: str,
        port: int,
        context: ssl.SSLContext,
        serve: Callable[[Link], None],
        *,
        unauthenticated: int = 64,
        handshake: float = 10.0,
        patience: float = 1.0,
        clock: Clock | None = None,
    ) -> None:
        super().__init__("listener")
        self.host = host
        self.port = port
        """The one asked for; after ``open()`` the real one."""
        self._context = context
        self._serve = serve
        self._places = unauthenticated
        self._handshake = handshake
        self._patience = patience
        self._clock = clock if clock is not None else SystemClock()
        self._doorbell = Doorbell()
        self._guard = threading.Lock()
        self._guests: dict[Link, _Guest] = {}
        self._socket: socket.socket | None = None
        self._cut = 0
        self._tell_again = 0.0

    def open(self) -> None:
        """Bind. UsageError names who has the port and which setting chooses another."""
        try:
            self._socket = ports.listen(self.host, self.port, _BACKLOG)
        except OSError as error:
            raise UsageError(self._why_not(error)) from error
        self._socket.setblocking(False)
        self.port = self._socket.getsockname()[1]
        log.info("listening on %s", ports.join_address(self.host, self.port))

    def step(self) -> None:
        """Take one newcomer, if there is one and a place for it."""
        if self._socket is None:
            raise RuntimeError("the listener was not opened")
        full, oldest, left = self._crowd()
        if full and (oldest is None or left > 0):
            self._sleep(self._patience if oldest is None else left)
        elif self._sleep(_LOOK, self._socket) and not self.stopping.is_set():
            if oldest is None:
                self._accept(self._socket)
            else:
                self._cut_off(oldest)

    def wake(self) -> None:
        self._doorbell.ring()

    def authenticated(self, link: Link) -> None:
        """The peer is known: its place among the unauthenticated is free."""
        with self._guard:
            guest = self._guests.get(link)
            if guest is not None:
                guest.authenticated = True
        self._doorbell.ring()

    def threads(self) -> tuple[str, ...]:
        """Names of the threads that serve now."""
        with self._guard:
            return tuple(guest.thread.name for guest in self._guests.values() if guest.thread is not None)

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the accept loop, then give the port back. The links live on until ``close_all``."""
        ended = super().join(timeout)
        if ended and self._socket is not None:
            self._socket.close()
            self._socket = None
        return ended

    def close_all(self, timeout: float = 5.0) -> bool:
        """Cut all links and wait for their threads; whether all have ended. For after ``stop()`` and ``join()``."""
        deadline = self._clock.monotonic() + timeout
        while True:
            with self._guard:
                guests = list(self._guests.values())
            for guest in guests:
                guest.link.abort()
            for guest in guests:
                if guest.thread is not None:
                    guest.thread.join(max(0.0, deadline - self._clock.monotonic()))
            if not guests or self._clock.monotonic() >= deadline:
                break
        self._doorbell.close()
        return not guests

    # --- newcomers

    def _crowd(self) -> tuple[bool, _Guest | None, float]:
        """Whether all places are taken; if so, whom to cut off for a newcomer, and the seconds that this one still has."""
        now = self._clock.monotonic()
        with self._guard:
            unknown = [guest for guest in self._guests.values() if not guest.authenticated]
            if len(unknown) < self._places:
                return False, None, 0.0
            leaving = [guest.cut_off for guest in unknown if guest.cut_off is not None]
            silent = [guest for guest in unknown if guest.cut_off is None]
            if not silent or (leaving and max(leaving) + self._patience > now):
                return True, None, 0.0  # a place is about to become free: one newcomer costs one silent peer, not more
            oldest = min(silent, key=lambda guest: (guest.shaken, guest.since))
            return True, oldest, oldest.since + self._patience - now

    def _sleep(self, seconds: float, newcomers: socket.socket | None = None) -> bool:
        """Until a place may have become free, or somebody knocks; whether somebody does."""
        poll = select.poll()
        poll.register(self._doorbell, select.POLLIN)
        if newcomers is not None:
            poll.register(newcomers, select.POLLIN)
        ready = [handle for handle, _ in poll.poll(math.ceil(seconds * 1000))]
        self._doorbell.clear()
        return newcomers is not None and newcomers.fileno() in ready

    def _cut_off(self, guest: _Guest) -> None:
        """End a silent one; its thread frees the place and rings. Said once a minute: a flood must not fill the log too."""
        now = self._clock.monotonic()
        guest.cut_off = now
        guest.link.abort()
        self._cut += 1
        if now >= self._tell_again:
            log.warning("All %d places for unknown peers are taken: cut off %d, the last was %s", self._places, self._cut, guest.link.peer)
            self._cut, self._tell_again = 0, now + 60.0

    def _accept(self, listening: socket.socket) -> None:
        try:
            sock, address = listening.accept()
        except (BlockingIOError, ConnectionAbortedError, InterruptedError):
            return
        except OSError as error:  # too many open files, no memory: the newcomer stays in the queue
            log.error("cannot accept a connection now (%s); trying again", error.strerror)
            self.stopping.wait(self.pause_after_error)
            return
        try:
            link = Link(sock, self._context, Side.ANSWERER)
        except (OSError, ValueError) as error:
            log.debug("%s left at once (%s)", address[0], error)
            sock.close()
            return
        guest = _Guest(link, self._clock.monotonic())
        guest.thread = threading.Thread(target=self._live, args=(guest,), name=f"link {link.peer}", daemon=True)
        with self._guard:
            self._guests[link] = guest
        try:
            guest.thread.start()
        except RuntimeError as error:  # no more threads
            log.error("%s cannot be served now (%s)", link.peer, error)
            self._forget(guest)
            self.stopping.wait(self.pause_after_error)

    def _live(self, guest: _Guest) -> None:
        """The life of one connection, in its own thread."""
        link = guest.link
        try:
            link.shake_hands(self._handshake)
            guest.shaken = True
            self._serve(link)
        except ProtocolError as error:
            log.warning("%s broke the rules of the wire: %s", link.peer, error)
            link.refuse(error.code if isinstance(error, OtherVersion) else "protocol", str(error))
        except Refused as error:
            log.warning("%s was refused: %s", link.peer, error)
            link.refuse(error.code, str(error))
        except LinkError as error:
            log.info("%s", error)
        except Exception:
            log.exception("%s: unexpected error, closing this link", link.peer)
            link.refuse("internal", "The server met an unexpected error; its log has the details.")
        finally:
            self._forget(guest)

    def _forget(self, guest: _Guest) -> None:
        guest.link.close()
        with self._guard:
            self._guests.pop(guest.link, None)
        self._doorbell.ring()

    def _why_not(self, error: OSError) -> str:
        where = ports.join_address(self.host, self.port)
        if error.errno == errno.EADDRINUSE:
            who = ports.holder(self.port) or "another program"
            return f"{where} is in use by {who}: stop that one, or choose another port with --port or `[server] port`."
        if error.errno == errno.EACCES:
            return f"{where} needs the rights of root: choose a port above 1023 with --port or `[server] port`."
        return f"The server cannot listen on {where} ({error.strerror}): correct `[server] listen` or `[server] port`."
