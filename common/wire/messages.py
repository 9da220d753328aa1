"""The messages of port 5007: frozen structs, one tagged union.

The asking side (node or client) sends one of the questions; the answering side (the server) sends one of its answers
or Refused. Which answer may follow which question is the table in protocol.py. What does not decode closes the link.
"""

from __future__ import annotations

from typing import Union

import msgspec

from ..model import (
    Account,
    Asset,
    Grant,
    JobView,
    NodeInfo,
    NodeView,
    PackRef,
    Probe,
    Probed,
    Progress,
    Result,
    Role,
    SharedView,
    TaskSpec,
    TaskView,
    Verdict,
)

VERSION = 1
"""Protocol version; both sides must have the same."""


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type"):
    """Base of all messages; the tag is the class's name in lower case."""


# --- questions of both roles


class Hello(Message, frozen=True, kw_only=True, tag="hello"):
    """First on every link. Nodes give ``node`` and the rest; at first contact ``node_id`` and ``node_token`` are empty."""

    role: Role
    token: str
    version: int = VERSION
    node_id: str = ""
    node_token: str = ""
    incarnation: str = ""
    slot: int = 0
    node: NodeInfo | None = None
    finished: tuple[str, ...] = ()
    """Leases of an older incarnation whose results lie in the outbox: these are not ended by the new one."""


class Bye(Message, frozen=True, kw_only=True, tag="bye"):
    """The asker leaves; gives nothing back by itself. No answer."""


# --- questions of a node's slot


class Ask(Message, frozen=True, kw_only=True, tag="ask"):
    """Work for this idle slot? The answer may be parked for up to ``wait`` seconds (20 at most)."""

    wait: float = 20.0


class Beat(Message, frozen=True, kw_only=True, tag="beat"):
    """A busy slot lives; one Progress for each lease that it holds. ``note`` is why the slot takes no more for now."""

    progress: tuple[Progress, ...]
    note: str = ""


class Finished(Message, frozen=True, kw_only=True, tag="finished"):
    """Results; ``ask`` wants the next leases in the same answer."""

    results: tuple[Result, ...]
    ask: bool = False


class Resume(Message, frozen=True, kw_only=True, tag="resume"):
    """A new FTP account for a lease whose account a server restart has forgotten."""

    lease: str


class Proven(Message, frozen=True, kw_only=True, tag="proven"):
    """What came of probes of shared roots, which an answer to ``ask`` or ``beat`` has asked for."""

    probed: tuple[Probed, ...]


# --- questions of a submitter


class Have(Message, frozen=True, kw_only=True, tag="have"):
    """Open (or go on with) an upload session: which of these packs are missing? Lists come in pages; ``session`` empty opens one."""

    session: str = ""
    packs: tuple[PackRef, ...] = ()


class Stored(Message, frozen=True, kw_only=True, tag="stored"):
    """These packs were sent by FTP in this session: hash them and give them their names."""

    session: str
    packs: tuple[PackRef, ...]


class Submit(Message, frozen=True, kw_only=True, tag="submit"):
    """Hand in a task under an id that the client chose; the same again gets the same answer."""

    task: str
    spec: TaskSpec
    bundle: PackRef
    session: str = ""


class Tasks(Message, frozen=True, kw_only=True, tag="tasks"):
    """A page of the caller's tasks (an admin's: all), newest first."""

    after: str = ""
    limit: int = 200
    live: bool = False


class Show(Message, frozen=True, kw_only=True, tag="show"):
    """One task with a page of its jobs. ``task`` may be a unique beginning of an id."""

    task: str
    after: int = 0
    limit: int = 200


class Watch(Message, frozen=True, kw_only=True, tag="watch"):
    """Parked until one of the tasks has an event after ``event``, its progress changed, or ``wait`` seconds are over."""

    tasks: tuple[str, ...]
    event: int = 0
    wait: float = 20.0


class Change(Message, frozen=True, kw_only=True, tag="change"):
    """A verb on one task: cancel, restart, remove, priority.

    ``fresh``: a restart does again what earlier runs have made; ``anew``: only from the stage of this name on; ``options``: it is done with
    these ``key=value`` words changed.
    """

    task: str
    verb: str
    value: int = 0
    fresh: bool = False
    anew: str = ""
    options: tuple[str, ...] = ()


class Fetch(Message, frozen=True, kw_only=True, tag="fetch"):
    """A page of at most ``limit`` assets of a finished task, from number ``after``, with an account that may read these.

    ``limit`` 0 asks for all of them in one answer, which is denied where they do not fit.
    """

    task: str
    after: int = 0
    limit: int = 0


class Preview(Message, frozen=True, kw_only=True, tag="preview"):
    """Pictures of how far a task is; ``full``: one at the full size."""

    task: str
    full: bool = False


class Log(Message, frozen=True, kw_only=True, tag="log"):
    """Lines of a task's log (``job`` empty: of all its attempts), from line ``after``."""

    task: str
    job: str = ""
    after: int = 0
    limit: int = 1000


class Nodes(Message, frozen=True, kw_only=True, tag="nodes"):
    """All nodes."""


class ChangeNode(Message, frozen=True, kw_only=True, tag="change_node"):
    """lock, unlock, drain, undrain, remove."""

    node: str
    verb: str


