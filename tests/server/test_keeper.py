"""The keeper: a name is a promise. What is not right gets none, what is used stays, what is idle goes."""

from __future__ import annotations

import hashlib
import io
import os
import random
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from clusterray.common.encoding import encode
from clusterray.common.errors import DiskFull, FileError
from clusterray.common.model import Output, PackRef
from clusterray.common.security import client_context
from clusterray.common.testing import FakeClock
from clusterray.server.keeper import Keeper
from hypothesis import given, settings
from hypothesis import strategies as st

from ..ftp_house import house_at, ref

TEXT = b"sphere { 0, 1 }\n" * 2000
NOISE = random.Random(3).randbytes(50_000)


class Farm:
    """A keeper with a disk and a set of uses that the test decides on."""

    def __init__(self, root: Path, *, cap: int = 1 << 40, keep_free: int = 0, writing: Callable[[Path], bool] = lambda path: False) -> None:
        self.root, self.clock, self.using, self.free = root, FakeClock(), set[str](), 1 << 40
        self._traits = {"cap": cap, "keep_free": keep_free, "writing": writing}
        self.start()

    def start(self) -> Keeper:
        """As after a start of the server."""
        self.keeper = Keeper(
            self.root, self.clock, in_use=lambda: self.using, free=lambda folder: self.free - self.keeper_total(), **self._traits  # type: ignore[arg-type]
        )
        return self.keeper

    def keeper_total(self) -> int:
        return sum(path.stat().st_size for path in (self.root / "packs").rglob("*") if path.is_file())

    def send(self, data: bytes, session: str = "s", *, encoded: bool = False, pack: PackRef | None = None) -> str | None:
        """An upload of these bytes under the name of ``pack``; what the keeper says of it."""
        pack = pack or ref(data)
        path = self.keeper.upload_folder(session) / f"{pack.digest}{'.zst' if encoded else ''}.part"
        path.write_bytes(b"".join(encode(io.BytesIO(data))) if encoded else data)
        return self.keeper.take_upload(session, pack)

    def keep(self, data: bytes) -> str:
        assert self.send(data) is None
        self.clock.advance(10)
        return ref(data).digest


@pytest.fixture
def farm(tmp_path: Path) -> Farm:
    return Farm(tmp_path)


# --- taking in


@pytest.mark.parametrize("encoded", [False, True])
@pytest.mark.parametrize("data", [b"", TEXT, NOISE])
def test_an_upload_becomes_a_pack(farm: Farm, data: bytes, encoded: bool) -> None:
    """Plain or encoded, it gets its name, is there after a restart, and can be had as a plain file."""
    assert not farm.keeper.has(ref(data).digest)
    assert farm.send(data, encoded=encoded) is None
    for keeper in (farm.keeper, farm.start()):
        assert keeper.has(ref(data).digest) and keeper.plain(ref(data).digest).read_bytes() == data
        assert (keeper.path(ref(data).digest).suffix == ".zst") is encoded
        assert keeper.size(ref(data).digest) == keeper.path(ref(data).digest).stat().st_size
    assert not list((farm.root / "uploads/s").iterdir()) and not list((farm.root / "checking").iterdir())


@pytest.mark.parametrize(
    ("data", "words"),
    [(TEXT[:-1], "cut off"), (b"x" + TEXT[1:], "does not have the bytes"), (TEXT + b"x", "more than"), (b"", "cut off")],
)
@pytest.mark.parametrize("encoded", [False, True])
def test_wrong_bytes_get_no_name_and_a_sentence(farm: Farm, data: bytes, words: str, encoded: bool) -> None:
    """The pack can then be sent again, from the start."""
    sentence = farm.send(data, encoded=encoded, pack=ref(TEXT))
    assert sentence is not None and words in sentence
    assert not farm.keeper.has(ref(TEXT).digest) and not list((farm.root / "uploads/s").iterdir())
    assert farm.send(TEXT, encoded=encoded) is None


