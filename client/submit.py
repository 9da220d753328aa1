"""Folder -> task on the server: the bundle, the packs that the server lacks, and the submit under an id chosen beforehand.

Every step may be repeated: the server says what it still lacks, a cut upload goes on where it was, and the same id is the
same task. So a lost link, or a server that is started again, costs time and nothing else.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO, Protocol, TypeVar

from ..common.bundle import Prepared, make_bundle, make_linked
from ..common.errors import DeskError, LinkLost, PacksMissing, TaskFileError, TransferError, UsageError
from ..common.manifest import Share
from ..common.model import Account, PackRef, TaskSpec, TaskView
from ..common.wire.messages import Have, Kept, Missing, Stored, Submit, Submitted
from .fetch import refuse_older
from .memory import Pending
from .session import Session
from .views import View
from .words import clean

PAGE = 2000
"""Packs in one message: about 200 KB of the frame's 1 MiB."""
HASHING = 600.0
"""Seconds that the server may take to hash one page of packs."""
TRIES = 3
"""Uploads in a row that may fail, with the server in reach and not one pack stored, before it is said aloud."""

X = TypeVar("X")


class Putter(Protocol):
    """What sending needs of transfer.Courier."""

    def put_pack(
        self, pack: PackRef, source: Callable[[], BinaryIO], *, compress: bool, progress: Callable[[int], None] | None = None
    ) -> None: ...
    def close(self) -> None: ...


Open = Callable[[Account, str, str], Putter]
"""Account, host of the server, pin -> one FTP session."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One folder that is ready to be submitted: it was read and found right, and its result has a place."""

    folder: Path
    spec: TaskSpec
    warnings: tuple[str, ...]
    result: Path
    overwrite: bool = False
    share: Share | None = None
    """Where the folder lies in shared storage: its files stay there."""


Read = Callable[[Path], tuple[TaskSpec, tuple[str, ...]]]


def plan(folder: Path, read: Read, *, results: Path | None = None, overwrite: bool = False, share: Share | None = None) -> Plan:
    """Read a task folder; UsageError in one sentence for every mistake, before anything is sent.

    ``results`` is the folder for results; None puts them beside the folder. Those of a ``share`` the server puts into shared storage,
    so that an older one is not in their way.
    """
    try:
        there = folder.exists()
    except OSError as error:
        raise UsageError(f"{folder} cannot be looked at ({error.strerror}): submit it as a user who may read it.") from error
    if not there:
        raise UsageError(f"There is no folder {folder}: check its name.")
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder: give the folder that holds the scene and all that it needs.")
    folder = folder.resolve()
    if not folder.name:
        raise UsageError("The root of the file system is no task folder.")
    result = (results or folder.parent) / f"{folder.name}-result"
    if share is None:
        refuse_older(result, overwrite)
    try:
        spec, warnings = read(folder)
    except TaskFileError as error:
        if error.path is None and str(folder) not in error.sentence:
            raise TaskFileError(error.sentence, path=folder, key=error.key) from error
        raise
    return Plan(folder=folder, spec=spec, warnings=warnings, result=result, overwrite=overwrite, share=share)


class Submitter:
    """Hands in tasks over one session."""

    def __init__(self, session: Session, opened: Open, pending: Pending, view: View) -> None:
        self._session = session
        self._opened = opened
        self._pending = pending
        self._view = view

    def submit(self, plan: Plan) -> TaskView:
        """Send what is missing, then submit; returns when the server has the task on its disk."""
        with tempfile.TemporaryDirectory(prefix="clusterray-") as work:
            prepared = make_linked(plan.folder, plan.share, Path(work)) if plan.share else make_bundle(plan.folder, Path(work))
            with self._pending.id_for(self._session.login.farm, plan.folder, plan.spec, prepared.bundle) as task:
                upload = _Upload(self._session, self._opened, self._view, plan.spec.name, prepared)
                return self._session.patiently(lambda: upload.submit(task, plan.spec))


class _Upload:
    """One upload, fit to be gone through again after a lost link."""

    def __init__(self, session: Session, opened: Open, view: View, name: str, prepared: Prepared) -> None:
        self._session = session
        self._opened = opened
        self._view = view
        self._name = name
        self._what = f"sending {clean(name)}"
        self._prepared = prepared
        self._id = ""
        self._failures = 0

    def submit(self, task: str, spec: TaskSpec) -> TaskView:
        for last in (False, False, True):
            self._send()
            question = Submit(task=task, spec=spec, bundle=self._prepared.bundle, session=self._id)
            try:
                return self._session.ask(question, Submitted, timeout=60.0).task
            except PacksMissing:  # evicted between the two answers, or the session is over
                if last:
                    raise
                self._id = ""
        raise AssertionError

    def _send(self) -> None:
        """Until nothing is missing."""
        while True:
            missing, account = self._missing()
            if not missing:
                return
            total = sum(pack.size for pack in missing)
            self._view.moving(self._what, 0, total)
            try:
                self._put(missing, account, total)
            except TransferError as error:
                self._failures += 1
                if self._failures == TRIES:
                    raise
                raise LinkLost(f"The upload was cut off: {error}") from error  # the server may be starting again: see, and go on
            self._keep(missing)
            self._view.moving(self._what, total, total)

    def _missing(self) -> tuple[list[PackRef], Account | None]:
        try:
            return self._ask_missing()
        except DeskError:
            if not self._id:
                raise
            self._id = ""  # the server has forgotten the upload session: open another
            return self._ask_missing()

    def _ask_missing(self) -> tuple[list[PackRef], Account | None]:
        names: set[str] = set()
        account = None
        for page in pages(self._prepared.packs):
            answer = self._session.ask(Have(session=self._id, packs=page), Missing, timeout=60.0)
            self._id, account = answer.session, answer.account
            names.update(answer.packs)
        return [pack for pack in self._prepared.packs if pack.digest in names], account

    def _put(self, missing: Sequence[PackRef], account: Account | None, total: int) -> None:
        assert account is not None
        sent = 0
        with contextlib.closing(self._opened(account, self._session.host, self._session.pin)) as courier:
            for pack in missing:
                courier.put_pack(
                    pack,
                    partial(self._prepared.open, pack.digest),
                    compress=self._prepared.pays(pack.digest),
                    progress=partial(self._tell, sent, total),
                )
                sent += pack.size

    def _tell(self, before: int, total: int, here: int) -> None:
        self._view.moving(self._what, min(before + here, total - 1), total)

    def _keep(self, sent: Sequence[PackRef]) -> None:
        again: Mapping[str, str] = {}
        for page in pages(sent):
            kept = self._session.ask(Stored(session=self._id, packs=page), Kept, timeout=HASHING)
            again = {**again, **kept.again}
            if kept.kept:
                self._failures = 0
        if len(again) == len(sent):
            self._failures += 1
            if self._failures == TRIES:
                raise TransferError(f"The server did not take a file of {self._name}: {next(iter(again.values()))}")


def pages(items: Sequence[X], size: int = PAGE) -> Iterator[tuple[X, ...]]:
    """In parts that fit into a message; at least one, so that an upload session is opened even for nothing."""
    for start in range(0, max(1, len(items)), size):
        yield tuple(items[start : start + size])
