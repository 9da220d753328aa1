"""What a job has made: the files below ``out`` that its recipe names, with sizes and digests.

A program is not trusted with names: only plain files count, never links or what lies behind them, lest a scene have the agent
send a file that the program itself was not allowed to read.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

from ..common.errors import OutputRejected
from ..common.model import Output

INLINE = 16 * 1024
"""Bytes: outputs that are together no larger ride in the report itself."""
MOST = 2000
LONGEST = 255
"""Files of one job, and characters of a path: all of them have to fit into one message."""


def make_plain(scratch: Path) -> None:
    """Leave nothing below ``scratch`` but folders and files that can be read; raise OutputRejected where ``out`` is no folder any more.

    Before anything else, a kind's ``finish`` above all, looks at what a program has left: outside of its confinement a link that it made
    leads anywhere, and whoever writes or tidies through it does so in somebody else's files. The program has to be dead.
    """
    for _, folders, files, handle in os.fwalk(scratch, follow_symlinks=False):
        for name in (*folders, *files):
            mode = os.stat(name, dir_fd=handle, follow_symlinks=False).st_mode
            if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
                os.unlink(name, dir_fd=handle)
            elif mode & stat.S_IRWXU != stat.S_IRWXU and (stat.S_ISDIR(mode) or not mode & stat.S_IRUSR):
                os.chmod(name, stat.S_IRWXU, dir_fd=handle)
    _check_folder(scratch / "out")


def _check_folder(out: Path) -> None:
    if out.is_symlink() or not out.is_dir():
        raise OutputRejected("The job has put something else into the place of its folder for outputs.")


def collect(out: Path, patterns: Sequence[str]) -> tuple[Output, ...]:
    """The outputs, sorted by path; with their bytes where they are small. Raises OutputRejected naming what is missing."""
    root = os.fspath(out)
    _check_folder(out)
    names = dict(_plain_files(root))
    chosen: dict[str, int] = {}
    for pattern in patterns:
        match = _matcher(pattern)
        fits = {name: size for name, size in names.items() if match.fullmatch(name)}
        if not any(fits.values()):
            made = ", ".join(sorted(names)[:5]) or "nothing"
            raise OutputRejected(f"The job ended well but made no file {pattern!r} that holds anything (it made: {made}).")
        chosen |= fits
    if len(chosen) > MOST:
        raise OutputRejected(f"The job made {len(chosen)} files; {MOST} is the most that one job may send.")
    make = _inline if sum(chosen.values()) <= INLINE else _by_name
    return tuple([make(f"{root}/{name}", name) for name in sorted(chosen)])


def _inline(path: str, name: str) -> Output:
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        data = os.read(handle, INLINE + 1)
    finally:
        os.close(handle)
    return Output(path=name, size=len(data), digest=hashlib.sha256(data).hexdigest(), data=data)


def _by_name(path: str, name: str) -> Output:
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return Output(path=name, size=file.tell(), digest=digest)


def digest_of(path: Path) -> str:
    """sha256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _plain_files(folder: str, prefix: str = "") -> Iterable[tuple[str, int]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            name = prefix + entry.name
            if not name.isprintable() or len(name) > LONGEST:  # the first holds for names that are no UTF-8, too
                raise OutputRejected(f"The job made a file whose name cannot be sent: {name!r}.")
            if entry.is_dir(follow_symlinks=False):
                yield from _plain_files(entry.path, name + "/")
            elif entry.is_file(follow_symlinks=False):
                yield name, entry.stat(follow_symlinks=False).st_size


@lru_cache(maxsize=256)
def _matcher(pattern: str) -> re.Pattern[str]:
    """A glob as a regular expression: ``**/`` is any folders or none, ``*`` and ``?`` stay within a name."""
    words = re.split(r"(\*\*/|\*\*|\*|\?)", pattern)
    meaning = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.compile("".join(meaning.get(word) or re.escape(word) for word in words), re.DOTALL)
