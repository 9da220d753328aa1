"""Listings: as columns for people, as a list of objects with stable keys for scripts (``--json``)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

from ..common.clock import stamp
from ..common.model import JobView, NodeView, SharedView, TaskView
from ..common.units import show_duration, show_size
from .words import clean, short, state_line


def task_row(view: TaskView) -> dict[str, Any]:
    """A task for ``--json``. Keys are added, never renamed: scripts live by them. Times are UTC or null."""
    jobs = view.jobs
    return {
        "id": view.id,
        "name": view.name,
        "kind": view.kind,
        "state": str(view.state),
        "created": stamp(view.created),
        "started": _stamp(view.started),
        "ended": _stamp(view.ended),
        "jobs": {"total": jobs.total, "done": jobs.done, "running": jobs.running, "failed": jobs.failed},
        "assets": [{"path": asset.path, "size": asset.size, "digest": asset.digest} for asset in view.assets],
        "asset_count": max(view.asset_count, len(view.assets)),
        "priority": view.priority,
        "progress": view.progress,
        "run": view.run,
        "place": view.place,
        "nodes": view.nodes,
        "eta": view.eta,
        "error": view.error,
        "notes": list(view.notes),
        "shared": view.shared,
        "published": view.published,
    }


def job_row(view: JobView) -> dict[str, Any]:
    """A job of ``show --json``."""
    return {
        "id": view.id,
        "region": view.region,
        "stage": view.stage,
        "state": str(view.state),
        "progress": view.progress,
        "attempts": [
            {
                "number": attempt.number,
                "lease": attempt.lease,
                "node": attempt.node,
                "state": str(attempt.state),
                "cause": str(attempt.cause),
                "started": stamp(attempt.started),
                "ended": _stamp(attempt.ended),
                "sentence": attempt.sentence,
                "tail": list(attempt.tail),
            }
            for attempt in view.attempts
        ],
    }


def node_row(view: NodeView) -> dict[str, Any]:
    """A node for ``--json``."""
    return {
        "id": view.id,
        "name": view.name,
        "state": node_state(view),
        "online": view.online,
        "locked": view.locked,
        "draining": view.draining,
        "slots": view.slots,
        "busy": view.busy,
        "cores": view.cores,
        "memory": view.memory,
        "disk": view.disk,
        "programs": [{"name": program.name, "version": program.version} for program in view.programs],
        "allow": list(view.allow),
        "tags": list(view.tags),
        "confined": view.confined,
        "version": view.version,
        "seen": _stamp(view.seen),
        "note": view.note,
        "shared": [shared_row(one) for one in view.shared],
    }


def shared_row(view: SharedView) -> dict[str, Any]:
    """How a machine stands to a shared root, for ``--json``; the server has no name there."""
    return {
        "machine": view.machine,
        "root": view.root,
        "path": view.path,
        "results": view.results,
        "state": view.state,
        "why": view.why,
        "free": view.free,
        "skew": round(view.skew, 3),
    }


def node_state(view: NodeView) -> str:
    """One word for a node."""
    if not view.online:
        return "offline"
    return "draining" if view.draining else "locked" if view.locked else "busy" if view.busy else "idle"


def print_json(rows: Sequence[dict[str, Any]], out: TextIO) -> None:
    """A list, also of one: a script has one shape to read."""
    json.dump(list(rows), out, indent=2, ensure_ascii=False)
    out.write("\n")


def print_tasks(views: Iterable[TaskView], out: TextIO) -> None:
    rows = [(short(view.id), clean(view.name), view.kind, str(view.priority), stamp(view.created), state_line(view)) for view in views]
    print_columns(("ID", "NAME", "KIND", "PRIORITY", "CREATED", "STATE"), rows, out, none="No tasks.")


def print_nodes(views: Iterable[NodeView], out: TextIO) -> None:
    rows = [
        (
            clean(view.name),
            short(view.id),
            node_state(view),
            f"{view.busy}/{view.slots}",
            str(view.cores),
            show_size(view.memory),
            show_size(view.disk),
            clean(", ".join(f"{program.name} {program.version}" for program in view.programs)) or "no renderer",
            clean(view.confined) or "-",
            clean(view.note),
        )
        for view in views
    ]
    header = ("NAME", "ID", "STATE", "BUSY", "CORES", "MEMORY", "DISK", "PROGRAMS", "CONFINED", "NOTE")
    print_columns(
        header, rows, out, none="No node has joined yet: `clusterray join-code --role node` on the server prints what to type there."
    )


def print_task(view: TaskView, jobs: Sequence[JobView], out: TextIO) -> None:
    """One task in full, with its jobs."""
    lines = [
        ("id", view.id),
        ("name", clean(view.name)),
        ("kind", view.kind),
        ("state", state_line(view)),
        ("priority", str(view.priority)),
    ]
    lines += [("created", stamp(view.created)), ("started", _stamp(view.started) or "-"), ("ended", _stamp(view.ended) or "-")]
    lines += [("note", clean(note)) for note in view.notes]
    lines += [("shared", f"its files lie in the shared root {clean(view.shared)}")] if view.shared else []
    lines += [("result", f"{clean(view.published)} below the results of {clean(view.shared)}")] if view.published else []
    lines += [("error", clean(view.error))] if view.error else []
    lines += [("asset", f"{clean(asset.path)}  {show_size(asset.size)}") for asset in view.assets]
    lines += [("asset", f"… and {view.asset_count - len(view.assets)} more")] if view.asset_count > len(view.assets) else []
    for label, text in lines:
        print(f"{label:<9} {text}", file=out)
    if not jobs:
        return
    out.write("\n")
    rows = []
    for job in jobs:
        last = job.attempts[-1] if job.attempts else None
        where = clean(last.node) if last else "-"
        took = show_duration(last.ended - last.started) if last and last.ended is not None else "-"
        rows.append(
            (
                clean(job.region),
                str(job.state),
                f"{job.progress:.0%}",
                str(len(job.attempts)),
                where,
                took,
                clean(last.sentence) if last else "",
            )
        )
    print_columns(("JOB", "STATE", "DONE", "ATTEMPTS", "NODE", "TOOK", "NOTE"), rows, out)


def print_columns(header: Sequence[str], rows: Sequence[Sequence[str]], out: TextIO, *, none: str = "") -> None:
    """Aligned columns, never cut: what is too wide for the terminal still goes through a pipe whole."""
    if not rows:
        if none:
            print(none, file=out)
        return
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    for row in (header, *rows):
        print("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip(), file=out)


def _stamp(seconds: float | None) -> str | None:
    return None if not seconds else stamp(seconds)
