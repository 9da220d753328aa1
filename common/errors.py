"""Every error that ClusterRay raises on purpose, as one family.

    ClusterRayError                 exit 1
    ├── UsageError                  exit 2   the caller's words are wrong; nothing was done
    │   ├── TaskFileError           a task folder, task.toml, params.cfg or .ini; names file and line
    │   └── SettingsError           clusterray.toml, a variable or a flag; names where it came from
    ├── ProtocolError               the peer broke the rules of the wire; the link closes
    │   ├── FrameError              a length over the cap, or bytes cut short
    │   ├── DecodeError             a frame that is no known message
    │   │   └── OtherVersion        a hello of another version of the protocol, too strange to decode
    │   └── IllegalStep             a known message at the wrong moment
    ├── LinkError                   the network; try again
    │   ├── NoServer                exit 3   nothing answers at the address
    │   ├── LinkLost                the link ended in mid-talk
    │   └── Refused                 exit 4   token, pin, version: trying again will not help
    ├── StateError                  a state machine was asked for a step that its table lacks
    ├── FileError                   files on disk or on the way
    │   ├── UnsafeArchive           a name, link, device or size that unpacking refuses
    │   ├── DigestMismatch          the bytes are not those that the name promises
    │   ├── TransferError           FTP: refused, cut off, timed out
    │   ├── DiskFull                not enough room; says how much and where
    │   └── SharedError             a shared root, or a path in it, is not there, not readable or leads out
    │       └── SharedChanged       a file in it is not as it was when the task was submitted
    ├── KindError                   a kind's code
    │   ├── SplitFailed             the task cannot be cut; the sentence is for the submitter
    │   ├── OutputRejected          a result that is not what was asked for
    │   ├── StitchFailed            the pieces cannot be joined
    │   └── HandDied                the child process crashed, hung or overran its limits
    ├── DeskError                   the farm says no to one request
    │   ├── NoSuchTask
    │   ├── NotAllowed              another owner's task, or a verb that this role lacks
    │   ├── Conflict                the state does not allow the verb, or an id is taken by something else
    │   └── PacksMissing            `submit` names packs that the server does not hold
    └── AlreadyRunning              another process holds the lock of this data folder

A lost lease, a cancel and a drain are outcomes, not errors: they are values (see model.Cause).
"""

from __future__ import annotations

from pathlib import Path


class ClusterRayError(Exception):
    """Base of the family. ``str(error)`` is one sentence for the person who can do something about it."""

    code = "error"
    exit_code = 1


class UsageError(ClusterRayError):
    """The caller asked for something that makes no sense; nothing was changed."""

    code = "usage"
    exit_code = 2


class TaskFileError(UsageError):
    """A task folder or one of its description files is wrong.

    ``path`` and ``line`` (from 1) are put before the sentence where they are known. A kind that knows only which option is
    wrong names its ``key`` (``options.width``), and taskfile.py finds the line.
    """

    code = "task_file"

    def __init__(self, sentence: str, *, path: str | Path | None = None, line: int | None = None, key: str = "") -> None:
        self.sentence = sentence
        self.path = None if path is None else str(path)
        self.line = line
        self.key = key
        where = "" if path is None else f"{path}: " if line is None else f"{path}:{line}: "
        super().__init__(where + sentence)


class SettingsError(UsageError):
    """A setting is unknown or has a value that cannot be used."""

    code = "settings"


class ProtocolError(ClusterRayError):
    """The peer broke the rules of the wire."""

    code = "protocol"


class FrameError(ProtocolError):
    """A frame is longer than the cap or ends too early."""

    code = "frame"


class DecodeError(ProtocolError):
    """A frame holds no known message."""

    code = "decode"


class OtherVersion(DecodeError):
    """A hello that does not decode because the peer speaks another ``version`` of the protocol; the code is that of Refused."""

    code = "version"

    def __init__(self, sentence: str, version: int = 0) -> None:
        self.version = version
        super().__init__(sentence)


class IllegalStep(ProtocolError):
    """A message came at a moment when the conversation table has no place for it."""

    code = "step"


class LinkError(ClusterRayError):
    """The network failed; trying again may help."""

    code = "link"


class NoServer(LinkError):
    """Nothing answers at the address."""

    code = "no_server"
    exit_code = 3


class LinkLost(LinkError):
    """The link ended in the middle of a talk."""

    code = "link_lost"


class Refused(LinkError):
    """The other side said no: wrong token, pin, role or version. ``code`` is the reason code on the wire."""

    exit_code = 4

    def __init__(self, sentence: str, code: str = "refused") -> None:
        self.code = code
        super().__init__(sentence)


class StateError(ClusterRayError):
    """A state machine was asked for a step that its table does not have."""

    code = "state"


class FileError(ClusterRayError):
    """Something is wrong with files on disk or on the way."""

    code = "file"


class UnsafeArchive(FileError):
    """An archive holds a name, a link, a device or an amount of bytes that unpacking refuses."""

    code = "unsafe"


class DigestMismatch(FileError):
    """Bytes are not those that their name promises."""

    code = "digest"


class TransferError(FileError):
    """An FTP transfer was refused, cut off or timed out."""

    code = "transfer"


class DiskFull(FileError):
    """There is not enough room on a disk."""

    code = "disk_full"


class SharedError(FileError):
    """A shared root, or a path in it, is not there, cannot be read or leads out."""

    code = "shared"


class SharedChanged(SharedError):
    """A file in a shared root is not as it was when the task was submitted. ``path``: which, within the task's folder."""

    code = "shared_changed"

    def __init__(self, sentence: str, path: str) -> None:
        self.path = path
        super().__init__(sentence)


class KindError(ClusterRayError):
    """A kind's code failed."""

    code = "kind"


class SplitFailed(KindError):
    """A task cannot be cut into jobs, or what came out of a stage shows that it cannot go on; the sentence is for its submitter."""

    code = "split"


class OutputRejected(KindError):
    """A result is not what was asked for."""

    code = "rejected"


class StitchFailed(KindError):
    """The pieces cannot be joined."""

    code = "stitch"


class HandDied(KindError):
    """The child process in which a kind's code ran crashed, hung or overran its limits."""

    code = "hand"


class DeskError(ClusterRayError):
    """The farm says no to one request; the link stays open."""

    code = "desk"


class NoSuchTask(DeskError):
    """No task has this id, or it belongs to somebody else."""

    code = "no_such_task"


class NotAllowed(DeskError):
    """The caller's role or ownership does not cover this verb."""

    code = "not_allowed"
    exit_code = 4


class Conflict(DeskError):
    """The state of the thing does not allow the verb."""

    code = "conflict"


class PacksMissing(DeskError):
    """``submit`` names packs that the server does not hold for this owner."""

    code = "missing"

    def __init__(self, digests: tuple[str, ...]) -> None:
        self.digests = digests
        super().__init__(f"{len(digests)} packs of this bundle are not on the server; send them and submit again.")


class AlreadyRunning(ClusterRayError):
    """Another process holds the lock of this data folder."""

    code = "already_running"
