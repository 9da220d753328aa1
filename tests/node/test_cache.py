"""The node's cache: fetched once, unpacked once, never half, never taken away from under a job."""

from __future__ import annotations

import os
import random
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from clusterray.common.bundle import Prepared, derive_bundle, make_bundle
from clusterray.common.clock import SystemClock
from clusterray.common.errors import DiskFull, FileError, TransferError
from clusterray.common.model import Account, PackRef
from clusterray.common.testing import FakeClock
from clusterray.common.transfer import Courier
from clusterray.node.cache import Cache

from ..ftp_house import house_at

MIB = 1 << 20
CHANCE = random.Random(11)
BIG, TEXTURE = CHANCE.randbytes(MIB + 7), CHANCE.randbytes(MIB)
FILES = {"scene.pov": b"camera {}\n" * 100, "inc/a.inc": b"a" * 500, "empty": b"", "mesh.bin": BIG, "tex/wood.png": TEXTURE}
SIZE = sum(map(len, FILES.values()))


class Store(Courier):
    """Packs straight from the folder of whoever prepared them; counts, and fails where the test says so."""

    def __init__(self, *prepared: Prepared) -> None:
        super().__init__(Account(user="", password="", port=0), "", "", FakeClock())
        self.asked: list[int] = []
        self.on_get: Callable[[PackRef], None] = lambda pack: None
        self._packs = {pack.digest: each for each in prepared for pack in each.packs}

    def get_pack(self, pack: PackRef, dest: Path, progress: Callable[[int], None] | None = None) -> None:
        self.asked.append(pack.size)
        dest.with_name(dest.name + ".part").write_bytes(b"half")
        self.on_get(pack)
        with self._packs[pack.digest].open(pack.digest) as source:
            dest.write_bytes(source.read())
        dest.with_name(dest.name + ".part").unlink()


class Node:
    """A cache, its disk and clock, and bundles to fetch."""

    def __init__(self, root: Path, *, cap: int = 1 << 40, keep_free: int = 0) -> None:
        self.root, self.clock, self.free = root, FakeClock(), 1 << 40
        self._traits = {"cap": cap, "keep_free": keep_free}
        self.boot = "boot-1"
        self.notes: list[str] = []
        self.start()

    def start(self) -> Cache:
        """As after a start of the agent."""
        self.cache = Cache(self.root / "cache", clock=self.clock, free=lambda folder: self.free, boot=self.boot, **self._traits)
        return self.cache

    def bundle(self, files: dict[str, bytes] = FILES, name: str = "scene") -> Prepared:
        for path, data in files.items():
            (self.root / name / path).parent.mkdir(parents=True, exist_ok=True)
            (self.root / name / path).write_bytes(data)
        return make_bundle(self.root / name, self.root / "work")

    def fetch(self, prepared: Prepared, store: Courier, *needs: str) -> dict[str, bytes]:
        self.clock.advance(10)
        folder = self.cache.fetch(prepared.bundle, needs, store, self.notes.append)
        return contents(folder)

    def packs(self) -> set[str]:
        return {path.name for path in (self.root / "cache/packs").glob("*/*")}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    yield Node(tmp_path)
    for folder, _, _ in os.walk(tmp_path):
        Path(folder).chmod(0o755)


# --- fetching


def test_a_bundle_is_fetched_once_for_all_jobs(node: Node) -> None:
    """The second job, and the first after a restart of the agent, ask the server for nothing."""
    prepared = node.bundle()
    store = Store(prepared)
    assert node.fetch(prepared, store) == FILES
    assert sorted(store.asked) == sorted(pack.size for pack in prepared.packs) and node.notes == ["fetching", "unpacking"]
    assert node.fetch(prepared, store) == node.fetch(prepared, store, "mesh.bin") == FILES
    node.start()
    assert node.fetch(prepared, store) == FILES
    assert len(store.asked) == len(prepared.packs) and len(node.notes) == 2
    assert node.cache.held() == (prepared.bundle.digest,)


def test_a_job_gets_what_it_needs_and_no_more(node: Node) -> None:
    """The tree grows with the needs; a need that the bundle lacks is named."""
    prepared = node.bundle()
    store = Store(prepared)
    assert node.fetch(prepared, store, "mesh.bin") == {"mesh.bin": BIG}
    assert store.asked == [prepared.bundle.size, len(BIG)]
    assert set(node.fetch(prepared, store, "inc", "scene.pov")) == {"mesh.bin", "inc/a.inc", "scene.pov"}
    with pytest.raises(FileError, match="no file nonsense"):
        node.fetch(prepared, store, "nonsense")
    assert node.fetch(prepared, store) == FILES
    assert len(store.asked) == len(prepared.packs)


