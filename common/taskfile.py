"""A task folder becomes a TaskSpec: from task.toml, from a 2010 params.cfg (with its seqFile.txt), or from nothing but a scene.

Every mistake is one TaskFileError with file, line and the nearest right name, found on the submitter's machine before anything
is sent. The kind has the last word (``examine``); where it complains of an option, the line of that option is found here.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from .bundle import DiskFolder
from .errors import TaskFileError, UsageError
from .kinds import registry
from .kinds.kind import Folder, Kind, Option
from .kinds.options import nearest, normalise, shown
from .model import Limits, Needs, TaskSpec
from .paramsfile import PARAMS, SEQFILE, read_params
from .units import parse_duration, parse_size

TASK = "task.toml"
_BIGGEST = 1 << 20
_TABLES = ("options", "limits", "needs")
_TOP = ("kind", "name", *_TABLES)
_Number = TypeVar("_Number", int, float)
_PROGRAM = re.compile(r"[A-Za-z0-9_-]+(\s*(>=|<=|==|!=|>|<|~=)\s*[0-9][0-9A-Za-z.]*(\s*,\s*(>=|<=|==|!=|>|<|~=)\s*[0-9][0-9A-Za-z.]*)*)?")


@dataclass
class Draft:
    """What a description file says, before anybody has judged it. ``lines`` maps ``options.width`` to its line."""

    path: str = ""
    kind: str = ""
    name: str = ""
    tables: dict[str, dict[str, Any]] = field(default_factory=lambda: {table: {} for table in _TABLES})
    lines: dict[str, int] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    """Keys that were said elsewhere than in the file: key -> where (``-o width=0``)."""
    warnings: list[str] = field(default_factory=list)
    others: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Tables of the kind (``animation``), until it is known."""

    def fault(self, sentence: str, key: str = "") -> TaskFileError:
        """The error with the place of ``key``, or of the nearest thing around it that has one."""
        line, parts = None, key.split(".")
        for around in (".".join(parts[:count]) for count in range(len(parts), 0, -1)):
            if around in self.places:
                return TaskFileError(sentence, path=self.places[around], key=key)
            line = self.lines.get(around) or self.lines.get(f"options.{around}")
            if line:
                break
        else:
            for said, place in self.places.items():
                if said.startswith(f"{key}."):
                    return TaskFileError(sentence, path=place, key=key)
        return TaskFileError(sentence, path=self.path or None, line=line if self.path else None, key=key)


def read_task(
    folder: Path, overrides: Sequence[str] = (), *, kind: str | None = None, name: str | None = None, priority: int = 0
) -> tuple[TaskSpec, tuple[str, ...]]:
    """The task in ``folder`` and warnings for its submitter. Raises TaskFileError, always one sentence.

    ``overrides`` are ``key=value`` words (``width=1920``, ``limits.timeout=3h``) that win over the file; values are read as
    TOML, and as plain text where they are none.
    """
    files = DiskFolder(folder)
    draft = _draft(folder, files)
    made_by = _kind(kind or draft.kind, files, draft, folder)
    _place_tables(draft, made_by)
    _override(draft, overrides, made_by)
    spec = TaskSpec(
        kind=made_by.name,
        name=_name(name or draft.name or _folder_name(folder), draft),
        options=draft.tables["options"],
        limits=_limits(draft),
        needs=_needs(draft),
        priority=priority,
    )
    try:
        examined = made_by.examine(spec, files)
    except TaskFileError as error:
        if error.path is None and error.key:
            raise draft.fault(error.sentence, error.key) from error
        if error.path is not None:
            raise TaskFileError(error.sentence, path=folder / error.path, line=error.line, key=error.key) from error
        raise TaskFileError(error.sentence, path=folder) from error
    return examined.spec, (*draft.warnings, *examined.warnings)


