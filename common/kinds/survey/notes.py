"""What a stage has to say to the submitter: the ``notes`` of its report.json, sentences."""

from __future__ import annotations

from typing import Any

import msgspec

from ..kind import Folder


def notes_of(files: Folder, stage: str) -> tuple[str, ...]:
    """The sentences that stage ``stage`` left; none where it left no report."""
    return tuple(str(note) for note in report_of(files, stage).get("notes", ()))


def report_of(files: Folder, stage: str) -> dict[str, Any]:
    """``stages/<stage>/report.json``; empty where there is none."""
    try:
        found = msgspec.json.decode(files.read(f"stages/{stage}/report.json"))
    except KeyError:
        return {}
    return found if isinstance(found, dict) else {}
