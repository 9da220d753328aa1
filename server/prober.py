"""Which nodes may serve which shared root: probed before the first job of a task, when a node arrives, and now and then where it failed.

The server writes a file of random content into the root; a node reads it at its own path and writes what it read, and a half of its own,
beside the results, where the server reads it back. So a wrong disk behind the right letter is caught, and who cannot write is known before
the work, not after it. Probes travel in answers to ``ask`` and ``beat``; what came of them is the question ``proven``.

A share that hangs blocks whoever touches it: the server's own looks have a thread each, and nobody waits longer than PATIENCE.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from ..common.clock import Clock
from ..common.errors import SharedError
from ..common.model import Probe, Probed, SharedAt, SharedView, new_id
from ..common.shared import PROBES, SharedRoot
from ..common.units import show_duration, show_size
from .dispatcher import Bell
from .roster import Presence, Roster

log = logging.getLogger(__name__)
T = TypeVar("T")

PATIENCE = 5.0
"""Seconds for which the server waits for its own shares."""
LATE = 3.0
"""Seconds for which a node's file is looked for: NFS and SMB remember for a while what a folder held."""
ANSWER = 30.0
"""Seconds after which a probe of which nothing was heard is asked anew."""
AGAIN = 30.0
"""Seconds after which a node that failed is probed again: somebody may have mounted the share."""
FRESH = 10.0
"""Seconds for which a passed probe holds for a task that is submitted; after it the task has the node probed anew."""
CHECK = 20.0
"""Seconds that `clusterray shared check` waits for the slowest node."""
SKEW = 5.0
"""Seconds by which clocks may differ before it is said."""
LITTLE = 1 << 30
"""Bytes of free space below which it is said."""


@dataclass
class Standing:
    """How a node stands to a root."""

    incarnation: str
    state: str = "unknown"
    why: str = ""
    free: int = 0
    skew: float = 0.0
    at: float = 0.0
    """When it was last judged, on the monotonic clock."""
    asked: str = ""
    """The probe under way."""
    content: str = ""
    asked_at: float = 0.0
    stale: bool = True
    """It is to be probed as soon as it speaks."""