def changed(spec: TaskSpec, words: Sequence[str], files: Folder | None = None) -> TaskSpec:
    """A task that was read before, with ``key=value`` words that win over what it says. Raises TaskFileError.

    With ``files``, the task's, it is examined once more, so that a word that cannot be is named; what comes of that is not kept.
    """
    kind = registry.kind(spec.kind)
    draft = Draft(tables={"options": deepcopy(spec.options), "limits": {}, "needs": {}})
    _override(draft, words, kind)
    try:
        options = normalise(kind.name, kind.options, draft.tables["options"])
    except TaskFileError as error:
        raise draft.fault(error.sentence, error.key) from error
    limits = {key: getattr(_limits(draft), key) for key in draft.tables["limits"]}
    needs = {key: getattr(_needs(draft), key) for key in draft.tables["needs"]}
    replace = msgspec.structs.replace
    made = replace(spec, options=options, limits=replace(spec.limits, **limits), needs=replace(spec.needs, **needs))
    if files is not None:
        try:
            kind.examine(made, files)
        except TaskFileError as error:
            raise (draft.fault(error.sentence, error.key) if error.path is None and error.key else error) from error
    return made


def _draft(folder: Path, files: Folder) -> Draft:
    names = files.names()
    sequence = next((name for name in names if name.lower() == SEQFILE.lower()), "")
    if TASK in names:
        draft = _read_toml(folder, _text(files, folder, TASK))
        if PARAMS in names:
            draft.warnings.append(f"{PARAMS} is not used, because there is a {TASK}.")
        if sequence:
            draft.warnings.append(f"{sequence} is not used, because there is a {TASK}: write its variables as [keyframes] there.")
        return draft
    if PARAMS in names:
        params = read_params(
            _text(files, folder, PARAMS),
            str(folder / PARAMS),
            sequence=_text(files, folder, sequence) if sequence else None,
            sequence_path=str(folder / (sequence or SEQFILE)),
        )
        return Draft(
            path=params.path,
            kind="povray",
            name=params.name,
            tables={"options": params.options, "limits": {}, "needs": {}},
            lines=params.lines,
            places=params.places,
            warnings=params.warnings,
        )
    near = [name for name in names if "/" not in name and name.lower() in (TASK, "tasks.toml", PARAMS, "param.cfg")]
    if near:
        raise TaskFileError(f'"{near[0]}" must be called {TASK if near[0].lower().endswith("toml") else PARAMS} to be read.', path=folder)
    unread = f"{sequence} is not used: it goes with a {PARAMS} that says renderType:movie, or write its variables into a {TASK}."
    return Draft(warnings=[unread] if sequence else [])


def _text(files: Folder, folder: Path, name: str) -> str:
    if files.size(name) > _BIGGEST:
        raise TaskFileError(f"this is {files.size(name)} bytes long; a task is described in less than 1 MiB.", path=folder / name)
    try:
        return files.read(name).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = files.read(name)[: error.start].count(b"\n") + 1
        raise TaskFileError("this line is not UTF-8 text.", path=folder / name, line=line) from error


def _read_toml(folder: Path, text: str) -> Draft:
    path = str(folder / TASK)
    try:
        data = tomllib.loads(text.replace("\r\n", "\n"))
    except tomllib.TOMLDecodeError as error:
        where = re.search(r"\(at line (\d+), column (\d+)\)", str(error))
        line = int(where[1]) if where else text.count("\n") + 1
        raise TaskFileError(f"this is no TOML: {str(error).split(' (at ')[0]}.", path=path, line=line) from error
    draft = Draft(path=path, lines=toml_lines(text))
    for key, value in data.items():
        if key not in _TOP:
            if isinstance(value, dict) or key in _kinds_tables():
                draft.others[key] = value
                continue
            raise draft.fault(f'there is no key "{key}" at the top; {_home_of(key)}', key)
        if key in _TABLES:
            if not isinstance(value, dict):
                raise draft.fault(f"{key} is a table: write [{key}] on a line of its own, and its keys below.", key)
            draft.tables[key] = value
        elif not isinstance(value, str) or not value:
            raise draft.fault(f"{key} must be a text in quotes, not {shown(value)}.", key)
    draft.kind, draft.name = data.get("kind", ""), data.get("name", "")
    return draft


def toml_lines(text: str) -> dict[str, int]:
    """Where each key of a TOML text stands: ``options.width`` -> line from 1, ``options`` -> the line of its header."""
    lines: dict[str, int] = {}
    table = ""
    for number, line in enumerate(text.splitlines(), 1):
        header = re.match(r"\s*\[\s*([^\[\]]+?)\s*\]", line)
        key = re.match(r"""\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*'))*)\s*=""", line)
        if header:
            table = _plain(header[1])
            lines.setdefault(table, number)
        elif key:
            lines.setdefault(f"{table}.{_plain(key[1])}" if table else _plain(key[1]), number)
    return lines


