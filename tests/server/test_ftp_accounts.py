"""What an account may touch is told from its name alone, and bytes are counted as they come."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from clusterray.server.ftp_accounts import CHECK_EVERY, Accounts, FtpAccount
from hypothesis import given
from hypothesis import strategies as st

A, B = (hashlib.sha256(text).hexdigest() for text in (b"a", b"b"))


def lease(write: Path, **changes: object) -> FtpAccount:
    read = {A: Path("/keep") / A, B: Path("/keep") / f"{B}.zst"}
    traits = {"write_names": "out", "cap": 0, "write_allowed": None, **changes}
    return FtpAccount("lease", "pw", read, write, **traits)  # type: ignore[arg-type]


@given(st.text() | st.builds("{}/{}".format, st.sampled_from(["packs", "out", "/packs", "out/..", "."]), st.text()))
def test_no_name_leads_anywhere_else(name: str) -> None:
    """Whatever is asked for, what is read is a pack of the account and what is written lies below its folder."""
    account = lease(Path("/farm/leases/1/out"))
    assert account.readable(name) in (None, *account.read.values())
    path = account.writable(name)
    assert path is None or (Path("/farm/leases/1/out") in path.parents and ".." not in path.parts)


def test_a_pack_is_offered_in_the_one_way_in_which_it_lies() -> None:
    """A .zst file is offered as .zst only, a plain one as plain only."""
    account = lease(Path("/x"))
    names = [A, f"{A}.zst", B, f"{B}.zst", "0" * 64]
    assert [name for name in names if account.readable(f"packs/{name}")] == [A, f"{B}.zst"]


def test_an_upload_takes_the_packs_that_were_asked_for() -> None:
    """Others are not stored, and their names say that they are not looked at yet."""
    account = lease(Path("/up"), write_names="packs", write_allowed={A})
    assert account.writable(f"packs/{A}.zst") == Path(f"/up/{A}.zst.part")
    assert account.writable(f"packs/{A}") == Path(f"/up/{A}.part")
    for name in (f"packs/{B}", "packs/x", "out/x", f"packs/{A}/../x", f"packs/{A.upper()}"):
        assert account.writable(name) is None


def test_passwords_and_revocation(tmp_path: Path) -> None:
    """Only the right password of an account that is open admits, odd letters included."""
    accounts = Accounts()
    accounts.grant(lease(tmp_path))
    assert accounts.admits("lease", "pw")
    for user, password in [("lease", "x"), ("lease", ""), ("other", ""), ("lease", "\udcff")]:
        assert not accounts.admits(user, password)
    accounts.revoke("lease")
    assert not accounts.admits("lease", "pw") and not accounts.may("lease", "r", f"packs/{A}")
    assert accounts.store("lease", "out/x", "wb") is None


def test_the_cap_counts_what_lies_there(tmp_path: Path) -> None:
    """Sending the same again costs nothing more; another file does; a new grant keeps the count."""
    accounts = Accounts()
    accounts.grant(lease(tmp_path, cap=100))
    for _ in range(3):
        upload = accounts.store("lease", "out/a", "wb")
        assert upload is not None
        upload.write(b"x" * 60)
        upload.close()
    upload = accounts.store("lease", "out/a", "ab")
    assert upload is not None
    upload.write(b"x" * 40)
    with pytest.raises(OSError, match="may store 100 bytes"):
        upload.write(b"x")
    upload.seek(50)
    upload.write(b"y" * 50)
    upload.close()
    assert (tmp_path / "a").read_bytes() == b"x" * 50 + b"y" * 50
    accounts.grant(lease(tmp_path, cap=110))
    upload = accounts.store("lease", "out/sub/b", "wb")
    assert upload is not None
    upload.write(b"x" * 10)
    with pytest.raises(OSError, match="may store 110 bytes"):
        upload.write(b"x")
    upload.close()


def test_a_disk_that_fills_up_meanwhile_ends_the_upload(tmp_path: Path) -> None:
    """The reserve is watched while bytes come, not only before."""
    free = [CHECK_EVERY * 10]
    accounts = Accounts(keep_free=1000, free=lambda folder: free[0])
    accounts.grant(lease(tmp_path))
    assert accounts.refuses("lease") == ""
    upload = accounts.store("lease", "out/a", "wb")
    assert upload is not None
    upload.write(bytes(CHECK_EVERY))
    free[0] = 999
    assert "999 bytes left and keeps 1000" in accounts.refuses("lease")
    with pytest.raises(OSError, match="999 bytes left"):
        upload.write(bytes(CHECK_EVERY))
    upload.close()


def test_a_link_in_the_way_is_not_followed(tmp_path: Path) -> None:
    """Nothing makes links there; if one is there all the same, nothing is written through it."""
    accounts = Accounts()
    (tmp_path / "out").mkdir()
    (tmp_path / "victim").write_bytes(b"keep")
    (tmp_path / "out/a").symlink_to(tmp_path / "victim")
    accounts.grant(lease(tmp_path / "out"))
    with pytest.raises(OSError):
        accounts.store("lease", "out/a", "wb")
    assert (tmp_path / "victim").read_bytes() == b"keep"
    assert not accounts.writing(tmp_path / "out/a")


def test_an_open_file_is_known_as_being_written(tmp_path: Path) -> None:
    """From before it is opened until it is closed."""
    accounts = Accounts()
    accounts.grant(lease(tmp_path))
    one, two = accounts.store("lease", "out/a", "wb"), accounts.store("lease", "out/a", "ab")
    assert one is not None and two is not None
    one.close()
    one.close()
    assert accounts.writing(tmp_path / "a")
    two.close()
    assert not accounts.writing(tmp_path / "a")
