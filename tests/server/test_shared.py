"""Tasks whose files lie in shared storage, on the server: taken in, looked at again, read anew; their results put where all see them."""

from __future__ import annotations

import os

import pytest
from clusterray.common.bundle import make_linked
from clusterray.common.errors import DeskError, SharedError
from clusterray.common.manifest import Chooser, Share, read_manifest
from clusterray.common.model import Needs, Output, PackRef, Region
from clusterray.common.shared import LEASES, PROBES, roots
from clusterray.common.testing import FakeClock
from clusterray.server.shared import Shared, result_name
from clusterray.server.shared_leases import OLD, SharedLeases

from .bench import ref

SHARE = Share(root="photos", folder="site7")


class House:
    """What the keeper does for it."""

    def __init__(self):
        self.packs, self.pinned = {}, []

    def adopt_file(self, path, *, pin=False):
        data = path.read_bytes()
        pack = ref(data)
        self.packs[pack.digest] = data
        self.pinned.append(pack.digest)
        return pack

    def unpin(self, digests):
        for digest in digests:
            self.pinned.remove(digest)


@pytest.fixture
def disk(tmp_path):
    (tmp_path / "disk" / "site7").mkdir(parents=True)
    (tmp_path / "out").mkdir()
    for number in range(3):
        (tmp_path / "disk" / "site7" / f"p{number}.jpg").write_bytes(b"x" * number)
    return tmp_path


def known(disk):
    return roots({"photos": {"path": str(disk / "disk"), "results": str(disk / "out")}})


@pytest.fixture
def shared(disk):
    return Shared(known(disk), House(), disk / "work")


def manifest(disk, share=SHARE):
    return make_linked(disk / "disk" / "site7", share, disk / "bundles").manifest


def test_a_task_is_taken_in_with_the_root_that_it_needs(shared, disk):
    """The manifest says which, never the submitter's words; a task that was sent needs none."""
    assert shared.admit(manifest(disk), Needs(cores=2)) == Needs(cores=2, shared="photos")
    assert shared.admit(read_manifest(b'{"version":1,"files":[],"packs":[]}'), Needs(shared="photos")) == Needs()


def test_what_is_not_here_as_it_was_there_is_refused(shared, disk):
    """A root that the server has not, a folder that leads out, a file that differs: one sentence each."""
    listed = manifest(disk)
    with pytest.raises(DeskError, match=r"has no shared root 'films' .* it has photos\."):
        shared.admit(manifest(disk, Share(root="films", folder="site7")), Needs())
    (disk / "disk" / "way").symlink_to(disk)
    with pytest.raises(DeskError, match="leads out of the shared root photos on the server"):
        shared.admit(manifest(disk, Share(root="photos", folder="way")), Needs())
    (disk / "disk" / "site7" / "p1.jpg").write_bytes(b"longer")
    with pytest.raises(DeskError, match=r"p1\.jpg in photos/site7 is not on the server as it is on your machine"):
        shared.admit(listed, Needs())


def test_only_files_that_a_job_reads_count_against_it(shared, disk):
    """A changed photo fails the jobs that used it, and no others; a share that is away for a moment fails none."""
    files = Chooser(manifest(disk))
    (disk / "disk" / "site7" / "p1.jpg").write_bytes(b"longer")
    assert shared.changed(files, Region(name="a", needs=("p2.jpg",))) == ""
    assert shared.changed(files, Region(name="b", needs=("p1.jpg",))) == "p1.jpg changed while the task ran; restart it."
    assert shared.changed(files, Region(name="c")) == "p1.jpg changed while the task ran; restart it."
    (disk / "disk").rename(disk / "away")
    assert shared.changed(files, Region(name="c")) == ""


def test_a_restart_reads_the_folder_anew(shared, disk):
    """The new manifest is a pack, pinned until a row speaks of it."""
    listed = manifest(disk)
    (disk / "disk" / "site7" / "p9.jpg").write_bytes(b"new")
    pack = shared.renew(listed)
    assert isinstance(pack, PackRef) and "p9.jpg" in shared._keeper.packs[pack.digest].decode()
    assert shared._keeper.pinned == [pack.digest]
    shared.settled(pack)
    assert shared._keeper.pinned == [] and shared.renew(read_manifest(b'{"version":1,"files":[],"packs":[]}')) is None


def test_results_are_copies_under_a_name_of_their_own(shared, disk):
    """Whole or not at all; who writes into one there changes nothing that the server keeps; nothing of ours is left beside."""
    made = disk / "made"
    (made / "sub").mkdir(parents=True)
    (made / "sub" / "a.tif").write_bytes(b"pixels")
    name = shared.publish(SHARE, result_name("0123456789", 2, 'a "fine" site?'), made)
    assert name == "a _fine_ site_-01234567-run2"
    copy = disk / "out" / name / "sub" / "a.tif"
    assert copy.read_bytes() == b"pixels" and not copy.samefile(made / "sub" / "a.tif")
    assert list((disk / "out" / LEASES).iterdir()) == []
    assert shared.publish(SHARE, name, made) == name  # the server was killed before it could say so
    (disk / "out" / LEASES).rmdir()
    (disk / "out" / LEASES).symlink_to(disk / "made")
    with pytest.raises(SharedError, match="is no folder: remove it"):
        shared.publish(SHARE, "x", made)