class Prober:
    """Thread-safe. Nothing is asked of the roster with the lock held."""

    def __init__(self, roots: Mapping[str, SharedRoot], roster: Roster, clock: Clock) -> None:
        self.roots = roots
        self._roster = roster
        self._clock = clock
        self._lock = threading.Condition()
        self._standings: dict[tuple[str, str], Standing] = {}
        self._own: dict[str, SharedView] = {}
        self._bells: dict[Bell, str] = {}
        self.judged: Callable[[], None] = lambda: None
        """Called, without the lock, when a node has passed: work may go there now."""

    # --- for node threads

    def due(self, node: str, bell: Bell | None = None) -> tuple[Probe, ...]:
        """What this node is to look at now; none: the bell rings when there is something."""
        here = self._roster.get(node)
        wanted: list[str] = []
        if here is not None:
            now = self._clock.monotonic()
            with self._lock:
                ours = [at.root for at in here.info.shared if at.root in self.roots]
                wanted = [root for root in ours if self._is_due(self._standing(here, root), now)]
                if bell is not None and not wanted and here.info.shared:
                    self._bells[bell] = node
        return tuple(probe for root in wanted if (probe := self._ask(node, root)) is not None)

    def unpark(self, bell: Bell) -> None:
        with self._lock:
            self._bells.pop(bell, None)

    def hear(self, node: str, results: Iterable[Probed]) -> None:
        """What came of probes; only the one that was asked last of a root counts."""
        passed = False
        for one in results:
            with self._lock:
                standing = self._standings.get((node, one.root))
                if standing is None or not one.name or standing.asked != one.name:
                    continue
                content = standing.content
            why, good = self._judge(one, content)
            self._remove(self.roots[one.root].path / PROBES / one.name)
            with self._lock:
                if standing.asked != one.name:
                    continue
                before = standing.state, standing.why
                standing.state, standing.why, standing.asked = ("good" if good else "bad"), why, ""
                standing.free, standing.skew, standing.at = one.free, one.skew, self._clock.monotonic()
                passed = passed or good
                told = (standing.state, standing.why) != before and (why or not good)
                self._lock.notify_all()
            if told:
                here = self._roster.get(node)
                log.warning("node %s %s", here.info.name if here else node, why)
        if passed:
            self.judged()

    # --- for others

    def bar(self, node: Presence, root: str) -> str:
        """Why a node may not serve this root, as the end of "node X ..."; empty: it may."""
        if root not in {at.root for at in node.info.shared}:
            return f"has no shared root {root} (its owner's setting [shared.{root}])"
        if root not in self.roots:
            return f"cannot be probed: the server has no shared root {root} any more ([shared.{root}] in its settings)"
        with self._lock:
            standing = self._standing(node, root)
            if standing.state == "good":
                return ""
            return standing.why or f"has yet to show that it sees the shared root {root}"

    def left_out(self, root: str) -> str:
        """One sentence on the nodes that have this root and failed its probe; empty: there are none."""
        bad = []
        for node in self._roster.all():
            if node.online and root in {at.root for at in node.info.shared}:
                with self._lock:
                    standing = self._standing(node, root)
                    if standing.state == "bad":
                        bad.append(f"node {node.info.name} {standing.why}")
        return f"Left out: {'; '.join(bad[:3])}{' …' if len(bad) > 3 else ''}." if bad else ""

    def renew(self, root: str = "", *, fresh: float = FRESH) -> None:
        """Have the nodes of a root (of all) probed anew, but for those that passed just now."""
        now = self._clock.monotonic()
        nodes = set()
        with self._lock:
            for (node, name), standing in self._standings.items():
                if name == root or not root:
                    if standing.state == "good" and now - standing.at < fresh:
                        continue
                    standing.state = "unknown" if standing.state == "good" else standing.state
                    standing.stale = True
                    nodes.add(node)
            bells = [bell for bell, node in self._bells.items() if node in nodes]
            for bell in bells:
                del self._bells[bell]
        for bell in bells:
            bell.ring()

    def doubt(self, node: str, root: str) -> None:
        """A node gave back a job of this root: it is probed again before the next one."""
        with self._lock:
            standing = self._standings.get((node, root))
            if standing is not None:
                standing.state, standing.stale = "unknown", True

    def check(self) -> tuple[SharedView, ...]:
        """Probe everything now: the server's own paths, and every node that is here and declares a root."""
        for root in self.roots.values():
            self._look(root)
        self.renew(fresh=0.0)
        end = self._clock.monotonic() + CHECK
        while self._clock.monotonic() < end and self._waiting():
            with self._lock:
                self._lock.wait(0.2)
        return self.views()

    def views(self) -> tuple[SharedView, ...]:
        """How all machines stand, the server first."""
        found = []
        for root in self.roots.values():
            with self._lock:
                own = self._own.get(root.name)
            unknown = SharedView(machine="", root=root.name, path=str(root.path), results=str(root.results), state="unknown")
            found.append(own or unknown)
        for node in sorted(self._roster.all(), key=lambda one: (one.info.name, one.id)):
            found += [self.view(node, at) for at in node.info.shared]
        return tuple(found)

    def view(self, node: Presence, at: SharedAt) -> SharedView:
        """How a node stands to one root."""
        known = SharedView(machine=node.info.name, root=at.root, path=at.path, results=at.results, state="unknown")
        if at.root not in self.roots:
            return _told(known, "bad", f"has a shared root {at.root} that this server has not ([shared.{at.root}] in its settings)")
        if not node.online:
            return _told(known, "unknown", "is not connected")
        with self._lock:
            standing = self._standing(node, at.root)
            why = standing.why or ("" if standing.state == "good" else "has not been probed yet")
            return SharedView(
                machine=known.machine, root=at.root, path=at.path, results=at.results, state=standing.state, why=why,
                free=standing.free, skew=standing.skew,
            )  # fmt: skip

    # --- inside

    def _standing(self, node: Presence, root: str) -> Standing:
        """With the lock held; a new life of a node is a stranger."""
        known = self._standings.get((node.id, root))
        if known is None or known.incarnation != node.incarnation:
            known = self._standings[node.id, root] = Standing(node.incarnation)
        return known

    def _is_due(self, standing: Standing, now: float) -> bool:
        if standing.asked:
            return now - standing.asked_at >= ANSWER
        return standing.stale or (standing.state != "good" and now - standing.at >= AGAIN)

    def _waiting(self) -> bool:
        for node in self._roster.all():
            for at in node.info.shared if node.online else ():
                if at.root in self.roots:
                    with self._lock:
                        standing = self._standing(node, at.root)
                        if standing.asked or standing.stale:
                            return True
        return False

    def _ask(self, node: str, root: str) -> Probe | None:
        """Write the file, note that it was asked; None where the server itself cannot."""
        name, content = new_id(), new_id()
        with self._lock:
            standing = self._standings[node, root]
            now = self._clock.monotonic()
            if standing.asked and now - standing.asked_at < ANSWER:  # another slot of the node was quicker
                return None
            older = standing.asked
            standing.asked, standing.content, standing.asked_at, standing.stale = name, content, now, False
        if older:
            self._remove(self.roots[root].path / PROBES / older)
        try:
            self._within(lambda: self._write(root, name, content), self.roots[root].path)
        except (SharedError, OSError) as error:
            with self._lock:
                standing.asked, standing.state, standing.at = "", "bad", now
                standing.why = f"cannot be probed: the server {_server_fault(self.roots[root].path, error)}"
                self._lock.notify_all()
            return None
        return Probe(name=name, root=root)

    def _write(self, root: str, name: str, content: str) -> None:
        folder = self.roots[root].path / PROBES
        folder.mkdir(exist_ok=True)
        if folder.is_symlink():
            raise SharedError(f"finds a link in the place of {folder}: remove it")
        with os.fdopen(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644), "w") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())

    def _judge(self, one: Probed, content: str) -> tuple[str, bool]:
        """What is wrong, or worth knowing, and whether the node may serve the root."""
        root = self.roots[one.root]
        fault = "".join(letter for letter in one.fault if letter.isprintable())[:400]
        if fault:
            return fault, False
        if one.read != content:
            return f"sees another disk than the server at its path of the shared root {root.name}: the probe there has other content", False
        path = root.results / f"{PROBES}-{one.name}"
        try:
            wrote = self._within(lambda: self._find(path), root.results)
        except (SharedError, OSError) as error:
            return f"cannot be judged: the server {_server_fault(root.results, error)}", False
        if wrote != f"{content}\n{one.own}":
            return f"writes results of the shared root {root.name} elsewhere: its file is not in {root.results} on the server", False
        self._remove(path)
        said = []
        if abs(one.skew) > SKEW:
            which = "behind" if one.skew > 0 else "ahead of"
            said.append(f"has a clock that is {show_duration(abs(one.skew))} {which} that of the storage: set it, or times will confuse")
        if one.free < LITTLE:
            said.append(f"has only {show_size(one.free)} left for results of the shared root {root.name}")
        return "; ".join(said), True

    def _find(self, path: Path) -> str:
        end = self._clock.monotonic() + LATE
        while True:
            try:
                with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
                    return file.read(1000).decode("ascii", "replace")
            except FileNotFoundError:
                if self._clock.monotonic() >= end:
                    return ""
                self._clock.wait(threading.Event(), 0.2)

    def _look(self, root: SharedRoot) -> None:
        """The server's own probe: may it write where it has to?"""
        view = SharedView(machine="", root=root.name, path=str(root.path), results=str(root.results), state="good")
        name, where = new_id(), root.path
        try:
            self._within(lambda: self._write(root.name, name, name), where)
            self._remove(root.path / PROBES / name)
            where = root.results

            def look() -> tuple[int, float]:
                path = root.results / f"{PROBES}-{name}"
                path.write_text(name)
                skew = path.stat().st_mtime - self._clock.now()
                path.unlink()
                return shutil.disk_usage(root.results).free, skew

            free, skew = self._within(look, where)
            why = f"has only {show_size(free)} left for results of the shared root {root.name}" if free < LITTLE else ""
            view = SharedView(
                machine="", root=root.name, path=view.path, results=view.results, state="good", why=why, free=free, skew=skew
            )
        except (SharedError, OSError) as error:
            view = _told(view, "bad", _server_fault(where, error))
        with self._lock:
            self._own[root.name] = view

    def _within(self, look: Callable[[], T], path: Path) -> T:
        """Do this to a share; SharedError where it hangs. The thread is left to itself then."""
        done: list[T] = []
        failed: list[Exception] = []

        def run() -> None:
            try:
                done.append(look())
            except Exception as error:
                failed.append(error)

        thread = threading.Thread(target=run, name="shared", daemon=True)
        thread.start()
        thread.join(PATIENCE)
        if failed:
            raise failed[0]
        if not done:
            raise SharedError(f"gets no answer from {path} within {PATIENCE:.0f} s: the share hangs")
        return done[0]

    def _remove(self, path: Path) -> None:
        with contextlib.suppress(OSError, SharedError):
            self._within(lambda: path.unlink(missing_ok=True), path)


def _told(view: SharedView, state: str, why: str) -> SharedView:
    return SharedView(machine=view.machine, root=view.root, path=view.path, results=view.results, state=state, why=why)


def _server_fault(path: Path, error: Exception) -> str:
    """As the end of "the server ..."."""
    if isinstance(error, SharedError):
        return str(error)
    why = error.strerror or str(error) if isinstance(error, OSError) else str(error)
    return f"cannot use {path}: {why}; is the share mounted there, and may the server write to it?"
