"""A list of what a job made, with digests, so that a server sees at once whether all of it arrived as it was."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import msgspec

NAME = "made.json"


def seal(out: Path) -> None:
    """Write ``made.json`` over all files below ``out``."""
    files = {path.relative_to(out).as_posix(): path for path in out.rglob("*") if path.is_file()}
    (out / NAME).write_bytes(listing((name, path) for name, path in sorted(files.items()) if name != NAME))


def listing(files: Iterable[tuple[str, Path]]) -> bytes:
    """The very bytes of the list of these files."""
    found = {}
    for name, path in files:
        with path.open("rb") as file:
            found[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return msgspec.json.format(msgspec.json.encode(found, order="deterministic"), indent=1) + b"\n"
