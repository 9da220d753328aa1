"""The verbs of shared storage, each with its Caller: as desk.py, which has all the others."""

from __future__ import annotations

from ..common.errors import DeskError
from ..common.model import Caller, SharedView
from .prober import Prober


class SharedDesk:
    def __init__(self, prober: Prober) -> None:
        self._prober = prober

    def check(self, caller: Caller) -> tuple[SharedView, ...]:
        """Probe now, on the server and on every node. For submitters too: they see nodes and their notes as well, and wait for them."""
        if not self._prober.roots:
            way = "say [shared.NAME] in its settings (docs/shared-storage.md), and start it again"
            raise DeskError(f"This server has no shared root: {way}.")
        return self._prober.check()
