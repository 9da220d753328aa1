"""How a node's slots come to the server, and what is said about it: each change of state once for all slots, in words for people.

A node waits for its server for ever: it backs off and tries again. Only what waiting cannot mend ends it: a wrong token, role,
version or key at the first contact of its life, where somebody is looking, and an id that answers elsewhere.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from ..common.clock import Clock, backoff
from ..common.errors import ClusterRayError, LinkLost, ProtocolError, Refused, UsageError
from ..common.model import NodeInfo, Role
from ..common.wire.messages import AnyMessage, Bye, Hello, Question, Welcome
from .identity import NodeIdentity

log = logging.getLogger(__name__)

CLONE_PATIENCE = 90.0
"""Seconds for which "your id is at work elsewhere" is borne: after a power cut the server may hold our own past for alive."""
SLOWLY = 60.0
"""Seconds between tries when a server that knows us says no."""
AT_ONCE_FINAL = frozenset({"token", "role", "version", "pin"})


class Line(Protocol):
    """What a slot needs of a Link."""

    @property
    def host(self) -> str: ...

    def ask(self, question: Question, timeout: float = 30.0) -> AnyMessage: ...

    def tell(self, question: Bye) -> None: ...

    def close(self) -> None: ...

    def abort(self) -> None: ...


Dial = Callable[[Sequence[str], str], Line]
"""(addresses, pin) -> a link to the server."""


class Contact:
    """Shared by the slots of one agent."""

    def __init__(
        self,
        *,
        identity: NodeIdentity,
        dial: Dial,
        describe: Callable[[], NodeInfo],
        finished: Callable[[], tuple[str, ...]],
        incarnation: str,
        clock: Clock,
        secrets: Callable[[str], None] = lambda secret: None,
    ) -> None:
        self.over = threading.Event()
        """Set: the server will not have us; ``failure`` says why."""
        self.failure: ClusterRayError | None = None
        self.settled = threading.Event()
        """Set with the first word from the server, or the first failure to get one."""
        self.told = ""
        """The last sentence that was logged."""
        self.host = ""
        self._identity = identity
        self._dial = dial
        self._describe = describe
        self._finished = finished
        self._incarnation = incarnation
        self._clock = clock
        self._secrets = secrets
        self._lock = threading.Lock()
        self._welcomed = False
        self._up: set[int] = set()
        self._clone_since: float | None = None
        self._said = ""

    @property
    def welcomed(self) -> bool:
        """Whether the server has taken us in this life."""
        return self._welcomed

    def meet(self, slot: int) -> tuple[Line, Welcome]:
        """A new link for this slot, greeted. Raises what dial and ask raise."""
        if self._identity.node_id:
            return self._greet(slot)
        with self._identity.lock:
            return self._greet(slot)

    def _greet(self, slot: int) -> tuple[Line, Welcome]:
        code = self._identity.code
        line = self._dial(code.addresses, code.pin)
        try:
            hello = Hello(
                role=Role.NODE,
                token=code.token,
                node_id=self._identity.node_id,
                node_token=self._identity.node_token,
                incarnation=self._incarnation,
                slot=slot,
                node=self._describe(),
                finished=self._finished(),
            )
            welcome = line.ask(hello)
            if not isinstance(welcome, Welcome):
                raise ProtocolError(f"The server answered a hello with {type(welcome).__name__}.")
            if welcome.node_id:
                self._secrets(welcome.node_token)
                self._identity.learn(welcome.node_id, welcome.node_token, welcome.farm)
        except BaseException:
            line.close()
            raise
        self._is_up(slot, line, welcome)
        return line, welcome

    def _is_up(self, slot: int, line: Line, welcome: Welcome) -> None:
        with self._lock:
            first = not self._up
            self._up.add(slot)
            self._welcomed = True
            self._clone_since = None
            self.host = line.host
            if first:
                self._say(logging.INFO, f"Connected to the server {welcome.server or line.host} as node {self._identity.node_id}.")
        self.settled.set()

    def down(self, slot: int, error: ClusterRayError, attempt: int) -> float:
        """The link of this slot is gone or did not come about. Return how long to wait before the next try."""
        with self._lock:
            was_up = slot in self._up
            self._up.discard(slot)
            if isinstance(error, Refused):
                pause = self._refused(error)
            elif isinstance(error, UsageError):
                self._end(error)
                pause = 0.0
            else:
                pause = 0.0 if was_up and attempt == 0 else backoff(attempt)
                if not self._up and (attempt > 0 or not was_up):  # a link that is back at once is no news
                    self._say(logging.WARNING, f"{_sentence(error)} Trying again until it answers; running jobs go on.", key="down")
        self.settled.set()
        return pause

    def left(self, slot: int) -> None:
        """This slot has said goodbye."""
        with self._lock:
            self._up.discard(slot)

    def _refused(self, error: Refused) -> float:
        if error.code == "clone":
            now = self._clock.monotonic()
            self._clone_since = now if self._clone_since is None else self._clone_since
            if now - self._clone_since > CLONE_PATIENCE:
                self._end(error)
                return 0.0
            self._say(logging.WARNING, f"{_sentence(error)} Trying for another {CLONE_PATIENCE:g} s.", key=error.code)
            return 5.0
        if error.code in AT_ONCE_FINAL and not self._welcomed:
            self._end(error)
            return 0.0
        self._say(logging.WARNING, f"The server refuses this node: {_sentence(error)} Trying again from time to time.", key=error.code)
        return backoff(3) if error.code in ("stopping", "busy") else SLOWLY * backoff(0, base=1.0)

    def _end(self, error: ClusterRayError) -> None:
        if self.failure is None:
            self.failure = error
            sentence = _sentence(error)
            if isinstance(error, Refused):
                sentence = f"The server refuses this node: {sentence}"
                if error.code == "token" and self._identity.node_id and "--new-id" not in sentence:
                    sentence += " If the node was removed from the farm, start it with --new-id and a join code."
            self._say(logging.ERROR, sentence)
        self.over.set()

    def _say(self, level: int, sentence: str, key: str = "") -> None:
        key = key or sentence
        if key != self._said:
            self._said = key
            self.told = sentence
            log.log(level, "%s", sentence)


def _sentence(error: ClusterRayError) -> str:
    text = str(error)
    if isinstance(error, LinkLost):
        text = f"The server is gone: {text[:1].lower() if text.startswith('The ') else text[:1]}{text[1:]}"
    text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "?", "!")) else text + "."
