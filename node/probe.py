"""What this machine is: cores, memory, disk, graphics cards, renderers. Told to the server in every hello."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from ..common import process
from ..common.errors import FileError
from ..common.model import Program

KNOWN = ("povray",)
"""Programs looked for on the PATH without being asked."""
_VERSION = {"povray": re.compile(r"POV-Ray (\d+(?:\.\d+)+)")}
_ANY_VERSION = re.compile(r"(\d+(?:\.\d+)+)")
QUERY_SECONDS = 20.0


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return max(1, os.cpu_count() or 1)


def memory() -> int:
    """Bytes of memory, or of the share that a container leaves us."""
    whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for name in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            text = Path(name).read_text().strip()
        except OSError:
            continue
        if text.isdigit():
            whole = min(whole, int(text))
    return whole


def free_disk(folder: Path) -> int:
    """Bytes that may still be written where this folder is."""
    return shutil.disk_usage(folder).free


def gpus() -> tuple[str, ...]:
    """Names of NVIDIA cards, as nvidia-smi tells them; empty without it."""
    if not process.find_program("nvidia-smi"):
        return ()
    try:
        told = process.run(("nvidia-smi", "--query-gpu=name", "--format=csv,noheader"), timeout=QUERY_SECONDS)
    except FileError:
        return ()
    return tuple(line.strip() for line in told.stdout.splitlines() if line.strip()) if told.code == 0 else ()


def programs(paths: Mapping[str, str], known: Iterable[str] = KNOWN) -> tuple[tuple[Program, ...], tuple[str, ...]]:
    """The renderers here with their versions, and a sentence for each path in the settings that leads to none.

    ``paths``: name -> path, or several joined by ``:`` for several versions side by side.
    """
    found: list[Program] = []
    sentences: list[str] = []
    for name, given in paths.items():
        for path in filter(None, given.split(os.pathsep)):
            version = _version(name, path)
            if version:
                found.append(Program(name=name, version=version, path=path))
            else:
                sentences.append(f"[node] programs: {path} is no {name} that can be started here; it is left out.")
    for name in known:
        if name in paths:
            continue
        path = process.find_program(name)
        version = _version(name, path) if path else ""
        if version:
            found.append(Program(name=name, version=version, path=path))
    distinct: dict[tuple[str, str], Program] = {}
    for one in found:
        distinct.setdefault((one.name, one.version), one)
    return tuple(distinct.values()), tuple(sentences)


def _version(name: str, path: str) -> str:
    """What ``path --version`` says on either output (povray speaks on stderr); empty where it says none."""
    try:
        told = process.run((path, "--version"), timeout=QUERY_SECONDS)
    except FileError:
        return ""
    match = _VERSION.get(name, _ANY_VERSION).search(told.stderr + "\n" + told.stdout)
    return match.group(1) if match and not told.timed_out else ""
