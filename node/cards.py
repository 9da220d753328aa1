"""The graphics cards of this machine: found by their makers' tools, and given to one job at a time.

A job that asks for cards ([needs] gpu) gets some of its own and sees no others; a job that asks for none sees none. Names begin with
the maker, so that a kind knows which cards can work together.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..common import process
from ..common.errors import FileError

QUERY_SECONDS = 20.0
HIDDEN = {"CUDA_VISIBLE_DEVICES": "", "HIP_VISIBLE_DEVICES": "-1"}
"""For a job without cards. Unconfined it could still open the devices; confined they are not there."""


@dataclass(frozen=True, kw_only=True)
class Card:
    """One graphics card. ``number``: as its maker counts those of this machine, from 0."""

    maker: str
    number: int
    name: str

    @property
    def title(self) -> str:
        """As a hello tells it: ``NVIDIA RTX 4090``."""
        return self.name if self.name.lower().startswith(self.maker.lower()) else f"{self.maker} {self.name}"


Ask = Callable[[tuple[str, ...]], str]
"""Runs a tool and gives what it printed; empty where it is not there or fails."""


def find(ask: Ask | None = None) -> tuple[Card, ...]:
    """All cards that nvidia-smi, rocm-smi and sycl-ls tell of; empty without them."""
    ask = ask or _run
    nvidia = [line.strip() for line in ask(("nvidia-smi", "--query-gpu=name", "--format=csv,noheader")).splitlines()]
    makers = {"NVIDIA": nvidia, "AMD": _rocm(ask(("rocm-smi", "--showproductname", "--json"))), "Intel": _sycl(ask(("sycl-ls",)))}
    return tuple(
        Card(maker=maker, number=number, name=name) for maker, names in makers.items() for number, name in enumerate(filter(None, names))
    )


def _run(argv: tuple[str, ...]) -> str:
    if not process.find_program(argv[0], "/usr/local/bin:/usr/bin:/bin:/opt/rocm/bin"):
        return ""
    try:
        told = process.run(argv, timeout=QUERY_SECONDS, env=process.plain_env() | {"PATH": "/usr/local/bin:/usr/bin:/bin:/opt/rocm/bin"})
    except FileError:
        return ""
    return told.stdout if told.code == 0 else ""


def _rocm(printed: str) -> list[str]:
    """Names from rocm-smi's ``{"card0": {"Card Series": "Radeon RX 7900 XTX", …}, …}``; the keys differ by version."""
    try:
        told = json.loads(printed)
    except ValueError:
        return []
    cards = sorted((int(key[4:]), value) for key, value in told.items() if re.fullmatch(r"card\d+", key))
    return [str(value.get("Card Series") or value.get("Card series") or value.get("Card Model") or "graphics card") for _, value in cards]


def _sycl(printed: str) -> list[str]:
    """Names from the lines ``[level_zero:gpu][level_zero:0] Intel(R) oneAPI Unified Runtime over Level-Zero, Intel(R) Arc(TM) A770 …``."""
    found = re.findall(r"^\[(?:ext_oneapi_)?level_zero:gpu\S*\s.*?,\s*(Intel\(R\) .*?)(?:\s+\d+\.\d+.*)?$", printed, re.M)
    return [re.sub(r"^Intel\(R\)\s*|\((?:TM|R)\)", "", name).strip() for name in found]


End = Callable[[], None]


class Cards:
    """Which cards are taken. Safe to use from all slots.

    A warm program goes on holding memory on its card between two jobs; when another job is to have the card, it is ended first.
    """

    def __init__(self, cards: Iterable[Card]) -> None:
        self.all = tuple(cards)
        self._lock = threading.Lock()
        self._taken: set[int] = set()
        self._idle: dict[int, End] = {}
        """Card -> what ends the program that rests on it."""

    @contextlib.contextmanager
    def take(self, count: int, mine: End | None = None) -> Iterator[tuple[int, ...] | None]:
        """``count`` cards for as long as the block lasts, as places in ``all``; None: there are not so many free ones.

        ``mine`` is what the caller gave to ``rest``: cards of that program come first, and it is left alive.
        """
        if not count:
            yield ()
            return
        with self._lock:
            free = [card for card in range(len(self.all)) if card not in self._taken]
            free.sort(key=lambda card: 1 if card not in self._idle else 0 if self._idle[card] == mine else 2)
            chosen = tuple(sorted(free[:count])) if len(free) >= count else None
            leave = [self._idle.pop(card) for card in chosen or () if card in self._idle]
            self._taken.update(chosen or ())
        try:
            for end in dict.fromkeys(leave):
                if end != mine:
                    end()
            yield chosen
        finally:
            with self._lock:
                self._taken.difference_update(chosen or ())

    def rest(self, cards: Iterable[int], end: End) -> None:
        """A warm program stays on these cards after its job; ``end`` is called, from any thread, when another job gets one of them."""
        with self._lock:
            self._idle.update(dict.fromkeys(cards, end))

    def gone(self, end: End) -> None:
        """The program that ``end`` would have ended is no more."""
        with self._lock:
            self._idle = {card: other for card, other in self._idle.items() if other != end}

    def environment(self, cards: Iterable[int]) -> dict[str, str]:
        """Variables that show a program these cards and no others."""
        by_maker: dict[str, list[str]] = {}
        for card in cards:
            by_maker.setdefault(self.all[card].maker, []).append(str(self.all[card].number))
        shown = {maker: ",".join(numbers) for maker, numbers in by_maker.items()}
        env = dict(HIDDEN)
        if "NVIDIA" in shown:
            env |= {"CUDA_VISIBLE_DEVICES": shown["NVIDIA"], "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}  # the order of nvidia-smi
        if "AMD" in shown:  # what ROCr leaves is counted anew from 0 by HIP, so that only one of the two may choose
            del env["HIP_VISIBLE_DEVICES"]
            env["ROCR_VISIBLE_DEVICES"] = shown["AMD"]
        if "Intel" in shown:
            env["ZE_AFFINITY_MASK"] = shown["Intel"]
        return env


def devices(dev: Path = Path("/dev")) -> tuple[str, ...]:
    """Device files and folders that a confined job with cards must see."""
    found = sorted(str(path) for path in dev.glob("nvidia*"))
    return (*found, *(str(dev / name) for name in ("dri", "kfd") if (dev / name).exists()))
