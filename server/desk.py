"""The farm's verbs, each with its Caller, and the only judge of who may. Every front knocks here and nowhere else.

Long, because it is the list of all verbs and who may say them is judged in one place. Files that come in are in uploads.py, its lower half;
the verbs of shared storage in shared_desk.py.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec

from ..common.clock import Clock
from ..common.errors import ClusterRayError, Conflict, DeskError, HandDied, KindError, NoSuchTask, NotAllowed, PacksMissing
from ..common.manifest import MOST_BYTES, read_manifest
from ..common.model import Account, Asset, Caller, JobView, Needs, NodeInfo, NodeView, PackRef, Role, TaskSpec, TaskView, new_id
from ..common.security import new_token
from ..common.states import LIVE_TASK, TaskState
from . import ledger
from .aftermath import Aftermath
from .calls import Look, LookDone
from .dispatcher import Dispatcher
from .hands import Hands
from .keeper import Keeper
from .logbook import Logbook
from .previewer import Previewer, Seen
from .prober import Prober
from .roster import LONGEST_WISH, Roster
from .shared import Shared
from .store import Row, Store, Tx
from .task_thread import TaskThread
from .terms import Terms
from .turns import Queued, place_of
from .uploads import Door, Uploads, check_digest
from .views import assets, job_view, task_view
from .works import Works

log = logging.getLogger(__name__)
PRIORITIES = 1000
PAGE = 200
ASSETS = 2000
"""In one answer, at most."""
ANSWER = 512 << 10
"""Bytes of the list in one answer; a frame takes twice that."""
MOST_SPEC = 128 << 10
DRAWING = 10.0
"""Seconds that a question for a preview waits; then it is asked again."""
SLOWEST = 256 << 10
"""Bytes per second of the slowest line on which a fetch is not cut off."""


class Fetched(NamedTuple):
    """A page of assets, and what may read them."""

    task: TaskView
    assets: tuple[Asset, ...]
    account: Account
    more: bool
    """There are others after these."""
    size: int
    """Bytes of all."""


class Desk(Uploads):
    def __init__(
        self,
        store: Store,
        keeper: Keeper,
        hands: Hands,
        door: Door,
        roster: Roster,
        terms: Terms,
        dispatcher: Dispatcher,
        task_thread: TaskThread,
        logbook: Logbook,
        aftermath: Aftermath,
        previewer: Previewer,
        works: Works,
        shared: Shared,
        prober: Prober,
        work: Path,
        clock: Clock,
    ) -> None:
        self._shared = shared
        self._prober = prober
        super().__init__(store, keeper, door)
        self._works = works
        self._work = work
        self._hands = hands
        self._roster = roster
        self._terms = terms
        self._dispatcher = dispatcher
        self._task_thread = task_thread
        self._logbook = logbook
        self._aftermath = aftermath
        self._previewer = previewer
        self._clock = clock
        self._readers: dict[str, float] = {}
        """FTP users that fetch assets -> when their account ends."""
        self._lock = threading.Lock()

    # --- files in: see uploads.py

    def submit(self, caller: Caller, task: str, spec: TaskSpec, bundle: PackRef, session: str) -> TaskView:
        """Take a task in. The same again gets the same answer; the answer comes after the commit."""
        _check_spec(task, spec)
        check_digest(bundle)
        if bundle.size > MOST_BYTES:
            raise DeskError(f"The manifest is larger than {MOST_BYTES} bytes; submit fewer files at a time.")
        with self._store.read() as tx:
            row = tx.one("task", id=task)
        if row is not None:
            return self._submitted_before(caller, row, spec, bundle)
        look = self._look(Look(spec=spec))
        needs = self._shared.admit(self._manifest_of(caller, bundle), look.needs)
        with self.packs_lock:
            packs = self._packs_of(caller, bundle)
            missing = [pack.digest for pack in packs if not self._keeper.has(pack.digest)]
            ended: list[str] = []

            def change(tx: Tx) -> Row | None:
                gone = missing + [p.digest for p in packs if tx.one("owns_pack", owner=caller.token, digest=p.digest) is None]
                if gone:
                    raise PacksMissing(tuple(dict.fromkeys(gone)))
                known = tx.one("task", id=task)
                if known is None:
                    ledger.add_task(tx, task, caller.token, spec, needs, look.allow, bundle, packs)
                    own = tx.one("session", id=session)
                    if own is not None and own["owner"] == caller.token:  # what is no session of the caller's is nothing to end
                        tx.run("end_session", id=session)
                        ended.append(session)
                return known

            raced = self._store.write(change)
        for one in ended:
            self.end_session(one)
        if raced is not None:
            return self._submitted_before(caller, raced, spec, bundle)
        log.info("task %s (%s, %s) submitted by %s", task, spec.name, spec.kind, caller.token)
        if needs.shared:
            self._prober.renew(needs.shared)
        self._task_thread.wake()
        return self.view(caller, task)

    def _look(self, call: Look) -> LookDone:
        try:
            return self._hands.look(call)
        except HandDied as error:
            raise DeskError(f"The server could not look at the task: {error} Try it again.") from error
        except KindError as error:
            raise DeskError(str(error)) from error

    # --- looking

    def view(self, caller: Caller, task: str) -> TaskView:
        with self._store.read() as tx:
            row = self._find(tx, caller, task)
            return self._view(tx, row, self._order_if(tx, [row]))

    def tasks(self, caller: Caller, after: str, limit: int, live: bool) -> tuple[tuple[TaskView, ...], bool]:
        limit = max(1, min(limit, PAGE))
        with self._store.read() as tx:
            before = self._find(tx, caller, after)["seq"] if after else 1 << 62
            rows = tx.all("task_page", before=before, owner=_scope(caller), live=live, limit=limit + 1)
            order = self._order_if(tx, rows)
            page = _fitting(self._view(tx, row, order) for row in rows[:limit])
            return page, len(rows) > len(page)

    def show(self, caller: Caller, task: str, after: int, limit: int) -> tuple[TaskView, tuple[JobView, ...], bool]:
        limit = max(1, min(limit, PAGE))
        with self._store.read() as tx:
            row = self._find(tx, caller, task)
            jobs = tx.all("job_page", task=row["id"], run=row["run"], after=max(0, min(after, 1 << 40)), limit=limit + 1)
            view = self._view(tx, row, self._order_if(tx, [row]))
            page = _fitting(job_view(tx, job, self._terms) for job in jobs[:limit])
            return view, page, len(jobs) > len(page)

    def news(self, caller: Caller, tasks: Sequence[str]) -> tuple[tuple[TaskView, ...], tuple[str, ...], int]:
        """Views of these tasks, ids that are gone, and the last event of any of them."""
        rows, gone, last = [], [], 0
        with self._store.read() as tx:
            for task in tasks[:PAGE]:
                try:
                    rows.append(self._find(tx, caller, task))
                except NoSuchTask:
                    gone.append(task)
            order = self._order_if(tx, rows)
            views = [self._view(tx, row, order) for row in rows]
            for row in rows:
                event = tx.one("last_event_of_task", task=row["id"])
                last = max(last, event["id"] if event else 0)
        if len(views) > 1 and sum(len(msgspec.json.encode(view)) for view in views) > ANSWER:
            views = [msgspec.structs.replace(view, assets=(), notes=view.notes[:2], error=view.error[:300]) for view in views]
        return tuple(views), tuple(gone), last

    def log(self, caller: Caller, task: str, job: str, after: int, limit: int) -> tuple[tuple[str, ...], int, bool]:
        with self._store.read() as tx:
            row = self._find(tx, caller, task)
            wanted = tx.one("job_named", task=row["id"], run=row["run"], job=job) if job else None
            if job and wanted is None:
                raise NoSuchTask(f"Task {row['name']} has no job {job}; `clusterray show {row['id'][:8]}` lists them.")
            attempts = [a for a in tx.all("attempts_of_run", task=row["id"], run=row["run"]) if wanted is None or a["job"] == wanted["id"]]
            names = {n["id"]: n["name"] for n in tx.all("nodes")}
        leases = [
            (
                self._logbook.name(a["position"], a["number"], a["lease"]),
                f"job {a['name']}, attempt {a['number']} on {names.get(a['node'], a['node'])}: {a['state']}",
            )
            for a in attempts
        ]
        return self._logbook.lines(row["id"], leases, max(0, after), max(1, min(limit, 1000)))

    def fetch(self, caller: Caller, task: str, after: int = 0, limit: int = 0) -> Fetched:
        """A page of a finished task's assets, and an account that may read these for an hour, and longer where they are large.

        ``limit`` 0: all of them; Conflict where they do not fit one answer.
        """
        limit = max(0, min(limit, ASSETS))
        with self._store.read() as tx:
            row = self._find(tx, caller, task)
            if TaskState(row["state"]) is not TaskState.COMPLETED:
                raise Conflict(
                    f"Task {row['name']} is {row['state']}: there is nothing to fetch" + (f" ({row['error']})." if row["error"] else ".")
                )
            found = assets(tx, row["id"], row["run"], after=max(0, min(after, 1 << 40)), limit=(limit or ASSETS) + 1)
            total = tx.one("asset_sum", task=row["id"], run=row["run"]) or {"n": 0, "size": 0}
        page = _fitting(found[: limit or ASSETS])
        more = len(found) > len(page)
        if more and not limit:
            raise Conflict(f"Task {row['name']} has {total['n']} files, more than this client can list: update it, then fetch again.")
        read = {asset.digest: self._keeper.path(asset.digest) for asset in page}
        user, password = new_id(), new_token()
        self._door.grant(user, password, read=read, write=None, write_names="out")
        with self._lock:
            self._readers[user] = self._clock.monotonic() + 3600.0 + sum(asset.size for asset in page) / SLOWEST
        self._store.write(lambda tx: tx.run("task_fetched", id=row["id"]))
        return Fetched(self.view(caller, row["id"]), page, Account(user=user, password=password, port=self._door.port), more, total["size"])

    def preview(self, caller: Caller, task: str, full: bool) -> tuple[TaskView, Seen, Account | None]:
        """Pictures of how far a task is, and an account that may read them; drawn anew first, where that is done soon."""
        ident = self._ident(caller, task)
        seen = self._previewer.show(ident, full=full, wait=DRAWING)
        if not seen.files:
            return self.view(caller, ident), seen, None
        user, password = new_id(), new_token()
        self._door.grant(user, password, read={asset.digest: path for asset, path in seen.files}, write=None, write_names="out")
        with self._lock:
            self._readers[user] = self._clock.monotonic() + 3600.0 + sum(asset.size for asset, _ in seen.files) / SLOWEST
        return self.view(caller, ident), seen, Account(user=user, password=password, port=self._door.port)

    # --- changing

    def cancel(self, caller: Caller, task: str) -> TaskView:
        ident = self._ident(caller, task)

        def change(tx: Tx) -> tuple[list[str], int] | None:
            row = ledger.need_task(tx, ident)
            if TaskState(row["state"]) not in LIVE_TASK:
                return None
            return ledger.end_task(tx, ident, TaskState.CANCELED), row["run"]

        done = self._store.write(change)
        if done is not None:
            self._aftermath.task_over(ident, *done)
        return self.view(caller, ident)

    def restart(self, caller: Caller, task: str, *, fresh: bool = False, anew: str = "", words: tuple[str, ...] = ()) -> TaskView:
        """``fresh``: nothing of what earlier runs have made is taken over; ``anew``: nothing from the stage of this name on. ``words``:
        ``key=value``, changed in the task before."""
        ident = self._ident(caller, task)
        look = None
        with self._store.read() as tx:
            row = self._find(tx, caller, ident)
        with self._files_as_now(row) as bundle:
            if words:
                look = self._look(self._changed(row, words, bundle or PackRef(digest=row["bundle"], size=row["bundle_size"])))
                _check_spec(ident, look.spec)
            told = None if look is None else (look.spec, look.needs, look.allow)
            self._store.write(lambda tx: ledger.restart_task(tx, ident, fresh=fresh, anew=anew, look=told, bundle=bundle))
        self._aftermath.changed(ident)
        self._task_thread.wake()
        return self.view(caller, ident)

    @contextlib.contextmanager
    def _files_as_now(self, row: Row) -> Iterator[PackRef | None]:
        """The manifest of a task whose files lie in shared storage, read anew and pinned in the block; None: its files were sent."""
        shared = msgspec.json.decode(row["needs"], type=Needs).shared
        if not shared or TaskState(row["state"]) in LIVE_TASK:
            yield None
            return
        bundle = self._shared.renew(read_manifest(self._keeper.plain(row["bundle"]).read_bytes()))
        try:
            yield bundle
        finally:
            if bundle is not None:
                self._shared.settled(bundle)
        self._prober.renew(shared)

    def _changed(self, row: Row, words: tuple[str, ...], bundle: PackRef) -> Look:
        """With its files: what they do not allow is said now. A run that failed of it would leave the task without its last result."""
        try:
            packs, files = self._works.files(bundle)
        except (OSError, ClusterRayError) as error:
            raise DeskError(f"The files of task {row['name']} cannot be read on the server: {error}") from error
        return Look(
            spec=msgspec.json.decode(row["spec"], type=TaskSpec),
            words=words,
            manifest=str(packs[bundle.digest]),
            packs={digest: str(path) for digest, path in packs.items()},
            work=str(self._work / f"look-{row['id']}-{new_id()}"),
            shared=self._shared.top(files.bundle),
        )

    def remove(self, caller: Caller, task: str) -> None:
        ident = self._ident(caller, task)
        self._store.write(lambda tx: ledger.remove_task(tx, ident))
        self._logbook.remove(ident)
        self._previewer.forget(ident)
        self._aftermath.changed(ident)

    def priority(self, caller: Caller, task: str, value: int) -> TaskView:
        if abs(value) > PRIORITIES:
            raise DeskError(f"A priority is between -{PRIORITIES} and {PRIORITIES}, not {value}.")
        ident = self._ident(caller, task)
        self._store.write(lambda tx: tx.run("task_priority", id=ident, priority=value))
        self._dispatcher.reprioritise(ident, value)
        self._aftermath.changed(ident)
        self._task_thread.wake()
        return self.view(caller, ident)

    # --- nodes

    def nodes(self, caller: Caller) -> tuple[NodeView, ...]:
        views = []
        with self._store.read() as tx:
            rows = tx.all("nodes")
        for row in rows:
            here = self._roster.get(row["id"])
            info = here.info if here else msgspec.json.decode(row["info"], type=NodeInfo)
            online = here is not None and here.online
            shared = tuple(self._prober.view(here, at) for at in info.shared) if here else ()
            why = "; ".join(one.why for one in shared if online and one.why)
            views.append(
                NodeView(
                    id=row["id"],
                    name=row["name"],
                    online=online,
                    locked=bool(row["locked"]),
                    draining=bool(row["draining"]),
                    slots=info.slots,
                    busy=len({(t.incarnation, t.slot) for t in self._terms.of_node(row["id"])}),
                    cores=info.cores,
                    memory=info.memory,
                    disk=info.disk,
                    programs=info.programs,
                    allow=info.allow,
                    tags=info.tags,
                    confined=info.confined,
                    version=info.version,
                    seen=self._clock.now() if online else row["seen"],
                    note="; ".join(filter(None, [(here.resting if here else "") or ("" if info.programs else "no renderer"), why])),
                    shared=shared,
                )
            )
        return tuple(views)

    def change_node(self, caller: Caller, node: str, verb: str) -> None:
        """lock, unlock, drain, undrain, remove; for admins."""
        if caller.role is not Role.ADMIN:
            raise NotAllowed("Only an admin may do this to nodes: log in with an admin code (clusterray join-code --role admin).")
        with self._store.read() as tx:
            nodes = tx.all("nodes") if node else []
        rows = [r for r in nodes if node in (r["id"], r["name"])] or [r for r in nodes if r["id"].startswith(node)]
        if len(rows) != 1:
            raise NoSuchTask(
                f"There is no node {node}." if not rows else f"{len(rows)} nodes are called {node}: give the beginning of its id."
            )
        ident = rows[0]["id"]
        changes: dict[str, Callable[[Tx], int]] = {
            "lock": lambda tx: tx.run("node_locked", id=ident, locked=1),
            "unlock": lambda tx: tx.run("node_locked", id=ident, locked=0),
            "drain": lambda tx: tx.run("node_draining", id=ident, draining=1),
            "undrain": lambda tx: tx.run("node_draining", id=ident, draining=0),
            "remove": lambda tx: tx.run("remove_node", id=ident),
        }
        if verb not in changes:
            raise DeskError(f"A node can be told {', '.join(changes)}, not {verb}.")
        here = self._roster.get(ident)
        if verb == "remove" and here is not None and here.online:
            raise Conflict(f"Node {rows[0]['name']} is connected: stop it first, then remove it.")

        def change(tx: Tx) -> None:
            changes[verb](tx)
            tx.run("event", at=tx.now, subject="node", task="", job="", lease="", node=ident, old="", new=verb, cause=caller.token)

        self._store.write(change)
        if verb == "remove":
            self._dispatcher.locality.forget([ident])
            self._roster.forget(ident)
        else:
            locked, draining = {"lock": (True, None), "unlock": (False, None), "drain": (None, True), "undrain": (None, False)}[verb]
            self._roster.set(ident, locked=locked, draining=draining)
        self._dispatcher.wake_all()
        self._task_thread.wake()

    def counts(self) -> dict[str, int]:
        """Tasks by state."""
        with self._store.read() as tx:
            return {row["state"]: row["n"] for row in tx.all("task_counts")}

    def evict(self) -> int:
        """Drop packs over the cap that nothing uses, and who had sent them; returns the bytes."""
        with self.packs_lock:
            freed = self._keeper.evict()
            if freed:
                with self._store.read() as tx:
                    gone = [row["digest"] for row in tx.all("owned_packs") if not self._keeper.has(row["digest"])]
                self._store.write(lambda tx: tx.many("disown_pack", [{"digest": digest} for digest in gone]))
            return freed

    def expire(self) -> None:
        """End the accounts of fetches that have had their hour."""
        with self._lock:
            over = [user for user, ends in self._readers.items() if ends <= self._clock.monotonic()]
            for user in over:
                del self._readers[user]
        for user in over:
            self._door.revoke(user)

    # --- inside

    def _find(self, tx: Tx, caller: Caller, task: str) -> Row:
        """The task with this id, or with the one id of the caller's that begins so."""
        rows = tx.all("tasks_like", start=task.lower(), owner=_scope(caller)) if task else []
        if not rows:
            raise NoSuchTask(f"You have no task {task}; `clusterray tasks` lists yours.")
        if len(rows) > 1 and rows[0]["id"] != task.lower():
            raise NoSuchTask(f"Several tasks begin with {task}; give more of the id.")
        return rows[0]

    def _ident(self, caller: Caller, task: str) -> str:
        with self._store.read() as tx:
            ident: str = self._find(tx, caller, task)["id"]
            return ident

    def _submitted_before(self, caller: Caller, row: Row, spec: TaskSpec, bundle: PackRef) -> TaskView:
        if row["owner"] != caller.token or row["bundle"] != bundle.digest or msgspec.json.decode(row["spec"], type=TaskSpec) != spec:
            raise Conflict(f"The id {row['id']} was used for another task; submit again under a new one.")
        return self.view(caller, row["id"])

    def _order_if(self, tx: Tx, rows: Sequence[Row]) -> list[Queued]:
        return self._task_thread.order(tx) if any(row["state"] == TaskState.QUEUED for row in rows) else []

    def _view(self, tx: Tx, row: Row, order: Sequence[Queued]) -> TaskView:
        why: tuple[str, ...] = ()
        if row["state"] in (TaskState.QUEUED, TaskState.RUNNING):
            needs, waiting = msgspec.json.decode(row["needs"], type=Needs), self._dispatcher.task_of(row["id"])
            needs = waiting.needs if waiting is not None else needs
            note = self._roster.why_none(needs, row["allow"])
            if not note and waiting is not None and waiting.program:
                note = self._roster.left_out(needs, row["allow"], waiting.program)
            if not note and needs.shared:
                note = self._prober.left_out(needs.shared)
            refused = self._dispatcher.refusals(row["id"]) if not note else {}
            named = {node.id: node.info.name for node in self._roster.able(needs, row["allow"])} if refused else {}
            why = (
                (note,)
                if note
                else tuple(f"Node {named[one]} gives jobs back: {said}" for one, said in refused.items() if one in named)[:2]
            )
        return task_view(tx, row, self._terms, place_of(row["id"], order), why)


