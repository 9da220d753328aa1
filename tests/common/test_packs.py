"""A folder as packs: one changed file changes one small pack, and what cannot travel is said in one sentence."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from clusterray.common import packs
from clusterray.common.errors import TaskFileError
from hypothesis import given, settings
from hypothesis import strategies as st

MIB = 1 << 20


def fill(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def digests(root: Path) -> set[str]:
    return {pack.digest for pack in packs.scan(root)[0].packs}


# --- which files share a pack

SIZES = st.dictionaries(st.text("abcdefgh", min_size=1, max_size=4), st.integers(0, MIB - 1), min_size=1, max_size=60)


def tars(files: dict[str, int], contents: dict[str, int] | None = None) -> set[tuple[tuple[str, int, int], ...]]:
    """Tars as what decides their bytes: path, size and a stand-in for the content of each member."""
    ordered = sorted(files.items())
    groups = packs.plan(ordered, lambda file: file[0], lambda file: file[1])
    return {tuple((path, size, (contents or {}).get(path, 0)) for path, size in group) for group in groups}


def natural(files: dict[str, int]) -> bool:
    """Whether no tar was ended by a cap: after one, changes go on to the next end that the files themselves set."""
    groups = packs.plan(sorted(files.items()), lambda file: file[0], lambda file: file[1])
    return all(sum(size for _, size in group) < packs.CAP for group in groups)


@given(SIZES, st.text("abcdefgh", min_size=1, max_size=4), st.integers(0, MIB - 1))
def test_a_file_added_changed_or_removed_touches_two_packs_at_most(files: dict[str, int], path: str, size: int) -> None:
    """Bytes to send again after an edit do not grow with the folder."""
    other = {**files, path: size}
    if natural(files) and natural(other):
        assert len(tars(other, {path: 1}) - tars(files)) <= 2
        without = {name: size for name, size in files.items() if name != path}
        if without and natural(without):
            assert len(tars(without) - tars(files)) <= 1


@given(SIZES)
def test_tars_hold_each_file_once_and_stay_small(files: dict[str, int]) -> None:
    """Every small file is in exactly one tar, in path order, and no tar outgrows its caps."""
    groups = packs.plan(sorted(files.items()), lambda file: file[0], lambda file: file[1])
    assert [file for group in groups for file in group] == sorted(files.items())
    assert all(sum(size for _, size in group[:-1]) < packs.CAP and len(group) <= packs.MEMBERS for group in groups)


def test_many_empty_files_share_tars_up_to_the_cap() -> None:
    """Files without bytes set no end; the cap on members does."""
    files = {f"{number:05}": 0 for number in range(10_000)}
    assert sorted(len(group) for group in tars(files)) == [1808, 4096, 4096]


def test_tars_of_an_ordinary_folder_are_some_megabytes() -> None:
    """Transfers of about two megabytes: 1 ms for each is nothing, and one is little to send again."""
    chance = random.Random(5)
    files = {f"{chance.random():.9f}.inc": chance.randrange(60_000) for _ in range(3000)}
    groups = tars(files)
    mean = sum(files.values()) / len(groups)
    assert 1 * MIB < mean < 3 * MIB


# --- scanning

PARTS = st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="/."), min_size=1, max_size=20)
CONTENT = st.dictionaries(
    st.lists(PARTS.filter(lambda part: not packs.skipped(part)), min_size=1, max_size=3).map("/".join),
    st.binary(max_size=3000),
    min_size=1,
    max_size=12,
).filter(lambda files: not any(other.startswith(name + "/") for name in files for other in files))


@settings(max_examples=40)
@given(CONTENT, st.randoms(use_true_random=False))
def test_the_same_folder_gives_the_same_bundle(files: dict[str, bytes], chance: random.Random) -> None:
    """Whatever the order in which files were made, and whoever owns them: unchanged means nothing to send."""
    shuffled = list(files.items())
    chance.shuffle(shuffled)
    with folder() as one, folder() as two:
        first, sources = packs.scan(fill(one, files))
        second, _ = packs.scan(fill(two, dict(shuffled)))
        assert first == second
        assert [file.path for file in first.files] == sorted(files, key=str.encode)
        for ref in first.packs:
            with sources[ref.digest].open() as pack:
                data = pack.read()
            assert (hashlib.sha256(data).hexdigest(), len(data)) == (ref.digest, ref.size)
            for file in first.files:
                if first.pack(file) == ref:
                    assert data[file.offset : file.offset + file.size] == files[file.path]
                    assert hashlib.sha256(files[file.path]).hexdigest() == file.digest


def test_a_large_file_is_a_pack_as_it_is(tmp_path: Path) -> None:
    """From 1 MiB on a file keeps its own bytes as its pack; the same bytes under two names travel once."""
    data = os.urandom(MIB)
    bundle, sources = packs.scan(fill(tmp_path, {"a.bin": data, "b/copy.bin": data, "small": data[:-1]}))
    digest = hashlib.sha256(data).hexdigest()
    assert [file.path for file in bundle.files if bundle.pack(file).digest == digest] == ["a.bin", "b/copy.bin"]
    assert len(bundle.packs) == 2
    with sources[digest].open() as source:
        assert source.read() == data


def test_one_changed_file_changes_one_small_pack(tmp_path: Path) -> None:
    """Of a folder with many packs, an edit sends one again, besides the manifest."""
    chance = random.Random(1)
    fill(tmp_path, {f"{number:03}.inc": chance.randbytes(200_000) for number in range(60)})
    before = digests(tmp_path)
    (tmp_path / "031.inc").write_bytes(chance.randbytes(200_000))
    after = digests(tmp_path)
    assert len(before) > 4 and len(after - before) == 1


def test_executables_stay_executable(tmp_path: Path) -> None:
    """Of the mode, only the owner's x travels."""
    fill(tmp_path, {"run": b"#!", "data": b""})
    (tmp_path / "run").chmod(0o700)
    (tmp_path / "data").chmod(0o600)
    assert {file.path: file.mode for file in packs.scan(tmp_path)[0].files} == {"data": 0o644, "run": 0o755}


