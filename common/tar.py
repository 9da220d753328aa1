"""Canonical tars: our own writer and our own, strict reader.

The writer puts nothing into a header but path, size and mode, so that the same files give the same bytes on every machine
and release. The reader takes what the writer writes, byte for byte, and refuses the rest with a reason: the interpreter's
filter is missing on some 3.11, strips a leading ``/`` instead of refusing it, and has no limit on bytes or members. Any
``tar`` can read our packs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from .encoding import full_read
from .errors import UnsafeArchive
from .manifest import LONGEST, name_fault

BLOCK = 512
END = bytes(2 * BLOCK)
PLAIN, EXTENDED = b"0", b"x"
_REFUSED = {b"1": "a hard link", b"2": "a symbolic link", b"3": "a device", b"4": "a device", b"5": "a folder", b"6": "a pipe"}


class Member(NamedTuple):
    """A file in a tar; ``offset`` is where its bytes start."""

    path: str
    size: int
    mode: int
    offset: int


def padding(size: int) -> int:
    """Zero bytes after ``size`` bytes of content."""
    return -size % BLOCK


def header(path: str, size: int, mode: int) -> bytes:
    """What comes before a file's bytes: one block, and a pax record before it where the name is long or not ASCII."""
    raw = path.encode()
    if len(raw) <= 100 and raw.isascii():
        return _block(raw, size, mode, PLAIN)
    record = _record(b"path", raw)
    return _block(b"@pax", len(record), 0o644, EXTENDED) + record + bytes(padding(len(record))) + _block(b"@long", size, mode, PLAIN)


def _block(name: bytes, size: int, mode: int, flag: bytes) -> bytes:
    fields = [
        name.ljust(100, b"\0"),
        b"%07o\0" % mode,
        b"0000000\0" * 2,  # uid, gid
        b"%011o\0" % size,
        b"00000000000\0",  # mtime
        b" " * 8,  # the checksum counts itself as blanks
        flag,
        bytes(100),
        b"ustar\x0000",
    ]
    block = b"".join(fields).ljust(BLOCK, b"\0")
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def _record(key: bytes, value: bytes) -> bytes:
    """``length key=value\\n``, where the length counts its own digits."""
    rest = b" " + key + b"=" + value + b"\n"
    length = len(rest) + 1
    while len(b"%d" % length) + len(rest) != length:
        length = len(b"%d" % length) + len(rest)
    return b"%d" % length + rest


def members(source: BinaryIO, size: int, *, most: int) -> Iterator[Member]:
    """The files of a seekable tar of ``size`` bytes; each is skipped, its bytes may be read before the next is asked for.

    Raises UnsafeArchive on all that is not a plain file within the folder, on a name that comes twice, on more than
    ``most`` members and on bytes that do not fit ``size``.
    """
    at, path, seen = 0, "", set[str]()
    raw = b""
    while True:
        source.seek(at)
        block = full_read(source, BLOCK)
        if len(block) < BLOCK:
            raise UnsafeArchive("The tar is cut off.")
        if block == bytes(BLOCK):
            break
        flag, length = _parse(block)
        at += BLOCK
        if at + length + padding(length) > size:
            raise UnsafeArchive("A member of the tar is longer than the tar.")
        if flag == EXTENDED:
            if path or length > LONGEST + 100:
                raise UnsafeArchive("The tar has an extended header that is not ours.")
            raw = block + full_read(source, length + padding(length))
            path = _path_of(raw[BLOCK : BLOCK + length])
        else:
            path = path or _text(block[:100].rstrip(b"\0"))
            _judge(path, flag)
            mode = _octal(block[100:108])
            if raw + block != header(path, length, mode):
                raise UnsafeArchive(f"The tar has a header for {path!r:.200} that is of another make.")
            if path in seen:
                raise UnsafeArchive(f"The tar holds {path} twice.")
            if len(seen) >= most:
                raise UnsafeArchive(f"The tar holds more than the {most} files that were declared.")
            seen.add(path)
            yield Member(path, length, mode, at)
            path, raw = "", b""
            source.seek(at + length)
            if any(full_read(source, padding(length))):
                raise UnsafeArchive("The tar has bytes between its members.")
        at += length + padding(length)
    source.seek(at)
    if path or at + len(END) != size or full_read(source, len(END) + 1) != END:
        raise UnsafeArchive("The tar does not end where it should.")


def _parse(block: bytes) -> tuple[bytes, int]:
    blanked = block[:148] + b" " * 8 + block[156:]
    if block[257:262] != b"ustar" or _octal(block[148:156]) != sum(blanked):
        raise UnsafeArchive("The tar has a header that is broken or of another make.")
    return block[156:157].replace(b"\0", PLAIN), _octal(block[124:136])


def _judge(path: str, flag: bytes) -> None:
    if flag != PLAIN:
        what = _REFUSED.get(flag, f"a member of the unknown type {flag!r}")
        raise UnsafeArchive(f"The tar holds {path!r:.200} as {what}; only plain files are taken.")
    fault = name_fault(path)
    if fault:
        raise UnsafeArchive(f"The name {path!r:.200} in the tar {fault}.")


def _octal(field: bytes) -> int:
    text = field.strip(b"\0 ")
    if text.strip(b"01234567"):
        raise UnsafeArchive("The tar has a number that cannot be read.")
    return int(text or b"0", 8)


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise UnsafeArchive(f"The name {raw!r:.200} in the tar is not valid UTF-8.") from error


def _path_of(record: bytes) -> str:
    """The one thing that a pax header of ours says."""
    length, _, rest = record.partition(b" ")
    if not length.isdigit() or int(length) != len(record) or not rest.startswith(b"path=") or not rest.endswith(b"\n"):
        raise UnsafeArchive("The tar has an extended header that is not ours.")
    return _text(rest[5:-1])
