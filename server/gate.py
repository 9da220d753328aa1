"""The first word on a link: who is it, and may it in? One hello, one judgement."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from ..common.errors import Refused
from ..common.manifest import is_digest
from ..common.model import Caller, NodeInfo, Program, Role, SharedAt, new_id
from ..common.security import Tokens, new_token, same_token, token_hash, token_id
from ..common.shared import NAME
from ..common.wire.messages import VERSION, Hello, Welcome
from .ledger import text
from .roster import Roster
from .store import Store

log = logging.getLogger(__name__)
MOST_SLOTS = 4096
MOST_BYTES = 1 << 60
MOST_WORDS = 32
MOST_COMMANDS = 200


@dataclass(frozen=True)
class Admitted:
    """Somebody who may in, and what he is told."""

    caller: Caller
    welcome: Welcome
    node: str = ""
    info: NodeInfo | None = None
    """What the node says of itself, within bounds."""


class Gate:
    def __init__(self, store: Store, tokens: Tokens, roster: Roster, *, name: str, farm: str, beat: float) -> None:
        self._store = store
        self._tokens = tokens
        self._roster = roster
        self._name = name
        self._farm = farm
        self._beat = beat

    def admit(self, hello: Hello, peer: str) -> Admitted:
        """Raises Refused with the code and the sentence that the peer is told."""
        if hello.version != VERSION:
            raise Refused(
                f"This server speaks version {VERSION} of the protocol, {peer} speaks {hello.version}: update the older one.", "version"
            )
        if hello.role is Role.NODE:
            return self._admit_node(hello)
        role = self._tokens.role_of(hello.token)
        if role is None:
            raise Refused("The token is not known here: the join code is wrong or was replaced; log in with a new one.", "token")
        if role is Role.NODE or (hello.role is Role.ADMIN and role is not Role.ADMIN):
            raise Refused(
                f"This join code is for the role {role}, not {hello.role}: ask for one with join-code --role {hello.role}.", "role"
            )
        return Admitted(Caller(token=token_id(hello.token), role=role), self._welcome())

    def _admit_node(self, hello: Hello) -> Admitted:
        if hello.node is None or not 0 < len(hello.incarnation) <= 64 or not 0 <= hello.slot < MOST_SLOTS:
            raise Refused("A node's hello must say what the node is, its incarnation and its slot.", "protocol")
        info = bounded(hello.node)
        ident, token = hello.node_id, ""
        if ident:
            with self._store.read() as tx:
                row = tx.one("node", id=ident)
            if row is None:
                raise Refused("This node was removed from the farm: start it with --new-id and a join code to join anew.", "token")
            if not same_token(row["token"], token_hash(hello.node_token)):
                raise Refused("The node's own token is wrong: start it with --new-id and a join code to join anew.", "token")
            if self._roster.clash(ident, hello.incarnation):
                raise Refused(
                    f"Another machine runs as node {row['name']} ({ident[:8]}) right now: if this one's disk was cloned from it, "
                    "start this one with --new-id.",
                    "clone",
                )
            self._store.write(lambda tx: tx.run("node_seen", id=ident, name=info.name, info=text(info)))
        else:
            if self._tokens.role_of(hello.token) is not Role.NODE:
                raise Refused("The join code is wrong or was replaced: ask for a new one with join-code --role node.", "token")
            ident, token = new_id(), new_token()
            self._store.write(
                lambda tx: tx.run("add_node", id=ident, name=info.name, token=token_hash(token), info=text(info))
            )
            log.info("node %s joined as %s", info.name, ident[:8])
        return Admitted(Caller(token=ident, role=Role.NODE), self._welcome(ident if token else "", token), ident, info)

    def _welcome(self, node_id: str = "", node_token: str = "") -> Welcome:
        return Welcome(server=self._name, farm=self._farm, node_id=node_id, node_token=node_token, beat=self._beat)


def bounded(info: NodeInfo) -> NodeInfo:
    """A node's words as they are kept and shown to everybody: printable, few, short, and no number that makes no sense."""
    return NodeInfo(
        name=_plain(info.name) or f"node-{hashlib.sha256(info.name.encode()).hexdigest()[:6]}",
        version=_plain(info.version, 40),
        slots=max(1, min(info.slots, MOST_SLOTS)),
        cores=max(1, min(info.cores, MOST_SLOTS)),
        memory=max(0, min(info.memory, MOST_BYTES)),
        disk=max(0, min(info.disk, MOST_BYTES)),
        gpus=_few(info.gpus),
        programs=tuple(
            Program(name=_plain(p.name, 40), version=_plain(p.version, 40), path=_plain(p.path, 300)) for p in info.programs[:MOST_WORDS]
        ),
        allow=_few(info.allow),
        commands=_few(info.commands, MOST_COMMANDS),
        tags=_few(info.tags),
        confined=_plain(info.confined, 300),
        bundles=tuple(digest for digest in info.bundles[:64] if is_digest(digest)),
        shared=tuple(
            SharedAt(root=at.root, path=_plain(at.path, 300), results=_plain(at.results, 300))
            for at in info.shared[:MOST_WORDS]
            if NAME.fullmatch(at.root)
        ),
    )


def _plain(words: str, most: int = 100) -> str:
    return "".join(c for c in words[: 4 * most] if c.isprintable())[:most]


def _few(words: Sequence[str], most: int = MOST_WORDS) -> tuple[str, ...]:
    return tuple(_plain(word) for word in words[:most])
