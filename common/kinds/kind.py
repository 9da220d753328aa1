"""The contract of a kind: how one sort of task is split, processed, verified and stitched.

``examine``, ``split``, ``verify`` and ``stitch`` run in a hand (a child process of the server) or, for ``examine``, on the
submitter's machine before anything is sent; ``process`` runs on a node and only describes the work. A kind imports no
thread, socket, store or engine, so that it can be tested with a dictionary and a temporary folder. Heavy libraries are
imported inside of the functions that use them: nodes and clients load this package too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ..model import Cause, Failure, FarmShape, Needs, Region, TaskSpec


class Folder(Protocol):
    """Read-only files by relative POSIX path: a task's folder, or the outputs of a job."""

    def names(self) -> tuple[str, ...]:
        """All files, sorted."""

    def size(self, name: str) -> int:
        """Bytes; KeyError where there is no such file."""

    def read(self, name: str) -> bytes:
        """The whole file; KeyError where there is no such file."""

    def path(self, name: str) -> Path:
        """A real file with these bytes, to be read only."""


@dataclass(frozen=True, kw_only=True)
class Option:
    """One option of a kind, as data: CLI help, validation, web form and NodeODM's /options come from it."""

    name: str
    type: str
    """int, float, bool, str, choice, strings (a list of str), tiles ("auto" or [columns, rows]), value (anything that TOML can say, checked
    by the kind), table (a table of its own in task.toml, ``[animation]``, whose keys are ``options``; None where it is not there)"""
    default: Any = None
    help: str = ""
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    required: bool = False
    options: tuple[Option, ...] = ()
    """Of a table; empty: any keys, checked by the kind."""


@dataclass(frozen=True, kw_only=True)
class Examined:
    """A task that makes sense: every option present and of its type, needs filled in, warnings for the submitter."""

    spec: TaskSpec
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a job is processed."""

    inputs: Path
    """The task's folder, unpacked, read-only, shared by the slots of the node. Files in shared storage are links to them."""
    scratch: Path
    """This lease's own folder; what is to be kept goes below ``scratch / "out"``, which exists."""
    cores: int = 1
    """This slot's share, at least 1."""
    programs: Mapping[str, str] = field(default_factory=dict)
    """Program name -> path of the one that this run uses."""
    gpus: tuple[int, ...] = ()
    """Numbers of the graphics cards that this job has to itself."""
    see: tuple[Path, ...] = ()
    """Folders of shared storage that links among the inputs lead to; the node's business, a kind need not know of them."""


def plain_diagnosis(code: int, tail: Sequence[str]) -> Failure:
    """What is said of a program that a kind knows nothing special about."""
    how = f"ended by signal {-code}" if code < 0 else f"exited with {code}"
    last = next((line for line in reversed(tail) if line.strip()), "")
    return Failure(cause=Cause.ERROR, sentence=f"The program {how}{': ' + last.strip() if last else '.'}", exit_code=code, tail=tuple(tail))


WARM_DONE = "clusterray: done"
WARM_FAILED = "clusterray: failed"


@dataclass(frozen=True, kw_only=True)
class Warm:
    """A program that does one job after another of the same task in one slot, so that start-up and loading are paid once.

    For each job it reads one line of JSON from its standard input: ``request`` and, put in by the node, ``out``, the folder to write to.
    It answers by a line WARM_DONE, or one that begins with WARM_FAILED and says why; all its other lines are progress and log.
    The end of its input is its end.
    """

    key: str
    """Jobs with the same key may share the program."""
    argv: tuple[str, ...]
    request: Mapping[str, Any]
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Files that the node puts into the program's own folder, its working folder, before it starts."""
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a node does for a region: a program by argv, or a call into our own code."""

    argv: tuple[str, ...] = ()
    call: Callable[[], None] | None = None
    """Instead of argv: a function of the kind itself (never of a submitter), run in the agent."""
    warm: Warm | None = None
    """A better way where the node can do it; ``argv`` does the same job alone, also after the warm program failed."""
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    """None: the scratch folder."""
    outputs: tuple[str, ...] = ("**/*",)
    """Glob patterns below ``scratch/out``; each must match at least one non-empty file, and all matches are sent."""
    progress: Callable[[str], float | None] | None = None
    """A line (split at CR or LF) of stdout or stderr -> fraction done, or None."""
    finish: Callable[[], None] | None = None
    """Run in the agent after exit code 0, before the outputs are collected; raises OutputRejected."""
    diagnose: Callable[[int, Sequence[str]], Failure] = plain_diagnosis
    """Exit code (negative: signal) and last lines -> Failure. Cause.INPUT: no retry, the task fails at once."""
    see: tuple[Path, ...] = ()
    """Folders that the confinement shows read-only, beside inputs, the system and the renderer."""
    network: bool = False


@dataclass(frozen=True, kw_only=True)
class Piece:
    """The accepted output of a job."""

    region: Region
    files: Folder
    seconds: float = 0.0
    """What the node took for it."""
    node: str = ""
    """The node's name."""


