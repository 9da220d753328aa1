"""The tasks in work, as granting needs them: examined spec, needs, the bundle and where its packs lie. A cache of runs."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..common.manifest import read_manifest
from ..common.model import Needs, PackRef, Region, TaskSpec
from .keeper import Keeper


@dataclass
class Work:
    """One run of a task."""

    task: str
    run: int
    spec: TaskSpec
    needs: Needs
    allow: str
    program: str
    kind_version: int
    bundle: PackRef
    stage: str
    packs: Mapping[str, Path]
    """Digest -> file, of all packs of the task."""
    of_path: Mapping[str, str] = field(default_factory=dict)
    """Path in the folder -> digest of the pack that holds it."""

    def packs_for(self, region: Region) -> Mapping[str, Path]:
        """What a lease on this region may read: the manifest, and the packs of what the region needs."""
        if not region.needs:
            return self.packs
        wanted = {self.bundle.digest, *(self.of_path[path] for path in region.needs if path in self.of_path)}
        return {digest: self.packs[digest] for digest in wanted}


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

    def files(self, bundle: PackRef) -> tuple[dict[str, Path], dict[str, str]]:
        """The packs of a bundle and which path lies in which; KeyError or OSError where a pack is gone."""
        manifest = read_manifest(self._keeper.plain(bundle.digest).read_bytes())
        packs = {pack.digest: self._keeper.path(pack.digest) for pack in manifest.packs}
        packs[bundle.digest] = self._keeper.path(bundle.digest)
        return packs, {entry.path: manifest.pack(entry).digest for entry in manifest.files}
