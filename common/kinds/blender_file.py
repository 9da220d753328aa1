"""The .blend file format, as far as a submitter's machine needs it without Blender: version, blocks and structures.

A file is a header and blocks; one of them, DNA1, describes all structures of the program that wrote it, so that files of any version
can be read by the names of fields. Files may be compressed, by gzip (until 2.93) or Zstandard (since 3.0). Two headers are known:

    BLENDER-v405              pointers of 8 bytes (-) or 4 (_), little endian (v) or big (V), version 4.05
    BLENDER17-01v0500         since 5.0: length of the header, format 1, version 5.00; blocks of more than 2 GiB
"""

from __future__ import annotations

import gzip
import re
import struct
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, cast

_OLD = re.compile(rb"BLENDER([-_])([vV])(\d{3})")
_NEW = re.compile(rb"BLENDER(\d\d)-(\d\d)v(\d{4})")
_TOO_NEW = "this .blend file is of a format too new to be read"
_MOST = 1 << 26
"""Bytes of a block that is kept; DNA1 has a few hundred thousand."""


class BadBlend(ValueError):
    """Why a file is no .blend that can be read; a sentence without its full stop."""


@dataclass(frozen=True, kw_only=True)
class Block:
    """One block that was kept. ``struct`` is its number in the DNA."""

    code: str
    struct: int
    data: bytes
    count: int


@dataclass(frozen=True, kw_only=True)
class Field:
    """Of a structure. ``name`` without stars and brackets."""

    type: str
    name: str
    offset: int
    size: int
    pointer: bool


@dataclass(frozen=True, kw_only=True)
class BlendFile:
    """What was read of a file; blocks and structures are empty where only the version was asked for."""

    version: int
    """405 is 4.5, 500 is 5.0."""
    order: str = "<"
    pointer: int = 8
    blocks: tuple[Block, ...] = ()
    structs: tuple[tuple[Field, ...], ...] = field(default=(), repr=False)
    names: tuple[str, ...] = field(default=(), repr=False)
    """Of the structures."""

    @staticmethod
    def read(path: Path, codes: Iterable[str] = ()) -> BlendFile:
        """The version, and the blocks with these codes (``IM`` for pictures) with what is needed to understand them. Raises BadBlend."""
        wanted = {code.encode().ljust(4, b"\0") for code in codes}
        try:
            with _opened(path) as file:
                return _read(file, wanted)
        except (EOFError, struct.error, IndexError) as error:
            raise BadBlend("the file is cut short or damaged") from error
        except (OSError, ValueError) as error:
            raise error if isinstance(error, BadBlend) else BadBlend(f"the file cannot be read: {error}") from error

    def text(self, block: Block, name: str) -> str | None:
        """A field of characters; None: the structure has no such field."""
        found = self.field(block, name)
        if found is None:
            return None
        raw = block.data[found.offset : found.offset + found.size]
        return raw.split(b"\0", 1)[0].decode("utf-8", "replace")

    def is_set(self, block: Block, name: str) -> bool:
        """Whether a field, a pointer or a list of them, is not all zero."""
        found = self.field(block, name)
        return found is not None and any(block.data[found.offset : found.offset + found.size])

    def number(self, block: Block, name: str) -> int | None:
        """A whole number of 1, 2 or 4 bytes."""
        found = self.field(block, name)
        if found is None or found.size not in (1, 2, 4):
            return None
        return int.from_bytes(block.data[found.offset : found.offset + found.size], "little" if self.order == "<" else "big", signed=True)

    def field(self, block: Block, name: str) -> Field | None:
        """A field by its name; ``id.name`` for one of a structure inside."""
        fields, offset = self.structs[block.struct], 0
        *outer, last = name.split(".")
        for part in outer:
            inside = next((one for one in fields if one.name == part and not one.pointer), None)
            if inside is None or inside.type not in self.names:
                return None
            offset += inside.offset
            fields = self.structs[self.names.index(inside.type)]
        found = next((one for one in fields if one.name == last), None)
        return None if found is None else replace(found, offset=offset + found.offset)


def shown_version(version: int) -> str:
    """``4.5`` of 405, ``2.79`` of 279."""
    return f"{version // 100}.{version % 100 if version >= 300 else f'{version % 100:02d}'}"


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """The file, unpacked as it is read. Raises BadBlend where it cannot be unpacked."""
    with path.open("rb") as file:
        magic = file.read(4)
        file.seek(0)
        if magic[:2] == b"\x1f\x8b":
            try:
                with gzip.open(file) as unpacked:
                    yield cast(BinaryIO, unpacked)
            except zlib.error as error:
                raise BadBlend("the file is damaged: its gzip data cannot be read") from error
        elif magic == b"\x28\xb5\x2f\xfd":
            import zstandard

            try:
                with zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True) as reader:
                    yield cast(BinaryIO, reader)
            except zstandard.ZstdError as error:
                raise BadBlend("the file is damaged: its Zstandard data cannot be read") from error
        else:
            yield file