class Stage(Protocol):
    """One round of split, process, stitch. Subclass it, so that what is optional is there.

    What the stitch of a stage that is not the last writes, later stages see (split, process, stitch) as ``stages/<name of the stage>/…``
    among the task's files.
    """

    streams: bool = False
    """The stitch is begun with the stage, and gets each piece as soon as it and all before it are accepted."""
    optional: bool = False
    """The split may find that there is nothing to do: no regions. Then the stage is stitched at once, from no pieces."""

    @property
    def name(self) -> str: ...

    def split(self, task: TaskSpec, files: Folder, farm: FarmShape) -> Iterable[Region]:
        """Cut the stage; the same arguments always give the same regions. Raises SplitFailed."""

    def notes(self, task: TaskSpec, files: Folder) -> tuple[str, ...]:
        """What the submitter is to know by now, one sentence each: asked after ``split``, told at once beside the task's state."""
        return ()

    def process(self, task: TaskSpec, region: Region, place: Place) -> Recipe:
        """What a node does for a region."""

    def verify(self, task: TaskSpec, region: Region, outputs: Folder) -> None:
        """Raise OutputRejected with the reason where the outputs are not what was asked for."""

    def stitch(self, task: TaskSpec, files: Folder, pieces: Iterator[Piece], out: Path, progress: Callable[[float], None]) -> None:
        """Join the pieces, which come in split order, into files below ``out``. ``files`` as in split(). Raises StitchFailed."""

    def reads(self, task: TaskSpec, region: Region) -> Any:
        """What the outputs of a region depend on besides its input files, as data: with the digests of those it is the job's key, and a
        new run takes over the accepted output of an older run's job with the same key. Default: all options and the region's data."""
        return [task.options, region.data]

    def preview(
        self, task: TaskSpec, files: Folder, regions: Sequence[Region], pieces: Sequence[Piece], out: Path, size: int
    ) -> bool:
        """Draw how far the stage is: ``preview.png`` (what is there, in its place, with holes), ``heat.png`` (seconds by region) and
        ``nodes.png`` (which node made what) below ``out``, the longer side ``size`` pixels (0: the full size, preview.png alone).

        ``files`` as in split(). ``regions`` are all of the stage, ``pieces`` those accepted by now, in any order; ``out`` holds what the
        last call left there.
        False: there is nothing to see.
        """
        return False


class Kind(Protocol):
    """The plug-in for one sort of task; found by entry point ``clusterray.kinds``. Subclass it, so that what is optional is there."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> int:
        """Raised whenever the same task would give other bytes."""

    @property
    def allow(self) -> str:
        """What the owner of a node must allow: render, commands or python."""

    @property
    def options(self) -> tuple[Option, ...]: ...

    scenes: tuple[str, ...] = ()
    """How the files end by which ``recognise`` goes (``.pov``), for the sentence about a folder that has none."""

    def recognise(self, files: Folder) -> bool:
        """Whether a bare folder without a task file looks like one of ours."""

    def examine(self, spec: TaskSpec, files: Folder) -> Examined:
        """Check options and files, fill in defaults. Raises TaskFileError with one sentence."""

    def needs(self, spec: TaskSpec) -> Needs:
        """The spec's needs, with what the kind itself requires (its program)."""

    def settle(self, spec: TaskSpec, farm: FarmShape) -> TaskSpec:
        """Options that depend on the farm (a device, say) get their values, once for each run, before the first split."""
        return spec

    def stages(self, task: TaskSpec) -> tuple[Stage, ...]:
        """The stages of an examined and settled task, at least one; the stitch of the last one makes the assets."""
        ...
