"""The fence: whatever happens in whatever order, a job has at most one accepted result, and every state has a history."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

import pytest
from clusterray.common.errors import ClusterRayError, Conflict, StateError
from clusterray.common.model import Cause, Failure, FarmShape, Limits, Needs, Output, PackRef, Region, TaskSpec, new_task_id
from clusterray.common.states import ATTEMPT, JOB, TASK, AttemptState, JobState, TaskState
from clusterray.common.testing import FakeClock
from clusterray.server import ledger
from clusterray.server.store import Store
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

BUNDLE = PackRef(digest="0" * 64, size=1)
SPEC = TaskSpec(kind="echo", name="t", limits=Limits(attempts=2))
OUTPUT = Output(path="o", size=1, digest="d", data=b"x")


def submit(tx, spec=SPEC, owner="me"):
    task = new_task_id()
    ledger.add_task(tx, task, owner, spec, Needs(), "render", BUNDLE, [BUNDLE])
    return task


def in_work(store, count=3):
    task = store.write(submit)
    run = store.write(lambda tx: ledger.claim_task(tx, task, FarmShape()))
    jobs = store.write(lambda tx: ledger.add_jobs(tx, task, run, 0, cut(count)))
    return task, run, jobs


def cut(count, *, stage="echo", keys=None, **more):
    """A stage of so many jobs."""
    regions = [Region(name=f"r{n}") for n in range(count)]
    return ledger.Cut(spec=SPEC, version=1, name=stage, regions=regions, keys=keys or (), **more)


def lease(store, job, node="n1", incarnation="i"):
    return store.write(lambda tx: ledger.lease(tx, node, incarnation, 0, [job]))


def finish(store, lease_id):
    def change(tx):
        return ledger.begin_verify(tx, lease_id, [OUTPUT], 1.0) and ledger.accept(tx, lease_id)

    return store.write(change)


@pytest.fixture
def store(tmp_path):
    opened = Store(tmp_path / "farm.db", FakeClock())
    yield opened
    opened.close()


@pytest.mark.parametrize("at_once", [True, False])
def test_of_two_live_attempts_one_is_accepted(store, at_once):
    """Even if a fault gave a job to two nodes, the second result changes nothing."""
    _, _, (job, *_) = in_work(store)
    (first,) = lease(store, job)
    store.write(lambda tx: tx.run("job_state", id=job, state="queued"))  # the fault
    (second,) = lease(store, job, node="n2")
    assert finish(store, second.lease).job_state is JobState.DONE
    if at_once:
        assert store.write(lambda tx: ledger.accept_at_once(tx, ledger.need_attempt(tx, first.lease), [OUTPUT], 1.0)) is None
    else:
        assert finish(store, first.lease) is None
    with store.read() as tx:
        assert tx.one("job", id=job)["accepted"] == second.lease
        assert ledger.need_attempt(tx, first.lease)["state"] == AttemptState.LOST


def test_a_late_result_of_a_lost_lease_is_not_taken(store):
    """A node that was thought dead cannot overwrite what another one made."""
    _, _, (job, *_) = in_work(store)
    (first,) = lease(store, job)
    store.write(lambda tx: ledger.fail(tx, first.lease, Failure(cause=Cause.SILENT, sentence="silent")))
    assert not store.write(lambda tx: ledger.begin_verify(tx, first.lease, [OUTPUT], 1.0))
    (second,) = lease(store, job, node="n2")
    assert finish(store, second.lease)


def test_an_error_counts_and_a_return_does_not(store):
    """A job fails after its attempts; what a node gives back, or loses, is no attempt against it."""
    task, _, (job, *_) = in_work(store)
    for cause in (Cause.RETURNED, Cause.DRAINED, Cause.SILENT, Cause.REPLACED, Cause.ERROR):
        (one,) = lease(store, job)
        ended = store.write(lambda tx, one=one, cause=cause: ledger.fail(tx, one.lease, Failure(cause=cause, sentence="s")))
        assert ended.job_state is JobState.QUEUED
    (last,) = lease(store, job)
    ended = store.write(lambda tx: ledger.fail(tx, last.lease, Failure(cause=Cause.TIMEOUT, sentence="too slow")))
    assert (ended.job_state, ended.task_over) == (JobState.FAILED, True)
    with store.read() as tx:
        row = ledger.need_task(tx, task)
        assert row["state"] == TaskState.FAILED
        assert "r0 failed 2 times" in row["error"] and "too slow" in row["error"]


def test_a_wrong_scene_fails_the_task_at_once(store):
    """A syntax error is not tried again."""
    task, _, (job, other, _) = in_work(store)
    (one,) = lease(store, job)
    (two,) = lease(store, other)
    store.write(lambda tx: ledger.fail(tx, one.lease, Failure(cause=Cause.INPUT, sentence="scene.pov:3: Parse Error")))
    with store.read() as tx:
        assert ledger.need_task(tx, task)["error"] == "scene.pov:3: Parse Error"
        assert ledger.need_attempt(tx, two.lease)["state"] == AttemptState.CANCELED


def test_a_job_that_silences_five_nodes_fails(store):
    """A job that kills its nodes does not take down the whole farm; the same node again does not count twice."""
    task, _, (job, *_) = in_work(store)
    for node in ("n1", "n1", "n2", "n3", "n4", "n5"):
        (one,) = lease(store, job, node=node)
        store.write(lambda tx, one=one: ledger.fail(tx, one.lease, Failure(cause=Cause.SILENT, sentence="silent")))
    with store.read() as tx:
        assert "5 different nodes" in ledger.need_task(tx, task)["error"]


def test_a_restart_makes_new_job_and_lease_ids(store):
    """Nothing of an old run can be mistaken for the new one."""
    task, _, jobs = in_work(store)
    leases = [lease(store, job)[0].lease for job in jobs]
    store.write(lambda tx: ledger.end_task(tx, task, TaskState.CANCELED))
    store.write(lambda tx: ledger.restart_task(tx, task))
    run = store.write(lambda tx: ledger.claim_task(tx, task, FarmShape()))
    fresh = store.write(lambda tx: ledger.add_jobs(tx, task, run, 0, cut(1)))
    assert not set(fresh) & set(jobs)
    assert lease(store, fresh[0])[0].lease not in leases
    assert finish(store, leases[0]) is False


def test_a_task_in_work_is_not_removed(store):
    """Removing needs a cancel first, and says so."""
    task, _, _ = in_work(store)
    with pytest.raises(Conflict, match="cancel it first"):
        store.write(lambda tx: ledger.remove_task(tx, task))


def test_a_new_life_of_a_node_ends_the_older_leases_but_for_those_in_its_outbox(store):
    """After a crash of the agent its jobs go on elsewhere at once, and a finished one is not thrown away."""
    _, _, (a, b, _) = in_work(store)
    (kept,) = lease(store, a, incarnation="old")
    (lost,) = lease(store, b, incarnation="old")
    ended = store.write(lambda tx: ledger.replace_incarnation(tx, "n1", "new", {kept.lease}))
    assert [e.job for e in ended] == [b]
    assert finish(store, kept.lease)
    assert finish(store, lost.lease) is False


# --- stages, turns, and what earlier runs made

DERIVED = PackRef(digest="1" * 64, size=2)
FRESH = [DERIVED, PackRef(digest="2" * 64, size=3)]


def end_stage(store, task, run, stage=0):
    return store.write(lambda tx: ledger.next_stage(tx, task, run, stage, DERIVED, FRESH))


def again(store, task, *, fresh=False):
    """Cancel, restart, claim; the new run's number."""
    with contextlib.suppress(StateError):
        store.write(lambda tx: ledger.end_task(tx, task, TaskState.CANCELED))
    store.write(lambda tx: ledger.restart_task(tx, task, fresh=fresh))
    return store.write(lambda tx: ledger.claim_task(tx, task, FarmShape()))


