"""The machine's processes as /proc shows them: who descends from whom, who carries our mark, and sending signals safely.

A program that we stop must not leave anything behind, also where a grandchild has made a session of its own and lost its
parents. So each program carries a mark in its environment, which its descendants inherit; group, descent and mark together
find them. A pid alone names nothing, since pids are used again: a process is its pid and its start time.
Where there is no /proc (not Linux) nothing is found, and process.py falls back on the process group.
"""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

MARK = "CLUSTERRAY_RUN"
"""The environment variable that marks a program and its descendants."""

_PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True, slots=True)
class Proc:
    """One process at one moment."""

    pid: int
    parent: int
    group: int
    started: int
    """Clock ticks since boot; with the pid, the process's true name."""
    dead: bool
    """A zombie: it runs no more, and waits to be reaped by its parent."""


def look(pid: int) -> Proc | None:
    """The process with this pid now; None: there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    fields = text[text.rfind(b")") + 2 :].split()  # the name before it may hold spaces and parentheses
    return Proc(pid, int(fields[1]), int(fields[2]), int(fields[19]), fields[0] in (b"Z", b"X"))


def table() -> dict[int, Proc]:
    """All processes by pid."""
    try:
        names = [path.name for path in Path("/proc").iterdir()]
    except OSError:
        return {}
    found = (look(int(name)) for name in names if name.isdigit())
    return {proc.pid: proc for proc in found if proc is not None}


def marked(pid: int, mark: str) -> bool:
    """Whether the process was started with this mark; False where we may not look."""
    try:
        return f"{MARK}={mark}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False


def family(pid: int, started: int, mark: str) -> list[Proc]:
    """The living processes that belong to a program: itself, its group, its descendants, all that carry its mark, and theirs.

    ``pid`` 0 or a pid that is used again by now: those with the mark alone. Cost: one pass over /proc.
    """
    everyone = table()
    leader = everyone.get(pid)
    ours = {pid} if leader is not None and leader.started == started else set()
    group = pid if pid and (leader is None or leader.started == started) else -1
    me = os.getpid()
    for proc in everyone.values():
        if proc.pid == me or proc.started < started or proc.pid in ours:
            continue
        if proc.group == group or (mark and marked(proc.pid, mark)):
            ours.add(proc.pid)
    _add_descendants(ours, everyone)
    return [everyone[one] for one in ours if not everyone[one].dead and one != me]


def _add_descendants(ours: set[int], everyone: Mapping[int, Proc]) -> None:
    grown = True
    while grown:
        more = {proc.pid for proc in everyone.values() if proc.parent in ours and proc.pid not in ours}
        ours |= more
        grown = bool(more)


def send(proc: Proc, number: int) -> bool:
    """Signal exactly this process: never another one that got its pid in between. Return whether it was there."""
    try:
        handle = os.pidfd_open(proc.pid)
    except ProcessLookupError:
        return False
    except (OSError, AttributeError):
        return _send_by_pid(proc, number)
    try:
        now = look(proc.pid)  # after the handle was taken: from here on the pid cannot change hands unnoticed
        if now is None or now.started != proc.started:
            return False
        signal.pidfd_send_signal(handle, number)
        return True
    except OSError:
        return False
    finally:
        os.close(handle)


def _send_by_pid(proc: Proc, number: int) -> bool:
    now = look(proc.pid)
    if now is None or now.started != proc.started:
        return False
    try:
        os.kill(proc.pid, number)
    except OSError:
        return False
    return True


def adopt_orphans() -> bool:
    """Make this process the parent of descendants that lose theirs, so that they stay findable. Return whether the kernel agreed."""
    try:
        return bool(ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)
    except (OSError, AttributeError):
        return False


def oom_kills() -> int:
    """How many processes this machine's kernel has ended for want of memory since boot; -1: it does not say."""
    try:
        for line in Path("/proc/vmstat").read_bytes().splitlines():
            if line.startswith(b"oom_kill "):
                return int(line.split()[1])
    except (OSError, ValueError):
        pass
    return -1