def test_the_tree_is_read_only_and_large_files_lie_once(node: Node) -> None:
    """A job cannot spoil the folder for the next one; a pack of its own is linked, not copied."""
    prepared = node.bundle()
    folder = node.cache.fetch(prepared.bundle, (), Store(prepared), node.notes.append)
    assert {path.stat().st_mode & 0o222 for path in (folder, *folder.rglob("*"))} == {0}
    assert (folder / "mesh.bin").stat().st_nlink == 2
    on_disk = {path.stat().st_ino: path.stat().st_size for path in (node.root / "cache").rglob("*") if path.is_file()}
    assert abs(node.cache.total() - sum(on_disk.values())) < 200  # the boot file


def test_a_changed_folder_fetches_what_changed(node: Node) -> None:
    """Of the next version of a bundle only the changed pack and the manifest are asked for."""
    one = node.bundle()
    node.fetch(one, Store(one))
    two = node.bundle({**FILES, "scene.pov": b"camera { up y }\n"}, "scene2")
    store = Store(two)
    assert node.fetch(two, store)["scene.pov"] == b"camera { up y }\n"
    assert len(store.asked) == 2 and max(store.asked) < 10_000
    assert node.cache.held() == (two.bundle.digest, one.bundle.digest)


def test_slots_wait_for_the_one_that_fetches(node: Node) -> None:
    """Four slots, one download; a slot whose job is cancelled meanwhile does not wait for the end."""
    prepared = node.bundle()
    store = Store(prepared)
    entered, go = threading.Event(), threading.Event()

    def on_get(pack: PackRef) -> None:
        entered.set()
        assert go.wait(20.0)

    store.on_get = on_get
    results: list[dict[str, bytes]] = []
    threads = [threading.Thread(target=lambda: results.append(node.fetch(prepared, store))) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert entered.wait(20.0)

    def cancelled() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        node.cache.fetch(prepared.bundle, (), store, node.notes.append, go_on=cancelled)
    go.set()
    for thread in threads:
        thread.join(20.0)
    assert results == [FILES] * 4 and len(store.asked) == len(prepared.packs)


def test_over_real_ftps(tmp_path: Path) -> None:
    """The whole way: packs that a keeper would have, a lease's account, a courier, the tree."""
    node = Node(tmp_path)
    prepared = node.bundle()
    packs = []
    for pack in prepared.packs:
        with prepared.open(pack.digest) as source:
            packs.append(source.read())
    with house_at(tmp_path / "house") as house:
        house.lease(*packs, encoded=True)
        with Courier(house.account(), "127.0.0.1", house.identity.pin, SystemClock()) as courier:
            assert node.fetch(prepared, courier) == FILES


# --- crashes


def test_a_killed_agent_leaves_nothing_that_counts(node: Node) -> None:
    """Cut off in any pack, the next agent goes on with what was whole."""
    prepared = node.bundle()
    for whole in range(len(prepared.packs)):
        shutil.rmtree(node.root / "cache", ignore_errors=True)
        node.start()
        store = Store(prepared)

        def die(pack: PackRef, store: Store = store, whole: int = whole) -> None:
            if len(store.asked) > whole:
                raise TransferError("killed")

        store.on_get = die
        with pytest.raises(TransferError):
            node.fetch(prepared, store)
        node.start()
        assert not list((node.root / "cache").rglob("packs/*/*.part"))
        store.on_get = lambda pack: None
        assert node.fetch(prepared, store) == FILES
        assert len(store.asked) == len(prepared.packs) + 1


def test_a_half_unpacked_tree_is_completed(node: Node) -> None:
    """Files that are missing are put there; the rest stays."""
    prepared = node.bundle()
    store = Store(prepared)
    folder = node.cache.fetch(prepared.bundle, (), store, node.notes.append)
    folder.chmod(0o755)
    (folder / "scene.pov").unlink()
    (folder / "mesh.bin").unlink()
    (folder.with_name("files.part")).mkdir()
    (folder.with_name("files.part") / "half").write_bytes(b"half")
    node.start()
    assert node.fetch(prepared, store) == FILES
    assert len(store.asked) == len(prepared.packs) and not folder.with_name("files.part").exists()


def test_after_a_power_cut_nothing_is_believed(node: Node) -> None:
    """Files and packs from before the machine's start are hashed; damaged ones are fetched again, the others are not."""
    prepared = node.bundle()
    store = Store(prepared)
    folder = node.cache.fetch(prepared.bundle, (), store, node.notes.append)
    for name in ("scene.pov", "tex/wood.png"):  # right size, wrong bytes: what a file system may leave
        (folder / name).chmod(0o644)
        (folder / name).write_bytes(bytes(len(FILES[name])))
    node.boot = "boot-2"
    node.start()
    assert node.fetch(prepared, store) == FILES
    assert store.asked[len(prepared.packs) :] == [len(TEXTURE)]
    node.start()
    assert node.fetch(prepared, store) == FILES
    manifest = folder.with_name("manifest")
    manifest.write_bytes(bytes(manifest.stat().st_size))
    node.boot = "boot-3"
    node.start()
    assert node.fetch(prepared, store) == FILES


# --- room


def bundles(node: Node, count: int) -> list[Prepared]:
    return [node.bundle({"big": bytes([number]) * MIB, "small": b"s" * 1000}, f"scene-{number}") for number in range(count)]


def test_the_least_recently_used_goes_first(node: Node, tmp_path: Path) -> None:
    """Over the cap, old trees go with their packs; a use makes young, also over a restart of the agent."""
    node = Node(tmp_path / "n", cap=int(3.2 * MIB))
    a, b, c, d = bundles(node, 4)
    store = Store(a, b, c, d)
    for each in (a, b, c):
        node.fetch(each, store)
    node.fetch(a, store)
    node.start()
    node.fetch(d, store)
    assert node.cache.held() == (d.bundle.digest, a.bundle.digest, c.bundle.digest)
    assert node.cache.total() < 3.3 * MIB
    asked = len(store.asked)
    node.fetch(a, store)
    assert len(store.asked) == asked
    assert node.fetch(b, store) == {"big": b"\1" * MIB, "small": b"s" * 1000}


def test_what_a_job_uses_is_never_taken_away(node: Node, tmp_path: Path) -> None:
    """Even over the cap; when the job is over it may go."""
    node = Node(tmp_path / "n", cap=MIB)
    a, b, c = bundles(node, 3)
    store = Store(a, b, c)
    with node.cache.use(a.bundle):
        folder = node.cache.fetch(a.bundle, (), store, node.notes.append)
        node.fetch(b, store)
        node.fetch(c, store)
        assert contents(folder) == {"big": b"\0" * MIB, "small": b"s" * 1000}
    node.fetch(b, store)
    assert a.bundle.digest not in node.cache.held() and not folder.exists()


def test_a_full_disk_is_said_before_the_download(node: Node, tmp_path: Path) -> None:
    """With what is free, what is kept, and what is needed; what nobody uses was evicted first."""
    node = Node(tmp_path / "n", keep_free=MIB)
    a, b = bundles(node, 2)
    store = Store(a, b)
    node.fetch(a, store)
    node.free = 2 * MIB - 1
    with pytest.raises(DiskFull, match=rf"has {node.free} bytes free .* keeps {MIB} of them; the job needs"):
        node.fetch(b, store)
    assert a.bundle.digest not in node.cache.held()
    node.free = 1 << 40
    assert node.fetch(b, store)["big"] == b"\1" * MIB


def test_what_a_job_leaves_out_is_not_fetched(node: Node) -> None:
    """`!path` in the needs: the rest is there, and a later job that needs all completes the tree."""
    prepared = node.bundle()
    store = Store(prepared)
    assert node.fetch(prepared, store, "!mesh.bin", "!tex") == {path: FILES[path] for path in ("scene.pov", "inc/a.inc", "empty")}
    assert len(BIG) not in store.asked and len(TEXTURE) not in store.asked
    assert node.fetch(prepared, store) == FILES


def test_a_derived_bundle_costs_only_its_new_packs(node: Node, tmp_path: Path) -> None:
    """The next stage of a task brings what the last one made; what was fetched for that is not fetched again."""
    before = node.bundle()
    store = Store(before)
    node.fetch(before, store)
    made = tmp_path / "made/stages/one/x.bin"
    made.parent.mkdir(parents=True)
    made.write_bytes(b"x" * 5000)
    after, fresh = derive_bundle(before.manifest, tmp_path / "made", tmp_path / "work")
    second = Store(before, after)
    second._packs.update({pack.digest: after for pack in fresh})
    assert node.fetch(after, second) == {**FILES, "stages/one/x.bin": b"x" * 5000}
    assert sorted(second.asked) == sorted(pack.size for pack in fresh)
