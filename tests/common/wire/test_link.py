"""Links over real TLS on loopback: talk, deadlines, pins, and peers that behave badly."""

from __future__ import annotations

import contextlib
import datetime
import logging
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from clusterray.common import ports, security
from clusterray.common.errors import (
    Conflict,
    DeskError,
    DiskFull,
    FrameError,
    IllegalStep,
    LinkError,
    LinkLost,
    NoServer,
    NoSuchTask,
    OtherVersion,
    PacksMissing,
    ProtocolError,
    Refused,
    UsageError,
)
from clusterray.common.model import Role
from clusterray.common.wire import link as link_module
from clusterray.common.wire import messages
from clusterray.common.wire.frames import CAP, frame
from clusterray.common.wire.link import Doorbell, Link, accept, dial, error_of

HELLO = messages.Hello(role=Role.SUBMIT, token="top-secret-token")
LONG = "x" * (CAP - 100)


@pytest.fixture(scope="session")
def identity(tmp_path_factory: pytest.TempPathFactory) -> security.Identity:
    return security.make_identity(tmp_path_factory.mktemp("identity"))


class Door:
    """A listening socket; each connection gets what the test wants done with it, in a thread, and errors are kept."""

    def __init__(self, serve: Callable[[socket.socket], object]) -> None:
        self._serve = serve
        self._socket = ports.listen("127.0.0.1", 0, 16)
        self._socket.settimeout(10)
        self.address = ports.join_address(*self._socket.getsockname())
        self.errors: list[BaseException] = []
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            with contextlib.closing(self._socket.accept()[0]) as sock:
                self._serve(sock)
        except BaseException as error:
            self.errors.append(error)

    def __enter__(self) -> Door:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(20)
        self._socket.close()
        assert not self._thread.is_alive()


@pytest.fixture
def farm(identity: security.Identity) -> Iterator[Callable[[Callable[[Link], object]], Door]]:
    """``farm(serve)``: a server whose one link is handed to ``serve``."""
    context = security.server_context(identity)
    with contextlib.ExitStack() as stack:

        def start(serve: Callable[[Link], object]) -> Door:
            def one(sock: socket.socket) -> None:
                with accept(sock, context, timeout=5) as link:
                    serve(link)

            return stack.enter_context(Door(one))

        yield start


Farm = Callable[[Callable[[Link], object]], Door]


def greet(link: Link) -> None:
    assert isinstance(link.receive(5), messages.Hello)
    link.answer(messages.Welcome(server="s"))


def call(door: Door, identity: security.Identity) -> Link:
    return dial([door.address], identity.pin, timeout=5)


# --- talk


def test_questions_are_answered_in_turn_long_ones_too(farm: Farm, identity: security.Identity) -> None:
    def serve(link: Link) -> None:
        greet(link)
        for _ in range(3):
            question = link.receive(5)
            assert isinstance(question, messages.Log)
            link.answer(messages.Lines(lines=(question.task,)))
        assert isinstance(link.receive(5), messages.Bye)

    door = farm(serve)
    with call(door, identity) as link:
        assert link.host == "127.0.0.1"
        assert link.peer == door.address
        assert link.ask(HELLO) == messages.Welcome(server="s")
        for text in ("a", LONG, "ä"):
            assert link.ask(messages.Log(task=text)) == messages.Lines(lines=(text,))
        link.tell(messages.Bye())
    assert link.closed
    assert door.errors == []


