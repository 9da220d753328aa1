"""The FTP thread under an ordinary client, a rude one and a hostile one."""

from __future__ import annotations

import contextlib
import ftplib
import io
import random
import socket
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from clusterray.common.errors import UsageError
from clusterray.common.security import client_context
from clusterray.server.ftp_thread import COMMANDS, FtpThread
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ..ftp_house import House, house_at, ref

NOISE = random.Random(9).randbytes(1_500_000)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with house_at(tmp_path / "house") as house:
        yield house


@contextlib.contextmanager
def client(house: House, user: str = "lease", *, login: bool = True) -> Iterator[ftplib.FTP_TLS]:
    ftp = ftplib.FTP_TLS(context=client_context(), timeout=10.0)
    ftp.connect("127.0.0.1", house.thread.port)
    try:
        if login:
            ftp.login(user, "secret of " + user)
            ftp.prot_p()
        yield ftp
    finally:
        ftp.close()


def fetch(ftp: ftplib.FTP_TLS, name: str, rest: int | None = None) -> bytes:
    out = io.BytesIO()
    ftp.retrbinary(f"RETR {name}", out.write, rest=rest)
    return out.getvalue()


def refused(code: str, call: object, *arguments: object) -> None:
    with pytest.raises(ftplib.Error) as caught:
        call(*arguments)  # type: ignore[operator]
    assert str(caught.value).startswith(code), caught.value


# --- what works


def test_a_lease_reads_its_packs_and_writes_its_outputs(house: House) -> None:
    """With any FTPS client: fetch, go on in the middle, store, append, ask for sizes."""
    out = house.lease(NOISE, b"scene")
    with client(house) as ftp:
        name = f"packs/{ref(NOISE).digest}"
        assert ftp.size(name) == len(NOISE)
        assert fetch(ftp, name) == NOISE and fetch(ftp, "/" + name, 1_000_000) == NOISE[1_000_000:]
        ftp.storbinary("STOR out/a/tile.png", io.BytesIO(NOISE[:1000]))
        ftp.storbinary("APPE out/a/tile.png", io.BytesIO(NOISE[1000:]))
        assert ftp.size("out/a/tile.png") == len(NOISE) and (out / "a/tile.png").read_bytes() == NOISE
        ftp.storbinary("STOR out/a/tile.png", io.BytesIO(b"end"), rest=10)
        assert (out / "a/tile.png").read_bytes() == NOISE[:10] + b"end"
        assert ftp.sendcmd("EPSV").startswith("229")
        ftp.voidcmd("NOOP")
        assert "REST STREAM" in ftp.sendcmd("FEAT")
        ftp.quit()


def test_the_address_for_clients_behind_nat_is_a_setting(tmp_path: Path) -> None:
    """PASV names ftp.public_address where it is set."""
    with house_at(tmp_path, public_address="203.0.113.7") as house:
        house.lease()
        with client(house) as ftp:
            assert "(203,0,113,7," in ftp.sendcmd("PASV")


def test_a_new_grant_goes_for_open_sessions(house: House) -> None:
    """An upload session may learn of more packs page by page."""
    folder = house.upload(write_allowed={ref(b"a").digest})
    with client(house, "upload") as ftp:
        ftp.storbinary(f"STOR packs/{ref(b'a').digest}", io.BytesIO(b"a"))
        refused("550", ftp.storbinary, f"STOR packs/{ref(b'b').digest}", io.BytesIO(b"b"))
        house.upload(write_allowed={ref(b"b").digest})
        ftp.storbinary(f"STOR packs/{ref(b'b').digest}", io.BytesIO(b"b"))
    assert len(list(folder.iterdir())) == 2


# --- what does not


def test_nothing_goes_in_clear_text(house: House) -> None:
    """No password before AUTH TLS, no data connection without PROT P, no way back."""
    house.lease(NOISE)
    with client(house, login=False) as ftp:
        refused("550", ftplib.FTP.login, ftp, "lease", "secret of lease")
        ftp.login("lease", "secret of lease")
        refused("550", ftp.sendcmd, "PASV")
        ftp.prot_p()
        refused("534", ftp.sendcmd, "PROT C")
        assert fetch(ftp, f"packs/{ref(NOISE).digest}") == NOISE


