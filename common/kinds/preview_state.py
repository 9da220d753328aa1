"""What a preview remembers from one call to the next: which pieces are in it, the order of the nodes, and its arrays.

One file, ``.state.npz`` in the preview's folder. One that is damaged, of another version or of another picture is as good as none.
"""

from __future__ import annotations

import contextlib
import json
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .kind import Piece
from .png import BadPicture

FILE = ".state.npz"
VERSION = 1


@dataclass(kw_only=True)
class State:
    """``about`` says what the preview is of; arrays by name belong to whoever draws it."""

    about: list[Any]
    done: set[str] = field(default_factory=set)
    """Names of regions whose pieces are in it, and what a drawer calls other things; those names have a ``/``."""
    nodes: list[str] = field(default_factory=list)
    """In the order in which they first came, so that a node keeps its colour."""
    arrays: dict[str, Any] = field(default_factory=dict)

    def new(self, pieces: Sequence[Piece]) -> list[Piece]:
        """The pieces that are not in it yet."""
        for piece in pieces:
            if piece.node not in self.nodes:
                self.nodes.append(piece.node)
        return [piece for piece in pieces if piece.region.name not in self.done]

    @contextlib.contextmanager
    def taking(self, name: str) -> Iterator[None]:
        """Mark a region as being in it once the body has read its piece; one that cannot be read is passed over, and new next time."""
        try:
            yield
        except (BadPicture, OSError):
            return
        self.done.add(name)

    def save(self, out: Path) -> None:
        import numpy as np

        head = json.dumps([VERSION, self.about, sorted(self.done), self.nodes])
        part = out / f"{FILE}.part"
        with part.open("wb") as file:
            np.savez(file, head=np.array(head), **self.arrays)
        part.replace(out / FILE)


def load(out: Path, about: list[Any]) -> State:
    """What the last call left there; an empty one where that is of no use."""
    import numpy as np

    try:
        with np.load(out / FILE, allow_pickle=False) as file:
            version, of, done, nodes = json.loads(str(file["head"]))
            if version == VERSION and of == about:
                return State(about=about, done=set(done), nodes=nodes, arrays={name: file[name] for name in file.files if name != "head"})
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        pass
    return State(about=about)
