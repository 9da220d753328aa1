"""What attempts put into shared storage: ``<results>/.clusterray/<lease>/``, taken from there and removed.

The node writes there and tells names, sizes and digests over its own link; the server copies what it needs to its own disk and compares.
So it does not matter who else may write to the share: what is not as it was told is asked for again, by FTP.
"""

from __future__ import annotations

import logging
import os
import shutil
import stat
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..common.clock import Clock
from ..common.held import Held
from ..common.model import Output
from ..common.service import Service
from ..common.shared import LEASES, PROBES, SharedRoot

log = logging.getLogger(__name__)
EVERY = 3600.0
OLD = 86400.0
"""Seconds after which what lies there was left by a server or a node that died. Another farm may use the same results: what is younger
stays."""


class SharedLeases(Service):
    """Thread-safe; runs only where there are shared roots."""

    def __init__(self, roots: Mapping[str, SharedRoot], clock: Clock) -> None:
        super().__init__("shared")
        self._roots = roots
        self._clock = clock
        self._lock = threading.Lock()
        self._bell = threading.Event()
        self._idle: deque[Path] = deque()
        self._next = 0.0
        self._seen: dict[str, Path] = {}
        """Lease -> its folder."""

    def bring(self, root: str, lease: str, output: Output, to: Path) -> None:
        """Copy an output to the server's own disk; nothing happens where it is not there, or is a link."""
        if root not in self._roots:
            return
        folder = self._roots[root].results / LEASES / lease
        with self._lock:
            self._seen[lease] = folder
        part = to.with_name(f"{to.name}.part")
        try:
            real = (folder / output.path).resolve(strict=True)
            if folder.resolve(strict=True) not in real.parents:
                return
            with os.fdopen(os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
                info = os.fstat(file.fileno())
                if not stat.S_ISREG(info.st_mode) or info.st_size != output.size:
                    return
                with part.open("wb") as out:
                    shutil.copyfileobj(file, out, 1 << 20)
            part.replace(to)
        except FileNotFoundError:
            pass  # it was sent by FTP, or never
        except (OSError, RuntimeError) as error:
            log.warning("lease %s: %s cannot be taken out of shared storage: %s", lease[:8], output.path, error)
        finally:
            part.unlink(missing_ok=True)

    def expect(self, root: str, lease: str) -> None:
        """A lease was given whose outputs may come this way."""
        if root in self._roots:
            with self._lock:
                self._seen[lease] = self._roots[root].results / LEASES / lease

    def drop(self, lease: str) -> None:
        """Have removed what a lease has put there; by a thread of its own, as a share may hang."""
        with self._lock:
            folder = self._seen.pop(lease, None)
            if folder is None:
                return
            self._idle.append(folder)
        self._bell.set()

    def wake(self) -> None:
        self._bell.set()

    def step(self) -> None:
        """Remove what was dropped and, now and then, what somebody left who died."""
        self._clock.wait(self._bell, EVERY)
        self._bell.clear()
        while self._idle and not self.stopping.is_set():
            with self._lock:
                folder = self._idle.popleft()
            try:
                _clear(folder.parent, [folder.name])
            except OSError as error:
                log.info("%s cannot be removed: %s", folder, error)
        if not self.stopping.is_set() and self._clock.monotonic() >= self._next:
            self._next = self._clock.monotonic() + EVERY
            self.clean()

    def clean(self) -> None:
        """Remove what has lain there for more than a day."""
        before = self._clock.now() - OLD
        for root in self._roots.values():
            for folder, beginning in ((root.results / LEASES, ""), (root.path / PROBES, ""), (root.results.resolve(), f"{PROBES}-")):
                try:
                    _clear(folder, beginning=beginning, before=before)
                except OSError as error:
                    log.warning("shared root %s: %s", root.name, error)


def _clear(folder: Path, names: Sequence[str] | None = None, *, beginning: str = "", before: float | None = None) -> None:
    """Remove entries of a folder: these, or all that begin so; with ``before``, those that were changed earlier.

    A link in the place of the folder is not followed: it could lead to where the server keeps its own.
    """
    try:
        held = Held.at(folder)
    except FileNotFoundError:
        return
    with held:
        for name in names if names is not None else held.names():
            if name.startswith(beginning):
                try:
                    if before is None or held.changed(name) < before:
                        held.remove(name)
                except OSError as error:
                    log.info("%s cannot be removed: %s", folder / name, error)