def made_before(store, task, run):
    with store.read() as tx:
        return {r["key"]: r["accepted"] for r in tx.all("made_before", task=task, after=ledger.need_task(tx, task)["fresh"], run=run)}


def test_jobs_are_leased_by_turn_and_listed_in_split_order(store):
    """A first pass of a film goes first, wherever its frames lie; also after a restart of the server."""
    task = store.write(submit)
    run = store.write(lambda tx: ledger.claim_task(tx, task, FarmShape()))
    regions = [Region(name=f"r{n}", turn=turn) for n, turn in enumerate([1, 0, 1, 0])]
    queued = store.write(lambda tx: ledger.add_jobs(tx, task, run, 0, cut(0)._replace(regions=regions)))
    with store.read() as tx:
        rows = tx.all("job_page", task=task, run=run, limit=9, after=0)
        assert [row["name"] for row in rows] == ["r0", "r1", "r2", "r3"]
        names = {row["id"]: row["name"] for row in rows}
        assert [row["id"] for row in tx.all("jobs_queued", task=task, run=run)] == queued
    assert [names[job] for job in queued] == ["r1", "r3", "r0", "r2"]


def test_the_next_stage_begins_once_when_all_jobs_are_done(store):
    """With the files of the one before in use, and not before its last job is done; only the last stage is stitching."""
    task = store.write(submit)
    run = store.write(lambda tx: ledger.claim_task(tx, task, FarmShape()))
    (job,) = store.write(lambda tx: ledger.add_jobs(tx, task, run, 0, cut(1, stages=2)))
    assert not end_stage(store, task, run)
    finish(store, lease(store, job)[0].lease)
    assert not store.write(lambda tx: ledger.begin_stitch(tx, task, run))
    assert end_stage(store, task, run) and not end_stage(store, task, run)
    with store.read() as tx:
        now = ledger.need_run(tx, task, run)
        assert (now["stage"], now["bundle"], now["begun"]) == (1, DERIVED.digest, None)
        assert {row["digest"] for row in tx.all("packs_in_use")} >= {pack.digest for pack in FRESH}
    assert not store.write(lambda tx: ledger.begin_stitch(tx, task, run)), "it is not even split"
    assert store.write(lambda tx: ledger.add_jobs(tx, task, run, 0, cut(1, stages=2))) is None, "the first stage has its jobs"
    (second,) = store.write(lambda tx: ledger.add_jobs(tx, task, run, 1, cut(1, stages=2, stage="again")))
    finish(store, lease(store, second)[0].lease)
    assert store.write(lambda tx: ledger.begin_stitch(tx, task, run))
    assert store.write(lambda tx: ledger.publish(tx, task, run, [("a", BUNDLE)]))
    again(store, task)
    with store.read() as tx:
        assert FRESH[1].digest not in {row["digest"] for row in tx.all("packs_in_use")}, "a new run makes its own"


