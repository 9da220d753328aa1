"""Shared storage: folders that server, nodes and clients all see, each at a path of its own.

A shared root has a name that all agree on; ``[shared.NAME]`` in the settings of each machine says where that machine sees it. A task
names its folder by the root and a relative path: ``Z:\\photos\\site7``, ``\\\\nas\\photos\\site7`` and ``/mnt/photos/site7`` are the same.

Paths are compared as the system that wrote them does: Windows without regard to case and with either slash, all others letter by letter;
accents count as equal however they are composed. Whatever leads out of a root, by ``..`` or by a link, is refused on every machine.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from types import MappingProxyType
from typing import Any

from .errors import SharedError, UsageError
from .manifest import name_fault

NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")
"""Names of roots: fit for a section of the settings, a variable and a folder."""
PROBES = ".clusterray-probe"
"""What a probe puts into a root, or how its name begins; as all that begins with .clusterray it is never part of a task."""
LEASES = ".clusterray"
"""The folder below the results in which attempts and finished tasks are put together."""
_DRIVE = re.compile(r"[A-Za-z]:")
_KEYS = ("path", "results", "also")


@dataclass(frozen=True, kw_only=True)
class SharedRoot:
    """A shared root as this machine sees it."""

    name: str
    path: Path
    results: Path
    """Where results go; the root itself unless said otherwise."""
    also: tuple[str, ...] = ()
    """What other machines call it, in any style, so that their paths are understood here."""

    def __str__(self) -> str:
        return f"{self.path}" + (f", results in {self.results}" if self.results != self.path else "")


def roots(tables: Mapping[str, Any]) -> Mapping[str, SharedRoot]:
    """The section ``[shared]``: name -> table, or the text of a variable. UsageError, one sentence."""
    return MappingProxyType({name: root(name, table) for name, table in sorted(tables.items())})


def root(name: str, value: Any) -> SharedRoot:
    """One root: a table with ``path`` and perhaps ``results`` and ``also``; as text a path, or ``path=/mnt/photos,results=/mnt/out``."""
    if not NAME.fullmatch(name):
        raise UsageError(f'"{name}" cannot name a shared root: small letters, digits and -, a letter first, 32 at most.')
    if isinstance(value, str):
        value = _table(value)
    if not isinstance(value, Mapping) or not value:
        raise UsageError(f'a table is wanted, such as [shared.{name}] with path = "/mnt/{name}".')
    unknown = [key for key in value if key not in _KEYS]
    if unknown:
        raise UsageError(f'[shared.{name}] has no setting "{unknown[0]}"; it has {", ".join(_KEYS)}.')
    if "path" not in value:
        raise UsageError(f'[shared.{name}] does not say where this machine sees it: path = "/mnt/{name}".')
    also = value.get("also", ())
    if not isinstance(also, list | tuple) or not all(isinstance(one, str) and one for one in also):
        raise UsageError(f'[shared.{name}] also must be a list of paths, such as also = ["Z:\\\\photos"].')
    path = _own_path(name, "path", value["path"])
    results = _own_path(name, "results", value["results"]) if "results" in value else path
    return SharedRoot(name=name, path=path, results=results, also=tuple(also))


def _table(text: str) -> dict[str, Any]:
    """The text of a variable or a flag: a bare path, or ``key=value`` words; several names in ``also`` are separated by |."""
    if not re.match(r"\s*(path|results|also)\s*=", text):
        return {"path": text.strip()}
    table: dict[str, Any] = {}
    for word in text.split(","):
        key, _, said = (part.strip() for part in word.partition("="))
        table[key] = [one.strip() for one in said.split("|") if one.strip()] if key == "also" else said
    return table


def _own_path(name: str, key: str, value: Any) -> Path:
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise UsageError(f"[shared.{name}] {key} must be a path in quotes.")
    path = Path(value.strip())
    if not path.is_absolute():
        hint = "; put the names that other machines use into also" if is_windows(value) else ""
        raise UsageError(f"[shared.{name}] {key} must be a whole path of this machine, not {value.strip()}{hint}.")
    if ".." in path.parts:
        raise UsageError(f"[shared.{name}] {key} must not have .. in it.")
    return path


# --- paths in the styles of all systems


def is_windows(path: str) -> bool:
    r"""``Z:\photos``, ``Z:/photos``, ``\\nas\photos``; also ``smb://nas/photos`` and ``//nas/photos``, which mean the same share."""
    return bool(_DRIVE.match(path)) or path.startswith(("\\\\", "//", "smb://"))