def test_what_is_said_in_clear_text_behind_auth_is_dropped(house: House) -> None:
    """Somebody in the middle cannot slip a command in before the handshake."""
    house.lease()
    with socket.create_connection(("127.0.0.1", house.thread.port)) as sock:
        sock.settimeout(10.0)
        assert sock.recv(100).startswith(b"220")
        sock.sendall(b"AUTH TLS\r\nUSER lease\r\n")
        assert sock.recv(100) == b"234 AUTH TLS successful.\r\n"
        with client_context().wrap_socket(sock) as secure:
            secure.sendall(b"PASS secret of lease\r\n")
            assert secure.recv(100).startswith(b"503 Login with USER first")


def test_tls_1_2_is_refused(house: House) -> None:
    """Both channels are TLS 1.3."""
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with contextlib.closing(ftplib.FTP_TLS(context=old)) as ftp:
        ftp.connect("127.0.0.1", house.thread.port)
        with pytest.raises(OSError):
            ftp.auth()


OTHERS = (
    "LIST", "NLST", "MLSD", "MLST", "STAT", "CWD", "CDUP", "PWD", "XPWD", "DELE", "MKD", "RMD", "RNFR", "RNTO", "STOU", "MDTM", "MFMT",
    "SITE", "HELP", "PORT", "EPRT", "REIN", "OPTS", "SYST", "ALLO", "STRU", "MODE", "HASH",
)  # fmt: skip


def test_all_other_commands_are_refused(house: House) -> None:
    """No listing, renaming, deleting, no active mode; before and after the log-in."""
    house.lease()
    with client(house) as ftp, client(house, login=False) as stranger:
        for command in OTHERS:
            refused("502", ftp.sendcmd, f"{command} out/x")
            refused("502", ftp.sendcmd, command)
            refused("502", stranger.sendcmd, command)
        ftp.voidcmd("NOOP")


def test_a_lease_sees_nothing_else(house: House) -> None:
    """Not other digests, not its own outputs, not a path around the tree."""
    out = house.lease(b"mine")
    house.lease(b"theirs", user="other")
    (out / "a").write_bytes(b"written")
    with client(house) as ftp:
        theirs, encoded = f"packs/{ref(b'theirs').digest}", f"packs/{ref(b'mine').digest}.zst"
        for name in (theirs, encoded, "out/a", "../identity/key.pem", "/etc/passwd", "packs", ""):
            refused("55" if name else "501", fetch, ftp, name)
        for name in ("x", "packs/x", f"packs/{ref(b'mine').digest}", "out/../x", "out//x", "/out/./x", "out/", "out", "out/a\tb"):
            refused("550", ftp.storbinary, f"STOR {name}", io.BytesIO(b"x"))
            refused("550", ftp.storbinary, f"APPE {name}", io.BytesIO(b"x"))
        refused("504", ftp.sendcmd, "TYPE A")
        refused("503", ftp.sendcmd, "USER other")
    assert sorted(path.name for path in house.root.iterdir()) == sorted(
        ["identity", "lease-out", "other-out", ref(b"mine").digest, ref(b"theirs").digest]
    )


def test_an_upload_session_reads_nothing(house: House) -> None:
    """Who sends a pack cannot fetch it, or others."""
    house.upload()
    with client(house, "upload") as ftp:
        ftp.storbinary(f"STOR packs/{ref(b'a').digest}", io.BytesIO(b"a"))
        refused("550", fetch, ftp, f"packs/{ref(b'a').digest}")
        assert ftp.size(f"packs/{ref(b'a').digest}") == 1


def test_after_revoke_nothing_changes_any_more(house: House) -> None:
    """When revoke() returns, the session is closed in mid-upload and its account is unknown; others go on."""
    out = house.lease()
    house.lease(user="other")
    with client(house) as ftp, client(house, "other") as other:
        data = ftp.transfercmd("STOR out/a")
        data.sendall(b"x" * 10_000)
        other.voidcmd("NOOP")
        assert house.thread.writing(out / "a")
        assert house.thread.revoke("lease")
        assert not house.thread.writing(out / "a")
        before = (out / "a").read_bytes()
        with contextlib.suppress(OSError):
            for _ in range(20):
                data.sendall(b"y" * 10_000)
        data.close()
        with pytest.raises((EOFError, OSError)):
            ftp.voidcmd("NOOP")
            ftp.voidcmd("NOOP")
        assert (out / "a").read_bytes() == before and set(before) <= {ord("x")}
        other.storbinary("STOR out/b", io.BytesIO(b"fine"))
    with client(house, login=False) as ftp:
        refused("530", ftp.login, "lease", "secret of lease")