def test_tls_is_1_3_and_the_dates_of_the_certificate_do_not_matter(tmp_path: Path) -> None:
    """A clock a day behind, or a certificate long over: the pin holds all the same."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization

    identity = security.make_identity(tmp_path)
    key = serialization.load_pem_private_key(identity.key_path.read_bytes(), None)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "somebody else")])
    old = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
    old = old.not_valid_before(datetime.datetime(1990, 1, 1)).not_valid_after(datetime.datetime(1990, 1, 2))
    identity.cert_path.write_bytes(old.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))  # type: ignore[arg-type]
    seen: list[str | None] = []

    def serve(sock: socket.socket) -> None:
        with accept(sock, security.server_context(identity)) as link:
            seen.append(link._tls.version())
            greet(link)

    with Door(serve) as door, call(door, identity) as link:
        link.ask(HELLO)
    assert seen == ["TLSv1.3"]
    assert door.errors == []


def test_denied_raises_the_desks_own_error_and_the_link_goes_on(farm: Farm, identity: security.Identity) -> None:
    def serve(link: Link) -> None:
        greet(link)
        link.receive(5)
        link.answer(messages.Denied(code="missing", sentence="send them", digests=("d1", "d2")))
        link.receive(5)
        link.answer(messages.Denied(code="no_such_task", sentence="No task has the id x."))
        link.receive(5)
        link.answer(messages.Changed())

    with call(farm(serve), identity) as link:
        link.ask(HELLO)
        with pytest.raises(PacksMissing) as missing:
            link.ask(messages.Change(task="x", verb="cancel"))
        assert missing.value.digests == ("d1", "d2")
        with pytest.raises(NoSuchTask, match="No task has the id x"):
            link.ask(messages.Change(task="x", verb="cancel"))
        assert link.ask(messages.Change(task="x", verb="cancel")) == messages.Changed()


@pytest.mark.parametrize(("code", "kind"), [("conflict", Conflict), ("usage", UsageError), ("disk_full", DiskFull), ("link", DeskError)])
def test_a_denied_code_finds_its_class_and_never_one_of_the_network(code: str, kind: type[Exception]) -> None:
    error = error_of(messages.Denied(code=code, sentence="why"))
    assert type(error) is kind
    assert (str(error), error.code) == ("why", code)


def test_refused_is_raised_with_its_code_and_ends_the_link(farm: Farm, identity: security.Identity) -> None:
    def serve(link: Link) -> None:
        link.receive(5)
        link.refuse("token", "this token is unknown")

    with call(farm(serve), identity) as link:
        with pytest.raises(Refused, match="this token is unknown") as caught:
            link.ask(HELLO)
        assert caught.value.code == "token"
        assert link.closed
        with pytest.raises(LinkLost, match="is closed"):
            link.ask(HELLO)


def test_a_refusal_is_heard_even_by_one_who_is_still_talking(farm: Farm, identity: security.Identity) -> None:
    """The server hangs up with a reason while the client writes its next question: the reason is what the client reports."""
    refused = threading.Event()

    def serve(link: Link) -> None:
        greet(link)
        link.refuse("stopping", "the server is stopping")
        refused.set()

    with call(farm(serve), identity) as link:
        link.ask(HELLO)
        assert refused.wait(5)
        with pytest.raises(Refused, match="the server is stopping"):
            link.ask(messages.Log(task=LONG))


def test_a_local_mistake_leaves_the_link_as_it_was(farm: Farm, identity: security.Identity) -> None:
    with call(farm(greet), identity) as link:
        with pytest.raises(IllegalStep):
            link.ask(messages.Status())
        with pytest.raises(FrameError):
            link.ask(messages.Hello(role=Role.SUBMIT, token="x" * CAP))
        assert link.ask(HELLO) == messages.Welcome(server="s")


# --- the log


def test_the_dialogue_is_in_the_log_without_a_secret(farm: Farm, identity: security.Identity, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, link_module.__name__)
    with call(farm(greet), identity) as link:
        link.ask(HELLO)
    signs = {record.getMessage().split()[1] for record in caplog.records}
    assert signs == {">", "<", "="}
    assert "Welcome server='s'" in caplog.text
    assert HELLO.token not in caplog.text


# --- parked waits


def test_a_parked_wait_hears_the_doorbell_the_peer_and_the_time(farm: Farm, identity: security.Identity) -> None:
    bell, said, asked = Doorbell(), [], threading.Event()

    def serve(link: Link) -> None:
        greet(link)
        assert link.receive(5) == messages.Watch(tasks=())
        assert link.receive(0) is None
        said.append(link.wait(bell, 0.01))
        bell.ring()
        bell.ring()
        said.append(link.wait(bell, 5))
        said.append(link.wait(bell, 5))
        assert link.receive(5, bell) is None
        bell.clear()
        said.append(link.wait(bell, 0))
        assert not link.peer_gone()
        asked.set()
        said.append(link.wait(None, 5))
        assert link.peer_gone()
        bell.ring()
        said.append(link.wait(bell, 5))
        with pytest.raises(LinkLost, match="hung up"):
            link.receive(5)

    door = farm(serve)
    with call(door, identity) as link:
        link.ask(HELLO)
        link._tls.send(frame(b'{"type":"watch","tasks":[]}'))
        assert asked.wait(5)
    door.__exit__()
    bell.close()
    assert door.errors == []
    assert said == ["timeout", "rang", "rang", "timeout", "readable", "readable"]


def test_bytes_that_tls_has_decrypted_already_count_as_readable(
    farm: Farm, identity: security.Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two messages in one TLS record: when the first is out, poll() sees nothing of the second."""
    monkeypatch.setattr(link_module, "_GULP", 1)
    bell = Doorbell()

    def serve(link: Link) -> None:
        greet(link)
        assert isinstance(link.receive(5), messages.Status)
        assert link._tls.pending() > 0
        bell.ring()
        assert link.wait(bell, 5) == "readable"
        with pytest.raises(IllegalStep):
            link.receive(5)

    door = farm(serve)
    with call(door, identity) as link:
        link.ask(HELLO)
        link._tls.send(frame(b'{"type":"status"}') * 2)
        door.__exit__()
    bell.close()
    assert door.errors == []