class CheckShared(Message, frozen=True, kw_only=True, tag="check_shared"):
    """Probe the shared roots now, on the server and on every node that declares one. The answer comes when all have spoken, after 20 s at
    the latest."""


class Status(Message, frozen=True, kw_only=True, tag="status"):
    """The server in numbers."""


# --- answers


class Welcome(Message, frozen=True, kw_only=True, tag="welcome"):
    """``node_id`` and ``node_token`` are given at a node's first contact only."""

    version: int = VERSION
    server: str = ""
    farm: str = ""
    """The farm's id: a client or node that meets another one under the old address says so."""
    node_id: str = ""
    node_token: str = ""
    beat: float = 2.0


class Refused(Message, frozen=True, kw_only=True, tag="refused"):
    """No, and the link closes. Codes: token, role, version, clone, busy, protocol, stopping, internal."""

    code: str
    sentence: str


class Denied(Message, frozen=True, kw_only=True, tag="denied"):
    """No to this one question; the link stays. ``code`` is the error's code in errors.py."""

    code: str
    sentence: str
    digests: tuple[str, ...] = ()


class Leases(Message, frozen=True, kw_only=True, tag="leases"):
    """Work; empty when none came while parked. ``probes``: do these first, and tell what came of them by ``proven``."""

    grants: tuple[Grant, ...] = ()
    probes: tuple[Probe, ...] = ()


class Beaten(Message, frozen=True, kw_only=True, tag="beaten"):
    """Go on with all that is named in neither list; ``probes`` as in Leases."""

    cancel: tuple[str, ...] = ()
    not_yours: tuple[str, ...] = ()
    probes: tuple[Probe, ...] = ()


class Heard(Message, frozen=True, kw_only=True, tag="heard"):
    """The probes are judged; the files that they made may go."""


class Judged(Message, frozen=True, kw_only=True, tag="judged"):
    verdicts: tuple[Verdict, ...]
    grants: tuple[Grant, ...] = ()


class Resumed(Message, frozen=True, kw_only=True, tag="resumed"):
    """``account`` None: not yours."""

    account: Account | None = None


class Missing(Message, frozen=True, kw_only=True, tag="missing"):
    session: str
    packs: tuple[str, ...]
    account: Account


class Kept(Message, frozen=True, kw_only=True, tag="kept"):
    """Which packs have their names now, and which must be sent again (digest: sentence)."""

    kept: tuple[str, ...] = ()
    again: dict[str, str] = {}


class Submitted(Message, frozen=True, kw_only=True, tag="submitted"):
    task: TaskView


class TaskList(Message, frozen=True, kw_only=True, tag="task_list"):
    tasks: tuple[TaskView, ...]
    more: bool = False


class TaskDetail(Message, frozen=True, kw_only=True, tag="task_detail"):
    task: TaskView
    jobs: tuple[JobView, ...] = ()
    more: bool = False


class News(Message, frozen=True, kw_only=True, tag="news"):
    tasks: tuple[TaskView, ...]
    event: int
    gone: tuple[str, ...] = ()


class Changed(Message, frozen=True, kw_only=True, tag="changed"):
    task: TaskView | None = None


class Assets(Message, frozen=True, kw_only=True, tag="assets"):
    """``more``: there are assets after these; ``size``: bytes of all."""

    task: TaskView
    assets: tuple[Asset, ...]
    account: Account
    more: bool = False
    size: int = 0


class Previewed(Message, frozen=True, kw_only=True, tag="previewed"):
    """``account`` None: there are no files, and ``why`` says why; ``pending``: they are being drawn, ask again."""

    task: TaskView
    files: tuple[Asset, ...] = ()
    account: Account | None = None
    why: str = ""
    pending: bool = False


class Lines(Message, frozen=True, kw_only=True, tag="lines"):
    lines: tuple[str, ...]
    next: int = 0
    more: bool = False


class NodeList(Message, frozen=True, kw_only=True, tag="node_list"):
    nodes: tuple[NodeView, ...]


class SharedChecked(Message, frozen=True, kw_only=True, tag="shared_checked"):
    """How every machine stands to every shared root."""

    found: tuple[SharedView, ...] = ()


class ServerStatus(Message, frozen=True, kw_only=True, tag="server_status"):
    name: str
    version: str
    started: float
    tasks: dict[str, int] = {}
    nodes: int = 0
    slots: int = 0
    busy: int = 0


Question = Union[
    Hello,
    Bye,
    Ask,
    Beat,
    Finished,
    Resume,
    Proven,
    Have,
    Stored,
    Submit,
    Tasks,
    Show,
    Watch,
    Change,
    Fetch,
    Preview,
    Log,
    Nodes,
    ChangeNode,
    CheckShared,
    Status,
]
Answer = Union[
    Welcome,
    Refused,
    Denied,
    Leases,
    Beaten,
    Judged,
    Resumed,
    Heard,
    Missing,
    Kept,
    Submitted,
    TaskList,
    TaskDetail,
    News,
    Changed,
    Assets,
    Previewed,
    Lines,
    NodeList,
    SharedChecked,
    ServerStatus,
]
AnyMessage = Union[Question, Answer]
