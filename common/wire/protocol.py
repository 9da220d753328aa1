"""The conversation of port 5007, without a socket: bytes in, messages out; a message in, bytes out.

One table, read from both ends. The asker says one question, the answerer one answer, so messages never cross. The one
exception is Refused: the answerer may say it at any moment, and it ends the conversation.
A step that the table lacks raises IllegalStep and changes nothing.
"""

from __future__ import annotations

from enum import Enum
from typing import get_args

import msgspec

from ..errors import DecodeError, IllegalStep, OtherVersion, ProtocolError
from ..model import Role
from .frames import FrameReader, frame
from .messages import (
    VERSION,
    Answer,
    AnyMessage,
    Ask,
    Assets,
    Beat,
    Beaten,
    Bye,
    Change,
    Changed,
    ChangeNode,
    CheckShared,
    Denied,
    Fetch,
    Finished,
    Have,
    Heard,
    Hello,
    Judged,
    Kept,
    Leases,
    Lines,
    Log,
    Message,
    Missing,
    News,
    NodeList,
    Nodes,
    Preview,
    Previewed,
    Proven,
    Question,
    Refused,
    Resume,
    Resumed,
    ServerStatus,
    SharedChecked,
    Show,
    Status,
    Stored,
    Submit,
    Submitted,
    TaskDetail,
    TaskList,
    Tasks,
    Watch,
    Welcome,
)

QUESTIONS: tuple[type[Message], ...] = get_args(Question)
ANSWERS: tuple[type[Message], ...] = get_args(Answer)


class Side(Enum):
    ASKER = "asker"
    ANSWERER = "answerer"


class State(Enum):
    """START waits for Hello, NODE and USER for the next question, CLOSED for nothing; the others for the answer to that question."""

    START = "start"
    GREETED_AS_NODE = "hello of a node"
    GREETED_AS_USER = "hello of a user"
    NODE = "ready for a node's question"
    USER = "ready for a user's question"
    ASK = "ask"
    BEAT = "beat"
    FINISHED = "finished"
    RESUME = "resume"
    PROVEN = "proven"
    HAVE = "have"
    STORED = "stored"
    SUBMIT = "submit"
    TASKS = "tasks"
    SHOW = "show"
    WATCH = "watch"
    CHANGE = "change"
    FETCH = "fetch"
    PREVIEW = "preview"
    LOG = "log"
    NODES = "nodes"
    CHANGE_NODE = "change_node"
    CHECK_SHARED = "check_shared"
    STATUS = "status"
    CLOSED = "closed"


class NodeHello:
    """Stands in the table for a Hello whose role is node."""


class UserHello:
    """Stands in the table for a Hello whose role is submit or admin."""


_EXCHANGES: tuple[tuple[State, type[Message], State, tuple[type[Message], ...]], ...] = (
    # ready       question    its state          its answers
    (State.NODE, Ask, State.ASK, (Leases,)),
    (State.NODE, Beat, State.BEAT, (Beaten,)),
    (State.NODE, Finished, State.FINISHED, (Judged,)),
    (State.NODE, Resume, State.RESUME, (Resumed,)),
    (State.NODE, Proven, State.PROVEN, (Heard,)),
    (State.USER, Have, State.HAVE, (Missing,)),
    (State.USER, Stored, State.STORED, (Kept,)),
    (State.USER, Submit, State.SUBMIT, (Submitted,)),
    (State.USER, Tasks, State.TASKS, (TaskList,)),
    (State.USER, Show, State.SHOW, (TaskDetail,)),
    (State.USER, Watch, State.WATCH, (News,)),
    (State.USER, Change, State.CHANGE, (Changed,)),
    (State.USER, Fetch, State.FETCH, (Assets,)),
    (State.USER, Preview, State.PREVIEW, (Previewed,)),
    (State.USER, Log, State.LOG, (Lines,)),
    (State.USER, Nodes, State.NODES, (NodeList,)),
    (State.USER, ChangeNode, State.CHANGE_NODE, (Changed, NodeList)),
    (State.USER, CheckShared, State.CHECK_SHARED, (SharedChecked,)),
    (State.USER, Status, State.STATUS, (ServerStatus,)),
)


