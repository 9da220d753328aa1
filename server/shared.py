"""Tasks whose files lie in shared storage: taken in, looked at again, read anew for a restart; and their results, put where all see them.

A submitter names a root and a folder, never a path of the server: which roots there are the server's settings say. The manifest has each
file's path, size and time of change; nothing is read whole.
"""

from __future__ import annotations

import errno
import filecmp
import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from ..common.bundle import make_linked
from ..common.errors import DeskError, SharedChanged, SharedError
from ..common.held import Held
from ..common.linked import LinkedFolder
from ..common.manifest import Bundle, Chooser, Share
from ..common.model import Needs, PackRef, Region, new_id
from ..common.shared import LEASES, SharedRoot
from .keeper import Keeper

log = logging.getLogger(__name__)
UNFIT = '<>:"\\|?*'
"""Letters that Windows takes in no name."""


class Shared:
    """The shared roots of the server. Without state but for the settings, so that any thread may ask."""

    def __init__(self, roots: Mapping[str, SharedRoot], keeper: Keeper, work: Path) -> None:
        self._roots = roots
        self._keeper = keeper
        self._work = work

    def admit(self, manifest: Bundle, needs: Needs) -> Needs:
        """What a task with this bundle needs, the root among it. DeskError where its files are not here as the manifest says."""
        share = share_of(manifest)
        if share is None:
            return msgspec.structs.replace(needs, shared="")
        try:
            self.folder(share).check_all(manifest.files)
        except SharedChanged as error:
            where = f"{share.root}/{share.folder}".rstrip("/")
            raise DeskError(
                f"{error.path} in {where} is not on the server as it is on your machine: submit again when nothing writes to the folder "
                "any more; if that does not help, the two machines see different disks under that name."
            ) from error
        except SharedError as error:
            raise DeskError(str(error)) from error
        return msgspec.structs.replace(needs, shared=share.root)

    def folder(self, share: Share) -> LinkedFolder:
        """A task's folder as the server sees it; SharedError."""
        root = self._roots.get(share.root)
        if root is None:
            have = f"it has {', '.join(self._roots)}" if self._roots else "it has none"
            raise SharedError(f"The server has no shared root {share.root[:50]!r} ([shared.NAME] in its settings): {have}.")
        return LinkedFolder(root.path, share, whose=" on the server")

    def top(self, manifest: Bundle) -> str:
        """Where the server sees the root of this bundle's linked files, for a hand; empty: it has none."""
        share = share_of(manifest)
        return str(self._roots[share.root].path) if share is not None and share.root in self._roots else ""

    def changed(self, files: Chooser, region: Region) -> str:
        """The sentence about a file of this job that is not as it was when the task was submitted; empty: all are."""
        share = share_of(files.bundle)
        if share is None:
            return ""
        try:
            self.folder(share).check_all(files.pick(region.needs, lenient=True))
        except SharedChanged as error:
            return str(error)
        except SharedError as error:  # a share that is away is no change: the job is done, and verified by what came
            log.warning("%s", error)
        return ""

    def renew(self, manifest: Bundle) -> PackRef | None:
        """Read the folder of a task anew, for a restart: its new manifest, a pack that is pinned; None: its files are no shared ones."""
        share = share_of(manifest)
        if share is None:
            return None
        work = self._work / f"renew-{new_id()[:12]}"
        try:
            prepared = make_linked(self.folder(share).real, share, work)
            return self._keeper.adopt_file(work / prepared.bundle.digest, pin=True)
        except SharedError as error:
            raise DeskError(str(error)) from error
        finally:
            shutil.rmtree(work, ignore_errors=True)

    def settled(self, pack: PackRef) -> None:
        """A row speaks of what ``renew()`` gave, or nobody wants it."""
        self._keeper.unpin([pack.digest])

    # --- results

    def publish(self, share: Share, name: str, made: Path, task: str = "") -> str:
        """Copy finished files into a folder of this name below the root's results, whole or not at all; returns the name.

        Where another folder has it, the rest of the task's id is added: only the first digits are in ``name``, and whoever submits chooses
        his id. Raises SharedError in one sentence. They are copies: whoever changes one there does not change what the server keeps.
        """
        root = self._roots.get(share.root)
        if root is None:
            raise SharedError(f"The server has no shared root {share.root}.")
        name = "".join("_" if letter in UNFIT else letter for letter in name).rstrip(" .")
        name = f"_{name[1:]}" if name.startswith(".") else name  # what begins with .clusterray is tidied away
        part = f"result-{new_id()[:12]}"
        try:
            size = sum(path.stat().st_size for path in made.rglob("*") if path.is_file())
            free = shutil.disk_usage(root.results).free
            if size > free:
                raise SharedError(f"the result takes {size:,} bytes, and {root.results} on the server has {free:,} left.")
            with Held.at(root.results.resolve()) as results, house(root.results, results) as ours:
                try:
                    with ours.make(part) as folder:
                        _copy(made, folder)
                    return _name(ours, part, results, [name, f"{name}-{task[9:]}"] if task[9:] else [name], made, root.results)
                finally:
                    ours.remove(part)
        except OSError as error:
            raise SharedError(f"{error.filename or root.results}: {error.strerror or error}.") from error


def _name(ours: Held, part: str, results: Held, names: Sequence[str], made: Path, top: Path) -> str:
    """Give a folder the first of these names that is free, or that has the same files from before the server was killed."""
    for name in names:
        if _same(made, top / name):
            return name
        if not os.path.lexists(top / name):
            break
    else:  # the whole id is in it: of the same run, which gave other bytes, or put there by somebody with a task's name
        results.rename(name, ours, f"{part}.old")
        ours.remove(f"{part}.old")
    ours.rename(part, results, name)
    results.sync()
    return name


def _copy(made: Path, folder: Held) -> None:
    for path in sorted(made.iterdir()):
        if path.is_dir() and not path.is_symlink():
            with folder.make(path.name) as below:
                _copy(path, below)
        elif path.is_file() and not path.is_symlink():
            with path.open("rb") as source, folder.create(path.name) as file:
                shutil.copyfileobj(source, file, 1 << 20)
                file.flush()
                os.fsync(file.fileno())
    folder.sync()


def _same(made: Path, there: Path) -> bool:
    """Whether a folder holds these very files, and no others."""
    if there.is_symlink() or not there.is_dir():
        return False
    ours = {path.relative_to(made) for path in made.rglob("*") if path.is_file() and not path.is_symlink()}
    theirs = {path.relative_to(there) for path in there.rglob("*") if path.is_symlink() or not path.is_dir()}
    if ours != theirs or any((there / path).is_symlink() or not (there / path).is_file() for path in theirs):
        return False
    return all(filecmp.cmp(made / path, there / path, shallow=False) for path in ours)


def house(path: Path, results: Held) -> Held:
    """Our own folder below the results, a real one: somebody else could have put a link into its place."""
    try:
        return results.need(LEASES)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise SharedError(f"{path / LEASES} on the server is no folder: remove it.") from error
        raise


def share_of(manifest: Bundle) -> Share | None:
    """Where the linked files of a bundle lie; None: it has none."""
    return None if isinstance(manifest.share, msgspec.UnsetType) else manifest.share


def result_name(task: str, run: int, name: str) -> str:
    """The folder of a task's result: each run has its own, so that nothing that people have put there is ever replaced."""
    return f"{name}-{task[:8]}" + (f"-run{run}" if run > 1 else "")
