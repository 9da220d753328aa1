"""A farm for the client's tests: real links and a real FTP thread on loopback, and a server that keeps all in memory.

It answers as the wire's messages promise. What becomes of a task is told by its name, so that a test reads like a story.
"""

from __future__ import annotations

import hashlib
import io
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from clusterray.client.cli import run
from clusterray.client.login import Login
from clusterray.client.session import Session
from clusterray.common import security
from clusterray.common.clock import SystemClock
from clusterray.common.encoding import verify
from clusterray.common.errors import ClusterRayError, DeskError, FileError, LinkError, NoSuchTask
from clusterray.common.model import (
    Account,
    Asset,
    AttemptView,
    JobCounts,
    JobView,
    NodeView,
    PackRef,
    Program,
    Role,
    TaskSpec,
    TaskView,
    new_id,
)
from clusterray.common.states import AttemptState, JobState, TaskState
from clusterray.common.wire import link, messages
from clusterray.server.ftp_thread import FtpThread

S = TaskState
STORIES: dict[str, list[TaskState]] = {
    "good": [S.QUEUED, S.RUNNING, S.STITCHING, S.COMPLETED],
    "bad": [S.QUEUED, S.RUNNING, S.FAILED],
    "long": [S.RUNNING],
}
"""The states that a task goes through, one for each time it is looked at; by the first part of its name."""
CREATED = 1_800_000_000.0


