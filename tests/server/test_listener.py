"""The accept loop: crowds, silent peers, errors of one link, and a port that is taken."""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import resource
import socket
import threading
from collections.abc import Callable, Iterator
from logging.handlers import QueueHandler

import pytest
from clusterray.common import ports, security
from clusterray.common.errors import LinkLost, NoServer, Refused, UsageError
from clusterray.common.model import Role
from clusterray.common.wire import messages
from clusterray.common.wire.frames import frame
from clusterray.common.wire.link import Link, dial
from clusterray.server import listener as listener_module
from clusterray.server.listener import Listener

HELLO = messages.Hello(role=Role.SUBMIT, token="t")


class Farm:
    """A listener at work on loopback, with a ``serve`` that greets and then says the status as often as it is asked."""

    def __init__(self, identity: security.Identity, **options: float) -> None:
        self.pin = identity.pin
        self.serve: Callable[[Link], object] = self.chat
        self.listener = Listener("127.0.0.1", 0, security.server_context(identity), self._serve, **options)  # type: ignore[arg-type]
        self.listener.open()
        self.listener.start()
        self.address = f"127.0.0.1:{self.listener.port}"

    def _serve(self, link: Link) -> None:
        self.serve(link)

    def chat(self, link: Link) -> None:
        if link.receive(5) is None:
            return
        link.answer(messages.Welcome())
        self.listener.authenticated(link)
        while isinstance(link.receive(30), messages.Status):
            link.answer(messages.ServerStatus(name="s", version="0", started=0.0))

    def call(self, timeout: float = 10.0) -> Link:
        return dial([self.address], self.pin, timeout=timeout)

    def silent(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.listener.port), 5)

    def stop(self) -> None:
        self.listener.stop()
        assert self.listener.join(5)
        assert self.listener.close_all()


@pytest.fixture(scope="session")
def identity(tmp_path_factory: pytest.TempPathFactory) -> security.Identity:
    return security.make_identity(tmp_path_factory.mktemp("identity"))


@pytest.fixture
def farm_with(identity: security.Identity) -> Iterator[Callable[..., Farm]]:
    """``farm_with(unauthenticated=2)``: a listener, stopped at the end."""
    with contextlib.ExitStack() as stack:

        def start(**options: float) -> Farm:
            farm = Farm(identity, **options)
            stack.callback(farm.stop)
            return farm

        yield start


FarmWith = Callable[..., Farm]


def gone(sock: socket.socket) -> bool:
    """Whether the server has hung up within 5 s."""
    sock.settimeout(5)
    try:
        return sock.recv(100) == b""
    except ConnectionError:
        return True


def test_a_peer_is_served_in_a_thread_of_its_own(farm_with: FarmWith) -> None:
    farm = farm_with()
    with farm.call() as one, farm.call() as two:
        for link in (one, two):
            assert link.ask(HELLO) == messages.Welcome()
        assert isinstance(one.ask(messages.Status()), messages.ServerStatus)
        assert isinstance(two.ask(messages.Status()), messages.ServerStatus)
        assert len(farm.listener.threads()) == 2


def test_seventy_silent_peers_keep_nobody_out(farm_with: FarmWith) -> None:
    farm = farm_with(patience=0.2)
    with contextlib.ExitStack() as stack:
        for _ in range(70):
            stack.enter_context(contextlib.closing(farm.silent()))
        with farm.call() as link:
            link.ask(HELLO)
            assert isinstance(link.ask(messages.Status()), messages.ServerStatus)
            assert len(farm.listener.threads()) <= 65


def test_the_silent_ones_are_cut_off_oldest_first_and_at_most_as_many_as_needed(farm_with: FarmWith) -> None:
    farm = farm_with(unauthenticated=2, patience=0.1)
    with contextlib.closing(farm.silent()) as first, contextlib.closing(farm.silent()) as second, farm.call() as link:
        assert gone(first)
        link.ask(HELLO)
        second.settimeout(0.05)
        with pytest.raises(TimeoutError):
            second.recv(1)


def test_a_crowd_of_honest_peers_gets_in_one_after_the_other(farm_with: FarmWith) -> None:
    """After a restart all nodes come at once, far more than there are places: they queue, none is turned away."""
    farm = farm_with(unauthenticated=2)
    with contextlib.ExitStack() as stack:
        for _ in range(30):
            link = stack.enter_context(farm.call())
            link.ask(HELLO)
        assert len(farm.listener.threads()) == 30


def test_a_silent_peer_is_cut_off_after_the_time_for_a_handshake(farm_with: FarmWith) -> None:
    farm = farm_with(handshake=0.1)
    with contextlib.closing(farm.silent()) as sock:
        assert gone(sock)