def _read(file: BinaryIO, wanted: set[bytes]) -> BlendFile:
    head = file.read(12)
    old = _OLD.fullmatch(head)
    if old:
        pointer, order, version, large = 8 if old[1] == b"-" else 4, "<" if old[2] == b"v" else ">", int(old[3]), False
    else:
        head += file.read(5)
        new = _NEW.fullmatch(head)
        if not new:
            if head.startswith(b"version https:/"):
                raise BadBlend("this is a pointer of Git LFS and not the .blend file itself; fetch it with git lfs pull")
            raise BadBlend(_TOO_NEW if head.startswith(b"BLENDER") else "this is no .blend file, or it is empty")
        if int(new[2]) != 1:
            raise BadBlend(_TOO_NEW)
        _take(file, int(new[1]) - len(head))
        pointer, order, version, large = 8, "<", int(new[3]), True
    if not wanted:
        return BlendFile(version=version, order=order, pointer=pointer)
    blocks: list[Block] = []
    for code, number, count, size in _heads(file, order, pointer, large):
        if code == b"DNA1":
            structs, names = _dna(_take(file, size), order, pointer)
            return BlendFile(version=version, order=order, pointer=pointer, blocks=tuple(blocks), structs=structs, names=names)
        if code in wanted and size <= _MOST:
            blocks.append(Block(code=code.rstrip(b"\0").decode(), struct=number, data=_take(file, size), count=count))
        else:
            _skip(file, size)
    raise BadBlend("the file is cut short or damaged")


def _heads(file: BinaryIO, order: str, pointer: int, large: bool) -> Iterator[tuple[bytes, int, int, int]]:
    """code, number of the structure, count, size of each block; the block itself is for the caller to read."""
    form = struct.Struct(f"{order}4siQqq" if large else f"{order}4si{'Q' if pointer == 8 else 'I'}ii")
    while True:
        if large:
            code, number, _, size, count = form.unpack(_take(file, form.size))
        else:
            code, size, _, number, count = form.unpack(_take(file, form.size))
        if code == b"ENDB":
            return
        if size < 0 or number < 0:
            raise EOFError
        yield code, number, count, size


def _dna(data: bytes, order: str, pointer: int) -> tuple[tuple[tuple[Field, ...], ...], tuple[str, ...]]:
    """SDNA: the names of fields, of types, the sizes of types, and the structures that are made of them."""
    at = 0

    def tag(word: bytes) -> None:
        nonlocal at
        at = (at + 3) & ~3
        if data[at : at + 4] != word:
            raise EOFError
        at += 4

    def numbers(form: str, count: int) -> tuple[int, ...]:
        nonlocal at
        found = struct.unpack_from(f"{order}{count}{form}", data, at)
        at += struct.calcsize(f"{order}{count}{form}")
        return found

    def words() -> list[str]:
        nonlocal at
        (count,) = numbers("i", 1)
        found = data[at:].split(b"\0", count)[:count] if count > 0 else []
        at += sum(len(word) + 1 for word in found)
        return [word.decode("utf-8", "replace") for word in found]

    tag(b"SDNA")
    tag(b"NAME")
    names = words()
    tag(b"TYPE")
    types = words()
    tag(b"TLEN")
    sizes = numbers("h", len(types))
    tag(b"STRC")
    (count,) = numbers("i", 1)
    structs, titles = [], []
    for _ in range(count):
        kind, fields = numbers("h", 2)
        titles.append(types[kind])
        members, offset = [], 0
        for _ in range(fields):
            of, named = numbers("h", 2)
            member = _field(types[of], sizes[of], names[named], offset, pointer)
            members.append(member)
            offset += member.size
        structs.append(tuple(members))
    return tuple(structs), tuple(titles)


def _field(kind: str, size: int, name: str, offset: int, pointer: int) -> Field:
    """``*first``, ``name[66]``, ``(*call)()``: a pointer has the file's size whatever it points to."""
    points = name.startswith(("*", "(*"))
    many = 1
    for length in re.findall(r"\[(\d+)\]", name):
        many *= int(length)
    plain = re.sub(r"[*()]|\[\d+\]", "", name)
    return Field(type=kind, name=plain, offset=offset, size=many * (pointer if points else size), pointer=points)


def _take(file: BinaryIO, size: int) -> bytes:
    data = file.read(size)
    while len(data) < size:
        more = file.read(size - len(data))
        if not more:
            raise EOFError
        data += more
    return data


def _skip(file: BinaryIO, size: int) -> None:
    if isinstance(file, BufferedReader):
        file.seek(size, 1)
        return
    for at in range(0, size, 1 << 22):
        _take(file, min(1 << 22, size - at))