class Double:
    """The server: packs, tasks, and what it was asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.identity = security.make_identity(folder)
        self.tokens = security.Tokens(folder)
        self.farm = "farm-1"
        self.packs: dict[str, Path] = {}
        self.tasks: dict[str, TaskView] = {}
        self.specs: dict[str, TaskSpec] = {}
        self.steps: dict[str, int] = {}
        self.asked: list[messages.AnyMessage] = []
        self.received: list[int] = []
        """Sizes of the packs that came in by FTP."""
        self.nodes: list[NodeView] = [node("alpha"), node("beta", locked=True)]
        self.before: Callable[[messages.AnyMessage], None] = lambda question: None
        """Called with each question; may raise: ConnectionError cuts the link before the answer."""
        self.after: Callable[[messages.AnyMessage], None] = lambda question: None
        """As ``before``, when all is done but not answered."""
        self.ftp = FtpThread("127.0.0.1", 0, (0, 0), self.identity)
        self.ftp.open()
        self.ftp.start()
        self._context = security.server_context(self.identity)
        self._guard = threading.RLock()
        self._threads: list[threading.Thread] = []
        self._links: set[link.Link] = set()
        self._sock = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._sock.getsockname()[1]
        self._open()

    def _open(self) -> None:
        self._going = True
        thread = threading.Thread(target=self._accept, args=(self._sock,))
        thread.start()
        self._threads.append(thread)

    def code(self, role: Role = Role.SUBMIT) -> str:
        return security.JoinCode(
            role=role, addresses=(f"127.0.0.1:{self.port}",), pin=self.identity.pin, token=self.tokens.current(role)
        ).encode()

    def hang_up(self) -> None:
        """Stop listening and cut all links, as a server that is stopped."""
        self._going = False
        self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()
        for one in list(self._links):
            one.abort()
        for thread in self._threads:
            thread.join(10)
        self._threads.clear()

    def come_back(self) -> None:
        self._sock = socket.create_server(("127.0.0.1", self.port))
        self._open()

    def close(self) -> None:
        if self._going:
            self.hang_up()
        self.ftp.stop()
        self.ftp.join(10)

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                sock, _ = listening.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(sock,))
            thread.start()
            self._threads.append(thread)

    def _serve(self, sock: socket.socket) -> None:
        try:
            with link.accept(sock, self._context) as one:
                self._links.add(one)
                while self._going:
                    question = one.receive(10.0)
                    if question is None or isinstance(question, messages.Bye):
                        return
                    one.answer(self._answer(question))
        except (LinkError, ConnectionError):
            pass

    def _answer(self, question: messages.AnyMessage) -> Any:
        with self._guard:
            self.asked.append(question)
            try:
                self.before(question)
                answer = getattr(self, "on_" + type(question).__name__.lower())(question)
                self.after(question)
                return answer
            except messages_refused as refused:
                return messages.Refused(code=refused.code, sentence=str(refused))
            except ClusterRayError as error:
                return messages.Denied(code=error.code, sentence=str(error), digests=getattr(error, "digests", ()))

    # --- answers

    def on_hello(self, q: messages.Hello) -> Any:
        if self.tokens.role_of(q.token) is not q.role:
            return messages.Refused(code="token", sentence="This token does not open anything here.")
        return messages.Welcome(server="double", farm=self.farm)

    def on_have(self, q: messages.Have) -> Any:
        session = q.session or new_id()
        uploads = self.folder / "uploads" / session
        uploads.mkdir(parents=True, exist_ok=True)
        missing = tuple(pack.digest for pack in q.packs if pack.digest not in self.packs)
        self.ftp.grant(session, "password-1", read={}, write=uploads, write_names="packs")
        return messages.Missing(session=session, packs=missing, account=Account(user=session, password="password-1", port=self.ftp.port))

    def on_stored(self, q: messages.Stored) -> Any:
        kept, again = [], {}
        for pack in q.packs:
            try:
                self.keep(self.folder / "uploads" / q.session, pack)
                kept.append(pack.digest)
            except FileError as error:
                again[pack.digest] = str(error)
        return messages.Kept(kept=tuple(kept), again=again)

    def keep(self, uploads: Path, pack: PackRef) -> None:
        for path in uploads.iterdir():
            if path.name.startswith(pack.digest):
                plain = self.folder / pack.digest
                with plain.open("wb") as out:
                    verify(path, pack, encoded=".zst" in path.name, to=out)
                self.packs[pack.digest] = plain
                self.received.append(pack.size)
                path.unlink()
                return
        raise FileError("It did not arrive.")

    def on_submit(self, q: messages.Submit) -> Any:
        if q.bundle.digest not in self.packs:
            raise DeskError("The bundle is missing.")
        if q.task not in self.tasks:
            self.specs[q.task], self.steps[q.task] = q.spec, 0
            self.tasks[q.task] = task(q.task, q.spec.name, q.spec.kind, len(self.tasks), q.spec.priority)
        return messages.Submitted(task=self.tasks[q.task])

    def on_tasks(self, q: messages.Tasks) -> Any:
        views = [view for view in reversed(self.tasks.values()) if not q.live or view.ended is None]
        ids = [view.id for view in views]
        start = ids.index(q.after) + 1 if q.after else 0
        page = views[start : start + min(q.limit, 2)]
        return messages.TaskList(tasks=tuple(page), more=start + len(page) < len(views))

    def find(self, text: str) -> TaskView:
        found = [view for view in self.tasks.values() if view.id.startswith(text)]
        if len(found) != 1:
            raise NoSuchTask(f"{len(found)} tasks have an id that begins with {text}.")
        return found[0]

    def on_show(self, q: messages.Show) -> Any:
        view = self.find(q.task)
        jobs = tuple(job(number, view) for number in range(3))
        page = jobs[q.after : q.after + 2]
        return messages.TaskDetail(task=view, jobs=page, more=q.after + len(page) < len(jobs))

    def on_watch(self, q: messages.Watch) -> Any:
        for name in q.tasks:
            if name in self.tasks:
                self.advance(name)
        views = tuple(self.tasks[name] for name in q.tasks if name in self.tasks)
        return messages.News(tasks=views, event=q.event + 1, gone=tuple(name for name in q.tasks if name not in self.tasks))

    def advance(self, name: str) -> None:
        view = self.tasks[name]
        story = STORIES[view.name.partition("-")[0]]
        if view.ended is not None:
            return
        state = story[min(self.steps[name], len(story) - 1)]
        self.steps[name] += 1
        self.tasks[name] = at(view, state, self.assets(view) if state is S.COMPLETED else ())

    def assets(self, view: TaskView) -> tuple[Asset, ...]:
        made = []
        for path, data in ((f"{view.name}.png", b"the picture of " + view.name.encode()), ("more/seams.txt", b"none")):
            digest = hashlib.sha256(data).hexdigest()
            self.packs[digest] = self.folder / digest
            self.packs[digest].write_bytes(data)
            made.append(Asset(path=path, size=len(data), digest=digest))
        return tuple(made)

    def on_change(self, q: messages.Change) -> Any:
        view = self.find(q.task)
        if q.verb == "remove":
            del self.tasks[view.id]
            return messages.Changed()
        if q.verb == "cancel":
            self.tasks[view.id] = at(view, S.CANCELED)
        elif q.verb == "restart":
            self.steps[view.id] = 0
            self.tasks[view.id] = msgspec.structs.replace(at(view, S.QUEUED), run=view.run + 1)
        elif q.verb == "priority":
            self.tasks[view.id] = msgspec.structs.replace(view, priority=q.value)
        return messages.Changed(task=self.tasks[view.id])

    def on_fetch(self, q: messages.Fetch) -> Any:
        view = self.find(q.task)
        assert q.limit, "a page was asked for"
        page = view.assets[q.after : q.after + 1]
        user = new_id()
        self.ftp.grant(user, "password-2", read={asset.digest: self.packs[asset.digest] for asset in page}, write=None, write_names="out")
        return messages.Assets(
            task=view, assets=page, account=Account(user=user, password="password-2", port=self.ftp.port),
            more=q.after + 1 < len(view.assets), size=sum(asset.size for asset in view.assets),
        )  # fmt: skip

    def on_log(self, q: messages.Log) -> Any:
        lines = [f"line {number} of {q.job[:4] or 'all'}" for number in range(5)] + ["\x1b[31mred"]
        page = lines[q.after : q.after + 4]
        return messages.Lines(lines=tuple(page), next=q.after + len(page), more=q.after + len(page) < len(lines))

    def on_nodes(self, q: messages.Nodes) -> Any:
        return messages.NodeList(nodes=tuple(self.nodes))

    def on_changenode(self, q: messages.ChangeNode) -> Any:
        return messages.Changed()

    def on_status(self, q: messages.Status) -> Any:
        return messages.ServerStatus(name="double", version="0", started=CREATED, tasks={"queued": 2}, nodes=2, slots=4, busy=1)


class messages_refused(Exception):  # noqa: N801  (an answer, not an error)
    """Raised by a test's ``before`` to have the server refuse."""

    def __init__(self, code: str) -> None:
        super().__init__(f"No ({code}).")
        self.code = code


