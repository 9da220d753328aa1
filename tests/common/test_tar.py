"""Our own tars: any tar program reads them, and the reader takes nothing that could do harm."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable

import pytest
from clusterray.common import tar
from clusterray.common.errors import UnsafeArchive
from clusterray.common.manifest import name_fault
from hypothesis import given
from hypothesis import strategies as st

PARTS = st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="/"), min_size=1, max_size=60)
NAMES = st.lists(PARTS, min_size=1, max_size=4).map("/".join).filter(lambda name: not name_fault(name))
FILES = st.dictionaries(NAMES, st.tuples(st.binary(max_size=1500), st.sampled_from((0o644, 0o755))), max_size=8)


def pack(files: dict[str, tuple[bytes, int]]) -> bytes:
    parts = [tar.header(name, len(data), mode) + data + bytes(tar.padding(len(data))) for name, (data, mode) in files.items()]
    return b"".join(parts) + tar.END


def unpack(data: bytes, most: int = 100) -> dict[str, tuple[bytes, int]]:
    source = io.BytesIO(data)
    found = {}
    for member in tar.members(source, len(data), most=most):
        source.seek(member.offset)
        found[member.path] = (source.read(member.size), member.mode)
    return found


@given(FILES)
def test_names_of_any_kind_survive(files: dict[str, tuple[bytes, int]]) -> None:
    """Blanks, quotes, any script and long names come back as they were."""
    assert unpack(pack(files)) == files


@given(FILES)
def test_python_reads_what_we_write(files: dict[str, tuple[bytes, int]]) -> None:
    """Our tars are ordinary ones: path, size, mode and bytes, dated 1970, owned by nobody in particular."""
    with tarfile.open(fileobj=io.BytesIO(pack(files))) as archive:
        found = {}
        for member in archive:
            content = archive.extractfile(member)
            assert content is not None and member.isreg() and (member.mtime, member.uid, member.gid) == (0, 0, 0)
            found[member.name] = (content.read(), member.mode)
    assert found == files


@given(FILES.filter(bool), st.data())
def test_a_tar_that_is_cut_or_changed_never_passes_for_whole(files: dict[str, tuple[bytes, int]], data: st.DataObject) -> None:
    """Cut anywhere, it is refused; with a byte changed it is refused or gives other bytes, and nothing else is ever raised."""
    whole = pack(files)
    with pytest.raises(UnsafeArchive):
        unpack(whole[: data.draw(st.integers(0, len(whole) - 1))])
    broken = bytearray(whole)
    broken[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        assert unpack(bytes(broken)) != files
    except UnsafeArchive:
        pass


@given(st.binary(max_size=3000))
def test_random_bytes_are_refused(data: bytes) -> None:
    """Noise gives UnsafeArchive and no other error."""
    try:
        assert unpack(data) == {}
    except UnsafeArchive:
        pass


def hostile(change: Callable[[tarfile.TarInfo], None], *, name: str = "a.txt", fmt: int = tarfile.PAX_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=fmt) as archive:
        info = tarfile.TarInfo(name)
        info.size = 3
        change(info)
        archive.addfile(info, io.BytesIO(b"abc"))
    return out.getvalue()


def kind(flag: bytes, link: str = "") -> Callable[[tarfile.TarInfo], None]:
    def change(info: tarfile.TarInfo) -> None:
        info.type, info.linkname = flag, link
        if flag != tarfile.REGTYPE:
            info.size = 0

    return change


def keep(info: tarfile.TarInfo) -> None: ...


@pytest.mark.parametrize(
    ("archive", "words"),
    [
        (hostile(keep, name="/etc/passwd"), "is absolute"),
        (hostile(keep, name="../up"), "leads out"),
        (hostile(keep, name="a/../../up"), "leads out"),
        (hostile(keep, name="a//b"), "empty parts"),
        (hostile(keep, name="./a"), "empty parts"),
        (hostile(keep, name="a\nb"), "control characters"),
        (hostile(keep, name="/ä" + "x" * 200), "is absolute"),
        (hostile(keep, name="../ä" + "x" * 200), "leads out"),
        (hostile(keep, name="x" * 300), "more than 255"),
        (hostile(keep, name="y/" * 1300 + "z"), "not ours"),
        (hostile(keep), "does not end where"),
        (hostile(lambda info: setattr(info, "mtime", 5)), "another make"),
        (hostile(kind(tarfile.SYMTYPE, "/etc/passwd")), "a symbolic link"),
        (hostile(kind(tarfile.LNKTYPE, "other")), "a hard link"),
        (hostile(kind(tarfile.CHRTYPE)), "a device"),
        (hostile(kind(tarfile.BLKTYPE)), "a device"),
        (hostile(kind(tarfile.FIFOTYPE)), "a pipe"),
        (hostile(kind(tarfile.DIRTYPE)), "a folder"),
        (hostile(kind(b"Z")), "unknown type"),
        (hostile(keep, name="x" * 150, fmt=tarfile.GNU_FORMAT), "unknown type|another make"),
        (pack({"a": (b"1", 0o644)})[:-1024] + pack({"a": (b"2", 0o644)}), "twice"),
        (pack({"a": (b"1", 0o644)}) + b"more", "does not end where"),
    ],
)
def test_hostile_archives_are_refused_by_name(archive: bytes, words: str) -> None:
    """Absolute names, ways out, links, devices, doubles and all the rest end the unpacking with a sentence."""
    with pytest.raises(UnsafeArchive, match=words):
        unpack(archive)


def test_more_members_than_declared_are_refused() -> None:
    """A tar cannot smuggle files beside those of the manifest."""
    with pytest.raises(UnsafeArchive, match="more than the 2 files"):
        unpack(pack(dict.fromkeys("abc", (b"", 0o644))), most=2)
