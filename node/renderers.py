"""Which renderers this machine has, and their versions.

A renderer is a program (``povray``, ``blender``), or a Python wheel: then its path is an interpreter, whose file name begins with
``python``, and whose environment holds the wheel (``bpy``, ``mitsuba``). A wheel counts only when it was imported, in a child: one that
lacks a system library installs all the same. A success is remembered in the node's folder until the environment changes; a failure is
tried again at the next start, as nothing shows when a system library has come.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import msgspec

from ..common import process
from ..common.errors import FileError
from ..common.libraries import remedy
from ..common.model import Program

KNOWN = ("povray", "blender", "mitsuba", "survey")
"""Programs looked for without being asked."""
OURS = ("mitsuba", "survey")
"""They are libraries of our own environment. ``survey`` stands for all that photos are reconstructed with, by the version of pycolmap."""
BLENDER = "CLUSTERRAY_BLENDER"
"""Variable that names the environment with bpy, where it is not beside ours."""
QUERY_SECONDS = 20.0
TRIAL_SECONDS = 60.0
"""An import takes half a second, and more while the disk is cold."""
_VERSION = {"povray": re.compile(r"POV-Ray (\d+(?:\.\d+)+)"), "blender": re.compile(r"Blender (\d+(?:\.\d+)+)")}
_ANY_VERSION = re.compile(r"(\d+(?:\.\d+)+)")
_WHEELS = {
    "blender": ("bpy", "import bpy; print(*bpy.app.version, sep='.')"),
    "mitsuba": ("mitsuba", "import mitsuba; mitsuba.set_variant('scalar_rgb'); print(mitsuba.__version__)"),
    "survey": ("pycolmap", "import cv2, laspy, pyproj, rasterio, scipy, trimesh, pycolmap; print(pycolmap.__version__)"),
}
"""Renderer -> the wheel that holds it, and what tries it out and says its version."""


def find(paths: Mapping[str, str], notes: Path, env: Mapping[str, str], known: Iterable[str] = KNOWN) -> tuple[list[Program], list[str]]:
    """The renderers here, and a sentence for each that is there and cannot be used.

    ``paths``: the owner's, name -> path, or several joined by ``:`` for several versions side by side; such a name is looked for nowhere
    else. ``notes``: file with what was tried before.
    """
    tried = Trials(notes)
    found: dict[tuple[str, str], Program] = {}
    sentences: list[str] = []

    def add(name: str, path: str, complaint: str) -> bool:
        version, why = tried.version(name, path) if is_interpreter(path) else (_asked(name, path), "")
        if version:
            found.setdefault((name, version), Program(name=name, version=version, path=path))
        else:
            sentences.append(f"{complaint.format(path=path)}{f' ({why})' if why else ''}; it is left out.")
        return bool(version)

    for name, given in paths.items():
        for path in filter(None, given.split(os.pathsep)):
            add(name, path, f"[node] programs: {{path}} is no {name} that can be started here")
    for name in known:
        if name not in paths:
            any(add(name, path, f"The {name} of {{path}} cannot be used") for path in _places(name, env))
    tried.keep()
    return list(found.values()), sentences


def is_interpreter(path: str) -> bool:
    """Whether this is a Python interpreter, by its name."""
    return Path(path).name.startswith("python")


def _places(name: str, env: Mapping[str, str]) -> Iterator[str]:
    """Where a renderer may be, the best first; only what exists."""
    if name in OURS:
        try:
            distribution(_WHEELS[name][0])
        except PackageNotFoundError:
            return
        yield sys.executable
    if name == "blender":
        beside, checkout = f"{sys.prefix}-blender", Path(__file__).resolve().parents[1] / ".venv-blender"
        for environment in dict.fromkeys((env.get(BLENDER) or beside, beside, str(checkout))):
            python = Path(environment, "bin", "python")
            if python.exists():
                yield str(python)
    program = process.find_program(name) if name not in OURS else ""
    if program:
        yield program


def _asked(name: str, path: str) -> str:
    """What ``path --version`` says on either output (povray speaks on stderr); empty where it says none."""
    try:
        told = process.run((path, "--version"), timeout=QUERY_SECONDS)
    except FileError:
        return ""
    match = _VERSION.get(name, _ANY_VERSION).search(told.stderr + "\n" + told.stdout)
    return match.group(1) if match and not told.timed_out else ""


class Trials:
    """Imports wheels in children of their interpreters, and remembers which of them worked."""

    def __init__(self, notes: Path) -> None:
        self._notes = notes
        self._known: dict[str, tuple[str, str]] = {}
        """``wheel path`` -> stamp of the environment, version."""
        try:
            self._known = msgspec.json.decode(notes.read_bytes(), type=dict[str, tuple[str, str]])
        except (OSError, msgspec.DecodeError):
            pass
        self._changed = False

    def version(self, name: str, interpreter: str) -> tuple[str, str]:
        """The version of the renderer in this environment; or nothing, and why."""
        if name not in _WHEELS:
            return "", f"there is no {name} for Python"
        wheel, code = _WHEELS[name]
        key, stamp = f"{wheel} {interpreter}", _stamp(interpreter)
        before = self._known.get(key)
        if before is not None and before[0] == stamp:
            return before[1], ""
        try:
            told = process.run((interpreter, "-P", "-c", code), timeout=TRIAL_SECONDS)
        except FileError as error:
            return "", str(error).rstrip(".")
        match = _ANY_VERSION.search(told.stdout)
        if told.code != 0 or match is None:
            return "", _why(wheel, told)
        self._known[key] = (stamp, match.group(1))
        self._changed = True
        return match.group(1), ""

    def keep(self) -> None:
        """Write down what was found; a folder that cannot be written costs a trial at the next start."""
        if self._changed:
            try:
                self._notes.write_bytes(msgspec.json.encode(self._known))
            except OSError:
                pass


def _why(wheel: str, told: process.Completed) -> str:
    if told.timed_out:
        return f"importing {wheel} took over {TRIAL_SECONDS:g} s"
    last = next((line for line in reversed(told.stderr.splitlines()) if line.strip()), f"it exited with {told.code}")
    if last.startswith("ModuleNotFoundError") and repr(wheel) in last:
        return f"{wheel} is not installed there"
    return f"{last.strip()}: {remedy(wheel)}"


def _stamp(interpreter: str) -> str:
    """Changes when a library comes or goes in the interpreter's environment, or another interpreter takes its place."""
    home = Path(interpreter).parent.parent
    marks = []
    for path in (Path(interpreter), *sorted(home.glob("lib/python3*/*-packages"))):
        try:
            marks.append(f"{path.stat().st_ino}:{path.stat().st_mtime_ns}")
        except OSError:
            marks.append("none")
    return " ".join(marks)