def task(task_id: str, name: str, kind: str, place: int, priority: int) -> TaskView:
    return TaskView(
        id=task_id, name=name, kind=kind, state=S.QUEUED, priority=priority, run=1, created=CREATED + place, started=None, ended=None,
        jobs=JobCounts(), progress=0.0, place=place + 1, error="", notes=(), assets=(), eta=None, nodes=0,
    )  # fmt: skip


def at(view: TaskView, state: TaskState, assets: tuple[Asset, ...] = ()) -> TaskView:
    """The task when it has come to this state."""
    done = {S.QUEUED: 0, S.RUNNING: 1}.get(state, 3)
    failed = state is S.FAILED
    counts = JobCounts(total=3, done=done - failed, running=2 if state is S.RUNNING else 0, failed=int(failed))
    ended = CREATED + 42 if state in (S.COMPLETED, S.FAILED, S.CANCELED) else None
    return msgspec.structs.replace(
        view, state=state, jobs=counts, started=CREATED + 10, ended=ended, place=None, progress=done / 3, assets=assets,
        eta=20.0 if state is S.RUNNING else None, nodes=2, error="The scene has an error." if failed else "",
    )  # fmt: skip


def job(number: int, view: TaskView) -> JobView:
    failed = view.state is S.FAILED and number == 1
    attempt = AttemptView(
        number=1, lease=f"lease{number}", node="alpha", state=AttemptState.FAILED if failed else AttemptState.ACCEPTED,
        cause="input" if failed else "", started=CREATED, ended=CREATED + 5,
        sentence="povray stopped at line 12" if failed else "",
        tail=("File 'a.pov' line 12: Parse Error: \x1b[31mexpected '{'", "Fatal error in parser") if failed else (),
    )  # fmt: skip
    state = JobState.FAILED if failed else JobState.DONE
    return JobView(id=f"job{number}", region=f"tile-{number}", stage="render", state=state, progress=1.0, attempts=(attempt,))


