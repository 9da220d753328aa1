"""The frozen values that all sides share. Words are those of common/README.md; states are in states.py.

Times are seconds since 1970 UTC where a name ends in nothing, spans are seconds. Sizes are bytes.
Ids are random and never used twice, not even after a restored backup: they carry the fence.
"""

from __future__ import annotations

import secrets
import uuid
from enum import StrEnum
from typing import Any

import msgspec

from .states import AttemptState, JobState, TaskState


class Value(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=False, omit_defaults=True):
    """Base of the values: frozen, keyword-only, unknown fields of a newer peer are passed over."""


def new_task_id() -> str:
    """A task's uuid; the client chooses it, so that a repeated submit is the same submit."""
    return str(uuid.UUID(bytes=secrets.token_bytes(16), version=4))


def new_id() -> str:
    """128 random bits in hex: jobs, leases, incarnations, nodes, upload sessions."""
    return secrets.token_hex(16)


class Role(StrEnum):
    NODE = "node"
    SUBMIT = "submit"
    ADMIN = "admin"


class Cause(StrEnum):
    """Why an attempt ended, other than by acceptance."""

    ERROR = "error"  # the program failed
    TIMEOUT = "timeout"  # it ran over its time
    STALL = "stall"  # it showed no progress
    MEMORY = "memory"  # it ran out of memory
    REJECTED = "rejected"  # its output is not what was asked for
    INPUT = "input"  # the scene itself is wrong: no other node will do better
    RETURNED = "returned"  # the node gave it back (disk full, cannot fetch)
    DRAINED = "drained"  # the node is leaving
    CANCELED = "canceled"  # the task was cancelled
    SILENT = "silent"  # the term of the lease is over
    REPLACED = "replaced"  # a new incarnation of the node came
    FILES_GONE = "files_gone"  # a restart found no outputs to verify


COUNTED = frozenset({Cause.ERROR, Cause.TIMEOUT, Cause.STALL, Cause.MEMORY, Cause.REJECTED})
"""Causes that count against the task's ``attempts``."""

SILENT_NODES = 5
"""A job whose leases were silently lost on this many different nodes fails: it probably kills its nodes."""


class Caller(Value, frozen=True, kw_only=True):
    """Who knocks at the desk."""

    token: str
    role: Role


class Limits(Value, frozen=True, kw_only=True):
    attempts: int = 3
    timeout: float = 7200.0
    """Seconds per attempt."""
    stall: float = 0.0
    """Seconds without progress after which an attempt ends; 0: never."""


class Needs(Value, frozen=True, kw_only=True):
    """What one job needs of a node. ``program`` is a name with an optional bound: ``povray``, ``povray>=3.7``, ``povray==3.7.0.10``."""

    memory: int = 0
    cores: float = 0.0
    gpu: int = 0
    scratch: int = 0
    program: str = ""
    tags: tuple[str, ...] = ()
    command: str = ""
    """A program that the node's owner must have allowed by name ([node] commands); several of them separated by blanks."""
    shared: str = ""
    """A shared root that the node must have declared, and passed the probe of. The server says which, from the manifest."""


class TaskSpec(Value, frozen=True, kw_only=True):
    """What a submitter asks for, after all files and flags were read."""

    kind: str
    name: str
    options: dict[str, Any] = {}
    limits: Limits = Limits()
    needs: Needs = Needs()
    priority: int = 0
    """Higher first."""


class Region(Value, frozen=True, kw_only=True):
    """What one job covers. ``name`` is unique within its stage and fit for a file name; ``data`` belongs to the kind."""

    name: str
    data: dict[str, Any] = {}
    needs: tuple[str, ...] = ()
    """Paths of the task's files that the job reads, or of folders; empty: all. ``!path`` leaves a path or a folder out; where all entries
    begin so, the rest is read."""
    turn: int = 0
    """Jobs of a lower turn are leased first; within a turn it is split order. Pieces always come in split order."""
    weight: float = 1.0
    """How much work it is beside the other jobs of its stage, for progress and the time to go: the frames of a run of frames."""


class PackRef(Value, frozen=True, kw_only=True):
    """A pack by name and size, both of its uncompressed bytes."""

    digest: str
    size: int


class Output(Value, frozen=True, kw_only=True):
    """A file that an attempt made. Small ones carry their bytes."""

    path: str
    size: int
    digest: str
    data: bytes | None = None


class Failure(Value, frozen=True, kw_only=True):
    """Why an attempt failed, for the submitter: a sentence, and the evidence."""

    cause: Cause
    sentence: str
    exit_code: int | None = None
    tail: tuple[str, ...] = ()
    """The last lines that the program printed."""


class Account(Value, frozen=True, kw_only=True):
    """An FTP account that lives as long as its lease or upload session."""

    user: str
    password: str
    port: int
    host: str = ""
    """Empty: the address that the wire was reached at."""


class Program(Value, frozen=True, kw_only=True):
    name: str
    version: str
    path: str = ""


class SharedAt(Value, frozen=True, kw_only=True):
    """A shared root that a machine has declared, and where it sees it."""

    root: str
    path: str
    results: str = ""


class Probe(Value, frozen=True, kw_only=True):
    """A question to a node: what is in this file of a shared root, and can you write beside the results?

    The node reads the file ``.clusterray-probe/<name>`` in the root, and writes what it read there, and its own half, into the file
    ``.clusterray-probe-<name>`` of the results.
    """

    name: str
    root: str


class Probed(Value, frozen=True, kw_only=True):
    """The answer to a Probe."""

    name: str
    root: str
    read: str = ""
    """What the file held."""
    own: str = ""
    """The node's half of what it wrote."""
    fault: str = ""
    """Why it could not, as the end of "node X ..."."""
    free: int = 0
    """Bytes that may still be written where results go."""
    skew: float = 0.0
    """Seconds by which the time of the file that it wrote is ahead of its own clock."""


