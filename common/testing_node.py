"""A double of the server as a node sees it, for tests of nodes and of kinds that run on them: no socket, no store.

``ScriptedServer.dial`` takes the place of the wire's; the courier and the cache that go with it keep files in a folder.
"""

from __future__ import annotations

import contextlib
import shutil
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from .errors import LinkLost, NoServer, Refused, TransferError
from .model import (
    Account,
    Failure,
    Grant,
    Limits,
    Needs,
    PackRef,
    Region,
    Result,
    Ruling,
    Verdict,
    new_id,
)
from .wire.messages import AnyMessage, Ask, Beat, Beaten, Bye, Finished, Hello, Judged, Leases, Question, Resume, Resumed, Welcome

_NO_LIMITS = Limits()
_NO_NEEDS = Needs()


def grant(
    kind: str = "test", *, stage: str = "only", lease: str = "", limits: Limits = _NO_LIMITS, needs: Needs = _NO_NEEDS, **more: object
) -> Grant:
    """A grant with everything that a test does not care for filled in; other keywords are the options."""
    lease = lease or new_id()
    return Grant(
        lease=lease,
        job=f"job-{lease[:6]}",
        number=1,
        task="task",
        task_name="a task",
        kind=kind,
        kind_version=1,
        stage=stage,
        region=Region(name="r"),
        options=dict(more),
        limits=limits,
        needs=needs,
        program="",
        bundle=PackRef(digest="0" * 64, size=1),
        term=60.0,
        account=Account(user="user", password="password-1", port=1),
    )


class ScriptedServer:
    """Gives out ``grants``, hears ``results``, and can be ``down``, forget accounts, cancel, and judge as the test wants."""

    def __init__(self, *, batch: int = 64, patience: float = 0.0, beat: float = 2.0) -> None:
        """``patience``: real seconds for which an Ask is parked; 0 answers at once, for tests on a fake clock."""
        self.grants: deque[Grant] = deque()
        self.results: dict[str, Result] = {}
        self.asked: list[Question] = []
        """Every question, in order."""
        self.cancel: set[str] = set()
        self.not_yours: set[str] = set()
        self.rulings: dict[str, list[Ruling]] = {}
        """What is said of a lease's results, in turn; accepted where nothing is left to say."""
        self.refusal: Refused | None = None
        self.down = False
        self.account: Account | None = Account(user="user", password="password-2", port=1)
        """The answer to Resume."""
        self.on_question: Callable[[Question], None] = lambda question: None
        self.changed = threading.Condition()
        self.lines: list[ScriptedLine] = []
        self._batch = batch
        self._patience = patience
        self._beat = beat

    def dial(self, addresses: Sequence[str], pin: str) -> ScriptedLine:
        """As wire.link.dial."""
        if self.down:
            raise NoServer(f"no server answers at {', '.join(addresses)}")
        line = ScriptedLine(self)
        self.lines.append(line)
        return line

    def give(self, *grants: Grant) -> None:
        """Put work into the queue."""
        with self.changed:
            self.grants.extend(grants)
            self.changed.notify_all()

    def cut(self, *, down: bool = False) -> None:
        """All links break now."""
        self.down = down
        with self.changed:
            for line in self.lines:
                line.cut = True
            self.changed.notify_all()

    def wait_for(self, what: Callable[[ScriptedServer], object], seconds: float = 20.0) -> bool:
        """For tests with threads: whether this came true in time."""
        with self.changed:
            return bool(self.changed.wait_for(lambda: what(self), seconds))

    def kinds_asked(self) -> list[str]:
        """The names of all questions, in order."""
        return [type(question).__name__ for question in self.asked]

    def answer(self, line: ScriptedLine, question: Question) -> AnyMessage:
        """One question; LinkLost where the link is cut."""
        self.on_question(question)
        with self.changed:
            self.asked.append(question)
            if line.cut or self.down:
                raise LinkLost("the link to the scripted server has ended")
            answer = self._answer(line, question)
            self.changed.notify_all()
        if isinstance(question, Finished) and line.cut:
            raise LinkLost("the link to the scripted server has ended before the answer")
        return answer

    def _answer(self, line: ScriptedLine, question: Question) -> AnyMessage:
        match question:
            case Hello():
                if self.refusal is not None:
                    raise self.refusal
                first = not question.node_id
                name, token = ("node-1", "secret-1") if first else ("", "")
                return Welcome(server="scripted", farm="farm", node_id=name, node_token=token, beat=self._beat)
            case Ask():
                if self._patience and not self.grants:
                    self.changed.notify_all()
                    self.changed.wait_for(lambda: self.grants or line.cut, min(question.wait, self._patience))
                if line.cut:
                    raise LinkLost("the link to the scripted server has ended")
                return Leases(grants=self._take())
            case Beat():
                held = {progress.lease for progress in question.progress}
                return Beaten(cancel=tuple(self.cancel & held), not_yours=tuple(self.not_yours & held))
            case Finished():
                verdicts = tuple(self._judge(result) for result in question.results)
                return Judged(verdicts=verdicts, grants=self._take() if question.ask else ())
            case Resume():
                return Resumed(account=None if question.lease in self.not_yours else self.account)
            case _:
                raise LinkLost(f"the scripted server does not know {type(question).__name__}")

    def _take(self) -> tuple[Grant, ...]:
        return tuple(self.grants.popleft() for _ in range(min(self._batch, len(self.grants))))

    def _judge(self, result: Result) -> Verdict:
        script = self.rulings.get(result.lease)
        if script:
            ruling = script.pop(0)
        elif result.lease in self.not_yours:
            ruling = Ruling.NOT_YOURS
        else:
            ruling = Ruling.ACCEPTED if result.failure is None else Ruling.NOTED
        if ruling is not Ruling.INCOMPLETE:
            self.results[result.lease] = result
        return Verdict(lease=result.lease, ruling=ruling, sentence="as scripted")

    def failure(self, lease: str) -> Failure:
        """The failure that was reported for this lease."""
        failure = self.results[lease].failure
        assert failure is not None, self.results[lease]
        return failure


