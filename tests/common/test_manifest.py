"""A manifest comes from strangers: nothing in it may lead out of the folder or beyond a pack."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import pytest
from clusterray.common.errors import FileError, UnsafeArchive
from clusterray.common.manifest import Bundle, Chooser, FileEntry, chosen, name_fault, read_manifest, write_manifest
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


def test_a_need_can_leave_files_out() -> None:
    """`!path` is a file or a folder that is not read, there or not; where all needs begin so, the rest is."""
    bundle = Bundle(files=(entry("a"), entry("t/b"), entry("t/u/c"), entry("t-"), entry("tt")), packs=(PACK,))
    assert [file.path for file in chosen(bundle, ("!t",))] == ["a", "t-", "tt"]
    assert [file.path for file in chosen(bundle, ("t", "!t/u"))] == ["t/b"]
    assert [file.path for file in chosen(bundle, ("!t/u/c", "!a", "!gone"))] == ["t/b", "t-", "tt"]
    assert chosen(bundle, ("a", "!a")) == ()
    with pytest.raises(FileError, match="no file x"):
        chosen(bundle, ("x", "!t"))
    assert [file.path for file in Chooser(bundle).pick(("x", "a"), lenient=True)] == ["a"]


PATHS = st.lists(st.sampled_from(["a", "b", "/", "-", "0", "ä"]), min_size=1, max_size=5).map("".join)


@given(st.sets(PATHS.filter(lambda path: not name_fault(path)), min_size=1), st.lists(PATHS), st.lists(PATHS))
def test_a_choice_is_what_its_words_say(paths: set[str], wanted: list[str], out: list[str]) -> None:
    """The quick choice equals the plain reading of the rule: at or below one that is named, not at or below one that is left out."""

    def below(path: str, named: list[str]) -> bool:
        return any(path == name.strip("/") or path.startswith(name.strip("/") + "/") for name in named)

    bundle = Bundle(files=tuple(entry(path) for path in paths), packs=(PACK,))
    needs = (*wanted, *(f"!{path}" for path in out))
    expected = [path for path in paths if (not wanted or below(path, wanted)) and not below(path, out)]
    assert [file.path for file in Chooser(bundle).pick(needs, lenient=True)] == expected
