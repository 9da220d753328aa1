"""Folders that others may write to as well."""

from __future__ import annotations

import pytest
from clusterray.common.held import Held


def test_a_link_is_never_followed(tmp_path):
    """Not as the folder, not below it, not for a file; what it leads to stays as it is."""
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "file").write_text("kept")
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours" / "way").symlink_to(tmp_path / "theirs")
    (tmp_path / "ours" / "name").symlink_to(tmp_path / "theirs" / "file")
    with pytest.raises(OSError):
        Held.at(tmp_path / "ours" / "way")
    with Held.at(tmp_path / "ours") as ours:
        for use in (ours.folder, ours.make, ours.need):
            with pytest.raises(OSError):
                use("way")
        with pytest.raises(FileExistsError):
            ours.create("name")
        ours.remove("way")
        ours.remove("name")
        ours.remove("none")
    assert (tmp_path / "theirs" / "file").read_text() == "kept" and list((tmp_path / "ours").iterdir()) == []


def test_a_folder_stays_the_same_when_its_name_is_given_away(tmp_path):
    """Swapped for a link while it is worked in: what is written then does not go where the link leads."""
    (tmp_path / "theirs").mkdir()
    with Held.at(tmp_path) as top, top.make("ours", 0o777) as ours:
        (tmp_path / "ours").rename(tmp_path / "away")
        (tmp_path / "ours").symlink_to(tmp_path / "theirs")
        with ours.create("a") as file:
            file.write(b"1")
        with ours.need("sub") as sub:
            sub.create("b").close()
        top.remove("ours")
    assert list((tmp_path / "theirs").iterdir()) == [] and (tmp_path / "away" / "sub" / "b").exists()
    assert (tmp_path / "away").stat().st_mode & 0o777 == 0o777 and (tmp_path / "away" / "a").read_bytes() == b"1"
