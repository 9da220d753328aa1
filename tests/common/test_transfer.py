"""Packs and outputs over real FTPS on loopback: whole, cut, refused, and never to the wrong server."""

from __future__ import annotations

import contextlib
import ftplib
import io
import random
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from clusterray.common.encoding import encode
from clusterray.common.errors import DigestMismatch, DiskFull, FileError, Refused, TransferError
from clusterray.common.model import Account
from clusterray.common.ports import free_port
from clusterray.common.security import client_context, make_identity, server_context
from clusterray.common.testing import FakeClock
from clusterray.common.transfer import AccountGone, Courier, Stopped

from ..ftp_house import House, Proxy, house_at, ref

NOISE = random.Random(7).randbytes(3_000_000)
TEXT = b"".join(b"sphere { <%d, %d, 0>, 1 }\n" % (number * 7919 % 10007, number) for number in range(120_000))


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with house_at(tmp_path / "house") as house:
        yield house


# --- whole


@pytest.mark.parametrize("encoded", [False, True])
@pytest.mark.parametrize("data", [b"", b"x", TEXT, NOISE])
def test_a_pack_is_fetched(house: House, tmp_path: Path, data: bytes, encoded: bool) -> None:
    """It arrives plain, whichever way the server keeps it, and nothing is left beside it."""
    house.lease(data, encoded=encoded)
    heard: list[int] = []
    house.courier().get_pack(ref(data), tmp_path / "new/pack", heard.append)
    assert (tmp_path / "new/pack").read_bytes() == data
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["pack"]
    assert heard == sorted(heard) and heard[-1] == len(data)


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("data", [b"", b"x", TEXT, NOISE])
def test_a_pack_is_sent(house: House, data: bytes, compress: bool) -> None:
    """It lies at the server as it was sent, plain or encoded, under a name that says so."""
    folder = house.upload()
    heard: list[int] = []
    house.courier("upload").put_pack(ref(data), lambda: io.BytesIO(data), compress=compress, progress=heard.append)
    (there,) = folder.iterdir()
    assert there.name == ref(data).digest + (".zst.part" if compress else ".part")
    assert there.read_bytes() == (b"".join(encode(io.BytesIO(data))) if compress else data)
    assert heard == sorted(heard) and (heard[-1:] == [len(data)] or not data)


def test_outputs_keep_their_names(house: House, tmp_path: Path) -> None:
    """Folders, blanks and any script in the name of an output; several over one session."""
    out = house.lease()
    courier = house.courier()
    (tmp_path / "tile.png").write_bytes(NOISE)
    for name in ("tile.png", "frames/0001 a.png", "木/it's.png"):
        courier.put_file(name, tmp_path / "tile.png")
        assert (out / name).read_bytes() == NOISE


def test_sending_again_replaces(house: House, tmp_path: Path) -> None:
    """A new attempt at the same name ends with the new bytes, shorter or longer."""
    out, courier = house.lease(), house.courier()
    for data in (b"a" * 1000, b"b" * 10, b"c" * 5000):
        (tmp_path / "x").write_bytes(data)
        courier.put_file("x", tmp_path / "x")
        assert len((out / "x").read_bytes()) == len(data)


# --- cut


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("encoded", [False, True])
def test_a_download_that_is_cut_goes_on_where_it_ended(house: House, tmp_path: Path, encoded: bool, reset: bool) -> None:
    """Two cuts cost three connections, not three downloads."""
    house.lease(NOISE, encoded=encoded)
    with Proxy(house, 1_000_000, 1_100_000, reset=reset) as proxy:
        courier = house.courier(host=Proxy.HOST)
        courier.get_pack(ref(NOISE), tmp_path / "pack")
        assert (tmp_path / "pack").read_bytes() == NOISE
        assert proxy.connections == 3 and proxy.bytes < (1.8 if reset else 1.3) * len(NOISE)  # a reset loses what was on the way
        courier.close()


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("compress", [False, True])
def test_an_upload_that_is_cut_goes_on_where_it_ended(house: House, compress: bool, reset: bool) -> None:
    """The server is asked how much it has, and gets the rest."""
    folder = house.upload()
    with Proxy(house, 1_000_000, 1_100_000, reset=reset) as proxy:
        courier = house.courier("upload", host=Proxy.HOST)
        courier.put_pack(ref(NOISE), lambda: io.BytesIO(NOISE), compress=compress)
        expected = b"".join(encode(io.BytesIO(NOISE))) if compress else NOISE
        assert next(folder.iterdir()).read_bytes() == expected
        assert proxy.connections >= 3 and proxy.bytes < 1.8 * len(NOISE)
        courier.close()


