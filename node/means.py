"""What this node has and its owner allows, as the parts that run jobs need it."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..common.model import Program
from .cards import Cards
from .sandbox import Confinement


@dataclass(frozen=True, kw_only=True)
class Means:
    """One value for all slots."""

    allow: tuple[str, ...]
    programs: tuple[Program, ...]
    confinement: Confinement
    cores: int
    """One slot's share."""
    keep_free: int
    """Bytes of disk that stay free."""
    commands: tuple[str, ...] = ()
    """Programs that kinds with ``allow = "commands"`` may run; ``any``: all."""
    cards: Cards = field(default_factory=lambda: Cards(()))
