"""Shared roots on a node: what its owner declared, probes that hang, and where the files of a lease are put."""

from __future__ import annotations

import os
import threading

import pytest
from clusterray.common.bundle import make_linked
from clusterray.common.clock import SystemClock
from clusterray.common.errors import FileError, SharedError
from clusterray.common.manifest import Share
from clusterray.common.model import Account, Grant, Limits, Needs, Output, PackRef, Probe, Region, Result
from clusterray.common.shared import LEASES, PROBES, roots
from clusterray.common.testing import FakeClock
from clusterray.node.cache import Cache
from clusterray.node.outbox import Parcel
from clusterray.node.shared import LIMIT, SharedCarrier, Shares
from clusterray.node.work import Work
from clusterray.node.workbench import Workbench

from .test_cache import Store

NAME = "0123456789abcdef" * 2


@pytest.fixture
def disk(tmp_path):
    (tmp_path / "disk" / "site7").mkdir(parents=True)
    for number in range(2):
        (tmp_path / "disk" / "site7" / f"p{number}.jpg").write_bytes(b"x" * (number + 1))
    (tmp_path / "disk" / PROBES).mkdir()
    (tmp_path / "disk" / PROBES / NAME).write_text("proof")
    return tmp_path / "disk"


def shares(disk, clock=None):
    return Shares(roots({"photos": {"path": str(disk)}}), clock or SystemClock())


def test_a_probe_is_answered_and_leaves_nothing(disk):
    """Read, written, told; and what was written goes when the server has heard."""
    here, asked = shares(disk), [Probe(name=NAME, root="photos")]
    here.begin(asked)
    (found,) = here.collect(asked, 10.0)
    assert (found.read, found.fault) == ("proof", "") and abs(found.skew) < 5 and found.free > 0
    assert (disk / f"{PROBES}-{NAME}").read_text() == f"proof\n{found.own}"
    here.forget(asked)
    assert not (disk / f"{PROBES}-{NAME}").exists()


def test_a_share_that_hangs_stops_nobody(disk):
    """The slot has its answer in time, and the next probe of that root makes no second thread that hangs."""
    clock, release = FakeClock(), threading.Event()
    here, asked = shares(disk, clock), [Probe(name=NAME, root="photos")]
    here._prove = lambda probe: release.wait(20)
    before = threading.active_count()
    here.begin(asked)
    assert here.collect(asked, 0.0) is None
    clock.advance(LIMIT)
    (found,) = here.collect(asked, 0.0)
    assert "the share hangs" in found.fault
    again = [Probe(name=NAME[::-1], root="photos")]
    here.begin(again)
    assert threading.active_count() == before + 1
    release.set()


def test_a_root_that_the_owner_did_not_declare(disk):
    """It is refused on the node as well, whatever the server grants."""
    with pytest.raises(SharedError, match=r"This node has no shared root films \(\[shared\.films\]"):
        shares(disk).folder(Share(root="films", folder="site7"))
    assert "has no shared root films" in shares(disk)._prove(Probe(name=NAME, root="films")).fault


@pytest.fixture
def cached(disk, tmp_path):
    """A task in shared storage, and a cache on a node that sees it."""
    prepared = make_linked(disk / "site7", Share(root="photos", folder="site7"), tmp_path / "work")
    store = Store(prepared)
    cache = Cache(tmp_path / "cache", 1 << 40, FakeClock(), linked=shares(disk).folder)
    return lambda needs=(): (cache.fetch(prepared.bundle, needs, store, lambda note: None), cache.shared(prepared.bundle), store)


def test_a_jobs_folder_has_links_and_fetches_the_manifest_alone(cached, disk):
    """Only what the job needs, under its relative name; and where the links lead is told, for the confinement."""
    folder, see, store = cached(("p1.jpg",))
    assert {path.name for path in folder.iterdir()} == {"p1.jpg"}
    assert (folder / "p1.jpg").readlink() == disk / "site7" / "p1.jpg" and see == (disk / "site7",)
    folder, _, store = cached()
    assert {path.name for path in folder.iterdir()} == {"p0.jpg", "p1.jpg"} and len(store.asked) == 1


