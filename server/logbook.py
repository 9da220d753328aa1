"""What programs said: one capped file per lease, below a folder per task. Not in the store, and gone with the task."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path

import msgspec

log = logging.getLogger(__name__)
ANSWER = 512 << 10
"""Bytes of one page: it travels in a frame."""
CAP = 1 << 20
"""Bytes per lease; what comes after is left out with one line that says so."""


class Logbook:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def name(self, position: int, number: int, lease: str) -> str:
        """File name of a lease's log: sorts as the jobs do."""
        return f"{position:06d}-{number:03d}-{lease}.log"

    def add(self, task: str, name: str, lines: Sequence[str]) -> None:
        """Lines that cannot be written are left out: a full disk must not cost a lease."""
        if not lines:
            return
        path = self._folder / task / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8", errors="replace") as out:
                room = CAP - out.tell()
                if room <= 0:
                    return
                text = "".join(line.replace("\n", " ") + "\n" for line in lines)
                out.write(text if len(text) <= room else text[:room] + "\n(more was left out)\n")
        except OSError as error:
            log.debug("%s cannot be written: %s", path, error)

    def lines(self, task: str, leases: Sequence[tuple[str, str]], after: int, limit: int) -> tuple[tuple[str, ...], int, bool]:
        """Lines of these (file name, heading) in turn, from number ``after``: lines, the next number, whether there are more."""
        found: list[str] = []
        number = size = 0
        for name, heading in leases:
            path = self._folder / task / name
            if not path.exists():
                continue
            with path.open(encoding="utf-8", errors="replace") as source:
                for line in (f"== {heading}", *source):
                    if number >= after:
                        line = line.rstrip("\n")[:2000]
                        size += len(msgspec.json.encode(line)) + 1
                        if len(found) == limit or size > ANSWER:
                            return tuple(found), number, True
                        found.append(line)
                    number += 1
        return tuple(found), number, False

    def remove(self, task: str) -> None:
        shutil.rmtree(self._folder / task, ignore_errors=True)
