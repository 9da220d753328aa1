"""Results that outlive the agent."""

from __future__ import annotations

from pathlib import Path

from clusterray.common.model import Account, Cause, Failure, Output, Result
from clusterray.node.outbox import Outbox
from clusterray.node.outputs import collect

ACCOUNT = Account(user="u", password="p", port=1)


def keep(box: Outbox, folder: Path, lease: str, slot: int = 0, size: int = 20000) -> None:
    out = folder / f"out-{lease}"
    out.mkdir()
    (out / "a").write_bytes(b"x" * size)
    box.put(slot, ACCOUNT, Result(lease=lease, outputs=collect(out, ("*",)), seconds=3.0), out)


def test_a_result_survives_until_it_is_answered(tmp_path: Path) -> None:
    """With its files and its account; only its user can read it."""
    keep(Outbox(tmp_path), tmp_path, "l1")
    box = Outbox(tmp_path)
    assert box.leases() == ("l1",)
    (parcel,) = box.claim(0, 1)
    assert parcel.account == ACCOUNT
    assert (parcel.out / "a").stat().st_size == 20000
    assert box.claim(0, 1) == ()
    assert (tmp_path / "outbox" / "l1" / "finished.json").stat().st_mode & 0o777 == 0o600
    box.answered("l1")
    box.answered("l1")
    assert box.leases() == Outbox(tmp_path).leases() == ()


def test_small_results_and_failures_need_no_files(tmp_path: Path) -> None:
    """Bytes that ride along are kept in the letter."""
    box = Outbox(tmp_path)
    box.put(0, ACCOUNT, Result(lease="s", outputs=(Output(path="a", size=1, digest="d", data=b"\x00"),)), tmp_path / "none")
    box.put(0, ACCOUNT, Result(lease="f", failure=Failure(cause=Cause.ERROR, sentence="no")), tmp_path / "none")
    parcels = {parcel.lease: parcel for parcel in Outbox(tmp_path).claim(0, 1)}
    assert parcels["s"].result.outputs[0].data == b"\x00"
    assert parcels["f"].result.failure is not None


def test_each_slot_sends_its_own(tmp_path: Path) -> None:
    """A node that has fewer slots now leaves none behind."""
    for slot in range(4):
        keep(Outbox(tmp_path), tmp_path, f"l{slot}", slot)
    box = Outbox(tmp_path)
    assert [parcel.lease for parcel in box.claim(1, 2)] == ["l1"]
    assert [parcel.lease for parcel in box.claim(0, 2)] == ["l0", "l2", "l3"]


def test_what_is_damaged_is_dropped(tmp_path: Path) -> None:
    """A crash in the middle, or a disk that lost bytes: the job is done again, the node starts all the same."""
    for lease in ("whole", "torn", "nameless", "damaged", "gone"):
        keep(Outbox(tmp_path), tmp_path, lease)
    box = tmp_path / "outbox"
    (box / "torn" / "finished.json").write_text('{"slot": 0')
    (box / "nameless" / "finished.json").rename(box / "nameless" / "finished.part")
    (box / "damaged" / "out" / "a").write_bytes(b"y" * 20000)
    (box / "gone" / "out" / "a").unlink()
    assert Outbox(tmp_path).leases() == ("whole",)
    assert [place.name for place in box.iterdir()] == ["whole"]
