"""Results that were made and not yet answered, kept on disk: ``outbox/<lease>/`` with ``out`` and ``finished.json``.

The folder counts from the moment ``finished.json`` gets its name by rename, and goes on the answer. A crash of the agent loses
nothing; against a power cut there is no fsync, since a result can be made again: what is found damaged at a start (size or
digest) is dropped, and the server gives the job out anew. The fence makes a late or doubled report harmless.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from pathlib import Path

import msgspec

from ..common.model import Account, Result, Value
from .outputs import digest_of
from .scratch import remove_tree, safe_name

log = logging.getLogger(__name__)


class Letter(Value, frozen=True, kw_only=True):
    """finished.json."""

    slot: int
    account: Account
    result: Result


@dataclass(frozen=True)
class Parcel:
    """A result on its way, with the folder that holds its files."""

    slot: int
    account: Account
    result: Result
    out: Path

    @property
    def lease(self) -> str:
        return self.result.lease


class Outbox:
    """The parcels of a node that outlive it. Safe to use from all slots."""

    def __init__(self, data: Path) -> None:
        self._folder = data / "outbox"
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = threading.Lock()
        self._kept: dict[str, Parcel] = {}
        for place in sorted(self._folder.iterdir()):
            self._load(place)
        self._unclaimed = set(self._kept)

    def leases(self) -> tuple[str, ...]:
        """All leases whose results lie here."""
        with self._lock:
            return tuple(self._kept)

    def holds(self, lease: str) -> bool:
        """Whether a result of this lease lies here."""
        with self._lock:
            return lease in self._kept

    def claim(self, slot: int, slots: int) -> tuple[Parcel, ...]:
        """The parcels of an earlier life that this slot has to send, handed out once. Slots that are no more leave theirs to slot 0."""
        with self._lock:
            waiting = [one for one in self._kept.values() if one.lease in self._unclaimed]
            mine = [one for one in waiting if (one.slot if one.slot < slots else 0) == slot]
            self._unclaimed -= {one.lease for one in mine}
            return tuple(mine)

    def put(self, slot: int, account: Account, result: Result, out: Path) -> Parcel:
        """Keep a result until it is answered; its files are moved here. Raises OSError where the disk does not let us."""
        place = self._folder / safe_name(result.lease)
        remove_tree(place)
        place.mkdir(mode=0o700)
        kept = out.rename(place / "out") if result.outputs and result.outputs[0].data is None else place / "out"
        part = place / "finished.part"
        part.touch(mode=0o600)
        part.write_bytes(msgspec.json.encode(Letter(slot=slot, account=account, result=result)))
        part.rename(place / "finished.json")
        parcel = Parcel(slot, account, result, kept)
        with self._lock:
            self._kept[result.lease] = parcel
        return parcel

    def answered(self, lease: str) -> None:
        """The server has spoken: the parcel may go."""
        with self._lock:
            known = self._kept.pop(lease, None)
        if known is not None:
            place = self._folder / lease
            (place / "finished.json").unlink(missing_ok=True)
            remove_tree(place)

    def _load(self, place: Path) -> None:
        try:
            letter = msgspec.json.decode((place / "finished.json").read_bytes(), type=Letter)
            for output in letter.result.outputs:
                if output.data is None and digest_of(place / "out" / output.path) != output.digest:
                    raise OSError(f"{output.path} is damaged")
        except (OSError, msgspec.DecodeError) as error:
            if not isinstance(error, FileNotFoundError):
                log.warning("the result kept in %s cannot be used (%s); its job will be done again", place, error)
            remove_tree(place)
            return
        if letter.result.lease == place.name:
            self._kept[place.name] = Parcel(letter.slot, letter.account, letter.result, place / "out")