class NodeInfo(Value, frozen=True, kw_only=True):
    """What a node says of itself in its hello."""

    name: str
    version: str = ""
    slots: int = 1
    cores: int = 1
    memory: int = 0
    disk: int = 0
    gpus: tuple[str, ...] = ()
    programs: tuple[Program, ...] = ()
    allow: tuple[str, ...] = ("render",)
    commands: tuple[str, ...] = ()
    """Programs that tasks of the kind command may run there; ``any``: all."""
    tags: tuple[str, ...] = ()
    confined: str = ""
    """What confines programs there: ``bubblewrap``, ``off`` (its owner's choice) or why not."""
    bundles: tuple[str, ...] = ()
    shared: tuple[SharedAt, ...] = ()


class Grant(Value, frozen=True, kw_only=True):
    """One leased job, as a node gets it."""

    lease: str
    job: str
    number: int
    task: str
    task_name: str
    kind: str
    kind_version: int
    stage: str
    region: Region
    options: dict[str, Any]
    limits: Limits
    needs: Needs
    program: str
    """The one version that this run uses, as ``povray==3.7.0.10``; empty: none."""
    bundle: PackRef
    """The manifest's pack."""
    term: float
    account: Account
    results: str = ""
    """A shared root: files of the result go into its results, into ``.clusterray/<lease>/``, and not by FTP."""


class Progress(Value, frozen=True, kw_only=True):
    """What a beat says of one lease."""

    lease: str
    fraction: float = 0.0
    phase: str = ""
    """fetching, unpacking, working, uploading"""
    lines: tuple[str, ...] = ()


class Result(Value, frozen=True, kw_only=True):
    """The end of an attempt, told by the node until it is answered."""

    lease: str
    outputs: tuple[Output, ...] = ()
    failure: Failure | None = None
    """None: done. RETURNED and DRAINED give the lease back."""
    seconds: float = 0.0
    lines: tuple[str, ...] = ()


class Ruling(StrEnum):
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    NOTED = "noted"  # a failure or a return, recorded
    NOT_YOURS = "not_yours"
    INCOMPLETE = "incomplete"  # outputs did not arrive whole: send them again


class Verdict(Value, frozen=True, kw_only=True):
    """The answer to one Result."""

    lease: str
    ruling: Ruling
    sentence: str = ""


class FarmShape(Value, frozen=True, kw_only=True):
    """The nodes present, as a kind's ``split`` sees them; stored with the run, so that a repeat gives the same jobs."""

    slots: int = 1
    nodes: int = 1
    cores_per_slot: float = 1.0
    program: str = ""
    """The version chosen for this run, as ``povray==3.7.0.10``; empty: none was there."""
    gpus: tuple[str, ...] = ()
    """Names of the graphics cards of the nodes that can serve the task."""


class Asset(Value, frozen=True, kw_only=True):
    """A finished file that a submitter may fetch."""

    path: str
    size: int
    digest: str


class JobCounts(Value, frozen=True, kw_only=True):
    total: int = 0
    done: int = 0
    running: int = 0
    failed: int = 0
    queued: int = 0


class TaskView(Value, frozen=True, kw_only=True, omit_defaults=False):
    """A task as listings show it. The keys are stable: scripts read them from ``--json``."""

    id: str
    name: str
    kind: str
    state: TaskState
    priority: int
    run: int
    created: float
    started: float | None
    ended: float | None
    jobs: JobCounts
    progress: float
    """0..1 over all jobs, running ones in part."""
    place: int | None
    """Place in the queue, from 1, while queued."""
    error: str
    notes: tuple[str, ...]
    """Warnings, and why it waits."""
    assets: tuple[Asset, ...]
    """The first 50 in path order; a fetch has all of them."""
    eta: float | None
    """Seconds to go, as far as finished jobs tell."""
    nodes: int
    """Nodes that work on it now."""
    owner: str = ""
    stage: str = ""
    """The name of the stage that it is in, or ended in."""
    asset_count: int = 0
    shared: str = ""
    """The shared root that its files lie in; empty: they were sent."""
    published: str = ""
    """The folder below the results of that root in which its assets lie."""


class AttemptView(Value, frozen=True, kw_only=True, omit_defaults=False):
    number: int
    lease: str
    node: str
    state: AttemptState
    cause: str
    started: float
    ended: float | None
    sentence: str
    tail: tuple[str, ...] = ()


class JobView(Value, frozen=True, kw_only=True, omit_defaults=False):
    id: str
    region: str
    stage: str
    state: JobState
    progress: float
    attempts: tuple[AttemptView, ...]


class SharedView(Value, frozen=True, kw_only=True, omit_defaults=False):
    """How a machine stands to a shared root, by its last probe."""

    machine: str
    """A node's name; empty: the server."""
    root: str
    path: str
    results: str
    state: str
    """good, bad, unknown (not probed yet, or not here)"""
    why: str = ""
    """What is wrong, or worth knowing, as the end of "node X ..."."""
    free: int = 0
    skew: float = 0.0


class NodeView(Value, frozen=True, kw_only=True, omit_defaults=False):
    id: str
    name: str
    online: bool
    locked: bool
    draining: bool
    slots: int
    busy: int
    cores: int
    memory: int
    disk: int
    programs: tuple[Program, ...]
    allow: tuple[str, ...]
    tags: tuple[str, ...]
    confined: str
    version: str
    seen: float
    note: str = ""
    shared: tuple[SharedView, ...] = ()
