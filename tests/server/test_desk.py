"""The farm's verbs, and who may."""

from __future__ import annotations

import contextlib
import os

import msgspec
import pytest
from clusterray.common.errors import Conflict, DeskError, NoSuchTask, NotAllowed, PacksMissing
from clusterray.common.model import Cause, Failure, Limits, Needs, PackRef, TaskSpec, new_task_id
from clusterray.server import ledger
from clusterray.server.store import READERS

from .bench import ADMIN, ME, OTHER, Bell, ref, small

ECHO = TaskSpec(kind="echo", name="work", options={"jobs": 1})


# --- files in


def test_only_missing_packs_are_asked_for(bench):
    """The second submit of a folder sends nothing."""
    bench.submit(jobs=1)
    _, missing, _ = bench.desk.have(ME, "", [ref(b"new")])
    assert missing == (ref(b"new").digest,)
    bundle, _ = bench.send(ME, bench.folder())
    assert bench.desk.have(ME, "", [bundle])[1] == ()


def test_another_owners_packs_are_not_there(bench):
    """Whether somebody else has sent a file cannot be found out, nor used, without having it."""
    bundle, _ = bench.send(ME, bench.folder())
    session, missing, _ = bench.desk.have(OTHER, "", [bundle])
    assert missing == (bundle.digest,)
    kept, again = bench.desk.stored(OTHER, session, [bundle])
    assert kept == () and "did not arrive" in again[bundle.digest]
    with pytest.raises(PacksMissing):
        bench.desk.submit(OTHER, new_task_id(), ECHO, bundle, session)
    bench.send(OTHER, bench.folder())
    assert bench.desk.submit(OTHER, new_task_id(), ECHO, bundle, session).name == "work"


def test_stored_may_be_said_again(bench):
    """The answer was lost on the way: the same question gets the same answer."""
    data = b"some bytes"
    session, _, _ = bench.desk.have(ME, "", [ref(data)])
    (bench.farm.keeper.upload_folder(session) / f"{ref(data).digest}.part").write_bytes(data)
    assert bench.desk.stored(ME, session, [ref(data)]) == ((ref(data).digest,), {})
    assert bench.desk.stored(ME, session, [ref(data)]) == ((ref(data).digest,), {})


def test_a_session_is_its_owners(bench):
    """Nobody goes on with, reports into or ends the upload of somebody else."""
    session, _, account = bench.desk.have(ME, "", [ref(b"mine")])
    with pytest.raises(NotAllowed):
        bench.desk.have(OTHER, session, [])
    with pytest.raises(Conflict):
        bench.desk.stored(OTHER, session, [])
    bundle, _ = bench.send(OTHER, bench.folder())
    bench.desk.submit(OTHER, new_task_id(), ECHO, bundle, session)
    assert bench.desk.have(ME, session, [])[2].password == account.password


@pytest.mark.parametrize("session", ["../packs", "..", "/", ".", "{outside}", "\0"])
def test_a_session_names_no_folder(bench, tmp_path, session):
    """What a submitter calls its session is never a path: nothing of the server can be removed by it."""
    outside = tmp_path / "outside"
    outside.mkdir()
    bundle, _ = bench.send(ME, bench.folder())
    before = sorted(bench.data.rglob("*"))
    bench.desk.submit(ME, new_task_id(), ECHO, bundle, session.format(outside=outside))
    assert outside.is_dir() and bench.farm.keeper.path(bundle.digest).exists()
    assert sorted(bench.data.rglob("*")) == before


def test_a_pack_over_all_sizes_is_refused(bench):
    """Numbers that no disk holds get a sentence, not a broken link."""
    with pytest.raises(DeskError, match="no size"):
        bench.desk.have(ME, "", [PackRef(digest="0" * 64, size=1 << 70)])
    with pytest.raises(DeskError):
        bench.desk.have(ME, "", [PackRef(digest="../../x", size=1)])


