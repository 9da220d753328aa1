"""The shared roots that this node's owner has declared ([shared.NAME]): which, what a task's folder is here, and the server's probes.

A probe proves that this node sees the disk that the server sees, and may write beside the results. A share that hangs blocks whoever
touches it, so that each probe has a thread of its own, which nobody waits for longer than LIMIT.
"""

from __future__ import annotations

import os
import re
import shutil
import threading
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path

from ..common.clock import Clock
from ..common.errors import SharedError
from ..common.held import Held
from ..common.linked import LinkedFolder
from ..common.manifest import Share
from ..common.model import Probe, Probed, SharedAt, new_id
from ..common.shared import LEASES, PROBES, SharedRoot
from .scratch import safe_name

LIMIT = 10.0
"""Seconds after which a share that does not answer is said to hang."""
LATE = 2.0
"""Seconds for which a file that is not there yet is looked for: NFS and SMB remember for a while what a folder held."""
LONGEST = 1000
"""Bytes of a probe that are read."""
_NAME = re.compile(r"[0-9a-f]{32}")


class Shares:
    """Thread-safe; one for all slots."""

    def __init__(self, roots: Mapping[str, SharedRoot], clock: Clock) -> None:
        self._roots = roots
        self._clock = clock
        self._lock = threading.Condition()
        self._begun: dict[str, tuple[Probe, float]] = {}
        self._done: dict[str, Probed] = {}
        self._hanging: dict[str, str] = {}
        """Root -> the probe whose thread has not come back."""
        self._left: dict[str, Path] = {}
        """Probe -> the file that it made."""

    def told(self) -> tuple[SharedAt, ...]:
        """For the hello."""
        return tuple(SharedAt(root=one.name, path=str(one.path), results=str(one.results)) for one in self._roots.values())

    def folder(self, share: Share) -> LinkedFolder:
        """A task's folder, as it is seen here; SharedError where the owner has not declared its root, or it is not there."""
        if share.root not in self._roots:
            raise SharedError(f"This node has no shared root {share.root} ([shared.{share.root}] in its settings).")
        return LinkedFolder(self._roots[share.root].path, share, whose=" as this node sees it")

    def results(self, root: str) -> Path:
        """Where results go in a root."""
        if root not in self._roots:
            raise SharedError(f"This node has no shared root {root} ([shared.{root}] in its settings).")
        return self._roots[root].results

    # --- probes

    def begin(self, probes: Iterable[Probe]) -> None:
        """Have these looked at, each by a thread of its own."""
        for probe in probes:
            with self._lock:
                self._begun[probe.name] = (probe, self._clock.monotonic())
                hangs = probe.root in self._hanging
                if not hangs:
                    self._hanging[probe.root] = probe.name
            if hangs:  # or is just at work for another slot
                continue
            threading.Thread(target=self._look, args=(probe,), name=f"probe-{probe.root}", daemon=True).start()

    def collect(self, probes: Iterable[Probe], seconds: float) -> tuple[Probed, ...] | None:
        """What came of all of them, waiting for so long at most; None: they are not through."""
        wanted = list(probes)
        with self._lock:
            end = self._clock.monotonic() + seconds
            while True:
                now = self._clock.monotonic()
                if all(probe.name in self._done or now - self._begun.get(probe.name, (probe, 0.0))[1] >= LIMIT for probe in wanted):
                    return tuple(self._done.get(probe.name) or self._silent(probe) for probe in wanted)
                if now >= end:
                    return None
                self._lock.wait(min(0.2, end - now))

    def forget(self, probes: Iterable[Probe]) -> None:
        """The server has heard of them: what they left goes."""
        for probe in probes:
            with self._lock:
                self._begun.pop(probe.name, None)
                self._done.pop(probe.name, None)
                left = self._left.pop(probe.name, None)
            if left is not None:
                _remove(left)

    def _silent(self, probe: Probe) -> Probed:
        path = self._roots[probe.root].path if probe.root in self._roots else probe.root
        return Probed(name=probe.name, root=probe.root, fault=f"gets no answer from {path} within {LIMIT:.0f} s: the share hangs")

    def _look(self, probe: Probe) -> None:
        try:
            found = self._prove(probe)
        except OSError as error:
            why = f"cannot look at its shared root {probe.root}: {error.strerror or error}"
            found = Probed(name=probe.name, root=probe.root, fault=why)
        with self._lock:
            self._hanging.pop(probe.root, None)
            if probe.name in self._begun:
                self._done[probe.name] = found
            self._lock.notify_all()

    def _prove(self, probe: Probe) -> Probed:
        root = self._roots.get(probe.root)
        if root is None or not _NAME.fullmatch(probe.name):
            return Probed(name=probe.name, root=probe.root, fault=f"has no shared root {probe.root}")
        faulty = Probed(name=probe.name, root=probe.root)
        if not root.path.is_dir():
            why = f"does not see the shared root {root.name}: there is no folder {root.path} on it; is the share mounted?"
            return _with(faulty, why)
        read = self._read(root.path / PROBES / probe.name)
        if isinstance(read, OSError):
            return _with(faulty, f"cannot read in {root.path}: {read.strerror or read}")
        if read is None:
            why = f"sees another disk than the server at its path of the shared root {root.name}: the server's probe is not in {root.path}"
            return _with(faulty, why)
        own = new_id()
        path = root.results / f"{PROBES}-{probe.name}"
        try:
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644), "w") as file:
                with self._lock:
                    self._left[probe.name] = path
                file.write(f"{read}\n{own}")
                file.flush()
                os.fsync(file.fileno())
            skew = path.stat().st_mtime - self._clock.now()
        except OSError as error:
            return _with(faulty, f"cannot write results into {root.results}: {error.strerror or error}")
        free = shutil.disk_usage(root.results).free
        return Probed(name=probe.name, root=probe.root, read=read, own=own, free=free, skew=skew)

    def _read(self, path: Path) -> str | OSError | None:
        """What the server wrote; None: it is not there."""
        end = self._clock.monotonic() + LATE
        while True:
            try:
                with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
                    return file.read(LONGEST).decode("ascii", "replace")
            except FileNotFoundError:
                if self._clock.monotonic() >= end:
                    return None
                self._clock.wait(threading.Event(), 0.2)
            except OSError as error:
                return error


