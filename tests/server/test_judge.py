"""What becomes of a report."""

from __future__ import annotations

import msgspec
import pytest
from clusterray.common.errors import LinkLost
from clusterray.common.kinds.echo import content
from clusterray.common.model import Cause, Failure, Output, Result, Ruling
from clusterray.common.states import AttemptState
from clusterray.server.store import StoreError

from .bench import ADMIN, ME, ref, small


def test_a_result_in_the_report_is_accepted_once(bench):
    """The same report twice, as after a lost answer, counts once and hears the same."""
    slot = bench.node()
    _, (grant,) = bench.in_work(slot, jobs=1)
    assert bench.finish(slot, grant).ruling is Ruling.ACCEPTED
    assert bench.finish(slot, grant).ruling is Ruling.ACCEPTED
    assert bench.terms.get(grant.lease) is None


def test_the_last_result_brings_the_whole_picture(bench):
    """From the last report to the stitched, fetchable asset."""
    slot = bench.node()
    task, grants = bench.in_work(slot, jobs=2)
    for grant in reversed(grants):
        bench.finish(slot, grant)
    bench.settle()
    assert bench.state(task) == "completed"
    (asset,) = bench.desk.fetch(ME, task).assets
    assert bench.farm.keeper.plain(asset.digest).read_bytes() == content(0, 16) + content(1, 16)
    assert not (bench.data / "tasks" / task).exists(), "what the stitch wrote is a pack now; nothing is left beside it"


def test_wrong_bytes_are_rejected_and_the_job_goes_back(bench):
    """What the kind's verify refuses is counted as a failed attempt, and the job is done again."""
    slot = bench.node()
    _, (grant,) = bench.in_work(slot, jobs=1)
    verdict = bench.finish(slot, grant, outputs=(small(7),))
    assert verdict.ruling is Ruling.REJECTED and "does not hold" in verdict.sentence
    assert bench.attempt(grant.lease)["state"] == AttemptState.REJECTED
    (again,) = bench.ask(slot)
    assert (again.job, again.number) == (grant.job, 2)


@pytest.mark.parametrize(
    ("output", "why"),
    [
        (Output(path="../x", size=1, digest="d", data=b"x"), "no relative path"),
        (Output(path="/etc/passwd", size=1, digest="d", data=b"x"), "no relative path"),
        (Output(path="a", size=1, digest="d", data=b"x"), "digest"),
        (Output(path="a", size=99_999, digest=ref(b"x" * 99_999).digest, data=b"x" * 99_999), "go by FTP"),
    ],
)
def test_unfit_outputs_are_rejected_with_the_reason(bench, output, why):
    """Names that leave the folder, bytes that are not what was said, and too much for a report."""
    slot = bench.node()
    _, (grant,) = bench.in_work(slot, jobs=1)
    verdict = bench.finish(slot, grant, outputs=(output,))
    assert verdict.ruling is Ruling.REJECTED and why in verdict.sentence


def test_uploaded_outputs_are_taken_and_the_folder_is_gone(bench):
    """Larger outputs come by FTP, get their name as a pack, and leave nothing behind."""
    slot = bench.node()
    _, (grant,) = bench.in_work(slot, jobs=1, bytes=50_000)
    output = bench.upload(grant, content(0, 50_000))
    assert bench.finish(slot, grant, outputs=(output,)).ruling is Ruling.ACCEPTED
    assert bench.farm.keeper.has(output.digest)
    assert not bench.farm.keeper.lease_folder(grant.lease).exists()


def test_what_did_not_arrive_whole_is_asked_for_again(bench):
    """A cut-off upload costs no attempt: the node sends it again under the same lease."""
    slot = bench.node()
    _, (grant,) = bench.in_work(slot, jobs=1, bytes=50_000)
    output = bench.upload(grant, content(0, 50_000))
    bench.upload(grant, content(0, 50_000)[:-1])
    assert bench.finish(slot, grant, outputs=(output,)).ruling is Ruling.INCOMPLETE
    assert bench.terms.get(grant.lease).ends == bench.clock.monotonic() + bench.terms.seconds
    bench.upload(grant, content(0, 50_000))
    assert bench.finish(slot, grant, outputs=(output,)).ruling is Ruling.ACCEPTED


def test_a_stranger_cannot_report(bench):
    """A lease answers to the node that holds it, and to a known one."""
    slot, other = bench.node("n1"), bench.node("n2")
    _, (grant,) = bench.in_work(slot, jobs=1)
    assert bench.finish(other, grant).ruling is Ruling.NOT_YOURS
    assert bench.finish(slot, msgspec.structs.replace(grant, lease="0" * 32)).ruling is Ruling.NOT_YOURS
    assert bench.attempt(grant.lease)["state"] == AttemptState.LEASED


def test_a_cancelled_task_takes_no_result(bench):
    """Who reports after the cancel hears that it is over."""
    slot = bench.node()
    task, (grant,) = bench.in_work(slot, jobs=1)
    bench.desk.cancel(ME, task)
    assert bench.finish(slot, grant).ruling is Ruling.NOT_YOURS
    assert bench.state(task) == "canceled"