def test_a_task_with_the_first_digits_of_another_ones_id_does_not_replace_its_result(shared, disk):
    """Who submits chooses the id, and reads on the share what others' results are called. What is there stays; the same again too."""
    ids = [f"01234567-89ab-4def-8123-{number:012d}" for number in range(2)]
    for number in range(2):
        (disk / f"made{number}").mkdir()
        (disk / f"made{number}" / "a.tif").write_bytes(b"%d" % number)
    names = [shared.publish(SHARE, result_name(task, 1, "site"), disk / f"made{number}", task) for number, task in enumerate(ids)]
    assert names == ["site-01234567", "site-01234567-89ab-4def-8123-000000000001"]
    assert [(disk / "out" / name / "a.tif").read_bytes() for name in names] == [b"0", b"1"]
    assert shared.publish(SHARE, names[0], disk / "made1", ids[1]) == names[1]
    assert shared.publish(SHARE, names[0], disk / "made0", ids[0]) == names[0]
    (disk / "made1" / "a.tif").write_bytes(b"other")  # of the same run, made again
    assert shared.publish(SHARE, names[0], disk / "made1", ids[1]) == names[1]
    assert (disk / "out" / names[1] / "a.tif").read_bytes() == b"other"
    assert sorted(path.name for path in (disk / "out").iterdir()) == [LEASES, *names] and not any((disk / "out" / LEASES).iterdir())


def test_a_result_is_nothing_that_is_tidied_away_and_follows_no_link(shared, disk):
    """A task may be called as our own files are; a link with the name of a result stays, and so does what it leads to."""
    (disk / "made").mkdir()
    (disk / "made" / "a.tif").write_bytes(b"1")
    assert shared.publish(SHARE, ".clusterray-probe-01234567", disk / "made") == "_clusterray-probe-01234567"
    task = "01234567-89ab-4def-8123-000000000001"
    (disk / "out" / "site-01234567").symlink_to(disk / "disk")
    assert shared.publish(SHARE, "site-01234567", disk / "made", task) == f"site-{task}"
    assert (disk / "out" / "site-01234567").is_symlink() and [path.name for path in (disk / "disk").iterdir()] == ["site7"]


def output(data, path="a/b.bin"):
    return Output(path=path, size=len(data), digest=ref(data).digest)


def test_outputs_are_taken_from_the_folder_of_their_lease(disk):
    """Copied, never linked; links and other sizes are passed over, so that they are asked for again; the folder goes."""
    leases = SharedLeases(known(disk), FakeClock())
    leases.expect("photos", "lease1")
    folder = disk / "out" / LEASES / "lease1"
    (folder / "a").mkdir(parents=True)
    (folder / "a" / "b.bin").write_bytes(b"result")
    to = disk / "b.bin"
    leases.bring("photos", "lease1", output(b"result"), to)
    assert to.read_bytes() == b"result"
    for path, target in (("a/link", disk / "b.bin"), ("a/none", None), ("a/b.bin", None)):
        if target:
            (folder / path).symlink_to(target)
        leases.bring("photos", "lease1", output(b"another size" if path == "a/b.bin" else b"result", path), disk / "no")
        assert not (disk / "no").exists(), path
    leases.drop("lease1")
    leases.step()
    assert not folder.exists()
    leases.drop("lease1")


def test_what_the_dead_left_goes_after_a_day(disk):
    """Another farm may use the same results: what is younger stays."""
    clock = FakeClock()
    leases = SharedLeases(known(disk), clock)
    for name, age in (("old", OLD + 60), ("young", 60)):
        (disk / "out" / LEASES / name).mkdir(parents=True)
        os.utime(disk / "out" / LEASES / name, (clock.now() - age,) * 2)
    leases.clean()
    assert [path.name for path in (disk / "out" / LEASES).iterdir()] == ["young"]


@pytest.mark.parametrize("place", [LEASES, PROBES])
def test_a_link_in_the_place_of_our_folder_has_nothing_removed(disk, place):
    """Whoever may write to the share could lead the server to its own data."""
    clock = FakeClock()
    leases = SharedLeases(known(disk), clock)
    (disk / "data" / "lease1").mkdir(parents=True)
    (disk / "data" / "pack").write_bytes(b"kept")
    for name in ("lease1", "pack"):
        os.utime(disk / "data" / name, (clock.now() - OLD - 60,) * 2)
    (disk / ("out" if place == LEASES else "disk") / place).symlink_to(disk / "data")
    leases.clean()
    leases.expect("photos", "lease1")
    leases.drop("lease1")
    leases.step()
    assert sorted(path.name for path in (disk / "data").iterdir()) == ["lease1", "pack"]