def test_a_doorbell_may_be_rung_too_often_too_early_and_too_late() -> None:
    bell = Doorbell()
    for _ in range(5):
        bell.ring()
    bell.clear()
    bell.clear()
    bell.close()
    bell.ring()
    bell.clear()
    bell.close()
    assert bell.fileno() == -1


def test_abort_from_another_thread_ends_a_parked_wait(farm: Farm, identity: security.Identity) -> None:
    with call(farm(lambda link: (greet(link), link.receive(5), link.wait(None, 5))), identity) as link:
        link.ask(HELLO)
        threading.Timer(0.05, link.abort).start()
        with pytest.raises(LinkLost):
            link.ask(messages.Watch(tasks=()), timeout=20)


# --- bad peers


@pytest.mark.parametrize(
    ("sent", "raised"),
    [
        (b"\xff" * 100, FrameError),
        (frame(b"rubbish"), ProtocolError),
        (frame(b'{"type":"status"}'), IllegalStep),
        (frame(b'{"type":"hello","version":9,"role":"moon"}'), OtherVersion),
        (b"\0\0\0\x09{", LinkLost),
        (b"", LinkLost),
    ],
)
def test_what_breaks_the_rules_is_an_error_of_the_family(
    farm: Farm, identity: security.Identity, sent: bytes, raised: type[Exception]
) -> None:
    def serve(link: Link) -> None:
        with pytest.raises(raised):
            link.receive(5)

    door = farm(serve)
    with call(door, identity) as link:
        if sent:
            link._tls.send(sent)
    door.__exit__()
    assert door.errors == []


def test_a_hello_of_a_future_version_reaches_the_server(farm: Farm, identity: security.Identity) -> None:
    def serve(link: Link) -> None:
        hello = link.receive(5)
        assert isinstance(hello, messages.Hello)
        link.refuse("version", f"version {hello.version} is too new")

    with call(farm(serve), identity) as link, pytest.raises(Refused, match="version 9 is too new"):
        link.ask(messages.Hello(role=Role.SUBMIT, token="t", version=9))


def test_a_peer_that_reads_nothing_does_not_hold_the_answerer_for_ever(
    farm: Farm, identity: security.Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "WRITE", 0.2)

    def serve(link: Link) -> None:
        link._tls.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        greet(link)
        with pytest.raises(LinkLost, match="did not read Lines"):
            for _ in range(100):
                link.receive(5)
                link.answer(messages.Lines(lines=(LONG,)))

    door = farm(serve)
    with call(door, identity) as link:
        link.ask(HELLO)
        for _ in range(100):
            if door.errors or not door._thread.is_alive():
                break
            with contextlib.suppress(OSError):
                link._tls.send(frame(b'{"type":"log","task":"t"}'))
        door.__exit__()
    assert door.errors == []


def test_a_peer_that_drips_bytes_gets_no_more_time_than_a_silent_one(farm: Farm, identity: security.Identity) -> None:
    served = threading.Event()

    def serve(link: Link) -> None:
        assert link.receive(0.2) is None
        served.set()

    door = farm(serve)
    with call(door, identity) as link:
        link._tls.setblocking(True)
        link._tls.send(b"\0\x0f\0\0")
        with contextlib.suppress(OSError):
            while not served.wait(0.005):
                link._tls.send(b"x")
    door.__exit__()
    assert door.errors == []


def test_an_answer_that_does_not_come_ends_the_link(farm: Farm, identity: security.Identity) -> None:
    with call(farm(lambda link: (link.receive(5), link.wait(None, 5))), identity) as link:
        with pytest.raises(LinkLost, match=r"did not answer Hello within 0\.05 s"):
            link.ask(HELLO, timeout=0.05)
        assert link.closed


@pytest.mark.parametrize("garbage", [b"GET / HTTP/1.0\r\n\r\n", b"\0" * 64])
def test_a_peer_that_speaks_no_tls_is_a_link_error(identity: security.Identity, garbage: bytes) -> None:
    def serve(sock: socket.socket) -> None:
        with pytest.raises(LinkError, match=r"does not speak TLS 1\.3"):
            accept(sock, security.server_context(identity), timeout=5)

    with Door(serve) as door, contextlib.closing(socket.create_connection(ports.split_address(door.address))) as client:
        client.sendall(garbage)
    assert door.errors == []