def test_files_are_looked_at_before_every_job(cached, disk):
    """Also where the job before had found all well; the other jobs go on."""
    cached()
    os.utime(disk / "site7" / "p0.jpg", (1, 1))
    with pytest.raises(SharedError, match=r"p0\.jpg is not as it was when the task was submitted, as this node sees it"):
        cached()
    cached(("p1.jpg",))


def test_a_node_without_shared_roots_gives_such_a_job_back(disk, tmp_path):
    """In words that name the setting."""
    prepared = make_linked(disk / "site7", Share(root="photos", folder="site7"), tmp_path / "work")
    cache = Cache(tmp_path / "cache", 1 << 40, FakeClock())
    with pytest.raises(SharedError, match=r"\[shared\.photos\] in its settings"):
        cache.fetch(prepared.bundle, (), Store(prepared), lambda note: None)


def test_files_of_a_lease_go_into_its_folder_and_nowhere_else(disk, tmp_path):
    """Below results/.clusterray/<lease>; a link that somebody put in the way is not followed."""
    (tmp_path / "made.bin").write_bytes(b"result")
    carrier = SharedCarrier(disk, "lease1")
    carrier.put_file("sub/made.bin", tmp_path / "made.bin")
    carrier.put_file("sub/made.bin", tmp_path / "made.bin")  # sent again after a cut
    assert (disk / LEASES / "lease1" / "sub" / "made.bin").read_bytes() == b"result"
    (tmp_path / "elsewhere").mkdir()
    (disk / LEASES / "lease2").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="Not a directory"):
        SharedCarrier(disk, "lease2")
    (disk / LEASES / "lease1").rename(disk / "away")
    (disk / LEASES / "lease1").symlink_to(tmp_path / "elsewhere")  # while the carrier is in use
    with pytest.raises(OSError, match="Not a directory"):
        carrier.put_file("made.bin", tmp_path / "made.bin")
    with pytest.raises(FileError, match="cannot be a folder's name"):
        SharedCarrier(disk, "../x")
    assert list((tmp_path / "elsewhere").iterdir()) == []


class Courier:
    """FTP that counts."""

    def __init__(self):
        self.sent = []

    def put_file(self, name, path):
        self.sent.append(name)

    def close(self):
        pass


def test_results_of_a_shared_task_go_by_shared_storage_and_by_ftp_where_that_fails(disk, tmp_path):
    """Without FTP as long as it works; when the server did not find them, or the results are away, as any other task's."""
    ftp, out = Courier(), tmp_path / "out"
    out.mkdir()
    (out / "made.bin").write_bytes(b"result")
    bench = Workbench(
        0, runner=None, outbox=None, scratch=None, couriers=lambda account, stop: ftp, clock=FakeClock(), shares=shares(disk)
    )

    def send(work):
        outputs = (Output(path="made.bin", size=6, digest=""),)
        assert bench._send_files(work, Parcel(0, work.account, Result(lease=work.lease, outputs=outputs), out)) is None

    work = Work(grant(disk, "lease1", results="photos"), threading.Event())
    send(work)
    assert (disk / LEASES / "lease1" / "made.bin").read_bytes() == b"result" and ftp.sent == []
    send(work)  # the server did not find it
    assert ftp.sent == ["made.bin"]
    send(Work(grant(disk, "lease2", results="films"), threading.Event()))
    send(Work(grant(disk, "lease3"), threading.Event()))
    assert len(ftp.sent) == 3 and [path.name for path in (disk / LEASES).iterdir()] == ["lease1"]


def grant(disk, lease, **more):
    return Grant(
        lease=lease, job="", number=0, task="", task_name="", kind="", kind_version=0, stage="", region=Region(name=""), options={},
        limits=Limits(), needs=Needs(), program="", bundle=PackRef(digest="", size=0), term=0.0,
        account=Account(user="", password="", port=0), **more,
    )  # fmt: skip
