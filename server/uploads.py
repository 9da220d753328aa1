"""Upload sessions: which packs a submitter lacks, the account to send them with, and their names once they came.

The lower half of the desk (desk.py), which is the only one that has one: a session belongs to its owner, and so do the packs in it.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol

from ..common.errors import ClusterRayError, Conflict, DeskError, NotAllowed, PacksMissing
from ..common.manifest import Bundle, is_digest, read_manifest
from ..common.model import Account, Caller, PackRef, new_id
from ..common.security import new_token
from .keeper import Keeper
from .store import Store, Tx

MOST_PACK = 1 << 50


class Door(Protocol):
    """The FTP thread's part in it."""

    port: int

    def grant(
        self,
        user: str,
        password: str,
        *,
        read: Mapping[str, Path],
        write: Path | None,
        write_names: Literal["packs", "out"],
        cap: int = 0,
        write_allowed: Collection[str] | None = None,
    ) -> None: ...
    def revoke(self, user: str) -> object: ...


class Uploads:
    """See the head of the file."""

    def __init__(self, store: Store, keeper: Keeper, door: Door) -> None:
        self._store = store
        self._keeper = keeper
        self._door = door
        self._sessions: dict[str, tuple[str, dict[str, int]]] = {}
        """Upload session -> its FTP password and what it may send."""
        self._sessions_lock = threading.RLock()
        self.packs_lock = threading.Lock()
        """Held while packs are checked and put to use, and while others are evicted."""

    def have(self, caller: Caller, session: str, packs: Sequence[PackRef]) -> tuple[str, tuple[str, ...], Account]:
        """Open an upload session or go on with it: its id, the digests that are missing, the account to send them with."""
        for pack in packs:
            check_digest(pack)
        with self.packs_lock:

            def change(tx: Tx) -> tuple[str, list[PackRef]]:
                known = tx.one("session", id=session) if session else None
                if known is not None and known["owner"] != caller.token:
                    raise NotAllowed("This upload session belongs to somebody else.")
                ident = session if known is not None else new_id()
                if known is None:
                    tx.run("add_session", id=ident, owner=caller.token)
                tx.run("touch_session", id=ident)
                lacking = []
                for pack in packs:
                    tx.run("pin", session=ident, digest=pack.digest, size=pack.size)
                    if tx.one("owns_pack", owner=caller.token, digest=pack.digest) is None or not self._keeper.has(pack.digest):
                        lacking.append(pack)
                return ident, lacking

            ident, lacking = self._store.write(change)
            self._keeper.room_for(sum(pack.size for pack in lacking))
        with self._sessions_lock:
            password, allowed = self._sessions.setdefault(ident, (new_token(), {}))
            allowed.update({pack.digest: pack.size for pack in lacking})
            folder = self._keeper.upload_folder(ident)
            cap = 2 * sum(allowed.values()) + (1 << 20)
            self._door.grant(ident, password, read={}, write=folder, write_names="packs", cap=cap, write_allowed=frozenset(allowed))
        return ident, tuple(pack.digest for pack in lacking), Account(user=ident, password=password, port=self._door.port)

    def stored(self, caller: Caller, session: str, packs: Sequence[PackRef]) -> tuple[tuple[str, ...], dict[str, str]]:
        """Sent packs get their names: which have them now, and why others must be sent again."""
        self._own_session(caller, session)
        kept, again = [], {}
        for pack in packs:
            with self._store.read() as tx:
                pinned = tx.one("pinned", session=session, digest=pack.digest)
                known = tx.one("owns_pack", owner=caller.token, digest=pack.digest) is not None
            if pinned is None or pinned["size"] != pack.size:
                again[pack.digest] = "This session was not opened for it."
                continue
            why = self._keeper.take_upload(session, pack, known=known)
            if why is None:
                kept.append(pack.digest)
            else:
                again[pack.digest] = why

        def change(tx: Tx) -> None:
            for digest in kept:
                tx.run("own_pack", owner=caller.token, digest=digest)
            tx.run("touch_session", id=session)

        self._store.write(change)
        return tuple(kept), again

    def expire_session(self, session: str, before: float) -> None:
        """End a session of which nothing was heard since ``before``, on the wire or by FTP: one large pack can take hours."""
        busy = self._keeper.last_upload(session) >= before

        def change(tx: Tx) -> bool:
            row = tx.one("session", id=session)
            if row is None or row["touched"] >= before:
                return False
            tx.run("touch_session" if busy else "end_session", id=session)
            return not busy

        if self._store.write(change):
            self.end_session(session)

    def end_session(self, session: str) -> None:
        """Its account and what was left half sent go."""
        with self._sessions_lock:
            self._sessions.pop(session, None)
        self._door.revoke(session)
        self._keeper.drop_session(session)

    def _own_session(self, caller: Caller, session: str) -> None:
        with self._store.read() as tx:
            row = tx.one("session", id=session)
        if row is None or row["owner"] != caller.token:
            raise Conflict("This upload session is over; ask again which packs are missing.")

    def _packs_of(self, caller: Caller, bundle: PackRef) -> tuple[PackRef, ...]:
        """All packs that a bundle names, itself included; what the caller has not sent is missing."""
        return (bundle, *self._manifest_of(caller, bundle).packs)

    def _manifest_of(self, caller: Caller, bundle: PackRef) -> Bundle:
        with self._store.read() as tx:
            sent = tx.one("owns_pack", owner=caller.token, digest=bundle.digest)
        if sent is None or not self._keeper.has(bundle.digest):
            raise PacksMissing((bundle.digest,))
        try:
            manifest = read_manifest(self._keeper.plain(bundle.digest).read_bytes())
        except (ClusterRayError, OSError) as error:
            raise DeskError(f"The manifest of the bundle cannot be read: {error}") from error
        for pack in manifest.packs:
            check_digest(pack)
        return manifest


def check_digest(pack: PackRef) -> None:
    if not is_digest(pack.digest) or not 0 <= pack.size <= MOST_PACK:
        raise DeskError(f"{pack.digest[:70]!r} is no pack's name (64 hex digits), or {str(pack.size)[:30]} no size.")