def test_a_wrong_password_waits_alone(tmp_path: Path) -> None:
    """Its answer is late; everybody else is served meanwhile, and guesses sent behind it are not looked at."""
    with house_at(tmp_path, penalty=60.0) as house, client(house, login=False) as guessing:
        out = house.lease()
        guessing.auth()
        guesses = b"USER lease\r\nPASS x\r\n" + b"USER lease\r\nPASS secret of lease\r\n" * 20
        guessing.sock.sendall(guesses)  # type: ignore[union-attr]
        assert guessing.getline().startswith("331")
        with client(house) as ftp:
            for number in range(10):
                ftp.storbinary(f"STOR out/{number}", io.BytesIO(NOISE[:5000]))
        assert len(list(out.iterdir())) == 10
        guessing.sock.setblocking(False)  # type: ignore[union-attr]
        with pytest.raises(ssl.SSLWantReadError):
            guessing.sock.recv(100)  # type: ignore[union-attr]


def test_three_wrong_passwords_end_the_session(house: House) -> None:
    """530 each time, then the connection is closed."""
    with client(house, login=False) as ftp:
        ftp.auth()
        for _ in range(3):
            refused("530", ftplib.FTP.login, ftp, "lease", "wrong")
        with pytest.raises((EOFError, OSError)):
            ftp.voidcmd("NOOP")
            ftp.voidcmd("NOOP")


def test_caps_and_full_disks_are_said_with_their_own_code(tmp_path: Path) -> None:
    """452 with a sentence: before an upload where the disk is full, in the middle where the cap is reached; the session lives on."""
    free = [10_000]
    with house_at(tmp_path, keep_free=1000, free=lambda folder: free[0]) as house:
        house.lease(cap=100_000)
        with client(house) as ftp:
            try:
                refused("452", ftp.storbinary, "STOR out/a", io.BytesIO(NOISE))
            except OSError:  # the data connection was closed under our hands; the answer says why
                refused("452 Transfer aborted: this account may store 100000", ftp.voidresp)
            ftp.storbinary("STOR out/a", io.BytesIO(NOISE[:50_000]))
            free[0] = 500
            refused("452 Not stored: the server's disk has 500", ftp.storbinary, "STOR out/b", io.BytesIO(b"x"))
            free[0] = 5000
            ftp.storbinary("STOR out/b", io.BytesIO(b"x"))


def test_a_spent_passive_range_is_said(tmp_path: Path) -> None:
    """425, and no port outside of the range that the firewall lets through."""
    with house_at(tmp_path, ports=1) as house:
        house.lease(NOISE)
        with client(house) as one, client(house) as two:
            _, port = one.makepasv()
            assert (port, port) == house.passive
            refused("425", two.sendcmd, "PASV")
            with contextlib.suppress(OSError):
                one.sendcmd("ABOR")
            assert fetch(two, f"packs/{ref(NOISE).digest}") == NOISE


def test_an_upload_is_taken_over_by_the_same_peer(house: House) -> None:
    """After a cut that the server has not noticed, the older session does not write into the file any more."""
    out = house.lease()
    with client(house) as old, client(house) as new:
        stale = old.transfercmd("STOR out/a")
        stale.sendall(NOISE[:1000])
        new.voidcmd("NOOP")
        while not (out / "a").exists() or (out / "a").stat().st_size < 1000:
            new.voidcmd("NOOP")
        new.storbinary("APPE out/a", io.BytesIO(NOISE[1000:2000]))
        with contextlib.suppress(OSError):
            stale.sendall(b"late")
        stale.close()
        new.voidcmd("NOOP")
    assert (out / "a").read_bytes() == NOISE[:2000]


def test_one_transfer_at_a_time(house: House) -> None:
    """A second command in mid-transfer, or without a connection for the first, disturbs nothing and leaves no file open."""
    out = house.lease(NOISE)
    with client(house) as ftp:
        data = ftp.transfercmd("STOR out/a")
        ftp.putcmd("STOR out/b")
        with pytest.raises(ftplib.error_perm, match="503"):
            ftp.getresp()
        data.sendall(b"whole")
        data.unwrap()  # type: ignore[attr-defined]
        data.close()
        ftp.voidresp()
        assert ftp.sendcmd("PASV").startswith("227")
        assert ftp.sendcmd("STOR out/c").startswith("150")
        assert ftp.sendcmd("STOR out/d").startswith("150")
        assert ftp.sendcmd("ABOR").startswith("225")
        ftp.storbinary("STOR out/e", io.BytesIO(b"e"))
        assert not house.thread.writing(out / "c")
    assert (out / "a").read_bytes() == b"whole"