def test_what_did_not_arrive_is_said(farm: Farm) -> None:
    """Reported and not sent; sent by another session; and what is here already needs no sending."""
    assert farm.keeper.take_upload("s", ref(TEXT)) == f"Pack {ref(TEXT).digest[:12]} did not arrive."
    farm.keeper.upload_folder("other").joinpath(ref(TEXT).digest + ".part").write_bytes(TEXT)
    assert farm.keeper.take_upload("s", ref(TEXT)) is not None
    farm.keep(TEXT)
    assert farm.keeper.take_upload("anyone", ref(TEXT)) is None


def test_a_file_that_somebody_still_writes_is_not_named(tmp_path: Path) -> None:
    """Good bytes with an open connection behind them could be changed after the check."""
    farm = Farm(tmp_path, writing=lambda path: path.parent.name == "s")
    sentence = farm.send(TEXT)
    assert sentence is not None and "still being sent" in sentence
    assert not farm.keeper.has(ref(TEXT).digest)
    assert farm.send(TEXT, session="other") is None


def test_a_cut_upload_is_answered_226_and_refused_here(tmp_path: Path) -> None:
    """Over real FTPS: the server says 226 to an upload that ended early; the keeper does not believe it."""
    with house_at(tmp_path / "house") as house:
        farm = Farm(tmp_path / "keep", writing=house.thread.writing)
        pack = ref(NOISE)
        house.thread.grant("u", "p", read={}, write=farm.keeper.upload_folder("s"), write_names="packs", write_allowed={pack.digest})
        with socket.create_connection(("127.0.0.1", house.thread.port)) as plain:
            plain.settimeout(10.0)
            plain.recv(100)
            plain.sendall(b"AUTH TLS\r\n")
            plain.recv(100)
            with client_context().wrap_socket(plain) as control:

                def say(line: str) -> str:
                    control.sendall(line.encode() + b"\r\n")
                    return control.recv(500).decode()

                for line in ("USER u", "PASS p", "PBSZ 0", "PROT P"):
                    say(line)
                numbers = say("PASV").partition("(")[2].partition(")")[0].split(",")
                control.sendall(f"STOR packs/{pack.digest}\r\n".encode())
                address = ("127.0.0.1", int(numbers[4]) * 256 + int(numbers[5]))
                with socket.create_connection(address) as data, client_context().wrap_socket(data) as secure:
                    control.recv(500)
                    secure.sendall(NOISE[:30_000])
                answer = control.recv(500)
                assert answer.startswith(b"226"), answer
        sentence = farm.keeper.take_upload("s", pack)
        assert sentence is not None and "cut off on the way" in sentence


def test_outputs_are_checked_out_of_reach_of_their_sender(farm: Farm) -> None:
    """Missing, short, changed or badly named ones are listed; those that ride in the message are not looked for."""
    sent, out = farm.keeper.sending_folder("l"), farm.keeper.lease_folder("l") / "out"
    sent.mkdir(parents=True)
    (sent / "sub").mkdir()
    (sent / "good.png").write_bytes(NOISE)
    (sent / "sub/good 2.png").write_bytes(TEXT)
    (sent / "short").write_bytes(NOISE[:-1])
    (sent / "changed").write_bytes(b"x" + NOISE[1:])
    (farm.root / "leases/secret").write_bytes(b"")
    empty = hashlib.sha256(b"").hexdigest()

    def output(path: str, data: bytes, inline: bytes | None = None) -> Output:
        return Output(path=path, size=len(data), digest=ref(data).digest, data=inline)

    outputs = (
        output("good.png", NOISE), output("sub/good 2.png", TEXT), output("short", NOISE), output("changed", NOISE),
        output("missing", NOISE), output("inline", b"abc", b"abc"), Output(path="../../secret", size=0, digest=empty), output("sub", b""),
    )  # fmt: skip
    assert farm.keeper.take_outputs("l", outputs) == ("short", "changed", "missing", "../../secret", "sub")
    assert (out / "good.png").read_bytes() == NOISE and (out / "sub/good 2.png").read_bytes() == TEXT
    assert not [path for path in (*sent.rglob("*"), out / "short", out / "changed") if path.is_file()]
    assert farm.keeper.take_outputs("l", outputs[:2]) == ()
    (sent / "short").write_bytes(NOISE)
    assert farm.keeper.take_outputs("l", outputs[:3]) == ()
    assert farm.keeper.take_outputs("never-seen", outputs[:1]) == ("good.png",)
    farm.keeper.drop_lease("l")
    assert not out.exists()


