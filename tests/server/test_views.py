"""What listings show."""

from __future__ import annotations

import msgspec
from clusterray.common.model import Cause, Failure, Progress, Result, Ruling

from .bench import ME

KEYS = {"id", "name", "kind", "state", "created", "started", "ended", "jobs", "assets"}


def test_the_keys_are_stable(bench):
    """Scripts read them from --json, also where there is nothing to say yet."""
    task = bench.submit(jobs=1)
    shown = msgspec.json.decode(msgspec.json.encode(bench.desk.view(ME, task)))
    assert shown.keys() >= KEYS
    assert shown["jobs"] == {} or set(shown["jobs"]) <= {"total", "done", "running", "failed", "queued"}
    assert (shown["state"], shown["place"], shown["started"], shown["assets"]) == ("queued", 1, None, [])


def test_running_jobs_count_in_part(bench):
    """Half of one job of two is a quarter; what was said of a task that is over does not matter."""
    slot = bench.node()
    task, grants = bench.in_work(slot, jobs=2)
    bench.terms.beat(slot.node, Progress(lease=grants[0].lease, fraction=0.5))
    assert bench.desk.view(ME, task).progress == 0.25
    _, jobs, _ = bench.desk.show(ME, task, 0, 10)
    assert [job.progress for job in jobs] == [0.5, 0.0]
    bench.desk.cancel(ME, task)
    assert bench.desk.view(ME, task).progress == 0.0


def test_the_eta_is_from_what_was_done(bench):
    """A quarter took a minute: three more to go."""
    slot = bench.node()
    task, grants = bench.in_work(slot, jobs=4)
    started = bench.desk.view(ME, task).started
    bench.clock.set_wall(started + 60)
    bench.finish(slot, grants[0])
    assert bench.desk.view(ME, task).eta == 180.0
    bench.clock.set_wall(started - 86400)
    assert bench.desk.view(ME, task).eta == 0.0, "a clock that was set back makes no negative times"


def test_a_finished_task_shows_its_assets(bench):
    """With path, size and digest, and full progress."""
    slot = bench.node()
    task, grants = bench.in_work(slot, jobs=2)
    for grant in grants:
        assert bench.finish(slot, grant).ruling is Ruling.ACCEPTED
    assert bench.desk.view(ME, task).assets == ()
    bench.settle()
    view = bench.desk.view(ME, task)
    assert (view.progress, view.nodes, view.eta, [asset.path for asset in view.assets]) == (1.0, 0, None, ["work.txt"])


def test_attempts_keep_the_evidence_of_the_last_ones(bench):
    """Each attempt with node, cause and sentence; the program's last words of the last three."""
    slot = bench.node("worker")
    task, _ = bench.in_work(slot, jobs=1, attempts=9)
    (term,) = bench.terms.of_node(slot.node)
    lease = term.lease
    for n in range(5):
        bench.judge.judge(slot, [result(lease, n)], False)
        (again,) = bench.ask(slot)
        lease = again.lease
    _, (job,), _ = bench.desk.show(ME, task, 0, 10)
    assert [a.sentence for a in job.attempts] == [f"failure {n}" for n in range(5)] + [""]
    assert [a.tail for a in job.attempts] == [(), (), (), ("tail 3",), ("tail 4",), ()]
    assert {a.node for a in job.attempts} == {"worker"} and job.attempts[0].cause == Cause.ERROR


def result(lease, n):
    return Result(lease=lease, failure=Failure(cause=Cause.ERROR, sentence=f"failure {n}", tail=(f"tail {n}",)))