class SharedCarrier:
    """Puts the files of a lease where the server takes them from: ``<results>/.clusterray/<lease>/``, and nowhere else.

    The server may tidy these folders, under whatever user it runs, and so may others; so no link in their place is followed. What is in
    them is checked by its digest.
    """

    def __init__(self, results: Path, lease: str) -> None:
        self._results, self._lease = results, safe_name(lease)
        with ExitStack() as stack:
            self._open(stack, ())

    def put_file(self, name: str, path: Path) -> None:
        """A copy under this name, on the disk when this returns."""
        with ExitStack() as stack:
            folder = self._open(stack, Path(name).parts[:-1])
            last = Path(name).name
            folder.remove(last)
            with path.open("rb") as source, folder.create(last) as file:
                shutil.copyfileobj(source, file, 1 << 20)
                file.flush()
                os.fsync(file.fileno())

    def close(self) -> None:
        """Nothing is open between two files."""

    def _open(self, stack: ExitStack, parts: tuple[str, ...]) -> Held:
        folder = stack.enter_context(Held.at(self._results.resolve(strict=True)))
        for part in (LEASES, self._lease, *parts):
            folder = stack.enter_context(folder.need(part, 0o777))
        return folder


def _with(probed: Probed, fault: str) -> Probed:
    return Probed(name=probed.name, root=probed.root, fault=fault)


def _remove(path: Path) -> None:
    try:
        path.unlink()
    except OSError:  # the server was quicker, or the share is gone
        pass
