"""Who this node is: the join code that it was given, and the id and token that the server gave it at first contact.

One file, mode 0600. The join code only admits; from then on the node is known by its id and answers with its own token.
A copied disk would bring a second node of the same id: the server refuses it and names ``--new-id``, which forgets the id.
"""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import msgspec

from ..common.errors import UsageError
from ..common.model import Role
from ..common.security import JoinCode, write_secret

log = logging.getLogger(__name__)


class _File(msgspec.Struct, kw_only=True):
    join: str = ""
    node_id: str = ""
    node_token: str = ""
    farm: str = ""


class NodeIdentity:
    """The file in the node's data folder; its values may change at first contact only."""

    def __init__(self, data: Path, join: JoinCode | None = None, *, new_id: bool = False) -> None:
        """``join``: a code given just now; it is remembered. UsageError: there is none, or it is not for nodes."""
        self._path = data / "identity.json"
        self.lock = threading.Lock()
        """Held for a first contact: the slots come as one node, not as many."""
        self._file = self._read()
        before = msgspec.structs.replace(self._file)
        known = JoinCode.decode(self._file.join) if self._file.join else None
        if join is None and known is None:
            raise UsageError(
                "This node knows no server yet: `clusterray node start --join CODE` "
                "(`clusterray join-code --role node` on the server prints the code)."
            )
        if join is not None and join.role is not Role.NODE:
            raise UsageError(
                f"This join code is for the role {join.role}, not for nodes: "
                "`clusterray join-code --role node` on the server prints the right one."
            )
        if new_id or (join is not None and known is not None and join.pin != known.pin):
            if self._file.node_id:
                why = "" if new_id else ", since the join code is of another farm"
                log.info("The id of this node is forgotten%s; the server gives it a new one.", why)
            self._file.node_id = self._file.node_token = self._file.farm = ""
        self.join = join or known
        if join is not None:
            self._file.join = join.encode()
        if self._file != before:
            self._write()

    @property
    def code(self) -> JoinCode:
        """Where the server is, and how to know it."""
        assert self.join is not None
        return self.join

    @property
    def node_id(self) -> str:
        return self._file.node_id

    @property
    def node_token(self) -> str:
        return self._file.node_token

    def learn(self, node_id: str, node_token: str, farm: str) -> None:
        """What the server gave at first contact; on disk before it is used."""
        self._file.node_id, self._file.node_token, self._file.farm = node_id, node_token, farm
        self._write()

    def secrets(self) -> tuple[str, ...]:
        """What no log may show."""
        return tuple(filter(None, (self.code.token, self._file.node_token, self._file.join)))

    def _read(self) -> _File:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=_File)
        except FileNotFoundError:
            return _File()
        except (msgspec.DecodeError, OSError) as error:
            raise UsageError(f"{self._path} cannot be read ({error}): restore it, or remove it and join anew with a join code.") from error

    def _write(self) -> None:
        write_secret(self._path, msgspec.json.encode(self._file))