class ScriptedLine:
    """A link to the scripted server."""

    host = "127.0.0.1"

    def __init__(self, server: ScriptedServer) -> None:
        self.cut = False
        self.closed = False
        self._server = server

    def ask(self, question: Question, timeout: float = 30.0) -> AnyMessage:
        return self._server.answer(self, question)

    def tell(self, question: Bye) -> None:
        with self._server.changed:
            self._server.asked.append(question)
            self._server.changed.notify_all()

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        with self._server.changed:
            self.cut = True
            self._server.changed.notify_all()


class FolderCourier:
    """A courier that copies into a folder; ``broken`` accounts (by password) are refused."""

    def __init__(self, folder: Path, account: Account, broken: set[str]) -> None:
        self._folder = folder
        self._account = account
        self._broken = broken

    def put_file(self, name: str, path: Path) -> None:
        if self._account.password in self._broken:
            raise TransferError("530 this account is not known")
        target = self._folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)

    def close(self) -> None:
        pass


class FolderCache:
    """A cache that has one folder for every bundle; ``fails`` is raised instead, once for each entry."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.fails: list[Exception] = []

    def fetch(
        self, bundle: PackRef, needs: tuple[str, ...], courier: object, note: Callable[[str], None], *, go_on: Callable[[], None]
    ) -> Path:
        if self.fails:
            raise self.fails.pop(0)
        note("unpacking")
        return self.folder

    @contextlib.contextmanager
    def use(self, bundle: PackRef) -> Iterator[None]:
        yield

    def held(self) -> tuple[str, ...]:
        return ()

    def shared(self, bundle: PackRef) -> tuple[Path, ...]:
        return ()