def test_a_session_lives_while_bytes_come(bench):
    """One pack over a slow line takes longer than an hour, and is not thrown away."""
    session, _, _ = bench.desk.have(ME, "", [ref(b"large")])
    part = bench.farm.keeper.upload_folder(session) / f"{ref(b'large').digest}.part"
    part.write_bytes(b"lar")
    bench.clock.advance(4000)
    os.utime(part, (bench.clock.now() - 10, bench.clock.now() - 10))
    bench.farm.janitor.tidy()
    assert part.exists()
    bench.clock.advance(4000)
    bench.farm.janitor.tidy()
    assert not part.exists()
    with pytest.raises(Conflict):
        bench.desk.stored(ME, session, [])


# --- submit


def test_the_same_submit_gets_the_same_answer(bench):
    """A client that lost the answer asks again; the id taken by something else is refused."""
    bundle, session = bench.send(ME, bench.folder())
    task = new_task_id()
    first = bench.desk.submit(ME, task, ECHO, bundle, session)
    assert bench.desk.submit(ME, task, ECHO, bundle, session) == first
    with pytest.raises(Conflict):
        bench.desk.submit(ME, task, msgspec.structs.replace(ECHO, priority=1), bundle, session)
    with pytest.raises(Conflict):
        bench.desk.submit(OTHER, task, ECHO, bundle, session)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"name": "a/b"}, "task's name"),
        ({"name": "bell\x07"}, "task's name"),
        ({"name": "\u202egnp.exe"}, "task's name"),
        ({"name": "ä" * 150}, "task's name"),
        ({"priority": 10**9}, "priority"),
        ({"limits": Limits(attempts=0)}, "limits.attempts"),
        ({"limits": Limits(stall=-1.0)}, "limits.stall"),
        ({"needs": Needs(memory=-1)}, "A need must be"),
        ({"needs": Needs(cores=1e300)}, "A need must be"),
        ({"needs": Needs(program="povray==" + "9" * 5000)}, "needs.program"),
        ({"needs": Needs(tags=("x",) * 100)}, "needs.tags"),
        ({"options": {"jobs": 1, "x": "y" * 200_000}}, "put what is large into a file"),
        ({"kind": "ehco"}, "ehco"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_sentence(bench, change, why):
    """Before anything is taken in."""
    bundle, session = bench.send(ME, bench.folder())
    with pytest.raises(DeskError, match=why):
        bench.desk.submit(ME, new_task_id(), msgspec.structs.replace(ECHO, **change), bundle, session)
    assert bench.desk.tasks(ME, "", 10, False) == ((), False)


def test_a_task_id_is_a_uuid(bench):
    """It becomes a folder's name."""
    bundle, session = bench.send(ME, bench.folder())
    for task in ("", "../x", "a" * 36, "A0000000-0000-0000-0000-000000000000"):
        with pytest.raises(DeskError, match="UUID"):
            bench.desk.submit(ME, task, ECHO, bundle, session)


# --- looking


def test_owners_see_their_own_and_an_admin_all(bench):
    """Ids of others are not even there."""
    mine, theirs = bench.submit(ME, jobs=1), bench.submit(OTHER, jobs=1)
    assert [view.id for view in bench.desk.tasks(ME, "", 10, False)[0]] == [mine]
    assert [view.id for view in bench.desk.tasks(ADMIN, "", 10, False)[0]] == [theirs, mine]
    for verb in (bench.desk.view, bench.desk.cancel, bench.desk.restart, bench.desk.remove, bench.desk.fetch):
        with pytest.raises(NoSuchTask):
            verb(ME, theirs)
    with pytest.raises(NoSuchTask):
        bench.desk.priority(ME, theirs, 5)
    with pytest.raises(NoSuchTask):
        bench.desk.log(ME, theirs, "", 0, 10)
    assert bench.desk.news(ME, [theirs])[1] == (theirs,)


@pytest.mark.parametrize("start", ["", "%", "_", "g", "' OR 1=1 --", "\0", "ſ", "z" * 100_000])
def test_the_beginning_of_an_id_is_only_that(bench, start):
    """No pattern, no trick finds a task."""
    bench.submit(jobs=1)
    with pytest.raises(NoSuchTask):
        bench.desk.view(ME, start)


def test_a_unique_beginning_is_enough(bench):
    """As people type it, in either case."""
    task = bench.submit(jobs=1)
    assert bench.desk.view(ME, task[:8].upper()).id == task


def test_pages_hold_every_task_once(bench):
    """Newest first, in pages of any size."""
    bundle, _ = bench.send(ME, bench.folder())
    made = [new_task_id() for _ in range(7)]
    for task in made:
        bench.desk.submit(ME, task, ECHO, bundle, "")
    seen, after, more = [], "", True
    while more:
        views, more = bench.desk.tasks(ME, after, 3, False)
        seen += [view.id for view in views]
        after = seen[-1]
    assert seen == made[::-1]


def test_pages_fit_a_frame(bench):
    """However much a task has to say, `tasks`, `show`, `watch` and `log` can be sent."""
    slot = bench.node()
    task, grants = bench.in_work(slot, jobs=60, attempts=2)
    wordy = Failure(cause=Cause.ERROR, sentence="s" * 2000, tail=("\x1b" * 400,) * 60)
    for grant in grants:
        bench.finish(slot, grant, outputs=(), failure=wordy)
    shown, more, after = [], True, 0
    while more:
        view, jobs, more = bench.desk.show(ME, task, after, 200)
        assert len(msgspec.json.encode((view, jobs))) < 1 << 20
        shown += jobs
        after = len(shown)
    assert [job.region for job in shown] == [f"job{n:07d}" for n in range(60)]
    after, more, said = 0, True, 0
    while more:
        lines, after, more = bench.desk.log(ME, task, "", after, 1000)
        assert len(msgspec.json.encode(lines)) < 1 << 20
        said += sum("\x1b" in line for line in lines)
    assert said == 60 * 60


def test_lookers_do_not_lock_each_other_out(bench):
    """Any number of people may look at waiting tasks at once."""
    task = bench.submit(jobs=1)
    with contextlib.ExitStack() as stack:
        for _ in range(READERS - 1):  # all but one connection are in use
            stack.enter_context(bench.store.read())
        assert bench.desk.view(ME, task).place == 1
        assert bench.desk.tasks(ME, "", 10, True)[0][0].place == 1
        assert bench.desk.news(ME, [task])[0][0].place == 1
        bench.thread.claim()


# --- changing


def test_cancel_calls_off_the_leases_and_frees_the_nodes(bench):
    """Whatever was known of the run in memory goes, and its accounts too."""
    slot = bench.node(memory=100)
    task, (grant,) = bench.in_work(slot, jobs=1, needs=Needs(memory=60))
    assert bench.farm.roster.get(slot.node).taken
    bench.desk.cancel(ME, task)
    assert bench.terms.canceled(grant.lease) and bench.terms.get(grant.lease) is None
    assert not bench.farm.roster.get(slot.node).taken
    assert bench.farm.works.get(task) is None and not bench.dispatcher.has(task, 1)
    assert bench.farm.ftp._accounts.find(grant.lease) is None


def test_a_cancel_between_lease_and_grant_is_heard(bench):
    """The lease was committed, then the task cancelled, then the grant made: the node hears of it at its first beat."""
    slot = bench.node()
    task = bench.submit(jobs=1)
    bench.settle()
    jobs = bench.dispatcher.take(slot.node)
    leased = bench.store.write(lambda tx: bench.lessor.lease(tx, slot, jobs))
    bench.desk.cancel(ME, task)
    assert bench.lessor.grants(slot, leased) == ()
    assert bench.terms.canceled(leased[0].lease) and bench.terms.get(leased[0].lease) is None
    assert not bench.farm.roster.get(slot.node).taken


def test_a_late_cancel_does_not_touch_the_next_run(bench):
    """Cancelled in one window and restarted in another: what the first still has to do in memory spares the new run."""
    slot = bench.node()
    task, _ = bench.in_work(slot, jobs=2)
    leases = bench.store.write(lambda tx: ledger.end_task(tx, task, "canceled"))
    bench.desk.restart(ME, task)
    bench.settle()
    (grant,) = bench.ask(slot)
    bench.farm.aftermath.task_over(task, leases, 1)
    assert bench.terms.get(grant.lease) is not None
    assert bench.finish(slot, grant, want=True)[1], "its second job is still in the index"


def test_cancel_of_what_is_over_changes_nothing(bench):
    """Not even in memory."""
    slot = bench.node()
    task, (grant,) = bench.in_work(slot, jobs=1)
    bench.finish(slot, grant)
    bench.settle()
    assert bench.desk.cancel(ME, task).state == "completed"


def test_restart_makes_a_new_run_with_new_jobs(bench):
    """No id of the first run is used again."""
    slot = bench.node()
    task, (first,) = bench.in_work(slot, jobs=1)
    with pytest.raises(Conflict, match="cancel it first"):
        bench.desk.restart(ME, task)
    bench.desk.cancel(ME, task)
    bench.desk.restart(ME, task)
    bench.settle()
    (second,) = bench.ask(slot)
    assert second.job != first.job and bench.desk.view(ME, task).run == 2


def test_a_result_of_the_new_run_is_unfetched(bench):
    """The janitor's warning is about this result, not about the one before."""
    slot = bench.node()
    task, (grant,) = bench.in_work(slot, jobs=1)
    bench.finish(slot, grant)
    bench.settle()
    bench.desk.fetch(ME, task)
    bench.desk.restart(ME, task)
    with bench.store.read() as tx:
        assert tx.one("task", id=task)["fetched"] is None


def test_priority_reaches_the_task_in_work(bench):
    """Also one that is being split at that moment."""
    slot = bench.node()
    bench.submit(jobs=1, name="first")
    bench.settle()
    second = bench.submit(jobs=1, name="second")
    bench.desk.priority(ME, second, 5)
    bench.thread.claim()
    bench.desk.priority(ME, second, 7)
    bench.settle()
    assert bench.dispatcher.task_of(second).priority == 7
    assert bench.ask(slot)[0].task == second
    with pytest.raises(DeskError, match="priority is between"):
        bench.desk.priority(ME, second, 10**6)


def test_fetch_is_for_what_is_finished(bench):
    """Else one sentence says how it stands."""
    task = bench.submit(jobs=1)
    with pytest.raises(Conflict, match="is queued"):
        bench.desk.fetch(ME, task)


def films(bench, frames):
    """A completed task with so many assets."""
    slot = bench.node()
    task, (grant,) = bench.in_work(slot, jobs=1)
    bench.finish(slot, grant)
    bench.settle()
    (asset,) = bench.desk.fetch(ME, task).assets
    pack = PackRef(digest=asset.digest, size=asset.size)
    rows = [{"task": task, "run": 1, "path": f"frame{n:06d}.png", "size": pack.size, "digest": pack.digest} for n in range(frames)]
    bench.store.write(lambda tx: tx.many("add_asset", rows))
    return task, asset


def test_the_frames_of_a_film_come_in_pages(bench):
    """All of them, each once, in path order, with the bytes of all; a listing names the first 50 and how many there are."""
    task, asset = films(bench, 4500)
    pages, after = [], 0
    while not pages or pages[-1].more:
        pages.append(bench.desk.fetch(ME, task, after, 2000))
        after += len(pages[-1].assets)
    names = [found.path for page in pages for found in page.assets]
    assert names == [*(f"frame{n:06d}.png" for n in range(4500)), "work.txt"]
    assert {page.size for page in pages} == {4501 * asset.size} and len(pages) == 3
    view = bench.desk.view(ME, task)
    assert ([found.path for found in view.assets], view.asset_count) == (names[:50], 4501)


def test_a_client_that_knows_no_pages_is_told(bench):
    """It gets what fits one answer, as ever; more is refused with a sentence, and never cut off in silence."""
    task, _ = films(bench, 1999)
    assert len(bench.desk.fetch(ME, task).assets) == 2000
    other, _ = films(bench, 2000)
    with pytest.raises(Conflict, match=r"2001 files, .* update it"):
        bench.desk.fetch(ME, other)


def test_a_fetch_account_ends_after_its_time(bench):
    """An hour, and longer where there is much to fetch; then the door is shut."""
    slot = bench.node()
    task, (grant,) = bench.in_work(slot, jobs=1)
    bench.finish(slot, grant)
    bench.settle()
    account = bench.desk.fetch(ME, task).account
    bench.clock.advance(3599)
    bench.desk.expire()
    assert bench.farm.ftp._accounts.find(account.user) is not None
    bench.clock.advance(2)
    bench.desk.expire()
    assert bench.farm.ftp._accounts.find(account.user) is None


# --- nodes


def test_only_an_admin_changes_nodes(bench):
    """And the name, or the beginning of an id, must be one node's."""
    first, second = bench.node("alike"), bench.node("alike")
    bench.node("other")
    with pytest.raises(NotAllowed):
        bench.desk.change_node(ME, "other", "lock")
    for name, why in (("", "no node"), ("nobody", "no node"), ("alike", "2 nodes")):
        with pytest.raises(NoSuchTask, match=why):
            bench.desk.change_node(ADMIN, name, "lock")
    with pytest.raises(DeskError, match="can be told"):
        bench.desk.change_node(ADMIN, "other", "explode")
    bench.desk.change_node(ADMIN, first.node[:12], "lock")
    assert [bench.farm.roster.get(s.node).locked for s in (first, second)] == [True, False]


def test_unlock_wakes_the_sleepers(bench):
    """A parked slot of the node looks again at once."""
    slot, bell = bench.node(), Bell()
    bench.desk.change_node(ADMIN, "n1", "lock")
    bench.submit(jobs=1)
    bench.settle()
    assert bench.ask(slot, bell) == ()
    bench.desk.change_node(ADMIN, "n1", "unlock")
    assert bell.rang
    bench.settle()
    assert bench.ask(slot, bell)


def test_a_connected_node_is_not_removed(bench):
    """Stop it first; then its token is worth nothing."""
    slot = bench.node()
    with pytest.raises(Conflict):
        bench.desk.change_node(ADMIN, "n1", "remove")
    known = bench.farm.roster.get(slot.node)
    bench.farm.roster.leave(slot.node, 0, known.links[0])
    bench.desk.change_node(ADMIN, "n1", "remove")
    assert bench.desk.nodes(ADMIN) == ()


def test_views_count_what_is_done(bench):
    """Progress is of all jobs, running ones in part."""
    slot = bench.node()
    task, (first, _) = bench.in_work(slot, jobs=2)
    bench.finish(slot, first, outputs=(small(0),))
    view = bench.desk.view(ME, task)
    assert (view.jobs.done, view.jobs.running, view.progress, view.nodes) == (1, 1, 0.5, 1)


def test_evicted_packs_are_nobodys(make_bench):
    """What went for lack of room must be sent again, and its owners are not remembered for ever."""
    bench = make_bench(packs=0)
    task = bench.submit(jobs=1)
    bench.desk.cancel(ME, task)
    bench.desk.remove(ME, task)
    assert bench.desk.evict() > 0
    with bench.store.read() as tx:
        assert tx.all("owned_packs") == []
