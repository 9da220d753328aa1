"""Shared roots: paths of all systems, settings in one syntax, and what leads out is refused."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from clusterray.common import shared
from clusterray.common.bundle import BundleFolder, link_files, make_linked
from clusterray.common.errors import SettingsError, SharedChanged, SharedError, TaskFileError, UnsafeArchive, UsageError
from clusterray.common.linked import LinkedFolder, link_folder
from clusterray.common.manifest import Share, chosen, read_manifest, write_manifest
from clusterray.common.settings import load

from ..test_readme import ROOT, source_texts

SHARE = Share(root="photos", folder="site7")


@pytest.mark.parametrize(
    ("top", "path", "rest"),
    [
        ("/mnt/photos", "/mnt/photos/site7", ("site7",)),
        ("/mnt/photos", "/mnt/photos", ()),
        ("/mnt/photos", "/mnt/photos2/site7", None),
        ("/mnt/photos", "/mnt/Photos/site7", None),
        ("/Volumes/Zo\u00e9", "/Volumes/Zoe\u0301/a", ("a",)),  # as macOS composes it
        ("nas:/photos", "nas:/photos/site7/x", ("site7", "x")),
        ("Z:\\photos", "z:/Photos/Site 7/x", ("Site 7", "x")),
        ("Z:\\", "Z:\\site7", ("site7",)),
        ("Z:\\photos", "Y:\\photos\\site7", None),
        ("\\\\nas\\photos", "\\\\NAS\\Photos\\site7", ("site7",)),
        ("\\\\nas\\photos", "//nas/photos/site7", ("site7",)),
        ("\\\\nas\\photos", "smb://nas/photos/site7", ("site7",)),
        ("\\\\nas\\photos", "\\\\?\\UNC\\nas\\photos\\site7", ("site7",)),
        ("Z:\\photos", "\\\\?\\Z:\\photos\\site7", ("site7",)),
        ("\\\\nas\\photos", "\\\\nas\\photos2\\site7", None),
        ("\\\\nas\\data\\photos", "\\\\nas\\data\\site7", None),
        ("Z:\\photos", "/Z:/photos/site7", None),
    ],
)
def test_paths_compare_as_their_system_does(top, path, rest):
    """Windows knows no case and two slashes; a share has several names; accents may be composed; a longer name is another folder."""
    assert shared.below(top, path) == rest


@pytest.mark.parametrize("path", ["/mnt/photos/../etc", "Z:\\photos\\..\\x", "\\\\nas\\photos\\..\\..\\x"])
def test_a_way_through_dots_is_refused(path):
    """What a path means without a disk at hand is not guessed."""
    with pytest.raises(UsageError, match=r"goes through \.\."):
        shared.below("/mnt/photos" if path.startswith("/") else "Z:\\photos", path)


# --- settings


def settings(folder: Path, text: str = "", **env: str):
    (folder / "clusterray.toml").write_text(text)
    return load({}, {"HOME": str(folder), **env}, folder)


def test_the_section_in_a_file_and_in_a_variable(tmp_path):
    """[shared.photos] in the file, CLUSTERRAY_SHARED_PHOTOS in the environment: the same root, and the nearer one wins."""
    text = '[shared.photos]\npath = "/mnt/photos"\nresults = "/mnt/out"\nalso = ["Z:\\\\photos"]\n[shared.old-films]\npath = "/mnt/films"\n'
    found = settings(tmp_path, text)
    photos, films = found.settings.shared["photos"], found.settings.shared["old-films"]
    assert (photos.path, photos.results, photos.also) == (Path("/mnt/photos"), Path("/mnt/out"), ("Z:\\photos",))
    assert films.results == films.path == Path("/mnt/films")
    assert found.origins["shared.photos"].endswith("clusterray.toml:1") and found.origins["shared.old-films"].endswith(":5")
    assert settings(tmp_path, text, CLUSTERRAY_SHARED_PHOTOS="/data").settings.shared["photos"].path == Path("/data")
    whole = "path=/mnt/photos,results=/mnt/out,also=Z:\\photos|\\\\nas\\photos"
    assert settings(tmp_path, CLUSTERRAY_SHARED_PHOTOS=whole).settings.shared["photos"].also == ("Z:\\photos", "\\\\nas\\photos")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[shared.photos]\nroot = "/x"\n', 'has no setting "root"; it has path, results, also'),
        ('[shared.photos]\nresults = "/x"\n', "does not say where this machine sees it"),
        ('[shared.photos]\npath = "photos"\n', "must be a whole path of this machine, not photos."),
        ('[shared.photos]\npath = "Z:\\\\photos"\n', "put the names that other machines use into also"),
        ('[shared.photos]\npath = "/mnt/../etc"\n', "must not have .. in it"),
        ('[shared.Photos]\npath = "/mnt"\n', '"Photos" cannot name a shared root'),
        ('[shared]\nphotos = 3\n', "a table is wanted, such as [shared.photos]"),
        ('[shared.photos]\npath = "/mnt"\nalso = "Z:"\n', "also must be a list of paths"),
        ('[share.photos]\npath = "/mnt"\n', "Is [shared] meant?"),
    ],
)
def test_a_wrong_setting_is_one_sentence_with_its_line(tmp_path, text, said):
    """As for any other setting."""
    with pytest.raises(SettingsError) as caught:
        settings(tmp_path, text)
    assert said in str(caught.value) and "clusterray.toml:" in str(caught.value)


# --- a folder that somebody names


@pytest.fixture
def disk(tmp_path):
    """A root with a folder of two photos."""
    (tmp_path / "disk" / "Site7" / "images").mkdir(parents=True)
    for number in range(2):
        (tmp_path / "disk" / "Site7" / "images" / f"p{number}.jpg").write_bytes(b"x" * (number + 1))
    return tmp_path / "disk"


def roots(disk, **more):
    return shared.roots({"photos": {"path": str(disk), "also": ["Z:\\photos", "\\\\nas\\photos"], **more}})


@pytest.mark.parametrize("named", ["Z:\\Photos\\site7", "\\\\NAS\\photos\\SITE7\\", "smb://nas/photos/Site7", "Site7"])
def test_a_folder_in_the_words_of_any_machine(disk, named):
    """Root and relative path are the same, in the letters of the disk."""
    place = shared.find_place(named, roots(disk), disk)
    assert (place.root.name, place.folder, place.real) == ("photos", "Site7", disk / "Site7")


def test_the_innermost_of_nested_roots_counts(disk):
    """Who declares a root in a root means it."""
    known = {**roots(disk), **shared.roots({"site": {"path": str(disk / "Site7")}})}
    place = shared.find_place(str(disk / "Site7" / "images"), known, disk)
    assert (place.root.name, place.folder) == ("site", "images")


def test_what_is_no_shared_folder_is_told_with_the_roots_that_there_are(disk, tmp_path):
    """Each wrong folder is one sentence that says what to do."""
    (disk / "out").symlink_to(tmp_path)
    for named, said in (
        (str(tmp_path), f"does not lie in a shared root of this machine: it has photos = {disk}."),
        (str(disk / "out"), "does not lie in a shared root"),
        ("Y:\\photos\\Site7", "is a path of another machine, and no root of this one has it in also"),
        (str(disk / "nothing"), "cannot be looked at on this machine"),
    ):
        with pytest.raises(UsageError) as caught:
            shared.find_place(named, roots(disk), tmp_path)
        assert said in str(caught.value)
    with pytest.raises(UsageError, match=r"has no \[shared\.NAME\] in its settings"):
        shared.find_place(str(disk), {}, tmp_path)


# --- the folder and its files, on any machine


def test_the_manifest_tells_files_and_reads_none(disk, tmp_path):
    """Path, size and time; the same folder gives the same bytes, and a manifest of sent files keeps those that it had."""
    (disk / "Site7" / ".clusterray-probe").write_text("ours")
    for path in (disk / "Site7" / "images").iterdir():
        path.chmod(0)
    prepared = make_linked(disk / "Site7", SHARE, tmp_path / "work") if os.geteuid() == 0 else None
    for path in (disk / "Site7" / "images").iterdir():
        path.chmod(0o644)
    bundle = link_folder(disk / "Site7", SHARE)
    assert read_manifest(write_manifest(bundle)) == bundle
    assert [(entry.path, entry.size, entry.linked) for entry in bundle.files] == [("images/p0.jpg", 1, True), ("images/p1.jpg", 2, True)]
    assert not bundle.packs and not bundle.by_pack(bundle.files)
    assert prepared is None or [pack.digest for pack in prepared.packs] == [prepared.bundle.digest]
    assert b"share" not in write_manifest(read_manifest(b'{"version":1,"files":[],"packs":[]}'))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (b'"folder":"site7"', b'"folder":"../site7"', "leads out of the folder"),
        (b'"folder":"site7"', b'"folder":"/etc"', "is absolute"),
        (b'"mtime:', b'"time:', "has a mode, time or size that cannot be"),
        (b"images/p0.jpg", b"../../p0.jpg", "leads out"),
        (b',"share":{"root":"photos","folder":"site7"}', b"", "has a mode, digest or size that cannot be"),
    ],
)
def test_a_manifest_from_a_stranger(disk, old, new, said):
    """What could do harm is refused before anybody uses it."""
    data = write_manifest(link_folder(disk / "Site7", SHARE))
    assert old in data
    with pytest.raises(UnsafeArchive, match=said):
        read_manifest(data.replace(old, new))


def test_a_file_is_looked_at_again(disk):
    """Another size, another time, gone, a link out: each is told, and nothing else."""
    bundle = link_folder(disk / "Site7", SHARE)
    folder = LinkedFolder(disk, Share(root="photos", folder="Site7"))
    first, second = bundle.files
    path = folder.check(first)
    assert path == disk / "Site7" / "images" / "p0.jpg" and folder.read(second) == b"xx"
    before = path.stat()
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 10))  # less than SMB can tell
    folder.check(first)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 2_000))
    with pytest.raises(SharedChanged, match=r"images/p0\.jpg changed while the task ran; restart it\."):
        folder.check(first)
    path.unlink()
    with pytest.raises(SharedChanged, match="was removed"):
        folder.check(first)
    secret = disk / "secret"
    secret.write_bytes(b"y")
    os.utime(secret, ns=(before.st_atime_ns, before.st_mtime_ns))
    path.symlink_to(secret)
    for look in (folder.check, folder.read):
        with pytest.raises(SharedError, match="is a link out of the shared folder"):
            look(first)


def test_a_folder_that_leads_out_or_is_not_there(disk, tmp_path):
    """By a link, by dots, or because nothing is mounted."""
    (disk / "way").symlink_to(tmp_path)
    told = {"way": "leads out of the shared root photos", "../disk2": "leads out of the folder", "x": "There is no folder x"}
    for folder, said in told.items():
        with pytest.raises(SharedError, match=said):
            LinkedFolder(disk, Share(root="photos", folder=folder))
    with pytest.raises(SharedError, match="Is the share mounted"):
        LinkedFolder(tmp_path / "gone", Share(root="photos", folder=""))
    (disk / "Site7" / "out.jpg").symlink_to(tmp_path)
    with pytest.raises(TaskFileError, match="is a link out of the folder"):
        link_folder(disk / "Site7", SHARE)


def test_kinds_read_linked_files_in_place(disk, tmp_path):
    """The server's view of a bundle: names, sizes, bytes and real files, none of them copied."""
    share = Share(root="photos", folder="Site7")
    prepared = make_linked(disk / "Site7", share, tmp_path / "work")
    files = BundleFolder(tmp_path / "work" / prepared.bundle.digest, lambda digest: tmp_path, tmp_path / "files", disk)
    assert files.names() == ("images/p0.jpg", "images/p1.jpg") and files.size("images/p1.jpg") == 2
    assert files.read("images/p1.jpg") == b"xx" and files.path("images/p1.jpg") == disk / "Site7" / "images" / "p1.jpg"
    blind = BundleFolder(tmp_path / "work" / prepared.bundle.digest, lambda digest: tmp_path, tmp_path / "files")
    with pytest.raises(SharedError, match="nobody said where"):
        blind.read("images/p1.jpg")


def test_links_stand_for_files(disk, tmp_path):
    """A job's folder has links under the relative names; one that leads elsewhere by now is made anew."""
    folder = LinkedFolder(disk, Share(root="photos", folder="Site7"))
    entries = chosen(link_folder(disk / "Site7", SHARE), ["images"])
    for _ in range(2):
        link_files(folder.check_all(entries), tmp_path / "tree")
        assert (tmp_path / "tree" / "images" / "p1.jpg").read_bytes() == b"xx"
        (tmp_path / "tree" / "images").chmod(0o755)
        (tmp_path / "tree" / "images" / "p1.jpg").unlink()
        (tmp_path / "tree" / "images" / "p1.jpg").symlink_to(tmp_path)


def test_the_page_quotes_what_is_said():
    """Each sentence in the table of docs/shared-storage.md is one that the program can say."""
    page = (ROOT / "docs" / "shared-storage.md").read_text("utf-8").split("## Every sentence")[1]
    texts = source_texts()
    quotes = re.findall(r"^\| `([^`]+)` \|", page, re.M)
    assert len(quotes) > 15
    for quote in quotes:
        for piece in (piece.strip() for piece in quote.split("…")):
            assert len(piece) < 4 or piece in texts, f"{piece!r} of {quote!r}"
