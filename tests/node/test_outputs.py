"""Which files of a job are sent."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from clusterray.common.errors import OutputRejected
from clusterray.node.outputs import INLINE, collect, make_plain


def paths(out: Path, *patterns: str) -> list[str]:
    return [output.path for output in collect(out, patterns)]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    for name in ("a.png", "b.txt", "deep/c.png", "deep/er/d.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "empty.png").touch()
    return tmp_path


def test_patterns_choose_files(out: Path) -> None:
    """`*` stays within a folder, `**` goes through all."""
    assert paths(out, "*.png") == ["a.png", "empty.png"]
    assert paths(out, "**/*.png") == ["a.png", "deep/c.png", "deep/er/d.png", "empty.png"]
    assert paths(out, "deep/*", "b.txt") == ["b.txt", "deep/c.png"]
    assert paths(out, "?.txt") == ["b.txt"]
    assert len(paths(out, "**/*")) == 5


@pytest.mark.parametrize("pattern", ["empty.png", "no.png", "a[.]png"])
def test_each_pattern_needs_a_file_with_something_in_it(out: Path, pattern: str) -> None:
    """The sentence names the pattern and what was made."""
    with pytest.raises(OutputRejected, match=r"a\.png"):
        collect(out, ("b.txt", pattern))


def test_links_are_never_followed(out: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A job cannot have the agent send a file that it was not allowed to read."""
    secret = tmp_path_factory.mktemp("secret")
    (secret / "key").write_text("secret")
    (out / "link").symlink_to(secret / "key")
    (out / "folder").symlink_to(secret)
    os.mkfifo(out / "pipe")
    with pytest.raises(OutputRejected):
        collect(out, ("link",))
    with pytest.raises(OutputRejected):
        collect(out, ("folder/*",))
    assert "link" not in paths(out, "**/*")
    assert "pipe" not in paths(out, "**/*")


def test_what_a_program_left_is_made_plain(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Links and pipes go and lead nowhere; what the program locked can be read; the rest stays as it is."""
    theirs = tmp_path_factory.mktemp("theirs")
    (theirs / "file").write_text("x")
    (theirs / "file").chmod(0)
    (tmp_path / "out" / "locked").mkdir(parents=True)
    (tmp_path / "out" / "locked" / "a").write_text("a")
    (tmp_path / "out" / "locked" / "a").chmod(0)
    (tmp_path / "out" / "locked").chmod(0)
    (tmp_path / "out" / "link").symlink_to(theirs / "file")
    (tmp_path / "room").symlink_to(theirs)
    os.mkfifo(tmp_path / "out" / "pipe")
    make_plain(tmp_path)
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")) == ["out", "out/locked", "out/locked/a"]
    assert (tmp_path / "out" / "locked" / "a").stat().st_mode & 0o400
    assert not (theirs / "file").stat().st_mode & 0o777
    (tmp_path / "out" / "locked").rename(tmp_path / "other")
    (tmp_path / "out").rmdir()
    (tmp_path / "out").symlink_to(tmp_path / "other")
    with pytest.raises(OutputRejected, match="into the place of its folder"):
        make_plain(tmp_path)


def test_small_outputs_carry_their_bytes(tmp_path: Path) -> None:
    """All together, or none."""
    (tmp_path / "a").write_bytes(bytes(INLINE - 1))
    (tmp_path / "b").write_bytes(b"x")
    assert all(output.data is not None for output in collect(tmp_path, ("*",)))
    (tmp_path / "c").write_bytes(b"x")
    outputs = collect(tmp_path, ("*",))
    assert all(output.data is None for output in outputs)
    assert [output.size for output in outputs] == [INLINE - 1, 1, 1]
    assert len({output.digest for output in outputs}) == 2


@pytest.mark.parametrize("name", [os.fsdecode(b"\xff.png"), "a\nb", "x" * 200 + "/" + "y" * 100])
def test_names_that_cannot_be_sent_are_refused(tmp_path: Path, name: str) -> None:
    """Bytes that are no UTF-8, line ends, and paths without end are told, not sent."""
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"x")
    with pytest.raises(OutputRejected, match="cannot be sent"):
        collect(tmp_path, ("**/*",))


def test_the_folder_itself_may_not_be_a_link(tmp_path: Path) -> None:
    """Else a job could have the agent send any folder of the node, its token included."""
    (tmp_path / "node").mkdir()
    (tmp_path / "node" / "token").write_text("secret")
    (tmp_path / "out").symlink_to(tmp_path / "node")
    with pytest.raises(OutputRejected, match="folder for outputs"):
        collect(tmp_path / "out", ("**/*",))