def _plain(key: str) -> str:
    return ".".join(part.strip().strip("\"'") for part in key.split("."))


def _home_of(key: str) -> str:
    """Where a key that stands at the top belongs."""
    homes = dict.fromkeys(Limits.__struct_fields__, "limits") | dict.fromkeys(Needs.__struct_fields__, "needs")
    known = [option for kind in registry.kinds().values() for option in kind.options]
    homes |= {inner.name: option.name for option in known for inner in option.options}
    homes |= {option.name: "options" for option in known if option.type != "table"}
    if key in homes:
        return f"it belongs under [{homes[key]}]."
    near = nearest(key, {*_TOP, *homes})
    meant = near.split('"')[1] if near.startswith("did") else ""
    return f'did you mean "{meant}" under [{homes[meant]}]?' if meant in homes else near if meant else nearest(key, _TOP)


def _kind(name: str, files: Folder, draft: Draft, folder: Path) -> Kind:
    known = registry.kinds()
    if name:
        if name not in known:
            raise draft.fault(f'there is no kind "{name}"; {nearest(name, known)}', "kind")
        return known[name]
    fitting = [candidate for candidate in known.values() if candidate.recognise(files)]
    if len(fitting) == 1:
        return fitting[0]
    names = " or ".join(f'kind = "{candidate.name}"' for candidate in fitting)
    if fitting and draft.path:
        raise draft.fault(f"the kind is not said, and the folder fits several; write {names} at the top.", "kind")
    if fitting:
        raise TaskFileError(f"this folder fits several kinds; write {names} into a {TASK}.", path=folder)
    if draft.path:
        example = f'kind = "{"povray" if "povray" in known else next(iter(known), "povray")}"'
        raise draft.fault(f"the kind is not said; write {example} at the top.", "kind")
    *some, last = sorted({scene for candidate in known.values() for scene in getattr(candidate, "scenes", ())}) or [""]
    scenes = f" and no {', '.join(some)} or {last} scene" if some else f" and no {last} scene" if last else ""
    raise TaskFileError(f"there is no {TASK}, no {PARAMS}{scenes} in this folder.", path=folder)


def _kinds_tables() -> set[str]:
    return {option.name for kind in registry.kinds().values() for option in kind.options if option.type == "table"}


def _place_tables(draft: Draft, kind: Kind) -> None:
    """The tables that belong to the kind become its options."""
    own = {option.name for option in kind.options if option.type == "table"}
    for name, table in draft.others.items():
        if name not in own:
            raise draft.fault(_no_table(name, kind, own), name)
        if not isinstance(table, dict):
            raise draft.fault(f"{name} is a table: write [{name}] on a line of its own, and its keys below.", name)
        if name in draft.tables["options"]:
            raise draft.fault(f"[{name}] is said twice, also under [options]; keep one.", name)
        draft.tables["options"][name] = table


def _no_table(name: str, kind: Kind, own: set[str]) -> str:
    if name in ("animation", "keyframes") and name not in own:
        return f"the kind {kind.name} makes no films, so it has no [{name}]."
    return f"there is no table [{name}] for the kind {kind.name}; {nearest(name, {*own, *_TABLES})}"


def _override(draft: Draft, overrides: Sequence[str], kind: Kind) -> None:
    """``width=3``, ``limits.timeout=3h``, ``animation.frames=1-10``, ``keyframes.camera_x.curve=step``."""
    options = {option.name: option for option in kind.options}
    own = {name for name, option in options.items() if option.type == "table"}
    for word in overrides:
        key, equals, raw = (part.strip() for part in word.partition("="))
        where = f"-o {word}"
        parts = key.split(".")
        if parts[0] == "options":
            del parts[0]
        elif len(parts) > 1 and parts[0] in _kinds_tables() - own:
            raise TaskFileError(_no_table(parts[0], kind, own), path=where)
        apart = parts[:1] if parts and parts[0] in ("limits", "needs") else ["options"]
        inner = parts[1:] if apart != ["options"] else parts
        if not equals or not all(inner) or not inner or (len(inner) > 1 and (apart != ["options"] or inner[0] not in own)):
            raise TaskFileError("write it as key=value, such as -o width=1920 or -o limits.timeout=3h.", path=where)
        option: Option | None = options.get(inner[0]) if apart == ["options"] else None
        table = draft.tables[apart[0]]
        for at, name in enumerate(inner[:-1], 1):
            table = table.setdefault(name, {})
            if not isinstance(table, dict):
                raise TaskFileError(f"{'.'.join(inner[:at])} is no table, so it has no {inner[at]}.", path=where)
            option = next((one for one in option.options if one.name == inner[at]), None) if option else None
        whole = ".".join(inner if inner[0] in own else [*apart, *inner])
        for old in [line for line in draft.lines if line == whole or line.startswith(f"{whole}.")]:
            del draft.lines[old]  # what the file said of it no longer counts
        draft.places[whole] = where
        table[inner[-1]] = _typed(raw, option.type if option else "", where)