def test_an_upload_goes_on_in_another_session_and_process(house: House) -> None:
    """What an earlier life of the client has sent is not sent again, if it is the beginning of the same."""
    folder = house.upload()
    part = folder / (ref(NOISE).digest + ".part")
    part.write_bytes(NOISE[:2_500_000])
    with Proxy(house) as proxy:
        courier = house.courier("upload", host=Proxy.HOST)
        courier.put_pack(ref(NOISE), lambda: io.BytesIO(NOISE), compress=False)
        assert part.read_bytes() == NOISE and proxy.bytes < 600_000
        part.write_bytes(NOISE + b"too much")
        courier.put_pack(ref(NOISE), lambda: io.BytesIO(NOISE), compress=False)
        assert part.read_bytes() == NOISE
        courier.close()


def test_a_session_that_the_server_ended_is_opened_again(house: House, tmp_path: Path) -> None:
    """A node that renders longer than the server's patience uploads all the same, at once."""
    out, clock = house.lease(), FakeClock()
    courier = house.courier(clock=clock)
    (tmp_path / "x").write_bytes(b"one")
    courier.put_file("x", tmp_path / "x")
    house.thread.revoke("lease")
    house.lease()
    before = clock.monotonic()
    courier.put_file("y", tmp_path / "x")
    assert (out / "y").read_bytes() == b"one" and clock.monotonic() == before


class _Releasing(FakeClock):
    """A clock on which the others are done when somebody has waited for them three times."""

    def __init__(self, hog: ftplib.FTP) -> None:
        super().__init__()
        self.waits, self._hog = 0, hog

    def wait(self, event: threading.Event, seconds: float) -> bool:
        self.waits += 1
        if self.waits == 3:
            self._hog.voidcmd("NOOP")
            self._hog.close()
        return super().wait(event, seconds)


def test_spent_data_ports_are_waited_for(tmp_path: Path) -> None:
    """425 is no failure: others are moving bytes, and then it is our turn."""
    with house_at(tmp_path / "house", ports=1) as house:
        house.lease(NOISE)
        hog = ftplib.FTP_TLS(context=client_context())
        hog.connect("127.0.0.1", house.thread.port)
        hog.login("lease", "secret of lease")
        hog.prot_p()
        hog.makepasv()
        clock = _Releasing(hog)
        house.courier(clock=clock, tries=1).get_pack(ref(NOISE), tmp_path / "pack")
        assert clock.waits >= 3 and (tmp_path / "pack").read_bytes() == NOISE


# --- refused


class _Recorder:
    """A TLS server that speaks just enough FTP to be trusted with a password, and remembers what it is told after the handshake."""

    def __init__(self, root: Path, *, control: bool) -> None:
        self._context = server_context(make_identity(root))
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self.told = b""
        self._control = control
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        with self._listening, self._listening.accept()[0] as sock:
            sock.settimeout(10.0)
            if self._control:
                sock.sendall(b"220 Welcome\r\n")
                assert sock.recv(100) == b"AUTH TLS\r\n"
                sock.sendall(b"234 Go on\r\n")
            with contextlib.suppress(OSError), self._context.wrap_socket(sock, server_side=True) as secure:
                while block := secure.recv(1000):
                    self.told += block

    def join(self) -> bytes:
        self._thread.join(10.0)
        return self.told


def test_a_wrong_server_is_told_nothing(tmp_path: Path) -> None:
    """The key is compared after AUTH TLS; neither user nor password is sent to another one."""
    wrong = _Recorder(tmp_path / "wrong", control=True)
    account = Account(user="lease", password="secret", port=wrong.port)
    pin = make_identity(tmp_path / "right").pin
    with Courier(account, "127.0.0.1", pin, FakeClock()) as courier, pytest.raises(Refused, match="another key") as caught:
        courier.get_pack(ref(b"x"), tmp_path / "pack")
    assert caught.value.code == "pin"
    assert wrong.join() == b""


def test_a_wrong_data_connection_gets_no_byte(house: House, tmp_path: Path) -> None:
    """Somebody who answers on the data port in the server's place gets nothing of an upload."""
    house.upload()
    wrong = _Recorder(tmp_path / "wrong", control=False)
    with Proxy(house, data_to=wrong.port):
        courier = house.courier("upload", host=Proxy.HOST)
        with pytest.raises(Refused, match="another key"):
            courier.put_pack(ref(NOISE), lambda: io.BytesIO(NOISE), compress=False)
        courier.close()
    assert wrong.join() == b""


def test_a_server_without_tls_gets_no_password(tmp_path: Path) -> None:
    """Somebody in the middle cannot talk us out of TLS."""
    told = b""

    def serve() -> None:
        nonlocal told
        with listening, listening.accept()[0] as sock:
            sock.settimeout(10.0)
            sock.sendall(b"220 Welcome\r\n")
            told += sock.recv(100)
            sock.sendall(b"502 What is TLS?\r\n")
            with contextlib.suppress(OSError):
                while block := sock.recv(100):
                    told += block

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve)
        thread.start()
        account = Account(user="lease", password="secret", port=listening.getsockname()[1])
        with Courier(account, "127.0.0.1", "00", FakeClock(), tries=1) as courier, pytest.raises(TransferError, match="refused"):
            courier.get_pack(ref(b"x"), tmp_path / "pack")
        thread.join(10.0)
    assert told == b"AUTH TLS\r\n"