def parts_of(path: str) -> tuple[str, ...]:
    """A path cut into parts that may be compared with those of another one of the same style; UsageError for ``..``."""
    if not is_windows(path):
        found: tuple[str, ...] = PurePosixPath(path).parts
        compared = [unicodedata.normalize("NFC", part) for part in found]
    else:
        found = PureWindowsPath(_plain_windows(path)).parts
        compared = [unicodedata.normalize("NFC", part).casefold().rstrip("\\") for part in found]
    if ".." in found:
        raise UsageError(f"{path} goes through ..: write the path of the folder itself.")
    return tuple(compared)


def _plain_windows(path: str) -> str:
    r"""Without what means nothing here: ``\\?\Z:\photos``, ``\\?\UNC\nas\photos``, ``smb://``."""
    path = path.removeprefix("smb:").replace("/", "\\")
    if path.upper().startswith("\\\\?\\UNC\\"):
        return "\\\\" + path[8:]
    return path.removeprefix("\\\\?\\")


def below(top: str, path: str) -> tuple[str, ...] | None:
    """The parts of ``path`` below ``top``, as ``path`` writes them; None where it does not lie there or is of another style."""
    if is_windows(top) != is_windows(path):
        return None
    above, all_parts = parts_of(top), parts_of(path)
    if all_parts[: len(above)] != above:
        return None
    written = PureWindowsPath(_plain_windows(path)).parts if is_windows(path) else PurePosixPath(path).parts
    return tuple(written[len(above) :])


# --- from a folder that somebody names to root and relative path


@dataclass(frozen=True, kw_only=True)
class SharedPlace:
    """A folder in a shared root."""

    root: SharedRoot
    folder: str
    """Relative POSIX path; empty: the root itself."""
    real: Path
    """Where this machine sees it, links resolved."""


def find_place(named: str, known: Mapping[str, SharedRoot], cwd: Path) -> SharedPlace:
    """The folder that a person named, in the words of any machine. UsageError in one sentence that says what to do."""
    if not known:
        raise UsageError(
            f"{named} cannot be submitted from shared storage: this machine has no [shared.NAME] in its settings, which says where it "
            "sees a shared root (docs/shared-storage.md)."
        )
    local, mapped = cwd / named, False
    for one in known.values():
        for other in one.also:
            rest = below(other, named)
            if rest is not None:
                local, mapped = _as_on_disk(one.path, rest), True
    if is_windows(named) and not mapped and not named.startswith("//"):
        raise UsageError(f"{named} is a path of another machine, and no root of this one has it in also: {_listed(known)}.")
    try:
        real = local.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        why = error.strerror if isinstance(error, OSError) else "links in a circle"
        raise UsageError(f"{named} cannot be looked at on this machine ({local}: {why}).") from error
    best: SharedPlace | None = None
    for one in known.values():
        top = _resolved(one.path)
        if top is not None and (real == top or top in real.parents):
            folder = real.relative_to(top).as_posix()
            place = SharedPlace(root=one, folder="" if folder == "." else folder, real=real)
            best = place if best is None or len(place.folder) < len(best.folder) else best  # the innermost root
    if best is None:
        raise UsageError(f"{real} does not lie in a shared root of this machine: {_listed(known)}.")
    return best


def _listed(known: Mapping[str, SharedRoot]) -> str:
    return "it has " + "; ".join(f"{one.name} = {one.path}" for one in known.values())


def _resolved(path: Path) -> Path | None:
    try:
        return path.resolve(strict=True)
    except (OSError, RuntimeError):
        return None


def _as_on_disk(top: Path, parts: tuple[str, ...]) -> Path:
    """Parts in the letters that the disk has: who writes them on Windows need not care for capitals."""
    path = top
    for part in parts:
        there = path / part
        if not there.exists():
            try:
                alike = [one for one in path.iterdir() if _alike(one.name) == _alike(part)]
            except OSError:
                alike = []
            there = alike[0] if len(alike) == 1 else there
        path = there
    return path


def _alike(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


# --- from root and relative path to a folder of this machine


def inside(top: Path, folder: str, what: str) -> Path:
    """The real path of ``folder`` in a root; SharedError where it is not there or leads out. ``what`` names the root in sentences."""
    fault = name_fault(folder) if folder else ""
    if fault:
        raise SharedError(f"The path {folder!r:.200} in {what} {fault}.")
    try:
        real_top = top.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise SharedError(f"{what} is not there: {top} {_why(error)}. Is the share mounted?") from error
    try:
        real = (real_top / folder).resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise SharedError(f"There is no folder {folder} in {what}: {real_top / folder} {_why(error)}.") from error
    if real != real_top and real_top not in real.parents:
        raise SharedError(f"{folder} leads out of {what}, to {real}.")
    if not real.is_dir():
        raise SharedError(f"{folder} in {what} is no folder.")
    return real


def _why(error: Exception) -> str:
    return f"({error.strerror or error})" if isinstance(error, OSError) else "(links in a circle)"

