"""The places that settings come from, each turned into entries that know where they stand.

A TOML reader keeps no line numbers, so the line of a key is looked up in the text afterwards: near enough for a message.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import SettingsError
from .folders import config_home

PREFIX = "CLUSTERRAY_"
SYSTEM_FILE = Path("/etc/clusterray/clusterray.toml")
FILE_NAME = "clusterray.toml"
_LIKE_A_SETTING = 0.8
"""A variable that is so near to one of ours is a slip; others belong to other tools (the ``run`` script has some)."""


@dataclass(frozen=True)
class Entry:
    """``section.key`` (``section.`` for an empty one), its raw value, and where it stands, for people."""

    key: str
    value: Any
    origin: str


def config_files(env: Mapping[str, str], cwd: Path) -> list[Path]:
    """The files that are there, first one wins."""
    places = (cwd / FILE_NAME, config_home(env) / FILE_NAME, SYSTEM_FILE)
    return [path for path in places if _is_file(path)]


def read_flags(flags: Mapping[str, Any]) -> Iterator[Entry]:
    for key, value in flags.items():
        yield Entry(key, value, "flag --" + key.rpartition(".")[2].replace("_", "-"))


def read_variables(
    env: Mapping[str, str], sections: Collection[str], short: Mapping[str, str], reserved: Iterable[str]
) -> Iterator[Entry]:
    """``CLUSTERRAY_SERVER_PORT`` -> ``server.port``. An empty variable counts as not set."""
    for name in sorted(env):
        if not name.startswith(PREFIX) or name in reserved or not env[name]:
            continue
        section, _, key = name.removeprefix(PREFIX).lower().partition("_")
        if name in short:
            yield Entry(short[name], env[name], name)
        elif section in sections:
            yield Entry(f"{section}.{key}", env[name], name)
        elif near := difflib.get_close_matches(section, sections, 1, _LIKE_A_SETTING):
            raise SettingsError(f"{name}: there is no such setting. Is {PREFIX}{near[0].upper()}_{key.upper()} meant?")


def read_toml(path: Path) -> Iterator[Entry]:
    """All keys of a file; raises SettingsError where it cannot be read or is no TOML."""
    try:
        text = path.read_bytes().decode()
        tables = tomllib.loads(text)
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror or error}.") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{path}: is not UTF-8 text.") from None
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"line (\d+)", str(error))
        raise SettingsError(f"{path}{':' + line[1] if line else ''}: is not written as TOML: {error}.") from None
    for section, table in tables.items():
        if not isinstance(table, dict):
            yield Entry(section, table, f"{path}:{_line(text, '', section)}")
            continue
        for key, value in (table or {"": None}).items():
            yield Entry(f"{section}.{key}", value, f"{path}:{_line(text, section, key)}")


def _line(text: str, section: str, key: str) -> int:
    """The line that sets ``key`` in ``[section]``, from 1; that of the section, or 1, if it is written in some other way."""
    here, best = "", 1
    for number, line in enumerate(text.splitlines(), 1):
        head = re.match(r"\s*\[+\s*[\"']?([^\]\"'.\s]+)[\"']?(?:\s*\.\s*[\"']?([^\]\"'.\s]+))?", line)
        if head:
            here = head[1]
            if here == section:
                best = number
                if head[2] == key:
                    return number
        elif (re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*[.=]", line) and here == section) or (
            re.match(rf"\s*{re.escape(section)}\s*\.\s*[\"']?{re.escape(key)}[\"']?\s*[.=]", line) and section and not here
        ):
            return number
    return best


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False
