"""A folder goes in and comes out the same; a bundle that lies is refused."""

from __future__ import annotations

import hashlib
import os
import random
import tarfile
import tempfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
from clusterray.common.bundle import (
    BundleFolder,
    DiskFolder,
    MappingFolder,
    Prepared,
    derive_bundle,
    make_bundle,
    read_manifest,
    remove_tree,
    unpack_bundle,
)  # fmt: skip
from clusterray.common.encoding import encode
from clusterray.common.errors import DigestMismatch, FileError, TaskFileError, UnsafeArchive
from clusterray.common.manifest import Bundle, FileEntry, write_manifest
from clusterray.common.model import PackRef
from hypothesis import given, settings
from hypothesis import strategies as st

MIB = 1 << 20
FILES = {
    "scene.pov": b"camera {}\n" * 500,
    "empty.inc": b"",
    "tex/wood grain.png": b"\x89PNG" + bytes(range(256)),
    "tex/it's \"ü\" 木.inc": "ü".encode() * 100,
    "tex/" + "long-" * 40 + "name.inc": b"long",
    "mesh.bin": random.Random(3).randbytes(MIB + 5),
    "text.bin": b"vertex 1 2 3\n" * 100_000,
}


def fill(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


def store(prepared: Prepared, folder: Path, *, encoded: bool = False) -> Callable[[str], Path]:
    """Put all packs on disk, as a keeper has them."""
    folder.mkdir(exist_ok=True)

    def path(digest: str) -> Path:
        return folder / (digest + (".zst" if encoded else ""))

    for pack in prepared.packs:
        with prepared.open(pack.digest) as source:
            path(pack.digest).write_bytes(b"".join(encode(source)) if encoded else source.read())
    return path


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("encoded", [False, True])
def test_a_folder_survives_the_way(tmp_path: Path, encoded: bool) -> None:
    """Every file arrives with its bytes and its x, read-only, whatever its name."""
    root = fill(tmp_path / "scene", FILES)
    (root / "scene.pov").chmod(0o755)
    prepared = make_bundle(root, tmp_path / "work")
    path = store(prepared, tmp_path / "packs", encoded=encoded)
    dest = tmp_path / "dest"
    unpack_bundle(path(prepared.bundle.digest), path, dest)
    assert contents(dest) == FILES
    assert {file.stat().st_mode & 0o777 for file in dest.rglob("*") if file.is_file()} == {0o444, 0o555}
    assert (dest / "scene.pov").stat().st_mode & 0o777 == 0o555
    assert dest.stat().st_mode & 0o777 == (dest / "tex").stat().st_mode & 0o777 == 0o555
    assert (dest / "mesh.bin").stat().st_nlink == (1 if encoded else 2)
    remove_tree(dest)
    assert not dest.exists() and not (tmp_path / "dest.part").exists()


def test_an_unchanged_folder_is_the_same_bundle(tmp_path: Path) -> None:
    """A copy made elsewhere and later has nothing to send; a changed file sends its pack and the manifest."""
    one = make_bundle(fill(tmp_path / "one", FILES), tmp_path / "work")
    two = make_bundle(fill(tmp_path / "two", FILES), tmp_path / "work")
    assert one.bundle == two.bundle and one.packs == two.packs
    (tmp_path / "two/scene.pov").write_bytes(b"other")
    three = make_bundle(tmp_path / "two", tmp_path / "work")
    assert len(set(three.packs) - set(two.packs)) == 2
    assert (three.files, three.size) == (len(FILES), sum(map(len, FILES.values())) - 4995)


def test_packs_are_named_by_their_bytes_and_hold_tars(tmp_path: Path) -> None:
    """Digest and size of each pack are those of what open() gives, and a person can look into one with tar."""
    prepared = make_bundle(fill(tmp_path / "scene", FILES), tmp_path / "work")
    names: set[str] = set()
    for pack in prepared.packs:
        with prepared.open(pack.digest) as source:
            data = source.read()
        assert (hashlib.sha256(data).hexdigest(), len(data)) == (pack.digest, pack.size)
        if pack != prepared.bundle and len(data) < MIB:
            with tarfile.open(fileobj=BytesIO(data)) as archive:
                names |= set(archive.getnames())
    assert names == {name for name, data in FILES.items() if len(data) < MIB}
    with prepared.open(prepared.bundle.digest) as source:
        assert read_manifest(source.read()) == prepared.manifest
    assert {prepared.pays(pack.digest) for pack in prepared.packs} == {True, False}


def test_only_what_a_job_needs_is_unpacked_and_the_rest_later(tmp_path: Path) -> None:
    """A tree grows file by file, asks for no pack that it does not need, and keeps what it has."""
    prepared = make_bundle(fill(tmp_path / "scene", FILES), tmp_path / "work")
    path = store(prepared, tmp_path / "packs")
    asked: list[str] = []

    def noting(digest: str) -> Path:
        asked.append(digest)
        return path(digest)

    manifest, dest = path(prepared.bundle.digest), tmp_path / "dest"
    unpack_bundle(manifest, noting, dest, ["mesh.bin"])
    assert list(contents(dest)) == ["mesh.bin"] and len(asked) == 1
    unpack_bundle(manifest, noting, dest, ["tex"])
    assert len(contents(dest)) == 4
    before = (dest / "mesh.bin").stat().st_ino
    unpack_bundle(manifest, noting, dest)
    assert contents(dest) == FILES and (dest / "mesh.bin").stat().st_ino == before
    asked.clear()
    unpack_bundle(manifest, noting, dest)
    assert not asked
    with pytest.raises(FileError, match="no file nonsense"):
        unpack_bundle(manifest, noting, dest, ["nonsense"])


def test_a_file_of_the_wrong_size_is_unpacked_again(tmp_path: Path) -> None:
    """What a full disk or a power cut left is no reason to render with half a texture."""
    prepared = make_bundle(fill(tmp_path / "scene", FILES), tmp_path / "work")
    path, dest = store(prepared, tmp_path / "packs"), tmp_path / "dest"
    unpack_bundle(path(prepared.bundle.digest), path, dest)
    (dest / "scene.pov").chmod(0o644)
    (dest / "scene.pov").write_bytes(b"half")
    unpack_bundle(path(prepared.bundle.digest), path, dest)
    assert contents(dest) == FILES


# --- bundles that lie


def lie(tmp_path: Path, pack: bytes, *files: tuple[str, bytes, int]) -> None:
    """Unpack a pack under a manifest that claims these files (path, bytes, offset) of it."""
    ref = PackRef(digest=hashlib.sha256(pack).hexdigest(), size=len(pack))
    entries = tuple(FileEntry(name, len(data), 0o644, hashlib.sha256(data).hexdigest(), 0, at) for name, data, at in files)
    (tmp_path / "manifest").write_bytes(write_manifest(Bundle(files=entries, packs=(ref,))))
    (tmp_path / ref.digest).write_bytes(pack)
    unpack_bundle(tmp_path / "manifest", lambda digest: tmp_path / digest, tmp_path / "dest")


def made_by_tarfile(*names: str, kind: bytes = tarfile.REGTYPE) -> bytes:
    out = BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size, info.type = (3 if kind == tarfile.REGTYPE else 0), kind
            info.linkname = "/etc/passwd" if kind == tarfile.SYMTYPE else ""
            archive.addfile(info, BytesIO(b"abc"))
    return out.getvalue()[: len(names) * (1024 if kind == tarfile.REGTYPE else 512) + 1024]


@pytest.mark.parametrize(
    ("pack", "files", "error", "words"),
    [
        (made_by_tarfile("../a"), [("a", b"abc", 512)], UnsafeArchive, "leads out"),
        (made_by_tarfile("/a"), [("a", b"abc", 512)], UnsafeArchive, "is absolute"),
        (made_by_tarfile("a", kind=tarfile.SYMTYPE), [("a", b"", 512)], UnsafeArchive, "symbolic link"),
        (made_by_tarfile("a", kind=tarfile.CHRTYPE), [("a", b"", 512)], UnsafeArchive, "a device"),
        (made_by_tarfile("a", "a"), [("a", b"abc", 512)], UnsafeArchive, "twice"),
        (made_by_tarfile("a", "b"), [("a", b"abc", 512)], UnsafeArchive, "more than the 1 files|otherwise"),
        (made_by_tarfile("a"), [("a", b"abc", 512), ("b", b"abc", 512)], UnsafeArchive, "lacks 'b'"),
        (made_by_tarfile("a"), [("b", b"abc", 512)], UnsafeArchive, "otherwise than the manifest"),
        (made_by_tarfile("a"), [("a", b"ab", 512)], UnsafeArchive, "otherwise than the manifest"),
        (made_by_tarfile("a"), [("a", b"abc", 513)], UnsafeArchive, "otherwise than the manifest"),
        (made_by_tarfile("a"), [("a", b"xyz", 512)], DigestMismatch, "bytes of a are not"),
        (made_by_tarfile("a"), [("../a", b"abc", 512)], UnsafeArchive, "leads out"),
    ],
)
def test_a_bundle_that_lies_is_refused(
    tmp_path: Path, pack: bytes, files: list[tuple[str, bytes, int]], error: type[Exception], words: str
) -> None:
    """Tar and manifest must agree in all, and neither may lead out of the folder."""
    with pytest.raises(error, match=words):
        lie(tmp_path, pack, *files)
    assert not [path for path in (tmp_path / "dest").rglob("*") if path.is_file()]
    assert not (tmp_path / "a").exists()


def test_an_honest_tar_by_tarfile_would_pass(tmp_path: Path) -> None:
    """The refusals above are for their reasons, not for how the archives were made."""
    lie(tmp_path, made_by_tarfile("a", "b"), ("a", b"abc", 512), ("b", b"abc", 1536))
    assert contents(tmp_path / "dest") == {"a": b"abc", "b": b"abc"}


@settings(max_examples=60)
@given(st.data())
def test_a_pack_with_a_wrong_byte_never_unpacks_to_something_else(data: st.DataObject) -> None:
    """Whatever byte of a tar is changed: a refusal, never a wrong file."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        prepared = make_bundle(fill(root / "scene", {"a": b"abc", "b/c": b"d" * 600}), root / "work")
        path = store(prepared, root / "packs")
        file = path(prepared.packs[0].digest)
        broken = bytearray(file.read_bytes())
        broken[data.draw(st.integers(0, len(broken) - 1))] ^= data.draw(st.integers(1, 255))
        file.write_bytes(broken)
        with pytest.raises(FileError):
            unpack_bundle(path(prepared.bundle.digest), path, root / "dest")


# --- folders as kinds see them


def check_folder(folder: DiskFolder | MappingFolder | BundleFolder, files: dict[str, bytes]) -> None:
    assert folder.names() == tuple(sorted(files, key=str.encode))
    for name, data in files.items():
        assert folder.size(name) == len(data)
        assert folder.read(name) == data
        assert folder.path(name).read_bytes() == data
    for ask in (folder.size, folder.read, folder.path):
        with pytest.raises(KeyError):
            ask("nonsense")


@pytest.mark.parametrize("encoded", [False, True])
def test_a_bundle_is_read_without_unpacking(tmp_path: Path, encoded: bool) -> None:
    """split and verify read single files out of packs, plain or encoded; large ones are not copied."""
    prepared = make_bundle(fill(tmp_path / "scene", FILES), tmp_path / "work")
    path = store(prepared, tmp_path / "packs", encoded=encoded)
    folder = BundleFolder(path(prepared.bundle.digest), path, tmp_path / "view")
    check_folder(folder, FILES)
    assert (tmp_path / "view/mesh.bin").exists() is encoded


def test_a_plain_folder_shows_what_would_be_sent(tmp_path: Path) -> None:
    """No version control, no editor files; a folder that cannot be sent is said at once."""
    root = fill(tmp_path / "scene", {**FILES, ".git/HEAD": b"ref"})
    check_folder(DiskFolder(root), FILES)
    os.mkfifo(root / "pipe")
    with pytest.raises(TaskFileError, match="pipe"):
        DiskFolder(root)


def test_files_by_name_from_anywhere(tmp_path: Path) -> None:
    """Outputs that ride in a message and outputs on disk look the same."""
    (tmp_path / "on-disk").write_bytes(b"disk")
    folder = MappingFolder({"sub/tile.png": b"inline", "big.png": tmp_path / "on-disk"}, tmp_path / "work")
    check_folder(folder, {"sub/tile.png": b"inline", "big.png": b"disk"})


def test_a_derived_bundle_adds_files_and_changes_no_pack(tmp_path: Path) -> None:
    """Who holds the folder's packs needs only those of the new files; unpacked, both are there."""
    before = make_bundle(fill(tmp_path / "scene", FILES), tmp_path / "work")
    made = {"stages/one/measured.json": b"{}", "stages/one/deep/big.bin": random.Random(4).randbytes(MIB + 1), "stages/one/.git/x": b"x"}
    after, fresh = derive_bundle(before.manifest, fill(tmp_path / "made", made), tmp_path / "work")
    held = store(before, tmp_path / "packs")
    assert set(after.packs) - set(before.packs) == set(fresh) and set(fresh).isdisjoint(before.packs)
    for pack in fresh:
        with after.open(pack.digest) as source:
            held(pack.digest).write_bytes(source.read())
    unpack_bundle(held(after.bundle.digest), held, tmp_path / "dest")
    assert contents(tmp_path / "dest") == FILES | made
    assert read_manifest(held(after.bundle.digest).read_bytes()) == after.manifest
    again, _ = derive_bundle(before.manifest, tmp_path / "made", tmp_path / "work")
    assert again.bundle == after.bundle, "the same files give the same bundle"


@pytest.mark.parametrize("own", ["stages/one/x", "stages", "stages/one"])
def test_a_stage_does_not_write_over_the_submitters_files(tmp_path: Path, own: str) -> None:
    """A file that is there already, also as one where a folder must be, is named."""
    before = make_bundle(fill(tmp_path / "scene", {own: b"mine"}), tmp_path / "work")
    with pytest.raises(TaskFileError, match=f"has a file {own}, .*rename"):
        derive_bundle(before.manifest, fill(tmp_path / "made", {"stages/one/x": b"x"}), tmp_path / "work")
