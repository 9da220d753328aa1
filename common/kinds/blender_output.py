"""What Blender and our script in it print, read: how far it is, and what went wrong."""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence

from ..model import Cause, Failure
from .blender_driver import INPUT, NODE, PROGRESS

_NO_MEMORY = re.compile(r"out of (GPU )?memory|bad_alloc|Malloc returns null|MemoryError", re.I)
_NO_SCREEN = re.compile(r"Unable to (open a display|create.*context)|No OpenGL vendor|GLX or EGL context|failed to create.*context", re.I)
_NO_MODULE = re.compile(r"(ImportError|ModuleNotFoundError): (.*)")
_SAMPLE = re.compile(r"Sample (\d+)/(\d+)")
_ERROR = re.compile(r"^(?:\w+(?:Error|Exception)|Error): (.*)")


def progress(line: str) -> float | None:
    """Our script's own word; Blender's differ by version and engine."""
    if not line.startswith(PROGRESS):
        return None
    try:
        return min(1.0, max(0.0, float(line[len(PROGRESS) :])))
    except ValueError:
        return None


def picture_progress(line: str) -> float | None:
    """As progress(), for a job of one picture: there the samples that Blender counts will do, as old versions tell a script nothing."""
    told = progress(line)
    match = _SAMPLE.search(line) if told is None and line.startswith("Fra:") else None
    return told if match is None else min(1.0, int(match[1]) / max(1, int(match[2])))


def diagnose(code: int, tail: Sequence[str]) -> Failure:
    """See kind.Recipe.diagnose."""
    lines = [line.rstrip() for line in tail if line.strip()]
    number = -code if code < 0 else code - 128 if code > 128 else 0
    cause, sentence = _judged(code, number, lines)
    evidence = tuple(line for line in lines if not line.startswith(PROGRESS))[-40:]
    return Failure(cause=cause, sentence=sentence, exit_code=code, tail=evidence)


def _judged(code: int, number: int, lines: Sequence[str]) -> tuple[Cause, str]:
    for line in reversed(lines):
        if line.startswith(INPUT):
            return Cause.INPUT, line[len(INPUT) :]
        if line.startswith(NODE):
            return Cause.ERROR, line[len(NODE) :]
    if any(_NO_MEMORY.search(line) for line in lines):
        return Cause.MEMORY, "Blender ran out of memory; give the job more with needs.memory."
    if any("without OpenImageDenoise" in line for line in lines):
        return Cause.ERROR, 'The Blender of this node was built without OpenImageDenoise; say denoise = "off", or give it another Blender.'
    if any(_NO_SCREEN.search(line) for line in lines):
        way = "install Mesa's EGL there (libegl1, libgl1-mesa-dri), or use Cycles"
        return Cause.ERROR, f"Eevee and Workbench draw with OpenGL, and Blender finds none on this node; {way}."
    if number == signal.SIGKILL:
        return Cause.MEMORY, "Blender was killed, most likely because the machine ran out of memory."
    if number == signal.SIGXCPU:
        return Cause.TIMEOUT, "Blender used up its processor time."
    if number:
        return Cause.ERROR, f"Blender crashed (signal {number}); a Blender of another version may do better."
    for line in reversed(lines):
        module = _NO_MODULE.search(line)
        if module:
            return Cause.ERROR, f"Blender cannot start on this node: {module[2]}"
        error = _ERROR.match(line)
        if error and error[1]:
            return Cause.ERROR, f"Blender failed: {error[1]}"
    return Cause.ERROR, f"Blender exited with {code}{': ' + lines[-1] if lines else ' without a word.'}"