def test_a_piece_is_taken_over_by_its_key(store):
    """A later run has it at once, accepted under the lease that made it, however many runs later; the others are queued."""
    task = store.write(submit)
    run = store.write(lambda tx: ledger.claim_task(tx, task, FarmShape()))
    jobs = store.write(lambda tx: ledger.add_jobs(tx, task, run, 0, cut(3, keys=["a", "b", "c"])))
    done = lease(store, jobs[1])[0].lease
    finish(store, done)
    for _ in range(2):
        run = again(store, task)
        made = made_before(store, task, run)
        assert made == {"b": done}
        queued = store.write(lambda tx, run=run, made=made: ledger.add_jobs(tx, task, run, 0, cut(3, keys=["a", "b", "c"]), made))
        assert len(queued) == 2
        with store.read() as tx:
            rows = tx.all("job_page", task=task, run=run, limit=9, after=0)
            assert [(row["state"], row["accepted"]) for row in rows] == [("queued", None), ("done", done), ("queued", None)]
            (attempt,) = tx.all("attempts_of_job", job=rows[1]["id"])
            assert (attempt["lease"], attempt["node_name"]) == (done, "n1")
            events = [e for e in tx.all("events_of_task", task=task) if e["job"] == rows[1]["id"]]
            assert [(e["new"], e["cause"], e["lease"]) for e in events] == [("done", "taken over", done)]
            assert ledger.need_run(tx, task, run)["taken"] == 1
    assert made_before(store, task, again(store, task, fresh=True)) == {}, "all anew was asked for"
    assert made_before(store, task, again(store, task)) == {}, "and what was before that stays away"
    store.write(lambda tx: ledger.end_task(tx, task, TaskState.CANCELED))
    store.write(lambda tx: ledger.remove_task(tx, task))