def _table() -> dict[tuple[State, type[object]], State]:
    table: dict[tuple[State, type[object]], State] = {
        (State.START, NodeHello): State.GREETED_AS_NODE,
        (State.START, UserHello): State.GREETED_AS_USER,
        (State.GREETED_AS_NODE, Welcome): State.NODE,
        (State.GREETED_AS_USER, Welcome): State.USER,
        (State.NODE, Bye): State.CLOSED,
        (State.USER, Bye): State.CLOSED,
    }
    for ready, question, asked, answers in _EXCHANGES:
        table[ready, question] = asked
        table[asked, Denied] = ready
        for answer in answers:
            table[asked, answer] = ready
    for state in State:
        if state is not State.CLOSED:
            table[state, Refused] = State.CLOSED
    return table


TABLE = _table()
"""(state, message class) -> state. What it lacks is illegal; who may say a message follows from QUESTIONS and ANSWERS."""

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[AnyMessage] = msgspec.json.Decoder(AnyMessage)


def encode(message: AnyMessage) -> bytes:
    """A message's JSON. ProtocolError: it holds something that has no JSON, as a file name in no known encoding."""
    try:
        return _encoder.encode(message)
    except (TypeError, ValueError, RecursionError) as error:
        raise ProtocolError(f"This {type(message).__name__} cannot be written as JSON ({error}).") from error


def decode(payload: bytes) -> AnyMessage:
    """A payload's message. OtherVersion: a hello of another protocol version; DecodeError: no message that we know."""
    try:
        return _decoder.decode(payload)
    except (ValueError, RecursionError) as error:  # msgspec's own errors are ValueErrors, and so is text that is no UTF-8
        version = foreign_version(payload)
        if version is not None:
            raise OtherVersion(
                f"The peer speaks version {version} of the protocol, this side version {VERSION}: update the older one.", version
            ) from error
        raise DecodeError(f"The peer sent {len(payload):,} bytes that are no known message ({error}).") from error


def foreign_version(payload: bytes) -> int | None:
    """The protocol version that a hello names, whatever else it holds, if it is not ours; None for all other payloads."""
    try:
        read = msgspec.json.decode(payload)
    except (ValueError, RecursionError):
        return None
    if not isinstance(read, dict) or read.get("type") != "hello":
        return None
    version = read.get("version", VERSION)
    return version if type(version) is int and version != VERSION else None


class Conversation:
    """One end of one link. Not thread-safe: one thread owns it, as it owns the socket."""

    def __init__(self, side: Side) -> None:
        self.side = side
        self.state = State.START
        self._reader = FrameReader()

    @property
    def may_send(self) -> bool:
        """Whether it is this side's turn to speak; Refused apart."""
        ready = self.state in (State.START, State.NODE, State.USER)
        return self.state is not State.CLOSED and ready == (self.side is Side.ASKER)

    def receive(self, data: bytes) -> list[AnyMessage]:
        """The messages that these bytes complete. ProtocolError: the peer broke the rules, and nothing of it was taken over."""
        self._reader.feed(data)
        state, messages = self.state, []
        for payload in self._reader.frames():
            message = decode(payload)
            state = self._next(state, message, Side.ANSWERER if self.side is Side.ASKER else Side.ASKER)
            messages.append(message)
        self.state = state
        return messages

    def receive_eof(self) -> None:
        """The peer sends no more: the conversation is closed. FrameError: it stopped inside a message."""
        self.state = State.CLOSED
        self._reader.eof()

    def send(self, message: AnyMessage) -> bytes:
        """The bytes to put on the wire. IllegalStep or FrameError: this side's own mistake; nothing has changed."""
        state = self._next(self.state, message, self.side)
        data = frame(encode(message))
        self.state = state
        return data

    def _next(self, state: State, message: AnyMessage, speaker: Side) -> State:
        step: type[object] = type(message)
        after = TABLE.get((state, step))
        if isinstance(message, Hello):
            after = TABLE.get((state, NodeHello if message.role is Role.NODE else UserHello))
        theirs = QUESTIONS if speaker is Side.ASKER else ANSWERS
        if after is None or step not in theirs:
            raise IllegalStep(f"{step.__name__} from the {speaker.value} has no place in the state {state.name}.")
        return after
