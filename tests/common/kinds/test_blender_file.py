"""The .blend format without Blender: version, blocks and fields of files that Blender wrote, and what is said of others."""

from __future__ import annotations

import struct

import pytest
from clusterray.common.kinds.blender_file import BadBlend, BlendFile, shown_version


def test_the_version_is_read_plain_and_compressed(blender):
    """Uncompressed, by Zstandard as Blender does it now, by gzip as it did; it is the version that wrote the file."""
    files = [blender.scene(name) / "scene.blend" for name in ("plain", "wide", "wood")]
    assert [path.read_bytes()[:2] for path in files] == [b"BL", b"\x28\xb5", b"\x1f\x8b"]
    assert len({BlendFile.read(path).version for path in files}) == 1
    assert 300 <= BlendFile.read(files[0]).version < 700


@pytest.mark.parametrize(
    ("head", "version", "shown"),
    [(b"BLENDER-v405", 405, "4.5"), (b"BLENDER_V279", 279, "2.79"), (b"BLENDER-v402", 402, "4.2"), (b"BLENDER17-01v0500", 500, "5.0")],
)
def test_old_and_new_headers(tmp_path, head, version, shown):
    """Both sizes of pointers and both byte orders, and the longer header since 5.0."""
    path = tmp_path / "a.blend"
    path.write_bytes(head + bytes(40))
    assert BlendFile.read(path).version == version
    assert shown_version(version) == shown


def test_fields_are_found_by_name_whatever_the_version(blender):
    """What DNA1 says leads to a picture's path, its datablock's name and whether it is packed."""
    loose = BlendFile.read(blender.scene("wood") / "scene.blend", ["IM"])
    (wood,) = [block for block in loose.blocks if loose.text(block, "id.name") == "IMWood"]
    assert loose.text(wood, "filepath" if loose.field(wood, "filepath") else "name") == "//tex/wood.png"
    packed = BlendFile.read(blender.scene("packed") / "scene.blend", ["IM"])
    (again,) = [block for block in packed.blocks if packed.text(block, "id.name") == "IMWood"]
    assert not loose.is_set(wood, "packedfiles") and packed.is_set(again, "packedfiles")
    assert loose.field(wood, "no_such_field") is None


def test_blocks_of_old_files_are_read(tmp_path):
    """A file with 4-byte pointers and big endian, put together by hand after the format's description."""

    def words(*names):
        return struct.pack(">i", len(names)) + b"".join(name + b"\0" for name in names)

    def aligned(data):
        return data + bytes(-len(data) % 4)

    dna = aligned(b"SDNANAME" + words(b"*next", b"name[4]", b"(*call)()", b"size"))
    dna = aligned(dna + b"TYPE" + words(b"char", b"int", b"Thing"))
    dna = aligned(dna + b"TLEN" + struct.pack(">3h", 1, 4, 16))
    dna += b"STRC" + struct.pack(">i2h8h", 1, 2, 4, 2, 0, 0, 1, 1, 2, 1, 3)
    data = bytes(4) + b"abc\0" + bytes(4) + struct.pack(">i", -7)
    path = tmp_path / "a.blend"

    def block(code, content, number):
        return code + struct.pack(">iIii", len(content), 1, number, 1) + content

    blocks = [block(b"GLOB", b"skipped!", 0), block(b"TH\0\0", data, 0), block(b"DNA1", dna, 0), block(b"ENDB", b"", 0)]
    path.write_bytes(b"BLENDER_V250" + b"".join(blocks))
    file = BlendFile.read(path, ["TH"])
    assert file.text(file.blocks[0], "name") == "abc"
    assert file.number(file.blocks[0], "size") == -7
    assert not file.is_set(file.blocks[0], "call")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "no .blend file"),
        (b"PNG and other things", "no .blend file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "git lfs pull"),
        (b"BLENDER99-77v0900" + bytes(99), "too new"),
        (b"\x28\xb5\x2f\xfd not Zstandard", "cannot be read"),
        (b"\x1f\x8b not gzip", "cannot be read"),
    ],
)
def test_what_is_no_blend_is_said_in_a_sentence(tmp_path, data, said):
    path = tmp_path / "a.blend"
    path.write_bytes(data)
    with pytest.raises(BadBlend, match=said):
        BlendFile.read(path)


def test_a_file_cut_short_anywhere_is_refused(blender, tmp_path):
    """Never half a list of files: what is cut before its description is an error."""
    for name in ("plain", "wide", "wood"):
        data = (blender.scene(name) / "scene.blend").read_bytes()
        for keep in (0.2, 0.5, 0.9):
            path = tmp_path / "cut.blend"
            path.write_bytes(data[: int(len(data) * keep)])
            with pytest.raises(BadBlend):
                BlendFile.read(path, ["IM"])