class Farm(RuleBasedStateMachine):
    """Random verbs in random order; the books must balance after each."""

    @initialize()
    def open(self):
        self.folder = tempfile.TemporaryDirectory()
        self.clock = FakeClock()
        self.store = Store(Path(self.folder.name) / "farm.db", self.clock)
        self.tasks, self.jobs, self.leases = [], [], []

    def teardown(self):
        if hasattr(self, "store"):
            self.store.close()
            self.folder.cleanup()

    def attempt(self, verb):
        """A verb either works or raises one of ours and changes nothing."""
        self.clock.advance(1)
        try:
            return self.store.write(verb)
        except (StateError, ClusterRayError):
            return None

    @rule(jobs=st.integers(1, 3), stages=st.integers(1, 2))
    def add(self, jobs, stages):
        task = self.store.write(submit)
        run = self.store.write(lambda tx: ledger.claim_task(tx, task, FarmShape()))
        self.tasks.append(task)
        self.split(task, run, jobs, stages)

    def split(self, task, run, jobs, stages):
        """Split the stage that the run has come to; each job's key is its stage and number."""
        with self.store.read() as tx:
            stage = ledger.need_run(tx, task, run)["stage"]
        keys = [f"{stage}:{n}" for n in range(jobs)]
        made = made_before(self.store, task, run)
        if self.attempt(lambda tx: ledger.add_jobs(tx, task, run, stage, cut(jobs, keys=keys, stages=stages), made)) is not None:
            with self.store.read() as tx:
                self.jobs += [j["id"] for j in tx.all("job_page", task=task, run=run, limit=99, after=0) if j["stage"] == stage]

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), node=st.sampled_from(["n1", "n2", "n3"]))
    def lease(self, data, node):
        job = data.draw(st.sampled_from(self.jobs))
        given = self.attempt(lambda tx: ledger.lease(tx, node, "i", 0, [job]))
        fresh = [one.lease for one in given or []]
        assert not set(fresh) & set(self.leases)
        self.leases += fresh

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), cause=st.sampled_from([c for c in Cause if c is not Cause.CANCELED]))
    def fail(self, data, cause):
        one = data.draw(st.sampled_from(self.leases))
        self.attempt(lambda tx: ledger.fail(tx, one, Failure(cause=cause, sentence="s")))

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def finish(self, data):
        one = data.draw(st.sampled_from(self.leases))
        self.attempt(lambda tx: ledger.begin_verify(tx, one, [OUTPUT], 1.0))
        self.attempt(lambda tx: ledger.accept(tx, one))

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def finish_at_once(self, data):
        one = data.draw(st.sampled_from(self.leases))
        self.attempt(lambda tx: ledger.accept_at_once(tx, ledger.need_attempt(tx, one), [OUTPUT], 1.0))

    @precondition(lambda self: self.tasks)
    @rule(data=st.data())
    def cancel(self, data):
        task = data.draw(st.sampled_from(self.tasks))
        self.attempt(lambda tx: ledger.end_task(tx, task, TaskState.CANCELED))

    @precondition(lambda self: self.tasks)
    @rule(data=st.data(), fresh=st.booleans(), jobs=st.integers(1, 3))
    def restart(self, data, fresh, jobs):
        task = data.draw(st.sampled_from(self.tasks))
        self.attempt(lambda tx: ledger.restart_task(tx, task, fresh=fresh))
        run = self.attempt(lambda tx: ledger.claim_task(tx, task, FarmShape()))
        if run:
            self.split(task, run, jobs, 1)

    @precondition(lambda self: self.tasks)
    @rule(data=st.data())
    def stitch(self, data):
        task = data.draw(st.sampled_from(self.tasks))
        with self.store.read() as tx:
            run = ledger.need_task(tx, task)["run"]
            now = ledger.need_run(tx, task, run)
        if self.attempt(lambda tx: ledger.next_stage(tx, task, run, now["stage"], DERIVED, FRESH)):
            self.split(task, run, 2, now["stages"])
        elif self.attempt(lambda tx: ledger.begin_stitch(tx, task, run)):
            self.attempt(lambda tx: ledger.publish(tx, task, run, [("a.png", BUNDLE)]))

    @invariant()
    def books_balance(self):
        if not hasattr(self, "store"):
            return
        with self.store.read() as tx:
            for job in self.jobs:
                row = tx.one("job", id=job)
                attempts = tx.all("attempts_of_job", job=job)
                accepted = [a["lease"] for a in attempts if a["state"] == AttemptState.ACCEPTED]
                live = [a for a in attempts if a["state"] in (AttemptState.LEASED, AttemptState.VERIFYING)]
                assert accepted == ([row["accepted"]] if row["accepted"] else [])
                self.accepted_by_right(tx, row)
                assert len(live) == (row["state"] == JobState.RUNNING)
            for task in self.tasks:
                row = ledger.need_task(tx, task)
                if row["state"] == TaskState.COMPLETED:
                    done = tx.all("job_page", task=task, run=row["run"], limit=99, after=0)
                    assert all(job["state"] == JobState.DONE for job in done)
                    assert {job["stage"] for job in done} == set(range(ledger.need_run(tx, task, row["run"])["stages"]))
                self.history(tx, task, row["state"])

    def accepted_by_right(self, tx, row):
        """What a job has not made itself was made for the same key by an older run, after which nobody asked for all anew."""
        if row["accepted"]:
            attempt = ledger.need_attempt(tx, row["accepted"])
            maker = tx.one("job", id=attempt["job"])
            assert (maker["task"], maker["key"]) == (row["task"], row["key"])
            assert maker["id"] == row["id"] or maker["run"] < row["run"]

    def history(self, tx, task, state):
        """Replaying the events gives the states; each step is one of the table's."""
        seen = {}
        for event in tx.all("events_of_task", task=task):
            key = (event["subject"], event["job"], event["lease"])
            key = key if event["subject"] == "attempt" else key[:2]
            table, states = {"task": (TASK, TaskState), "job": (JOB, JobState), "attempt": (ATTEMPT, AttemptState)}[event["subject"]]
            if event["old"]:
                assert states(event["new"]) in table[states(event["old"])]
                assert seen.get(key, "queued") == event["old"]
            seen[key] = event["new"]
        assert seen[("task", "")] == state


Farm.TestCase.settings = settings(
    max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)
TestFarm = Farm.TestCase