def test_an_output_that_is_still_being_sent_is_not_taken(tmp_path: Path) -> None:
    """Whoever could still write into a file could change it after the check."""
    farm = Farm(tmp_path, writing=lambda path: path.parent.name == "in")
    farm.keeper.sending_folder("l").mkdir(parents=True)
    (farm.keeper.sending_folder("l") / "a").write_bytes(NOISE)
    outputs = (Output(path="a", size=len(NOISE), digest=ref(NOISE).digest),)
    assert farm.keeper.take_outputs("l", outputs) == ("a",)


def test_a_checked_output_becomes_a_pack_by_a_rename(farm: Farm) -> None:
    """No byte is copied; the same piece twice is kept once."""
    out = farm.keeper.lease_folder("l") / "out"
    out.mkdir(parents=True)
    for name in ("a", "b"):
        (out / name).write_bytes(NOISE)
    inode = (out / "a").stat().st_ino
    farm.keeper.adopt(out / "a", ref(NOISE).digest)
    assert farm.keeper.path(ref(NOISE).digest).stat().st_ino == inode and not (out / "a").exists()
    farm.keeper.adopt(out / "b", ref(NOISE).digest)
    assert not (out / "b").exists() and farm.keeper.path(ref(NOISE).digest).stat().st_ino == inode


def test_an_asset_becomes_a_pack_and_stays_where_it_is(farm: Farm, tmp_path: Path) -> None:
    """A second name for the same bytes."""
    asset = tmp_path / "biscuit.png"
    asset.write_bytes(NOISE)
    assert farm.keeper.adopt_file(asset) == ref(NOISE) == farm.keeper.adopt_file(asset)
    assert farm.keeper.path(ref(NOISE).digest).stat().st_ino == asset.stat().st_ino and asset.read_bytes() == NOISE


def test_a_pack_that_is_not_here_is_said(farm: Farm) -> None:
    """Asking for it is an error with a sentence, not a path to nothing."""
    for ask in (farm.keeper.path, farm.keeper.plain, farm.keeper.size):
        with pytest.raises(FileError, match="does not hold pack 0123"):
            ask("0123" * 16)


# --- room


def test_idle_packs_go_in_the_order_of_their_last_use(tmp_path: Path) -> None:
    """The cap counts what nobody uses; a use makes young, also over a restart; what is in use stays whatever its age."""
    farm = Farm(tmp_path, cap=120_000)
    a, b, c, d = (farm.keep(letter * 50_000) for letter in (b"a", b"b", b"c", b"d"))
    farm.keeper.path(a)
    farm.clock.advance(10)
    farm.start()
    farm.using = {b}
    assert farm.keeper.evict() == 50_000
    assert [farm.keeper.has(pack) for pack in (a, b, c, d)] == [True, True, False, True]
    assert farm.keeper.evict() == 0
    farm.using = set()
    assert farm.keeper.evict() == 50_000 and not farm.keeper.has(b)
    assert farm.keeper.total() == 100_000 == farm.keeper_total()


def test_room_is_made_before_an_upload_or_it_is_refused(tmp_path: Path) -> None:
    """Idle packs give way, packs in use do not; then a sentence with the numbers."""
    farm = Farm(tmp_path, keep_free=10_000)
    a, b = farm.keep(b"a" * 50_000), farm.keep(b"b" * 50_000)
    farm.free = 130_000
    farm.keeper.room_for(20_000)
    assert farm.keeper.has(a) and farm.keeper.has(b)
    farm.using = {a}
    farm.keeper.room_for(60_000)
    assert farm.keeper.has(a) and not farm.keeper.has(b)
    with pytest.raises(DiskFull, match="no room for 100000 bytes: 80000 are free on its disk, of which it keeps 10000"):
        farm.keeper.room_for(100_000)
    assert farm.keeper.has(a)


