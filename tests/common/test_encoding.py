"""zstd on the way: bounded, repeatable, and not for pictures."""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path

import pytest
import zstandard
from clusterray.common import encoding
from clusterray.common.errors import DigestMismatch, UnsafeArchive
from clusterray.common.model import PackRef
from hypothesis import given
from hypothesis import strategies as st


def ref(data: bytes) -> PackRef:
    return PackRef(digest=hashlib.sha256(data).hexdigest(), size=len(data))


@given(st.binary(max_size=4000), st.integers(1, 400))
def test_what_is_encoded_comes_back(data: bytes, times: int) -> None:
    """Any bytes survive the way there and back."""
    whole = data * times
    encoded = b"".join(encoding.encode(io.BytesIO(whole)))
    assert b"".join(encoding.plain_blocks(io.BytesIO(encoded), len(whole), encoded=True)) == whole
    assert len(encoded) <= encoding.most(len(whole))


def test_the_same_bytes_always_give_the_same_encoding() -> None:
    """An upload that was cut goes on where it ended, also when its source hands out fewer bytes at a time."""

    class Slow(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(min(size or 0, 1000))

    data = os.urandom(100_000) + b"sphere { 0, 1 }\n" * 60_000
    assert list(encoding.encode(Slow(data))) == list(encoding.encode(io.BytesIO(data)))


def test_a_bomb_is_stopped_at_the_declared_size() -> None:
    """A few bytes that stand for a gigabyte are refused after the declared size, without being decoded whole."""
    coder = zstandard.ZstdCompressor(level=1).compressobj()
    block = bytes(1 << 20)
    bomb = b"".join(coder.compress(block) for _ in range(1024)) + coder.flush()
    assert len(bomb) < 200_000
    produced = 0
    with pytest.raises(UnsafeArchive, match="more than the 1000 bytes"):
        for part in encoding.plain_blocks(io.BytesIO(bomb), 1000, encoded=True):
            produced += len(part)
    assert produced == 0


def test_a_frame_that_asks_for_much_memory_is_refused() -> None:
    """A stranger's frame cannot make the receiver take a huge window."""
    params = zstandard.ZstdCompressionParameters.from_level(3, window_log=27)
    coder = zstandard.ZstdCompressor(compression_params=params).compressobj()
    data = b"".join(coder.compress(os.urandom(1 << 20)) for _ in range(20)) + coder.flush()
    with pytest.raises(DigestMismatch):
        list(encoding.plain_blocks(io.BytesIO(data), 1 << 30, encoded=True))


def test_broken_short_and_wrong_packs_are_told_apart(tmp_path: Path) -> None:
    """Each damage has its own sentence, and none passes."""
    data = b"camera {}\n" * 5000
    pack, file = ref(data), tmp_path / "pack"
    encoded = b"".join(encoding.encode(io.BytesIO(data)))
    for content, is_encoded, error, words in [
        (data[:-1], False, DigestMismatch, "cut off"),
        (data[:-1] + b"x", False, DigestMismatch, "does not have the bytes"),
        (data + b"x", False, UnsafeArchive, "more than"),
        (data * 2, False, UnsafeArchive, "more bytes"),
        (encoded[:-20], True, DigestMismatch, "cut off"),
        (b"no zstd", True, DigestMismatch, "cannot be decoded"),
        (b"", True, DigestMismatch, "cut off"),
    ]:
        file.write_bytes(content)
        with pytest.raises(error, match=words):
            encoding.verify(file, pack, encoded=is_encoded)
    for content, is_encoded in [(data, False), (encoded, True)]:
        file.write_bytes(content)
        out = io.BytesIO()
        encoding.verify(file, pack, encoded=is_encoded, to=out)
        assert out.getvalue() == data


def test_only_what_shrinks_is_encoded(tmp_path: Path) -> None:
    """Scene text is encoded; pictures, noise and tiny files are not, whatever their name says."""
    text = b"texture { pigment { rgb <0.1, 0.2, 0.3> } }\n" * 4000
    for name, content, pays in [
        ("scene.pov", text, True),
        ("noise.txt", os.urandom(200_000), False),
        ("tiny.inc", b"#declare A = 1;", False),
        ("empty", b"", False),
        ("photo.txt", b"\xff\xd8\xff\xe0" + text, False),
        ("map.png", b"\x89PNG\r\n\x1a\n" + text, False),
        ("x.webp", b"RIFF\0\0\0\0WEBP" + text, False),
        ("mostly-noise", text[:1000] + os.urandom(400_000), False),
    ]:
        (tmp_path / name).write_bytes(content)
        assert encoding.sniff(tmp_path / name) is pays, name