def node(name: str, *, locked: bool = False) -> NodeView:
    return NodeView(
        id=hashlib.sha256(name.encode()).hexdigest()[:32], name=name, online=True, locked=locked, draining=False, slots=2, busy=0, cores=4,
        memory=8 * 10**9, disk=10**11, programs=(Program(name="povray", version="3.7.0.10"),), allow=("render",), tags=(),
        confined="bubblewrap", version="0.1.0", seen=CREATED,
    )  # fmt: skip


@pytest.fixture
def farm(tmp_path: Path) -> Iterator[Double]:
    double = Double(tmp_path / "server")
    yield double
    double.close()


class Hasty(SystemClock):
    """The real clock, for someone who waits a hundredth of the time."""

    def wait(self, event: threading.Event, seconds: float) -> bool:
        return event.wait(seconds / 100)


class Terminal:
    """One person's machine: a folder to work in, and a command line."""

    def __init__(self, folder: Path, farm: Double | None = None) -> None:
        self.cwd = folder
        self.env = {"HOME": str(folder / "home"), "CLUSTERRAY_DATA": str(folder / "data"), "CLUSTERRAY_CLIENT_PATIENCE": "5s"}
        self.out = self.err = ""
        if farm is not None:
            assert self("login", farm.code(), code=0)

    def __call__(self, *argv: str, code: int | None = None, **env: str) -> bool:
        """Type a command; ``code`` is the exit code that must come."""
        out, err = io.StringIO(), io.StringIO()
        got = run([str(word) for word in argv], out=out, err=err, env=self.env | env, cwd=self.cwd, clock=Hasty())
        self.out, self.err = out.getvalue(), err.getvalue()
        assert code is None or got == code, f"exit code {got}: {self.out} {self.err}"
        assert "Traceback" not in self.err
        return True

    def json(self, *argv: str, code: int = 0) -> Any:
        self(*argv, "--json", code=code)
        return msgspec.json.decode(self.out)

    def scene(self, name: str, files: dict[str, bytes] | None = None) -> Path:
        """A task folder of the kind ``echo``-like: any folder with a task.toml."""
        folder = self.cwd / name
        folder.mkdir()
        for path, data in (files or {"scene.pov": b"sphere { 0, 1 }\n" + name.encode()}).items():
            (folder / path).write_bytes(data)
        return folder


@pytest.fixture
def person(tmp_path: Path, farm: Double) -> Terminal:
    """Somebody who is logged in at the farm."""
    folder = tmp_path / "person"
    folder.mkdir()
    return Terminal(folder, farm)


@pytest.fixture
def stranger(tmp_path: Path) -> Terminal:
    """Somebody who has never logged in anywhere."""
    folder = tmp_path / "stranger"
    folder.mkdir()
    return Terminal(folder)


@pytest.fixture
def session(farm: Double) -> Iterator[Session]:
    with Session(Login(code=farm.code()), dial=link.dial, clock=SystemClock(), patience=5.0) as one:
        yield one