def test_version_control_and_editor_files_stay_at_home(tmp_path: Path) -> None:
    """Nobody sends .git or a swap file, and a broken link in there is nobody's concern."""
    names = (".git/config", "sub/.svn/x", ".scene.pov.swp", "scene.pov~", "#scene.pov#", "scene.pov", ".hidden")
    fill(tmp_path, dict.fromkeys(names, b"x"))
    (tmp_path / ".#scene.pov").symlink_to("nobody@nowhere")
    assert [file.path for file in packs.find(tmp_path)] == [".hidden", "scene.pov"]


# --- what cannot travel


def said(root: Path) -> str:
    with pytest.raises(TaskFileError) as caught:
        packs.scan(root)
    sentence = str(caught.value)
    assert sentence.endswith(".") and "\n" not in sentence
    return sentence


def test_links_are_followed_within_the_folder_only(tmp_path: Path) -> None:
    """A link to a file or folder of the task brings its content; one that leads out, nowhere or round is named."""
    root = fill(tmp_path / "scene", {"tex/wood.png": b"wood", "scene.pov": b"s"})
    (root / "again.png").symlink_to("tex/wood.png")
    (root / "textures").symlink_to("tex")
    assert {file.path: file.size for file in packs.scan(root)[0].files} == {
        "again.png": 4, "scene.pov": 1, "tex/wood.png": 4, "textures/wood.png": 4
    }  # fmt: skip
    outside = fill(tmp_path, {"secret": b"x"}) / "secret"
    (root / "leak").symlink_to(outside)
    assert said(root) == f"leak is a link out of the folder, to {outside}; put the file itself there."
    (root / "leak").unlink()
    (root / "leak").symlink_to("/etc")
    assert "link out of the folder" in said(root)
    (root / "leak").unlink()
    (root / "leak").symlink_to("gone.png")
    assert said(root) == "leak is a link to gone.png, which does not exist."
    (root / "leak").unlink()
    (root / "tex/back").symlink_to("..")
    assert "back is a link to a folder that it lies in" in said(root)
    (root / "tex/back").unlink()
    (root / "self").symlink_to("self")
    assert said(root).startswith("self ")


