"""What a slot says to its server and when, on a fake clock: no thread, no socket, no sleep."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from clusterray.common.errors import ClusterRayError, Refused
from clusterray.common.model import Account, Cause, Failure, NodeInfo, Output, Result, Role, Ruling
from clusterray.common.security import JoinCode
from clusterray.common.testing import FakeClock
from clusterray.common.testing_node import FolderCourier, ScriptedServer, grant
from clusterray.common.wire.messages import Ask, Beat, Bye, Finished, Hello, Question, Resume
from clusterray.node.contact import Contact
from clusterray.node.identity import NodeIdentity
from clusterray.node.outbox import Outbox
from clusterray.node.outputs import digest_of
from clusterray.node.runner import Outcome
from clusterray.node.scratch import Scratch
from clusterray.node.slot import Slot
from clusterray.node.work import Work
from clusterray.node.workbench import Workbench

SMALL = Output(path="a.txt", size=1, digest="d", data=b"x")
BIG = Output(path="a.png", size=3, digest="d")


class SteppedClock(FakeClock):
    """While the link thread waits for the bell, the work thread does one step: both threads in one."""

    bench: Workbench | None = None

    def wait(self, event: threading.Event, seconds: float) -> bool:
        if self.bench is None or event is not self.bench.bell:
            return super().wait(event, seconds)
        until = self.monotonic() + seconds
        while not event.is_set() and self.monotonic() < until:
            if not self.bench.step(0):
                super().wait(event, until - self.monotonic())
        return event.is_set()


class FakeRunner:
    """Does what the test says with each lease."""

    def __init__(self, clock: FakeClock, scratch: Scratch) -> None:
        self.begun: list[str] = []
        self.seconds = 0.01
        self.act: Callable[[Work], Outcome | None] = lambda work: None
        self._clock = clock
        self._scratch = scratch

    def rest(self) -> float | None:
        return None

    def close(self) -> None:
        self.closed = True

    def run(self, work: Work) -> Outcome:
        self.begun.append(work.lease)
        self._clock.advance(self.seconds)
        outcome = self.act(work)
        if outcome is not None:
            return outcome
        failure = work.failure() if work.stop.is_set() else None
        if work.stop.is_set() and failure is None:
            return Outcome(None)
        return Outcome(Result(lease=work.lease, outputs=() if failure else (SMALL,), failure=failure, seconds=self.seconds))

    def with_file(self, work: Work) -> Outcome:
        out = self._scratch.make(work.lease) / "out"
        (out / "a.png").write_bytes(b"png")
        return Outcome(Result(lease=work.lease, outputs=(BIG,), seconds=self.seconds), out)


class Stage:
    """A slot with everything around it."""

    def __init__(self, folder: Path) -> None:
        self.clock = SteppedClock()
        self.server = ScriptedServer()
        self.scratch = Scratch(folder / "data")
        self.outbox = Outbox(folder / "data")
        self.sent = folder / "sent"
        self.broken: set[str] = set()
        self.runner = FakeRunner(self.clock, self.scratch)
        self.full = ""
        self.folder = folder
        self.contact = Contact(
            identity=NodeIdentity(folder / "data", JoinCode(role=Role.NODE, addresses=("farm:5007",), pin="ab" * 32, token="join-token")),
            dial=self.server.dial,
            describe=lambda: NodeInfo(name="test"),
            finished=self.outbox.leases,
            incarnation="life-1",
            clock=self.clock,
        )
        self.slot = self.build()

    def build(self, number: int = 0) -> Slot:
        def couriers(account: Account, stop: threading.Event) -> FolderCourier:
            return FolderCourier(self.sent, account, self.broken)

        self.bench = Workbench(
            number, runner=self.runner, outbox=self.outbox, scratch=self.scratch, couriers=couriers, clock=self.clock
        )
        self.clock.bench = self.bench
        return Slot(
            number,
            1,
            contact=self.contact,
            bench=self.bench,
            outbox=self.outbox,
            room=lambda: self.full,
            alone=900.0,
            clock=self.clock,
        )

    def until(self, what: Callable[[Question], bool]) -> None:
        """One step, in which the slot is told to leave as soon as this question is asked."""
        self.server.on_question = lambda question: self.slot.leave() if what(question) else None
        self.slot.step()

    def until_idle(self) -> None:
        self.until(lambda question: isinstance(question, Ask) and not self.server.grants)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def test_a_batch_is_reported_in_one_message_that_asks_for_more(stage: Stage) -> None:
    """Sixty-four short jobs cost two messages, and the next ones come with the answer."""
    stage.runner.seconds = 0.001
    stage.server.give(*(grant(lease=f"l{n}") for n in range(128)))
    stage.until_idle()
    assert [kind for kind in stage.server.kinds_asked() if kind != "Beat"] == ["Hello", "Ask", "Finished", "Finished", "Ask"]
    assert len(stage.server.results) == 128
    reports = [question for question in stage.server.asked if isinstance(question, Finished)]
    assert [report.ask for report in reports] == [True, True]


def test_results_fit_into_a_message(stage: Stage) -> None:
    """Many results with bytes in them are told in several messages; only the last one asks."""
    fat = Output(path="a", size=16384, digest="d", data=bytes(16384))
    stage.runner.act = lambda work: Outcome(Result(lease=work.lease, outputs=(fat,), seconds=0.001))
    stage.runner.seconds = 0.001
    stage.server.give(*(grant(lease=f"l{n}") for n in range(64)))
    stage.until_idle()
    reports = [question for question in stage.server.asked if isinstance(question, Finished)]
    assert sum(len(report.results) for report in reports) == 64
    assert all(len(msgspec.json.encode(report)) < 1 << 20 for report in reports)
    assert [report.ask for report in reports] == [False, False, True]


def test_slow_jobs_of_a_batch_are_reported_one_by_one(stage: Stage) -> None:
    """A result does not wait for the rest of its batch when that takes long."""
    stage.runner.seconds = 0.5
    stage.server.give(*(grant(lease=f"l{n}") for n in range(3)))
    stage.until_idle()
    reports = [question for question in stage.server.asked if isinstance(question, Finished)]
    assert [(len(report.results), report.ask) for report in reports] == [(1, False), (1, False), (1, True)]


def test_a_canceled_lease_is_stopped_and_reported_as_such(stage: Stage) -> None:
    """A cancel reaches what runs and what waits behind it; each is answered for."""

    def act(work: Work) -> Outcome | None:
        stage.server.cancel = {"l0", "l1"}
        stage.slot._beat(stage.server.lines[-1])  # the link thread's next beat, while this job runs
        return None

    stage.runner.act = act
    stage.server.give(*(grant(lease=f"l{n}") for n in range(3)))
    stage.until_idle()
    assert stage.runner.begun == ["l0", "l2"]
    assert stage.server.failure("l0").cause is Cause.CANCELED
    assert stage.server.failure("l1").cause is Cause.CANCELED
    assert stage.server.results["l2"].failure is None


def test_what_is_not_ours_is_dropped_without_a_word(stage: Stage) -> None:
    """After `not yours` nothing is reported, and the slot asks for other work."""

    def act(work: Work) -> Outcome | None:
        stage.server.not_yours = {"l0"}
        stage.slot._beat(stage.server.lines[-1])
        return None

    stage.runner.act = act
    stage.server.give(grant(lease="l0"))
    stage.until_idle()
    assert not stage.server.results
    assert stage.server.kinds_asked()[-1] == "Ask"


def test_a_lost_link_stops_nothing(stage: Stage) -> None:
    """The same incarnation comes back, beats its lease first, and reports what was done meanwhile."""

    def act(work: Work) -> Outcome | None:
        stage.server.cut()
        return None

    stage.runner.act = act
    stage.server.give(grant(lease="l0"))
    stage.slot.step()
    assert not stage.server.results
    stage.until_idle()
    assert stage.server.results["l0"].outputs == (SMALL,)
    hellos = [question for question in stage.server.asked if isinstance(question, Hello)]
    assert [hello.incarnation for hello in hellos] == ["life-1", "life-1"]
    assert [hello.node_id for hello in hellos] == ["", "node-1"]
    kinds = stage.server.kinds_asked()
    again = kinds.index("Hello", 1)
    assert kinds[again + 1] in ("Beat", "Finished")
    assert "Ask" not in kinds[again : kinds.index("Finished")]


def test_a_lone_node_works_on_and_gives_up_after_its_time(stage: Stage) -> None:
    """Without a server a running job goes on for `alone`; only then is it stopped, and nothing is reported of it."""
    stage.server.give(grant(lease="l0"), grant(lease="l1"))
    stage.server.on_question = lambda question: stage.server.cut(down=True) if isinstance(question, Beat) else None
    stopped: list[float] = []
    begun = stage.clock.boottime()
    stage.bench.step = lambda wait=None: False  # type: ignore[method-assign,assignment]  # the work thread is busy with l0
    stage.slot.step()
    while not stopped and stage.clock.boottime() < begun + 5000:
        stage.slot.step()
        if all(work.stop.is_set() for work in stage.bench._works.values()):
            stopped.append(stage.clock.boottime() - begun)
    assert 900 <= stopped[0] < 990


def test_a_finished_result_outlives_the_lone_time(stage: Stage) -> None:
    """What is done is kept for the server however long it is away."""
    stage.server.give(grant(lease="l0"))
    stage.runner.act = lambda work: stage.server.cut(down=True)
    stage.slot.step()
    for _ in range(100):
        stage.slot.step()
    assert stage.clock.boottime() > 1000 + 900
    stage.server.down = False
    stage.until_idle()
    assert stage.server.results["l0"].outputs == (SMALL,)


def test_files_are_sent_before_the_result_and_kept_until_the_answer(stage: Stage) -> None:
    """A result of a second or more lies in the outbox until the server has answered, and nowhere after it."""
    stage.runner.seconds = 2.0
    stage.runner.act = stage.runner.with_file
    stage.server.give(grant(lease="l0"))
    kept: list[tuple[str, ...]] = []

    def look(question: Question) -> None:
        if isinstance(question, Finished):
            kept.append(stage.outbox.leases())
            assert (stage.sent / "a.png").read_bytes() == b"png"
        if isinstance(question, Ask) and not stage.server.grants:
            stage.slot.leave()

    stage.server.on_question = look
    stage.slot.step()
    assert kept == [("l0",)]
    assert stage.outbox.leases() == ()
    assert not list((stage.folder / "data" / "outbox").iterdir())
    assert not [path for path in (stage.folder / "data" / "scratch").rglob("*") if path.is_file()]


def test_the_outbox_of_an_earlier_life_is_named_and_sent_first(stage: Stage) -> None:
    """A crash after the work was done costs nothing: the next life names the result in its hello and sends it before it asks."""
    out = stage.folder / "out"
    out.mkdir()
    (out / "a.png").write_bytes(b"png")
    digest = digest_of(out / "a.png")
    result = Result(lease="old", outputs=(Output(path="a.png", size=3, digest=digest),), seconds=5.0)
    stage.outbox.put(0, Account(user="u", password="p", port=1), result, out)
    stage.outbox = Outbox(stage.folder / "data")
    stage.contact._finished = stage.outbox.leases
    stage.slot = stage.build()
    stage.until_idle()
    hello = stage.server.asked[0]
    assert isinstance(hello, Hello)
    assert hello.finished == ("old",)
    kinds = stage.server.kinds_asked()
    assert kinds.index("Finished") < kinds.index("Ask")
    assert stage.server.results["old"].outputs[0].digest == digest
    assert (stage.sent / "a.png").exists()
    assert stage.outbox.leases() == ()


def test_an_account_that_the_server_forgot_is_asked_for_anew(stage: Stage) -> None:
    """After a restart of the server the upload goes on with the account that `resume` gives."""
    stage.runner.act = stage.runner.with_file
    stage.broken = {"password-1"}
    stage.server.give(grant(lease="l0"))
    threading_free(stage)
    stage.until_idle()
    assert any(isinstance(question, Resume) for question in stage.server.asked)
    assert (stage.sent / "a.png").exists()
    assert stage.server.results["l0"].failure is None


def test_a_result_that_did_not_arrive_whole_is_sent_again(stage: Stage) -> None:
    """`incomplete` means: the files once more; five times over the job is given back."""
    stage.runner.act = stage.runner.with_file
    stage.server.rulings = {"l0": [Ruling.INCOMPLETE], "l1": [Ruling.INCOMPLETE] * 5}
    stage.server.give(grant(lease="l0"), grant(lease="l1"))
    stage.until_idle()
    assert stage.server.results["l0"].failure is None
    assert stage.server.failure("l1").cause is Cause.RETURNED
    assert not [path for path in (stage.folder / "data" / "scratch").rglob("*") if path.is_file()]


def test_leaving_gives_back_what_is_not_begun(stage: Stage) -> None:
    """A drain finishes the running job, hands the rest of its batch back, and says goodbye."""

    def act(work: Work) -> Outcome | None:
        stage.slot.leave()
        return None

    stage.runner.act = act
    stage.runner.seconds = 1.0
    stage.server.give(grant(lease="l0"), grant(lease="l1"))
    stage.slot.step()
    assert stage.server.results["l0"].failure is None
    assert stage.server.failure("l1").cause is Cause.DRAINED
    assert isinstance(stage.server.asked[-1], Bye)
    assert stage.slot.stopping.is_set()


def test_leaving_now_stops_what_runs(stage: Stage) -> None:
    """A second signal gives the running job back."""
    stage.runner.act = lambda work: stage.slot.leave(now=True)
    stage.server.give(grant(lease="l0"))
    stage.slot.step()
    assert stage.server.failure("l0").cause is Cause.DRAINED
    assert stage.server.kinds_asked()[-1] == "Bye"


def test_leaving_does_not_wait_for_a_server_that_is_away(stage: Stage) -> None:
    """A node may be stopped while its server is down."""
    stage.server.down = True
    stage.slot.step()
    stage.slot.leave()
    stage.slot.step()
    assert stage.slot.stopping.is_set()


def test_a_full_disk_keeps_a_slot_from_asking(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """No job is taken while the disk is fuller than the owner wants; that is said once, and the server hears that the node lives."""
    stage.full = "its disk is full."
    beats: list[Question] = []

    def look(question: Question) -> None:
        if isinstance(question, Beat):
            beats.append(question)
            if len(beats) == 3:
                stage.full = ""
        if isinstance(question, Ask):
            assert len(beats) == 3
            stage.slot.leave()

    stage.server.on_question = look
    stage.slot.step()
    assert stage.server.kinds_asked() == ["Hello", "Beat", "Beat", "Beat", "Ask"]
    assert sum("takes no job" in record.message for record in caplog.records) == 1


def test_after_a_job_that_did_not_fit_the_slot_rests(stage: Stage) -> None:
    """A job given back for want of disk is not asked for again at once."""
    failure = Failure(cause=Cause.RETURNED, sentence="The disk is too small.")
    stage.runner.act = lambda work: Outcome(Result(lease=work.lease, failure=failure), no_room=True)
    stage.server.give(grant(lease="l0"))
    before = stage.clock.monotonic()
    stage.until_idle()
    assert stage.clock.monotonic() - before >= 30
    report = next(question for question in stage.server.asked if isinstance(question, Finished))
    assert not report.ask


@pytest.mark.parametrize(("tasks", "least", "most"), [(12, 60.0, 400.0), (1, 5.0, 13.0)])
def test_a_node_that_cannot_do_a_job_does_not_turn_a_wheel(stage: Stage, tasks: int, least: float, most: float) -> None:
    """A job that is given back and offered again at once costs a pause, not the machine. The pause grows where tasks of all sorts are given
    back; one that cannot be done here, however many jobs it has, does not keep the slot from the others."""
    failure = Failure(cause=Cause.RETURNED, sentence="This node has no povray.")
    stage.runner.act = lambda work: Outcome(Result(lease=work.lease, failure=failure))
    stage.server._batch = 1
    stage.server.give(*(msgspec.structs.replace(grant(lease=f"l{n}"), task=f"t{n % tasks}") for n in range(12)))
    before = stage.clock.monotonic()
    stage.until_idle()
    assert len(stage.server.results) == 12
    assert least < stage.clock.monotonic() - before < most


def test_a_refused_node_ends(stage: Stage) -> None:
    """A wrong token ends the node with the server's sentence, when it is said at the first contact of its life."""
    stage.server.refusal = Refused("This join code was replaced.", code="token")
    stage.slot.step()
    stage.slot.step()
    assert stage.slot.stopping.is_set()
    failure: ClusterRayError | None = stage.contact.failure
    assert failure is not None
    assert failure.exit_code == 4


def threading_free(stage: Stage) -> None:
    """In these tests both threads are one: let a wait for an account be answered from within."""

    def renew(work: Work) -> bool:
        work.wants_account = True
        for wanting in stage.bench.wanting():
            answer = stage.server.answer(stage.server.lines[-1], Resume(lease=wanting.lease))
            wanting.give_account(answer.account)  # type: ignore[union-attr,arg-type]
        return True

    def act(work: Work) -> Outcome:
        work.renew_account = lambda: renew(work)  # type: ignore[method-assign]
        return stage.runner.with_file(work)

    stage.runner.act = act