def test_each_refusal_has_its_sentence_and_is_not_tried_again(house: House, tmp_path: Path) -> None:
    """An account that is gone, a pack that is not offered, a name that may not be written, a full disk at the server."""
    clock = FakeClock()
    begin = clock.monotonic()
    (tmp_path / "x").write_bytes(NOISE)
    with pytest.raises(AccountGone, match="does not know this account"):
        house.courier("nobody", clock=clock).get_pack(ref(b"x"), tmp_path / "pack")
    house.lease(NOISE, cap=100_000)
    with pytest.raises(TransferError, match="does not offer pack"):
        house.courier(clock=clock).get_pack(ref(b"other"), tmp_path / "pack")
    with pytest.raises(TransferError, match=r"refused \.\./up"):
        house.courier(clock=clock).put_file("../up", tmp_path / "x")
    with pytest.raises(DiskFull, match="may store 100000 bytes"):
        house.courier(clock=clock).put_file("x", tmp_path / "x")
    with pytest.raises(FileError, match="cannot be read"):
        house.courier(clock=clock).put_file("x", tmp_path / "gone")
    assert clock.monotonic() == begin


def test_a_server_that_is_away_is_waited_for_and_then_named(tmp_path: Path) -> None:
    """Some tries with growing pauses, then a sentence with the address."""
    clock, port = FakeClock(), free_port()
    courier = Courier(Account(user="u", password="p", port=port), "127.0.0.1", "00", clock, tries=5)
    with courier, pytest.raises(TransferError, match=rf"failed 5 times.*127\.0\.0\.1:{port} reachable"):
        courier.get_pack(ref(b"x"), tmp_path / "pack")
    assert 3 < clock.monotonic() - 1000 < 20


@pytest.mark.parametrize("encoded", [False, True])
def test_wrong_bytes_never_get_the_name(house: House, tmp_path: Path, encoded: bool) -> None:
    """A damaged pack at the server is fetched once more, then refused; nothing of it stays."""
    house.lease(TEXT, encoded=encoded)
    (kept,) = house.root.glob(ref(TEXT).digest + "*")
    damaged = bytearray(kept.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    kept.write_bytes(damaged)
    with pytest.raises(DigestMismatch):
        house.courier().get_pack(ref(TEXT), tmp_path / "here/pack")
    assert not list((tmp_path / "here").iterdir())


@pytest.mark.parametrize("rest", [b"wrong bytes", NOISE[:1000] + b"x" + NOISE[1001:], NOISE + b"more"])
def test_a_wrong_rest_of_an_earlier_life_is_no_harm(house: House, tmp_path: Path, rest: bytes) -> None:
    """What lies half-fetched beside the name is gone on with, and fetched anew when that gives the wrong digest."""
    house.lease(NOISE)
    (tmp_path / "pack.part").write_bytes(rest)
    house.courier().get_pack(ref(NOISE), tmp_path / "pack")
    assert (tmp_path / "pack").read_bytes() == NOISE


def test_a_full_disk_here_is_said(house: House, tmp_path: Path) -> None:
    """The sentence speaks of our disk, and nobody tries eight times."""
    house.lease(NOISE)
    (tmp_path / "pack.part").symlink_to("/dev/full")
    with pytest.raises(DiskFull, match="The disk of"):
        house.courier().get_pack(ref(NOISE), tmp_path / "pack")


def test_a_transfer_can_be_stopped(house: House, tmp_path: Path) -> None:
    """A cancelled job does not go on downloading; waiting between tries ends too."""
    house.lease(NOISE)
    stop = threading.Event()
    with pytest.raises(Stopped):
        house.courier(stop=stop).get_pack(ref(NOISE), tmp_path / "pack", lambda _: stop.set())
    assert (tmp_path / "pack.part").stat().st_size < len(NOISE)
    courier = Courier(Account(user="u", password="p", port=free_port()), "127.0.0.1", "00", FakeClock(), stop=stop)
    with courier, pytest.raises(Stopped):
        courier.get_pack(ref(b"x"), tmp_path / "other")


def test_both_channels_are_tls_1_3(house: House) -> None:
    """An older TLS is refused by the server; ours does not offer it."""
    assert client_context().minimum_version == ssl.TLSVersion.TLSv1_3
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname = False
    old.verify_mode = ssl.CERT_NONE
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with contextlib.closing(ftplib.FTP_TLS(context=old)) as ftp:
        ftp.connect("127.0.0.1", house.thread.port)
        with pytest.raises((ssl.SSLError, OSError)):
            ftp.auth()