def test_a_scene_that_is_wrong_fails_the_task_at_once(bench):
    """No other node would do better; the other leases are called off, and their holders hear of it."""
    slot = bench.node()
    task, (first, second) = bench.in_work(slot, jobs=2)
    bench.finish(slot, first, outputs=(), failure=Failure(cause=Cause.INPUT, sentence="Parse error in line 3."))
    assert bench.state(task) == "failed"
    assert bench.terms.canceled(second.lease)
    assert bench.desk.view(ME, task).error == "Parse error in line 3."


def test_the_next_lease_comes_with_the_verdict(bench):
    """A report that asks for more work gets it in the same answer."""
    slot = bench.node()
    bench.submit(jobs=2)
    bench.settle()
    (grant,) = bench.ask(slot)
    verdict, (following,) = bench.finish(slot, grant, want=True)
    assert verdict.ruling is Ruling.ACCEPTED and following.region.name == "job0000001"


def test_a_store_that_cannot_write_costs_no_job(bench, monkeypatch):
    """The disk was full for a moment: the jobs that were being given out are given out later."""
    slot = bench.node()
    bench.submit(jobs=2)
    bench.settle()
    (grant,) = bench.ask(slot)

    def full(change):
        raise StoreError("no room")

    with monkeypatch.context() as patch:
        patch.setattr(bench.store, "write", full)
        with pytest.raises(StoreError):
            bench.finish(slot, grant, want=True)
    assert bench.finish(slot, grant, want=True)[1], "the second job"

    bench.submit(jobs=1, name="another")
    bench.settle()
    other = bench.node("n2")
    with monkeypatch.context() as patch:
        patch.setattr(bench.store, "write", full)
        with pytest.raises(StoreError):
            bench.ask(other)
    assert bench.ask(other)


def test_a_verification_that_breaks_off_gives_the_term_back(bench, monkeypatch):
    """A node that dies while its result is being looked at does not hold the job for ever."""
    slot = bench.node()
    _, (grant,) = bench.in_work(slot, jobs=1, bytes=50_000)
    output = bench.upload(grant, content(0, 50_000))
    with monkeypatch.context() as patch:
        patch.setattr(bench.judge, "_name", lambda cases: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            bench.finish(slot, grant, outputs=(output,))
    assert bench.attempt(grant.lease)["state"] == AttemptState.VERIFYING
    bench.clock.advance(bench.terms.seconds)
    assert bench.farm.reaper.reap() == 1
    assert bench.ask(bench.node("n2"))


def test_a_result_in_verification_is_the_one_that_was_checked(bench, monkeypatch):
    """What a node says at a second report cannot take the place of what it said, and sent, at the first."""
    slot = bench.node()
    _, (grant,) = bench.in_work(slot, jobs=1)
    bad = bench.upload(grant, b"x" * 16)
    with monkeypatch.context() as patch:
        patch.setattr(bench.judge, "_verify", lambda cases: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            bench.finish(slot, grant, outputs=(bad,))
    verdict = bench.finish(slot, grant, outputs=(small(0),))
    assert verdict.ruling is Ruling.REJECTED


def test_a_task_removed_in_the_midst_is_not_yours(bench):
    """Cancelled and removed while its result was under way: the node is told, and the link lives."""
    slot = bench.node()
    task, (grant,) = bench.in_work(slot, jobs=1)
    bench.desk.cancel(ME, task)
    bench.desk.remove(ADMIN, task)
    assert bench.finish(slot, grant).ruling is Ruling.NOT_YOURS


def test_a_failure_is_kept_in_bounds(bench):
    """A node that reports a novel cannot make listings too large to send."""
    slot = bench.node()
    task, (grant,) = bench.in_work(slot, jobs=1, attempts=1)
    long = Failure(cause=Cause.ERROR, sentence="s" * 100_000, tail=("t" * 100_000,) * 300)
    bench.finish(slot, grant, outputs=(), failure=long)
    view, jobs, _ = bench.desk.show(ME, task, 0, 200)
    assert len(msgspec.json.encode((view, jobs))) < 200_000


def test_a_crash_in_verify_is_a_rejection_not_a_fault(bench):
    """A codec that dies on a node's bytes fails that attempt; the next call gets a fresh hand."""
    slot = bench.node()
    _, (grant,) = bench.in_work(slot, kind="slow", jobs=1, attempts=1, where="verify", how="crash")
    verdict = bench.finish(slot, grant)
    assert verdict.ruling is Ruling.REJECTED and "crashed" in verdict.sentence
    _, (fine,) = bench.in_work(slot, jobs=1, name="fine")
    assert bench.finish(slot, fine).ruling is Ruling.ACCEPTED


def test_a_stop_in_the_midst_rejects_nothing(bench, monkeypatch):
    """A node whose report met the server's stop reports again; its attempt is not held against it."""
    slot = bench.node()
    _, (grant,) = bench.in_work(slot, kind="slow", jobs=1, where="verify", how="crash")
    monkeypatch.setattr(type(bench.farm.hands), "closed", property(lambda self: True))
    with pytest.raises(LinkLost):
        bench.judge.judge(slot, [Result(lease=grant.lease, outputs=(small(0),))], False)
    assert bench.attempt(grant.lease)["state"] == AttemptState.LEASED
