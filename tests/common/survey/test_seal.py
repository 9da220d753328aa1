"""The list of what a job made finds every change of a file."""

from __future__ import annotations

from pathlib import Path

from clusterray.common.survey.seal import NAME, listing, seal


def test_a_changed_byte_is_found(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a").write_bytes(b"one")
    (tmp_path / "b").write_bytes(b"two")
    seal(tmp_path)
    names = ("b", "deep/a")
    assert (tmp_path / NAME).read_bytes() == listing((name, tmp_path / name) for name in names)
    (tmp_path / "b").write_bytes(b"twp")
    assert (tmp_path / NAME).read_bytes() != listing((name, tmp_path / name) for name in names)


def test_sealing_twice_is_the_same(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"one")
    seal(tmp_path)
    first = (tmp_path / NAME).read_bytes()
    seal(tmp_path)
    assert (tmp_path / NAME).read_bytes() == first