@pytest.mark.parametrize("garbage", [b"GET / HTTP/1.0\r\n\r\n", b"\0" * 1000])
def test_garbage_closes_its_own_link_and_nothing_else(farm_with: FarmWith, garbage: bytes) -> None:
    farm = farm_with()
    with contextlib.closing(farm.silent()) as sock, farm.call() as link:
        sock.sendall(garbage)
        sock.settimeout(5)
        with contextlib.suppress(ConnectionError):
            while sock.recv(100):  # TLS says an alert first
                pass
        link.ask(HELLO)


@pytest.mark.parametrize(
    ("sent", "code"),
    [(b"\xff" * 9, "protocol"), (frame(b"{}"), "protocol"), (frame(b'{"type":"hello","version":2}'), "version")],
)
def test_what_breaks_the_rules_of_the_wire_is_told_why(farm_with: FarmWith, sent: bytes, code: str) -> None:
    farm = farm_with()
    with farm.call() as link:
        link._conversation.send(HELLO)
        link._tls.send(sent)
        answer = link._next(None, None)
        assert isinstance(answer, messages.Refused)
        assert answer.code == code


def test_an_unexpected_error_is_logged_whole_and_ends_that_link_alone(farm_with: FarmWith, caplog: pytest.LogCaptureFixture) -> None:
    farm = farm_with()

    def broken(link: Link) -> None:
        link.receive(5)
        raise ZeroDivisionError("the evidence")

    with farm.call() as good:
        good.ask(HELLO)
        farm.serve = broken
        with farm.call() as link, pytest.raises(Refused) as caught:
            link.ask(HELLO)
        assert caught.value.code == "internal"
        assert "evidence" not in str(caught.value)
        assert isinstance(good.ask(messages.Status()), messages.ServerStatus)
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert record.name == listener_module.__name__
    assert "127.0.0.1:" in record.getMessage()
    assert record.exc_info is not None
    assert "the evidence" in str(record.exc_info[1])


def test_serve_may_refuse_by_raising(farm_with: FarmWith) -> None:
    farm = farm_with()

    def picky(link: Link) -> None:
        link.receive(5)
        raise Refused("this token is unknown", code="token")

    farm.serve = picky
    with farm.call() as link, pytest.raises(Refused, match="this token is unknown") as caught:
        link.ask(HELLO)
    assert caught.value.code == "token"


def test_too_many_open_files_are_survived(farm_with: FarmWith) -> None:
    farm = farm_with()
    farm.listener.pause_after_error = 0.05
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.closing(socket.socket()) as sock:
        sock.settimeout(5)
        spare = os.open("/dev/null", os.O_RDONLY)
        resource.setrlimit(resource.RLIMIT_NOFILE, (spare, hard))
        try:
            logged: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
            watch = QueueHandler(logged)  # type: ignore[arg-type]
            listener_module.log.addHandler(watch)
            sock.connect(("127.0.0.1", farm.listener.port))
            said = logged.get(timeout=5).getMessage()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            listener_module.log.removeHandler(watch)
            os.close(spare)
    assert said.startswith("cannot accept a connection now (Too many open files)")
    with farm.call() as link:
        link.ask(HELLO)


def test_stop_ends_every_thread_and_frees_the_port(identity: security.Identity) -> None:
    before = set(threading.enumerate())
    farm = Farm(identity)
    with farm.call() as link, contextlib.closing(farm.silent()) as sock:
        link.ask(HELLO)
        farm.listener.stop()
        assert farm.listener.join(5)
        assert isinstance(link.ask(messages.Status()), messages.ServerStatus)  # links outlive the accept loop
        assert farm.listener.close_all()
        assert gone(sock)
        with pytest.raises(LinkLost):
            link.ask(messages.Status())
    assert farm.listener.threads() == ()
    assert set(threading.enumerate()) <= before
    assert ports.is_free("127.0.0.1", farm.listener.port)
    with pytest.raises(NoServer):
        farm.call()


def test_a_port_in_use_names_address_holder_and_setting(farm_with: FarmWith, identity: security.Identity) -> None:
    farm = farm_with()
    second = Listener("127.0.0.1", farm.listener.port, security.server_context(identity), lambda link: None)
    with pytest.raises(UsageError, match=rf"{farm.address} is in use by pid {os.getpid()} \(.*--port or `\[server\] port`"):
        second.open()
    second.close_all()


def test_an_address_of_another_machine_names_the_setting(identity: security.Identity) -> None:
    listener = Listener("192.0.2.1", 0, security.server_context(identity), lambda link: None)
    with pytest.raises(UsageError, match=r"cannot listen on 192\.0\.2\.1:0 .*`\[server\] listen`"):
        listener.open()
    listener.close_all()
