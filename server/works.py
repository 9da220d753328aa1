"""The tasks in work, as granting needs them: examined spec, needs, the bundle and where its packs lie. A cache of runs."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..common.manifest import Bundle, Chooser, read_manifest
from ..common.model import Needs, PackRef, Region, TaskSpec
from .keeper import Keeper
from .locality import LEAST

REMEMBERED = 64
"""Choices of files: neighbours mostly need the same."""
SHARED = 4096
"""Choices of files whose sizes are kept."""


@dataclass
class Work:
    """One stage of one run of a task."""

    task: str
    run: int
    spec: TaskSpec
    needs: Needs
    allow: str
    program: str
    kind_version: int
    bundle: PackRef
    """Of this stage: the task's files, and what earlier stages made."""
    stage: str
    packs: Mapping[str, Path]
    """Digest -> file, of all packs of the bundle."""
    files: Chooser = field(default_factory=lambda: Chooser(Bundle(files=(), packs=())))
    _asked: dict[tuple[str, ...], Mapping[str, Path]] = field(default_factory=dict)
    _sizes: dict[tuple[str, ...], Mapping[str, int]] = field(default_factory=dict)

    def sizes_for(self, region: Region) -> Mapping[str, int]:
        """Digest -> bytes of what only some regions read; empty where all of them read everything, so that it says nothing."""
        if not region.needs:
            return {}
        sizes = self._sizes.get(region.needs)
        if sizes is None:
            chosen = self.files.bundle.by_pack(self.files.pick(region.needs, lenient=True))
            sizes = {pack.digest: pack.size for pack in chosen if pack.size >= LEAST}
            if len(self._sizes) >= SHARED:
                self._sizes.clear()
            self._sizes[region.needs] = sizes
        return sizes

    def packs_for(self, region: Region) -> Mapping[str, Path]:
        """What a lease on this region may read: the manifest, and the packs of what the region needs."""
        if not region.needs:
            return self.packs
        packs = self._asked.get(region.needs)
        if packs is None:
            chosen = self.files.bundle.by_pack(self.files.pick(region.needs, lenient=True))
            packs = {digest: self.packs[digest] for digest in (self.bundle.digest, *(pack.digest for pack in chosen))}
            if len(self._asked) >= REMEMBERED:
                self._asked.clear()
            self._asked[region.needs] = packs
        return packs


class Works:
    """Thread-safe."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._lock = threading.Lock()
        self._works: dict[str, Work] = {}

    def put(self, work: Work) -> None:
        with self._lock:
            self._works[work.task] = work

    def get(self, task: str) -> Work | None:
        with self._lock:
            return self._works.get(task)

    def drop(self, task: str, run: int) -> None:
        with self._lock:
            if task in self._works and self._works[task].run == run:
                del self._works[task]

    def has(self, digest: str) -> bool:
        """Whether a pack is there."""
        return self._keeper.has(digest)

    def files(self, bundle: PackRef) -> tuple[dict[str, Path], Chooser]:
        """The packs of a bundle and what is in it; FileError or OSError where a pack is gone."""
        manifest = read_manifest(self._keeper.plain(bundle.digest).read_bytes())
        packs = {pack.digest: self._keeper.path(pack.digest) for pack in manifest.packs}
        packs[bundle.digest] = self._keeper.path(bundle.digest)
        return packs, Chooser(manifest)