def _typed(raw: str, kind: str, where: str) -> Any:
    """A value from a command line: TOML where it is, else the text itself; a text option takes ``2.2`` as text too."""
    try:
        value = tomllib.loads(f"value = {raw}\n")["value"] if "\n" not in raw else raw
    except tomllib.TOMLDecodeError:
        value = raw
    if kind == "strings" and not isinstance(value, list):
        from shlex import split

        try:
            return split(raw)
        except ValueError as error:
            raise TaskFileError("a quote is not closed.", path=where) from error
    return raw if kind in ("str", "choice") and not isinstance(value, str) else value


def _limits(draft: Draft) -> Limits:
    def attempts(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 100:
            raise ValueError("must be a whole number from 1 to 100")
        return value

    def seconds(value: Any) -> float:
        found = _unit(value, parse_duration)
        if found < 1:
            raise ValueError("must be at least one second")
        return found

    def stall(value: Any) -> float:
        return _unit(value, parse_duration)

    return Limits(**_table(draft, "limits", {"attempts": attempts, "timeout": seconds, "stall": stall}))


def _needs(draft: Draft) -> Needs:
    def cores(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 4096:
            raise ValueError("must be a number of cores, such as 2")
        return float(value)

    def gpu(value: Any) -> int:
        if isinstance(value, bool):
            return int(value)
        if not isinstance(value, int) or not 0 <= value <= 64:
            raise ValueError("must be a number of GPUs")
        return value

    def program(value: Any) -> str:
        if not isinstance(value, str) or not _PROGRAM.fullmatch(value):
            raise ValueError('must be a program, where needed with its version, such as "povray>=3.7"')
        return re.sub(r"\s+", "", value)

    def tags(value: Any) -> tuple[str, ...]:
        if not isinstance(value, list) or not all(isinstance(tag, str) and tag for tag in value):
            raise ValueError('must be a list of texts, such as ["fast"]')
        return tuple(value)

    def size(value: Any) -> int:
        return _unit(value, parse_size)

    return Needs(**_table(draft, "needs", {"memory": size, "cores": cores, "gpu": gpu, "scratch": size, "program": program, "tags": tags}))


def _unit(value: Any, parse: Callable[[Any], _Number]) -> _Number:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("must be a number, or a text with a number and a unit")
    try:
        return parse(value)
    except UsageError as error:
        raise ValueError(f"is wrong: {error}") from error


def _table(draft: Draft, table: str, readers: Mapping[str, Callable[[Any], Any]]) -> dict[str, Any]:
    read = {}
    for key, value in draft.tables[table].items():
        if key not in readers:
            raise draft.fault(f'[{table}] has no key "{key}"; {nearest(key, readers)}', f"{table}.{key}")
        try:
            read[key] = readers[key](value)
        except ValueError as error:
            end = "" if str(error).endswith(".") else f", not {shown(value)}."
            raise draft.fault(f"{key} {error}{end}", f"{table}.{key}") from None
    return read


def _name(name: str, draft: Draft) -> str:
    """A task's name names its files: one path component that any file system takes."""
    unfit = name in (".", "..") or name != name.strip() or not name.isprintable() or any(letter in name for letter in "/\\")
    if unfit or len(name.encode("utf-8", "replace")) > 120:
        raise draft.fault(f"the name {shown(name)} is not fit for a file; take up to 120 letters without / or \\.", "name")
    return name


def _folder_name(folder: Path) -> str:
    name = "".join(letter if letter.isprintable() and letter not in "/\\" else "_" for letter in folder.resolve().name).strip()
    return name.encode("utf-8", "replace")[:120].decode("utf-8", "ignore") or "task"