def test_plain_copies_go_with_their_use(farm: Farm) -> None:
    """A decoded copy is made once, stays while its pack is in use, and goes at the next eviction after."""
    farm.send(TEXT, encoded=True)
    copy = farm.keeper.plain(ref(TEXT).digest)
    assert farm.keeper.plain(ref(TEXT).digest) == copy
    farm.using = {ref(TEXT).digest}
    farm.keeper.evict()
    assert copy.exists()
    farm.using = set()
    farm.keeper.evict()
    assert not copy.exists() and farm.keeper.plain(ref(TEXT).digest).read_bytes() == TEXT


@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.sampled_from(["keep", "path", "evict", "use", "restart"]), st.integers(0, 7)), max_size=25),
    st.integers(0, 5),
)
def test_whatever_happens_used_packs_stay_and_idle_ones_fit(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]], cap: int
) -> None:
    """After each eviction: all that is in use is here, the rest is under the cap, and what is here is right."""
    farm = Farm(tmp_path_factory.mktemp("keep"), cap=cap * 1000)
    kept: set[str] = set()
    for verb, number in steps:
        data = bytes([number]) * 1000
        digest = ref(data).digest
        if verb == "keep":
            kept.add(farm.keep(data))
        elif verb == "path" and farm.keeper.has(digest):
            assert farm.keeper.path(digest).read_bytes() == data
        elif verb == "use":
            farm.using = kept & {ref(bytes([other]) * 1000).digest for other in range(number)}
        elif verb == "restart":
            farm.start().clean((), ())
        elif verb == "evict":
            farm.keeper.evict()
            kept = {one for one in kept if farm.keeper.has(one)}
            farm.using &= kept
            assert 1000 * len(kept - farm.using) <= cap * 1000
        assert {one for one in kept if farm.keeper.has(one)} == kept
        assert farm.keeper_total() == farm.keeper.total() == 1000 * len(kept)


# --- starts and ends


def test_a_start_removes_what_the_last_life_left_half_done(farm: Farm) -> None:
    """Uploads and leases that nobody knows, files in hand, foreign files among the packs; names that count stay."""
    digest = farm.keep(TEXT)
    for session in ("known", "unknown"):
        farm.keeper.upload_folder(session).joinpath("x.part").write_bytes(b"x")
        farm.keeper.lease_folder(session).joinpath("out").mkdir(parents=True)
        farm.keeper.lease_folder(session).joinpath("out/x").write_bytes(b"x")
    (farm.root / "checking/half").write_bytes(b"x")
    (farm.root / "plain" / digest).write_bytes(TEXT)
    (farm.root / "packs" / digest[:2] / "rubbish.part").write_bytes(b"x")
    keeper = farm.start()
    keeper.clean({"known"}, {"known"})
    left = {str(path.relative_to(farm.root)) for path in farm.root.rglob("*") if path.is_file()}
    assert left == {"uploads/known/x.part", "leases/known/out/x", f"packs/{digest[:2]}/{digest}"}
    keeper.drop_session("known")
    assert not (farm.root / "uploads/known").exists()


def test_a_pack_is_on_the_disk_before_it_is_told(tmp_path: Path) -> None:
    """The order that a power cut cannot break: file synced, renamed, folder synced, and only then has() says yes."""
    farm = Farm(tmp_path)
    digest = ref(TEXT).digest
    done: list[str] = []
    real = os.fsync

    def watching(handle: int) -> None:
        name = Path(f"/proc/self/fd/{handle}").readlink()
        assert not farm.keeper.has(digest)
        done.append(name.parent.name if name.is_file() else name.name)
        real(handle)

    with pytest.MonkeyPatch.context() as patch:  # no other way to see the order of system calls
        patch.setattr(os, "fsync", watching)
        assert farm.send(TEXT) is None
    assert done[0] == "checking" and done[-1] == digest[:2]
    assert farm.keeper.has(digest)


def test_both_encodings_of_one_pack_are_kept_once(farm: Farm) -> None:
    """Whatever came first stays; a second one, also from before a restart, is dropped."""
    digest = farm.keep(TEXT)
    assert farm.send(TEXT, encoded=True) is None
    extra = farm.keeper.path(digest).with_name(digest + ".zst")
    extra.write_bytes(b"".join(encode(io.BytesIO(TEXT))))
    keeper = farm.start()
    assert keeper.has(digest) and keeper.plain(digest).read_bytes() == TEXT and keeper.total() == farm.keeper_total()


