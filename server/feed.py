"""The accepted pieces of a stage in split order, for a hand that joins them and asks for more.

For a stitch that is begun with its stage, ``more()`` waits for the next piece; nothing is kept but the place of the last one
that was given, so that a film of 10,000 frames takes no memory here.
"""

from __future__ import annotations

import threading

import msgspec

from ..common.errors import ClusterRayError, HandDied, StitchFailed
from ..common.model import Region
from ..common.states import JobState
from .calls import File, Files, Given, GivenPiece
from .keeper import Keeper
from .store import Row, Store, StoreError, Tx

BATCH = 256
"""Pieces of one answer: small outputs travel in it, 16 KiB each."""
LOOK = 5.0
"""Seconds after which it looks without being rung."""


class Feed:
    """Thread-safe: one thread asks, others ring."""

    def __init__(self, store: Store, keeper: Keeper, task: str, run: int, stage: int, *, whole: bool) -> None:
        self._store = store
        self._keeper = keeper
        self._task, self._run, self._stage = task, run, stage
        self._next = 0
        self._bell = threading.Condition()
        self._rings = 0
        self._whole = whole
        self.stopped = False

    def ring(self) -> None:
        """A piece was accepted."""
        with self._bell:
            self._rings += 1
            self._bell.notify_all()

    def finish(self) -> None:
        """All pieces are accepted; the hand is told when it has had the last one."""
        with self._bell:
            self._whole = True
            self._bell.notify_all()

    def stop(self) -> None:
        """Nobody wants the result any more."""
        with self._bell:
            self.stopped = True
            self._bell.notify_all()

    def more(self) -> Given:
        """The next pieces, when there are some. Raises HandDied once it was stopped, StitchFailed where files are gone, StoreError."""
        while True:
            with self._bell:
                if self.stopped:
                    raise HandDied("The stitch was called off.")
                rings, whole = self._rings, self._whole
            given = self._look(whole)
            if given.pieces or given.last:
                return given
            with self._bell:
                self._bell.wait_for(lambda: self.stopped or self._whole or self._rings != rings, LOOK)  # noqa: B023

    def _look(self, whole: bool) -> Given:
        given = []
        try:
            with self._store.read() as tx:
                rows = tx.all("pieces", task=self._task, run=self._run, stage=self._stage, after=self._next, limit=BATCH)
                for row in rows:
                    if JobState(row["state"]) is not JobState.DONE:
                        break
                    given.append(self._piece(tx, row))
        except StoreError:
            raise
        except (OSError, ClusterRayError) as error:
            raise StitchFailed(f"The pieces cannot be read on the server: {error}") from error
        self._next += len(given)
        if whole and len(given) < len(rows):
            raise StitchFailed(f"The piece of {rows[len(given)]['name']} is missing.")
        return Given(pieces=given, last=whole and len(rows) < BATCH)

    def _piece(self, tx: Tx, row: Row) -> GivenPiece:
        files: Files = {
            o["path"]: File(path=str(self._keeper.plain(o["digest"]))) if o["data"] is None else File(data=bytes(o["data"]))
            for o in tx.all("outputs", lease=row["accepted"])
        }
        return GivenPiece(msgspec.json.decode(row["region"], type=Region), files, row["seconds"], row["node"])
