"""A manifest comes from strangers: nothing in it may lead out of the folder or beyond a pack."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import pytest
from clusterray.common.errors import FileError, UnsafeArchive
from clusterray.common.manifest import Bundle, FileEntry, chosen, name_fault, read_manifest, write_manifest
from clusterray.common.model import PackRef
from hypothesis import given
from hypothesis import strategies as st

D = hashlib.sha256(b"").hexdigest()
PACK = PackRef(digest=D, size=5000)


def entry(path: str = "a", **changes: Any) -> FileEntry:
    return msgspec.structs.replace(FileEntry(path, 10, 0o644, D, 0, 512), **changes)


def written(*files: FileEntry, packs: tuple[PackRef, ...] = (PACK,), version: int = 1) -> bytes:
    return write_manifest(Bundle(version=version, files=files, packs=packs))


def test_a_manifest_comes_back() -> None:
    """What was written is read, and written again gives the same bytes."""
    data = written(entry("a"), entry("b/ü 'x'"), entry("b/z", offset=2048))
    assert write_manifest(read_manifest(data)) == data


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (written(entry("/a")), "is absolute"),
        (written(entry("b/../../a")), "leads out"),
        (written(entry("")), "empty parts"),
        (written(entry("a\0b")), "control"),
        (written(entry("a"), entry("a")), "twice"),
        (written(entry("a"), entry("a/b")), "both as a file and as a folder"),
        (written(entry(mode=0o4755)), "mode"),
        (written(entry(size=-1)), "size"),
        (written(entry(digest="../x")), "digest"),
        (written(entry(pack=1)), "within their pack"),
        (written(entry(pack=-1)), "within their pack"),
        (written(entry(offset=4995)), "within their pack"),
        (written(entry(offset=0)), "pack of its own"),
        (written(entry(), packs=(PackRef(digest=D, size=1 << 40),)), "none may be larger"),
        (written(entry(), packs=(PackRef(digest="../../etc", size=5000),)), "cannot be one"),
    ],
)
def test_what_could_do_harm_is_refused(data: bytes, words: str) -> None:
    """Each trick has its sentence."""
    with pytest.raises(UnsafeArchive, match=words):
        read_manifest(data)


def test_another_version_is_said(tmp_path: object) -> None:
    """A manifest of a later release is not misread."""
    with pytest.raises(FileError, match="version 9"):
        read_manifest(written(version=9))


@given(st.binary(max_size=300))
def test_noise_is_no_manifest(data: bytes) -> None:
    """Random bytes give FileError and nothing else."""
    with pytest.raises(FileError):
        read_manifest(data)


@given(st.text(max_size=80))
def test_a_name_without_fault_stays_below(name: str) -> None:
    """Whatever passes is a relative path with real parts."""
    if not name_fault(name):
        assert name and not name.startswith("/") and all(part not in ("", ".", "..") for part in name.split("/"))


def test_needs_choose_files_and_folders() -> None:
    """A need is a file or a folder; one that is not there is named."""
    bundle = Bundle(files=(entry("a"), entry("t/b"), entry("t/u/c"), entry("tt")), packs=(PACK,))
    assert [file.path for file in chosen(bundle, ())] == ["a", "t/b", "t/u/c", "tt"]
    assert [file.path for file in chosen(bundle, ("t",))] == ["t/b", "t/u/c"]
    assert [file.path for file in chosen(bundle, ("a", "t/u/c"))] == ["a", "t/u/c"]
    with pytest.raises(FileError, match="no file t/x"):
        chosen(bundle, ("a", "t/x"))