# --- what breaks


class _Trap(Mapping[str, Path]):
    """A grant that raises whatever it is asked: any unexpected fault of a handler."""

    def __getitem__(self, key: str) -> Path:
        raise RuntimeError("unexpected")

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def test_an_unexpected_fault_costs_one_connection(house: House, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged whole; the thread and all others live on."""
    house.lease(NOISE)
    house.thread.grant("trap", "secret of trap", read=_Trap(), write=None, write_names="out")
    with client(house) as ftp:
        for _ in range(3):
            with client(house, "trap") as trap, pytest.raises((EOFError, OSError)):
                trap.size(f"packs/{ref(NOISE).digest}")
        assert fetch(ftp, f"packs/{ref(NOISE).digest}") == NOISE
    assert "RuntimeError: unexpected" in caplog.text and "secret of" not in caplog.text


def test_a_pack_that_vanished_is_said(house: House) -> None:
    """550, not a broken session."""
    house.lease(b"gone")
    (house.root / ref(b"gone").digest).unlink()
    with client(house) as ftp:
        refused("550", fetch, ftp, f"packs/{ref(b'gone').digest}")
        ftp.voidcmd("NOOP")


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(max_size=60) | st.sampled_from([f"{name} x\r\n".encode() for name in COMMANDS]), max_size=6), st.booleans())
def test_rude_peers_do_no_harm(house: House, lines: list[bytes], secure: bool) -> None:
    """Random bytes and commands in any order, in clear text or under TLS, end at most their own connection."""
    house.lease(b"x")
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", house.thread.port)) as plain:
        plain.settimeout(10.0)
        plain.recv(100)
        if secure:
            plain.sendall(b"AUTH TLS\r\n")
            plain.recv(100)
            with client_context().wrap_socket(plain) as sock:
                for line in lines:
                    sock.sendall(line)
        else:
            for line in lines:
                plain.sendall(line)
    with client(house) as ftp:
        assert fetch(ftp, f"packs/{ref(b'x').digest}") == b"x"


def test_mute_peers_hold_nobody_up(house: House) -> None:
    """Connections that say nothing, before or in the handshake, cost a place each and no time."""
    house.lease(b"x")
    with contextlib.ExitStack() as stack:
        for number in range(20):
            mute = stack.enter_context(socket.create_connection(("127.0.0.1", house.thread.port)))
            if number % 2:
                mute.sendall(b"AUTH TLS\r\n\x16\x03")
        with client(house) as ftp:
            assert fetch(ftp, f"packs/{ref(b'x').digest}") == b"x"


def test_too_many_connections_are_told_so(tmp_path: Path) -> None:
    """421 for those beyond the limit."""
    with house_at(tmp_path, max_connections=4) as house, contextlib.ExitStack() as stack:
        said = []
        for _ in range(6):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", house.thread.port)))
            sock.settimeout(10.0)
            said.append(sock.recv(3))
        assert said[0] == b"220" and said[-1] == b"421"


def test_a_port_in_use_is_said(house: House) -> None:
    """The sentence names the port, who holds it and the setting."""
    again = FtpThread("127.0.0.1", house.thread.port, house.passive, house.identity)
    with pytest.raises(UsageError, match=rf"FTP port {again.port} on 127\.0\.0\.1 cannot be opened: .* another with \[ftp\] port"):
        again.open()


def test_stopping_gives_everything_back(tmp_path: Path) -> None:
    """In mid-transfer too: the thread ends, its port is free, no file stays open."""
    with house_at(tmp_path) as house:
        out = house.lease()
        with client(house) as ftp, ftp.transfercmd("STOR out/a") as data:
            data.sendall(b"x" * 1000)
            ftp.sock.settimeout(0.2)  # type: ignore[union-attr]
            port = house.thread.port
            house.close()
        assert not house.thread.writing(out / "a")
        FtpThread("127.0.0.1", port, house.passive, house.identity)
        socket.create_server(("127.0.0.1", port)).close()


def test_it_can_be_driven_by_hand(tmp_path: Path) -> None:
    """open() and stop() without a thread leave nothing behind; revoke() does not wait for a thread that is not there."""
    with house_at(tmp_path) as house:
        thread = FtpThread("127.0.0.1", 0, (0, 0), house.identity)
        thread.open()
        thread.grant("a", "b", read={}, write=None, write_names="out")
        thread.wake()
        thread.step()
        assert thread.revoke("a")
        thread.stop()
        assert thread.join(1.0)
