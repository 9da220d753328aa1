"""What POV-Ray prints, read: how far it is, and what went wrong, in its own words.

Messages are wrapped at 80 columns with a space before each further line. Warnings named "Possible Parse Error" come before the
error that they lead to. POV-Ray exits with 1 for everything that it can name and with 2 when it was told to stop; a failed
assertion aborts it. Under bubblewrap a signal n arrives as exit code 128 + n.
"""

from __future__ import annotations

import posixpath
import re
import signal
from collections.abc import Callable, Mapping, Sequence

from ..model import Cause, Failure

_RENDERED = re.compile(r"Rendered (-?\d+) of (-?\d+) pixels")
_FRAME = re.compile(r"Rendering frame (\d+) of \d+")
_FILE = re.compile(r"File '([^']*)'")
_ERROR = re.compile(r"(?:^|: )(Parse Error|Fatal error in parser|Fatal error in renderer|Failed to|Cannot open|Cannot create)")
_NO_MEMORY = re.compile(r"bad_alloc|out of memory|cannot allocate", re.I)
_INPUT = re.compile(r"Parse Error:|Fatal error in parser|Failed to parse")


def progress(line: str) -> float | None:
    """``Rendered 1024 of 10000 pixels (10%)`` as a fraction; the total is that of the region, and negative beyond 2**31."""
    match = _RENDERED.search(line)
    if not match:
        return None
    done, whole = int(match[1]), int(match[2]) % (1 << 32)
    return min(1.0, max(0.0, done / whole)) if whole else None


class FilmProgress:
    """The same for a film of so many frames, of which povray says which one begins."""

    def __init__(self, frames: int) -> None:
        self._frames = frames
        self.at: int | None = None
        """Which of the frames began last, from 0; None: none yet."""

    def __call__(self, line: str) -> float | None:
        match = _FRAME.search(line)
        if match:
            self.at = int(match[1]) - 1
            return min(1.0, self.at / self._frames)
        part = progress(line)
        return None if part is None else min(1.0, ((self.at or 0) + part) / self._frames)


def diagnose(renames: Mapping[str, str], base: str) -> Callable[[int, Sequence[str]], Failure]:
    """The diagnosis for a job: ``renames`` maps our aliases of files to their names, ``base`` is the scene's folder in the task."""

    def judge(code: int, tail: Sequence[str]) -> Failure:
        messages = [_renamed(message, renames, base) for message in unwrapped(tail)]
        number = -code if code < 0 else code - 128 if code > 128 else 0
        cause, sentence = _judged(code, number, messages)
        return Failure(cause=cause, sentence=sentence, exit_code=code, tail=_evidence(messages))

    return judge


def unwrapped(lines: Sequence[str]) -> list[str]:
    """POV-Ray's messages, each on one line again."""
    messages: list[str] = []
    for line in lines:
        if line.startswith(" ") and messages and line.strip():
            messages[-1] += " " + line.strip()
        elif line.strip():
            messages.append(line.rstrip())
    return messages


def _evidence(messages: Sequence[str]) -> tuple[str, ...]:
    """The last messages, without progress and without the page of credits that comes before the scene is read."""
    begun = next((number for number, message in enumerate(messages) if message.startswith("==== [Parsing")), 0)
    return tuple(message for message in messages[begun:] if not _RENDERED.search(message))[-40:]


def _judged(code: int, number: int, messages: Sequence[str]) -> tuple[Cause, str]:
    errors = [message for message in messages if _ERROR.search(message) and "Possible Parse Error" not in message]
    if any(_NO_MEMORY.search(message) for message in messages):
        return Cause.MEMORY, "POV-Ray ran out of memory; give the job more with needs.memory, or cut the picture into more tiles."
    if number == signal.SIGKILL:
        return Cause.MEMORY, "POV-Ray was killed, most likely because the machine ran out of memory."
    if number == signal.SIGXCPU:
        return Cause.TIMEOUT, "POV-Ray used up its processor time."
    if number == signal.SIGXFSZ:
        return Cause.ERROR, "POV-Ray wrote a file over the limit for one file."
    if number == signal.SIGABRT:
        last = next((message for message in reversed(messages) if "ssert" in message or "terminate" in message), "")
        return Cause.ERROR, f"POV-Ray gave up on an assertion of its own{': ' + last if last else '.'}"
    if number:
        return Cause.ERROR, f"POV-Ray ended by signal {number} ({_signal(number)})."
    if any(_INPUT.search(message) for message in errors):
        return Cause.INPUT, _parser_error(messages)
    if code == 2:
        return Cause.ERROR, "POV-Ray was told to stop from outside."
    last = errors[-1] if errors else messages[-1] if messages else ""
    return Cause.ERROR, f"POV-Ray exited with {code}{': ' + last if last else ' without a word.'}"


def _parser_error(messages: Sequence[str]) -> str:
    """The error that names a file and a line; else the last "possible" one that does (a missing picture); else any."""
    named = re.compile(r"^File '.*' line \d+: Parse Error")
    possible = re.compile(r"^File '.*' line \d+: Possible Parse Error")
    for pattern, order in ((named, 1), (possible, -1), (re.compile("^Parse Error"), 1), (_INPUT, 1)):
        for message in messages[::order]:
            if pattern.search(message):
                return message
    return "POV-Ray cannot read the scene."


def _renamed(message: str, renames: Mapping[str, str], base: str) -> str:
    for alias, name in renames.items():
        message = message.replace(f"'{alias}'", f"'{name}'").replace(f"'{alias}/", f"'{name}/" if name else "'")

    def from_the_task(match: re.Match[str]) -> str:
        named = match[1]
        known = not base or named.startswith("/") or any(named.startswith(name) for name in renames.values() if name)
        return match[0] if known else f"File '{posixpath.join(base, named)}'"

    return _FILE.sub(from_the_task, message)


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"
