"""Every address, port, folder and limit as a frozen value, and where each came from.

Order, first one wins: a flag; a variable ``CLUSTERRAY_SECTION_KEY``; ./clusterray.toml; the user's config folder (XDG);
/etc/clusterray/clusterray.toml; the default below. A key that nobody knows is an error that names the nearest: a misspelt
limit that is silently passed over is worse than none. Reading the files is in layers.py, where state lies in folders.py.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any

from . import checks
from .errors import SettingsError, UsageError
from .folders import Folders, find_folders
from .layers import Entry, config_files, read_flags, read_toml, read_variables
from .shared import SharedRoot, root

SHORT = {"CLUSTERRAY_JOIN": "node.join"}
"""Variables with a shorter name, for unattended set-ups. CLUSTERRAY_DATA is the folder, not a setting."""
RESERVED = frozenset({"CLUSTERRAY_DATA", "CLUSTERRAY_DEBUG", "CLUSTERRAY_BLENDER"})
SECRET = frozenset({"node.join"})
"""Never printed."""


def _of(check: checks.Check, default: Any, help: str) -> Any:
    """A setting: what it accepts, its default as it is used, and what it is for."""
    return field(default_factory=lambda: default, metadata={"check": check, "help": help})


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    listen: str = _of(checks.text, "0.0.0.0", "address that the farm socket binds")
    port: int = _of(checks.port, 5007, "port of the farm socket; 0 takes a free one")
    name: str = _of(checks.text, "", "name shown to others; empty: the host's")
    addresses: tuple[str, ...] = _of(checks.strings, (), "host or host:port written into join codes; empty: the machine's own addresses")
    hands: int = _of(checks.whole(0, 64), 0, "child processes in which kinds' code runs; 0: one per core, 4 at most")
    hand_memory: int = _of(checks.size, 4_000_000_000, "memory of one hand")
    hand_time: float = _of(checks.duration, 600.0, "time for one split, verify or stitch, waiting for pieces not counted")


@dataclass(frozen=True, kw_only=True)
class FtpSettings:
    listen: str = _of(checks.text, "0.0.0.0", "address that the FTP thread binds")
    port: int = _of(checks.port, 3457, "FTP control port; 0 takes a free one")
    passive: str = _of(checks.ports, "3458-3557", "range of data ports, first-last")
    public_address: str = _of(checks.text, "", "address that nodes and submitters reach data ports at, behind NAT")

    @property
    def passive_range(self) -> tuple[int, int]:
        """First and last data port."""
        first, last = self.passive.split("-")
        return int(first), int(last)


@dataclass(frozen=True, kw_only=True)
class FarmSettings:
    term: float = _of(checks.duration, 60.0, "a lease that is silent for so long is over")
    beat: float = _of(checks.duration, 2.0, "time between two beats of a busy slot")


@dataclass(frozen=True, kw_only=True)
class NodeSettings:
    name: str = _of(checks.text, "", "name shown to others; empty: the host's")
    slots: int = _of(checks.whole(0, 1024), 0, "jobs at a time; 0: one per two cores")
    cores: int = _of(checks.whole(0, 4096), 0, "cores to use; 0: all")
    memory: int = _of(checks.size, 0, "memory to use; 0: all")
    alone: float = _of(checks.duration, 900.0, "how long a job goes on while the server cannot be reached")
    allow: tuple[str, ...] = _of(checks.chosen("render", "commands", "python"), ("render",), "what may run here: render, commands, python")
    commands: tuple[str, ...] = _of(checks.strings, (), 'programs that tasks of the kind command may run here, ["ffmpeg"]; "any": all')
    tags: tuple[str, ...] = _of(checks.strings, (), "words that a task may ask for in [needs]")
    sandbox: str = _of(checks.choice("auto", "off"), "auto", "auto: bubblewrap where it works; off: the owner's choice")
    cache: int = _of(checks.size, 20_000_000_000, "size of the cache of inputs")
    keep_free: int = _of(checks.size, 1_000_000_000, "disk that stays free; a job that would need it is given back")
    programs: Mapping[str, str] = _of(
        checks.table, MappingProxyType({}), 'paths of programs by name, { povray = "/opt/povray/bin/povray" }'
    )
    join: str = _of(checks.text, "", "join code of the server")
    join_file: str = _of(checks.text, "", "file with the join code")

    @property
    def permits(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """``allow`` and ``commands`` in force, as either says something of the other: named commands are allowed to run, and allowing
        commands without naming any means all."""
        if self.commands and "commands" not in self.allow:
            return (*self.allow, "commands"), self.commands
        return self.allow, self.commands or (("any",) if "commands" in self.allow else ())


@dataclass(frozen=True, kw_only=True)
class ClientSettings:
    server: tuple[str, ...] = _of(checks.strings, (), "addresses to try instead of those in the join code")
    patience: float = _of(checks.duration, 600.0, "how long to go on trying when the server goes away in mid-talk")
    progress: str = _of(checks.choice("auto", "live", "plain", "none"), "auto", "auto: live on a terminal, else plain lines")
    priority: int = _of(checks.whole(-1_000_000, 1_000_000), 0, "priority of what is submitted; higher is earlier")
    results: str = _of(checks.text, "", "folder for results; empty: beside the folder that was submitted")


@dataclass(frozen=True, kw_only=True)
class RetentionSettings:
    results: float = _of(checks.duration, 2_592_000.0, "how long a finished task and its results are kept")
    failures: float = _of(checks.duration, 2_592_000.0, "how long a failed or cancelled task is kept")
    events: float = _of(checks.duration, 7_776_000.0, "how long the history is kept")
    packs: int = _of(checks.size, 50_000_000_000, "size of the cache of packs that no task uses any more")
    keep_free: int = _of(checks.size, 2_000_000_000, "disk that stays free on the server")


@dataclass(frozen=True, kw_only=True)
class LogSettings:
    level: str = _of(checks.choice("debug", "info", "warning", "error"), "info", "debug, info, warning or error")
    format: str = _of(checks.choice("text", "json"), "text", "text or json, one object a line")
    file: str = _of(checks.text, "", "file of a daemon; empty: in the log folder")
    size: int = _of(checks.size, 10_000_000, "size at which a log file is rotated")
    keep: int = _of(checks.whole(0, 1000), 5, "rotated files to keep")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All of them, by section."""

    shared: Mapping[str, SharedRoot] = field(default_factory=lambda: MappingProxyType({}))
    """[shared.NAME]: the shared roots that this machine sees, by name. Its keys are names, so that it is no section like the others."""

    server: ServerSettings = field(default_factory=ServerSettings)
    ftp: FtpSettings = field(default_factory=FtpSettings)
    farm: FarmSettings = field(default_factory=FarmSettings)
    node: NodeSettings = field(default_factory=NodeSettings)
    client: ClientSettings = field(default_factory=ClientSettings)
    retention: RetentionSettings = field(default_factory=RetentionSettings)
    log: LogSettings = field(default_factory=LogSettings)


