"""What granting knows of the tasks in work."""

from __future__ import annotations

import pytest
from clusterray.common.errors import FileError
from clusterray.common.model import Needs, PackRef, Region, TaskSpec
from clusterray.server.works import Work, Works

from .bench import ME


def work(bench, run=1):
    bundle, _ = bench.send(ME, bench.folder(**{"big.bin": b"b" * 3_000_000}))
    packs, files = bench.farm.works.files(bundle)
    return Work(
        task="t", run=run, spec=TaskSpec(kind="echo", name="n"), needs=Needs(), allow="render", program="", kind_version=1, bundle=bundle,
        stage="echo", packs=packs, files=files,
    )  # fmt: skip


def test_a_lease_reads_what_its_region_needs_and_no_more(bench):
    """The manifest always, the packs of the named paths but for those that are left out, all of them where none is named."""
    made = work(bench)
    everything = made.packs_for(Region(name="r"))
    assert len(everything) == 3
    (big,) = [made.files.bundle.pack(entry).digest for entry in made.files.pick(("big.bin",))]
    for _ in range(2):
        some = made.packs_for(Region(name="r", needs=("big.bin", "not there")))
        assert set(some) == {made.bundle.digest, big}
    assert set(made.packs_for(Region(name="r", needs=("!big.bin",)))) == set(everything) - {big}
    assert all(path.is_file() for path in everything.values())


def test_only_its_own_run_is_dropped(bench):
    """A late end of the first run leaves the second."""
    works = bench.farm.works
    works.put(work(bench, run=2))
    works.drop("t", 1)
    assert works.get("t") is not None
    works.drop("t", 2)
    assert works.get("t") is None


def test_a_pack_that_is_gone_is_named(bench):
    """One sentence, not a fault."""
    with pytest.raises(FileError, match="does not hold pack"):
        Works(bench.farm.keeper).files(PackRef(digest="0" * 64, size=1))