def test_a_silent_peer_has_its_seconds_and_no_more(identity: security.Identity) -> None:
    def serve(sock: socket.socket) -> None:
        with pytest.raises(LinkLost, match=r"within 0\.1 s"):
            accept(sock, security.server_context(identity), timeout=0.1)

    with Door(serve) as door, contextlib.closing(socket.create_connection(ports.split_address(door.address))) as client:
        assert client.recv(1) == b""
    assert door.errors == []


def test_a_peer_that_leaves_in_the_handshake_is_a_lost_link(identity: security.Identity) -> None:
    def serve(sock: socket.socket) -> None:
        with pytest.raises(LinkLost):
            accept(sock, security.server_context(identity), timeout=5)

    with Door(serve) as door:
        socket.create_connection(ports.split_address(door.address)).close()
    assert door.errors == []


# --- dialling


@pytest.mark.parametrize("pin", ["00" * 32, "", "rubbish"])
def test_a_server_with_another_key_is_refused_before_a_byte_is_sent(identity: security.Identity, pin: str) -> None:
    said: list[bytes] = []

    def serve(sock: socket.socket) -> None:
        tls = security.server_context(identity).wrap_socket(sock, server_side=True)
        with contextlib.closing(tls):
            said.append(tls.recv(100))

    with Door(serve) as door:
        with pytest.raises(Refused, match=f"The server at {door.address} is not the one of the join code.*new join code") as caught:
            dial([door.address], pin, timeout=5)
        assert (caught.value.code, caught.value.exit_code) == ("pin", 4)
    assert said == [b""]
    assert door.errors == []


def test_addresses_are_tried_in_order_past_the_dead_the_strange_and_the_mute(farm: Farm, identity: security.Identity) -> None:
    dead = f"127.0.0.1:{ports.free_port()}"
    with Door(lambda sock: (sock.sendall(b"220 hello\r\n"), sock.recv(1000))) as strange, Door(lambda sock: sock.recv(10_000)) as closes:
        door = farm(greet)
        with dial([dead, strange.address, closes.address, door.address], identity.pin, timeout=5) as link:
            assert link.peer == door.address
            link.ask(HELLO)


def test_a_stranger_behind_the_first_address_does_not_hide_the_server(
    farm: Farm, identity: security.Identity, tmp_path: Path
) -> None:
    other = security.make_identity(tmp_path)

    def serve(sock: socket.socket) -> None:
        accept(sock, security.server_context(other)).close()

    with Door(serve) as stranger:
        door = farm(greet)
        with dial([stranger.address, door.address], identity.pin, timeout=5) as link:
            assert link.peer == door.address
            link.ask(HELLO)


def test_nobody_answering_names_all_addresses(identity: security.Identity) -> None:
    one, two = (f"127.0.0.1:{ports.free_port()}" for _ in range(2))
    with pytest.raises(NoServer, match=f"No server answers at {one} .*{two} .*refused") as caught:
        dial([one, two], identity.pin, timeout=5)
    assert caught.value.exit_code == 3


def test_a_mute_port_is_no_server(identity: security.Identity) -> None:
    with Door(lambda sock: sock.recv(10_000) and sock.recv(10_000)) as door, pytest.raises(NoServer, match="within"):
        dial([door.address], identity.pin, timeout=0.1)


def test_a_name_that_does_not_exist_is_no_server(identity: security.Identity) -> None:
    with pytest.raises(NoServer, match=r"farm\.invalid:5007"):
        dial(["farm.invalid:5007"], identity.pin, timeout=5)


def test_a_port_of_something_else_is_said_to_be_one(identity: security.Identity) -> None:
    with (
        Door(lambda sock: (sock.sendall(b"SSH-2.0-x\r\n" * 10), sock.recv(1000))) as door,
        pytest.raises(LinkError, match=r"does not speak TLS 1\.3.*port of a ClusterRay server"),
    ):
        dial([door.address], identity.pin, timeout=5)


def test_an_older_tls_is_said_to_be_one(identity: security.Identity) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(identity.cert_path, identity.key_path)
    context.maximum_version = ssl.TLSVersion.TLSv1_2

    def serve(sock: socket.socket) -> None:
        with pytest.raises(ssl.SSLError):
            context.wrap_socket(sock, server_side=True)

    with Door(serve) as door, pytest.raises(LinkError, match=r"does not speak TLS 1\.3"):
        dial([door.address], identity.pin, timeout=5)
    assert door.errors == []


def test_no_or_wrong_addresses_are_a_usage_error(identity: security.Identity) -> None:
    with pytest.raises(UsageError):
        dial([], identity.pin)
    with pytest.raises(UsageError):
        dial(["farm"], identity.pin)
