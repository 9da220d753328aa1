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
    """int, float, bool, str, choice, strings (a list of str), tiles ("auto" or [columns, rows])"""
    default: Any = None
    help: str = ""
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    required: bool = False


@dataclass(frozen=True, kw_only=True)
class Examined:
    """A task that makes sense: every option present and of its type, needs filled in, warnings for the submitter."""

    spec: TaskSpec
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a job is processed."""

    inputs: Path
    """The task's folder, unpacked, read-only, shared by the slots of the node."""
    scratch: Path
    """This lease's own folder; what is to be kept goes below ``scratch / "out"``, which exists."""
    cores: int = 1
    """This slot's share, at least 1."""
    programs: Mapping[str, str] = field(default_factory=dict)
    """Program name -> path of the one that this run uses."""


def plain_diagnosis(code: int, tail: Sequence[str]) -> Failure:
    """What is said of a program that a kind knows nothing special about."""
    how = f"ended by signal {-code}" if code < 0 else f"exited with {code}"
    last = next((line for line in reversed(tail) if line.strip()), "")
    return Failure(cause=Cause.ERROR, sentence=f"The program {how}{': ' + last.strip() if last else '.'}", exit_code=code, tail=tuple(tail))


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a node does for a region: a program by argv, or a call into our own code."""

    argv: tuple[str, ...] = ()
    call: Callable[[], None] | None = None
    """Instead of argv: a function of the kind itself (never of a submitter), run in the agent."""
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


class Stage(Protocol):
    """One round of split, process, stitch."""

    @property
    def name(self) -> str: ...

    def split(self, task: TaskSpec, files: Folder, farm: FarmShape) -> Iterable[Region]:
        """Cut the stage; the same arguments always give the same regions. Raises SplitFailed."""

    def process(self, task: TaskSpec, region: Region, place: Place) -> Recipe:
        """What a node does for a region."""

    def verify(self, task: TaskSpec, region: Region, outputs: Folder) -> None:
        """Raise OutputRejected with the reason where the outputs are not what was asked for."""

    def stitch(self, task: TaskSpec, pieces: Iterator[Piece], out: Path, progress: Callable[[float], None]) -> None:
        """Join the pieces, which come in split order, into files below ``out``. Raises StitchFailed."""


class Kind(Protocol):
    """The plug-in for one sort of task; found by entry point ``clusterray.kinds``."""

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

    def recognise(self, files: Folder) -> bool:
        """Whether a bare folder without a task file looks like one of ours."""

    def examine(self, spec: TaskSpec, files: Folder) -> Examined:
        """Check options and files, fill in defaults. Raises TaskFileError with one sentence."""

    def needs(self, spec: TaskSpec) -> Needs:
        """The spec's needs, with what the kind itself requires (its program)."""

    def stages(self, task: TaskSpec) -> tuple[Stage, ...]: ...