@dataclass(frozen=True, kw_only=True)
class Known:
    """One setting, as data: for checking, listing and the table in the README."""

    key: str
    check: checks.Check
    default: Any
    help: str


SHARED = "shared"
"""The section whose keys are names of shared roots."""
SECTIONS: Mapping[str, type] = {
    "server": ServerSettings,
    "ftp": FtpSettings,
    "farm": FarmSettings,
    "node": NodeSettings,
    "client": ClientSettings,
    "retention": RetentionSettings,
    "log": LogSettings,
}
KNOWN: Mapping[str, Known] = {
    f"{section}.{item.name}": Known(
        key=f"{section}.{item.name}", check=item.metadata["check"], default=getattr(cls(), item.name), help=item.metadata["help"]
    )
    for section, cls in SECTIONS.items()
    for item in fields(cls)
}


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """Settings in force, where each came from, and where state lies."""

    settings: Settings
    origins: Mapping[str, str]
    """Key such as ``server.port`` -> ``flag --port``, ``CLUSTERRAY_SERVER_PORT``, ``file:line`` or ``default``."""
    folders: Folders
    files: tuple[Path, ...]
    """The settings files that were read, first one wins."""


def load(flags: Mapping[str, Any], env: Mapping[str, str], cwd: Path) -> Loaded:
    """Read all layers. ``flags`` goes from ``section.key`` to a value (None: not given); ``data`` is the --data folder.

    Raises SettingsError, naming where the wrong word stands and the nearest right one.
    """
    given = {key: value for key, value in flags.items() if value is not None}
    data = given.pop("data", None) or env.get("CLUSTERRAY_DATA") or None
    files = config_files(env, cwd)
    layers: list[Iterable[Entry]] = [
        read_flags(given),
        read_variables(env, {*SECTIONS, SHARED}, SHORT, RESERVED),
        *(read_toml(path) for path in files),
    ]
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for layer in layers:
        for entry in layer:
            if entry.key.rstrip(".") in (*SECTIONS, SHARED) and entry.key.endswith("."):
                continue  # an empty section
            value = _checked(entry)
            if entry.key not in values:
                values[entry.key], origins[entry.key] = value, entry.origin
    folders = find_folders(None if data is None else cwd / data, env)
    parts = {
        name: cls(**{item.name: values[key] for item in fields(cls) if (key := f"{name}.{item.name}") in values})
        for name, cls in SECTIONS.items()
    }
    shared = {key: value for key, value in sorted(values.items()) if key.startswith(f"{SHARED}.")}
    parts[SHARED] = MappingProxyType({value.name: value for value in shared.values()})
    return Loaded(
        settings=Settings(**parts),
        origins={key: origins.get(key, "default") for key in (*KNOWN, *shared)},
        folders=folders,
        files=tuple(files),
    )


def as_variables(flags: Mapping[str, Any]) -> dict[str, str]:
    """Flags as the environment of a process that is to run under the same settings."""
    return {
        "CLUSTERRAY_" + key.replace(".", "_").upper(): checks.written(value)
        for key, value in flags.items()
        if value is not None and "." in key
    }


def _checked(entry: Entry) -> Any:
    section, _, name = entry.key.partition(".")
    if section == SHARED and name:
        try:
            return root(name, entry.value)
        except UsageError as error:
            raise SettingsError(f"{entry.origin}: {error}") from None
    known = KNOWN.get(entry.key)
    if known is None:
        raise SettingsError(f"{entry.origin}: {_unknown(entry.key)}")
    try:
        return known.check(entry.value)
    except UsageError as error:
        raise SettingsError(f"{entry.origin}: {entry.key}: {error}") from None


def _unknown(key: str) -> str:
    section, dot, name = key.partition(".")
    if section in SECTIONS and dot:
        names = [item.name for item in fields(SECTIONS[section])]
        near = difflib.get_close_matches(name, names, 1, 0.5)
        return f'[{section}] has no setting "{name}".' + (f' Is "{near[0]}" meant?' if near else f" It has: {', '.join(names)}.")
    near = difflib.get_close_matches(section, [*SECTIONS, SHARED], 1, 0.5) if dot else []
    meant = f"Is [{near[0]}] meant?" if near else f"The sections are: {', '.join(SECTIONS)}, and [shared.NAME] for each shared root."
    return (f"there is no section [{section}] in the settings. " if dot else f'"{key}" stands in no section. ') + meant