def test_pipes_and_sockets_are_named(tmp_path: Path) -> None:
    """They have no bytes to send; reading them would hang."""
    os.mkfifo(tmp_path / "pipe")
    assert said(tmp_path) == "pipe is a pipe; only files and folders can be sent, take it out."
    (tmp_path / "pipe").unlink()
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as listening:
        listening.bind(str(tmp_path / "sock"))
        assert said(tmp_path) == "sock is a socket; only files and folders can be sent, take it out."


def test_names_that_no_message_can_carry_are_named(tmp_path: Path) -> None:
    """Bytes that are no UTF-8, and control characters."""
    bad = os.fsencode(tmp_path) + b"/caf\xe9.png"
    Path(os.fsdecode(bad)).write_bytes(b"x")
    assert "is not valid UTF-8; rename the file." in said(tmp_path)
    os.unlink(bad)  # noqa: PTH108
    (tmp_path / "a\nb").write_bytes(b"x")
    assert "has control characters in it" in said(tmp_path)


def test_nothing_to_send_is_said(tmp_path: Path) -> None:
    """No folder, a file instead, and a folder without files."""
    assert said(tmp_path / "none") == f"There is no folder {tmp_path / 'none'}."
    (tmp_path / "file").write_bytes(b"")
    assert said(tmp_path / "file") == f"{tmp_path / 'file'} is not a folder."
    (tmp_path / "empty/deep").mkdir(parents=True)
    assert said(tmp_path / "empty") == f"The folder {tmp_path / 'empty'} holds no file: put all that the task needs into it."


@pytest.mark.parametrize("what", ["file", "folder"])
def test_what_we_may_not_read_is_said(what: str) -> None:
    """A file or folder without the right to read it is named, with the system's reason."""
    with tempfile.TemporaryDirectory() as name:
        root = fill(Path(name), {"sub/secret.inc": b"x"})
        root.chmod(0o755)
        (root / "sub").chmod(0o755)
        locked = root / ("sub/secret.inc" if what == "file" else "sub")
        locked.chmod(0)
        me = os.geteuid()
        if me == 0:  # root reads all; nobody does not
            os.seteuid(65534)
        try:
            sentence = said(root)
        finally:
            os.seteuid(me)
            locked.chmod(0o755)
    assert "cannot be read (Permission denied); make it readable or take it out" in sentence


def test_a_file_that_changes_meanwhile_is_noticed(tmp_path: Path) -> None:
    """What is sent is what was described, or it is said: for large and small files, while scanning and while sending."""
    fill(tmp_path, {"large": bytes(2 * MIB), "small": b"x" * 1000})
    (large, small) = packs.find(tmp_path)
    _, sources = packs.scan(tmp_path)
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(source.open()) for source in sources.values()]
        opened[0].read(MIB)
        with (tmp_path / "large").open("ab") as file:
            file.write(b"more")
        (tmp_path / "small").write_bytes(b"y" * 1000)
        os.utime(tmp_path / "small", (1, 1))
        with pytest.raises(TaskFileError, match="large changed while it was read"):
            while opened[0].read(MIB):
                pass
    for source in sources.values():
        with pytest.raises(TaskFileError, match="changed while it was read"):
            source.open()
    for found in (large, small):
        with pytest.raises(TaskFileError, match="changed while it was read"):
            list(found.read())


def test_packs_of_text_pay_and_pictures_do_not(tmp_path: Path) -> None:
    """Whether a pack is encoded for the way is told from its bytes."""
    fill(tmp_path, {"big.inc": b"sphere { <1, 2, 3>, 4 }\n" * 60_000, "photo.jpg": b"\xff\xd8\xff" + bytes(2 * MIB)})
    bundle, sources = packs.scan(tmp_path)
    assert [sources[pack.digest].pays() for pack in bundle.packs] == [True, False]