def _scope(caller: Caller) -> str:
    """Whose tasks a caller sees: an admin everybody's."""
    return "" if caller.role is Role.ADMIN else caller.token


def _check_spec(task: str, spec: TaskSpec) -> None:
    parts = task.split("-")
    if [len(part) for part in parts] != [8, 4, 4, 4, 12] or set("".join(parts)) - set("0123456789abcdef"):
        raise DeskError(f"{task[:50]!r} is no task id: it must be a UUID in lower case.")
    if not spec.name or len(spec.name.encode()) > 200 or "/" in spec.name or spec.name in (".", "..") or not spec.name.isprintable():
        raise DeskError(f"{spec.name[:60]!r} cannot be a task's name: it becomes a file name.")
    if abs(spec.priority) > PRIORITIES:
        raise DeskError(f"A priority is between -{PRIORITIES} and {PRIORITIES}, not {spec.priority}.")
    if not 1 <= spec.limits.attempts <= 100 or not 1 <= spec.limits.timeout <= 30 * 86400:
        raise DeskError("limits.attempts must be 1 to 100, and limits.timeout 1 s to 30 days.")
    if not 0 <= spec.limits.stall <= 30 * 86400:
        raise DeskError("limits.stall must be 0 (never) to 30 days.")
    needs = spec.needs
    if not all(0 <= need <= 1 << 60 for need in (needs.memory, needs.cores, needs.gpu, needs.scratch)):
        raise DeskError("A need must be a number from 0, and no larger than any machine.")
    if len(needs.program) > LONGEST_WISH or len(needs.tags) > 32 or any(len(tag) > 100 for tag in needs.tags):
        raise DeskError(f"needs.program takes {LONGEST_WISH} letters at most, needs.tags 32 tags of 100 letters.")
    if len(ledger.text(spec)) > MOST_SPEC:
        raise DeskError(f"Options and needs take more than {MOST_SPEC} bytes; put what is large into a file of the folder.")


View = TypeVar("View", TaskView, JobView, Asset)


def _fitting(views: Iterable[View]) -> tuple[View, ...]:
    """As many as fit one answer, at least one: a page ends there, and the next one goes on."""
    page: list[View] = []
    size = 0
    for view in views:
        size += len(msgspec.json.encode(view)) + 1
        if page and size > ANSWER:
            break
        page.append(view)
    return tuple(page)
