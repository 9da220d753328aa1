"""Several stages: what the first has made the second works on, and each is done once; the clock is moved by hand, the hands are real."""

from __future__ import annotations

import logging

import msgspec
import pytest
from clusterray.common.errors import Conflict
from clusterray.common.kinds.echo import ECHO, EchoStage, content
from clusterray.common.manifest import Bundle, Chooser, FileEntry, read_manifest
from clusterray.common.model import Cause, Failure, FarmShape, PackRef, Progress, Region, TaskSpec
from clusterray.server import ledger, views
from clusterray.server.hand import keys
from clusterray.server.recovery import rebuild

from .bench import ME, ref, small


def backwards(number, size=16):
    output = small(number, size)
    data = output.data[::-1]
    return msgspec.structs.replace(output, data=data, digest=ref(data).digest)


def leased(bench, slot):
    """All jobs that are there, leased to this slot."""
    grants = []
    while got := bench.dispatcher.take(slot.node):
        grants += bench.lessor.grants(slot, bench.store.write(lambda tx, got=got: bench.lessor.lease(tx, slot, got)))
    return grants


def answer(bench, slot, grants):
    for grant in grants:
        make = backwards if grant.stage == "again" else small
        bench.finish(slot, grant, outputs=(make(grant.region.data["number"]),))


def run_row(bench, task, number=1):
    with bench.store.read() as tx:
        return tx.one("run", task=task, number=number)


def manifest_of(bench, bundle):
    return read_manifest(bench.farm.keeper.plain(bundle.digest).read_bytes())


def result(bench, task):
    (asset,) = bench.desk.fetch(ME, task).assets
    return bench.farm.keeper.plain(asset.digest).read_bytes()


def test_the_second_stage_works_on_what_the_first_has_made(bench):
    """Its jobs see the file of the first among the task's, in packs of its own; the others are those of before."""
    slot = bench.node()
    task, first = bench.in_work(slot, jobs=3, stages=2)
    assert {grant.stage for grant in first} == {"echo"}
    answer(bench, slot, first)
    bench.settle()
    assert bench.state(task) == "running", "only the last stage is stitching"
    second = leased(bench, slot)
    assert {grant.stage for grant in second} == {"again"} and {g.job for g in second}.isdisjoint(g.job for g in first)
    before, after = manifest_of(bench, first[0].bundle), manifest_of(bench, second[0].bundle)
    assert {e.path for e in after.files} - {e.path for e in before.files} == {"stages/echo/work.txt"}
    assert set(before.packs) < set(after.packs)
    fetched = bench.farm.works.get(task).packs_for(second[0].region)
    assert set(fetched) == {second[0].bundle.digest, *(p.digest for p in after.packs if p not in before.packs)}
    answer(bench, slot, second)
    bench.settle()
    assert bench.state(task) == "completed"
    assert result(bench, task) == b"".join(content(n, 16)[::-1] for n in range(3))
    _, jobs, _ = bench.desk.show(ME, task, 0, 10)
    assert [job.stage for job in jobs] == ["echo"] * 3 + ["again"] * 3


def test_what_a_stage_made_is_in_use_until_the_task_goes(bench):
    """No eviction takes it from under the second stage; a removed task leaves nothing."""
    slot = bench.node()
    task, first = bench.in_work(slot, jobs=2, stages=2)
    answer(bench, slot, first)
    bench.settle()
    bench.farm.keeper._cap = 0
    bench.desk.evict()
    (grant, _) = leased(bench, slot)
    assert all(bench.farm.keeper.has(pack.digest) for pack in manifest_of(bench, grant.bundle).packs)
    bench.desk.cancel(ME, task)
    bench.desk.remove(ME, task)
    bench.desk.evict()
    assert bench.farm.keeper.total() == 0


@pytest.mark.parametrize("moment", ["before the stitch", "in the stitch", "after its answer", "before the split", "in the split"])
def test_a_server_that_stops_between_stages_goes_on(make_bench, moment):
    """Wherever the plug was pulled: the first stage's jobs are not done again, and the second is split once."""
    bench = make_bench()
    slot = bench.node()
    task, first = bench.in_work(slot, jobs=2, stages=2)
    answer(bench, slot, first)
    if moment != "before the stitch":
        bench.thread.stitch()
        if moment != "in the stitch":
            bench.thread._stitching[task].future.result(30)
    if moment in ("before the split", "in the split"):
        bench.thread.collect()
        assert run_row(bench, task)["stage"] == 1
    if moment == "in the split":
        bench.thread.stitch()
        bench.thread._splitting[task].future.result(30)
    bench = make_bench()
    farm = bench.farm
    rebuild(farm.store, farm.splitter, farm.terms, farm.roster, farm.logbook)
    farm._clean()
    farm.roster.arrive(slot.node, slot.incarnation, 0, farm.roster.get(slot.node).info, object())
    bench.settle()
    second = leased(bench, slot)
    assert [grant.stage for grant in second] == ["again", "again"] and {grant.number for grant in second} == {1}
    answer(bench, slot, second)
    bench.settle()
    assert bench.state(task) == "completed" and result(bench, task) == b"".join(content(n, 16)[::-1] for n in range(2))
    assert list((bench.data / "tasks").glob("*")) == []


def test_a_restart_in_mid_stage_gives_the_right_files(make_bench):
    """The second stage's jobs come back into the index with the bundle that the first has made."""
    bench = make_bench()
    slot = bench.node()
    task, first = bench.in_work(slot, jobs=2, stages=2)
    answer(bench, slot, first)
    bench.settle()
    bundle = bench.farm.works.get(task).bundle
    bench = make_bench()
    farm = bench.farm
    rebuild(farm.store, farm.splitter, farm.terms, farm.roster, farm.logbook)
    farm.roster.arrive(slot.node, slot.incarnation, 0, farm.roster.get(slot.node).info, object())
    (one, two) = leased(bench, slot)
    assert one.bundle == two.bundle == bundle and one.stage == "again"


def test_progress_never_goes_back_and_the_eta_is_of_the_last_stage(bench):
    """The first stage counts little, as nobody knows what the second will take; no time is promised from it."""
    slot = bench.node()
    seen = []

    def look():
        view = bench.desk.view(ME, task)
        seen.append(view.progress)
        return view

    task, first = bench.in_work(slot, jobs=4, stages=2)
    bench.clock.set_wall(look().started + 60)
    answer(bench, slot, first[:2])
    assert look().eta is None and look().notes[-1] == "stage 1 of 2 (echo): 4 jobs"
    answer(bench, slot, first[2:])
    assert "pieces are being joined" in look().notes[-1]
    bench.settle()
    second = leased(bench, slot)
    assert look().jobs.total == 8
    bench.clock.set_wall(run_row(bench, task)["begun"] + 30)
    answer(bench, slot, second[:1])
    assert look().eta == 90.0
    answer(bench, slot, second[1:])
    look()
    bench.settle()
    assert look().progress == 1.0
    assert seen == sorted(seen) and seen[-3] < 1.0 and seen[1] == pytest.approx(0.05)


def test_progress_and_eta_count_a_run_of_many_frames_for_more_than_a_single_one(bench, monkeypatch):
    """After one minute and two of ten frames four minutes are to go, however few jobs that is; a job under way counts likewise."""
    slot = bench.node()
    text = ledger.text

    def weighed(value):
        return text(msgspec.structs.replace(value, weight=8.0) if isinstance(value, Region) and value.data["number"] == 2 else value)

    monkeypatch.setattr(ledger, "text", weighed)
    task, grants = bench.in_work(slot, jobs=3)
    bench.clock.set_wall(bench.desk.view(ME, task).started + 60)
    answer(bench, slot, grants[:2])
    assert bench.desk.view(ME, task).eta == 240.0 and bench.desk.view(ME, task).progress == 0.2
    bench.farm.terms.beat(slot.node, Progress(lease=grants[2].lease, fraction=0.5))
    assert bench.desk.view(ME, task).eta == 40.0 and bench.desk.view(ME, task).progress == 0.6
    monkeypatch.setattr(views, "WEIGHED", 2)
    assert bench.desk.view(ME, task).progress == pytest.approx(2.5 / 3), "so many jobs count alike"


def test_a_stage_that_cannot_be_joined_fails_the_task_with_its_sentence(bench):
    """And nothing of it stays."""
    slot = bench.node()
    task, grants = bench.in_work(slot, jobs=1, kind="slow", stages=2, where="stitch", how="raise", at="echo")
    answer(bench, slot, grants)
    bench.settle()
    assert bench.state(task) == "failed" and "told to raise" in bench.desk.view(ME, task).error
    assert list((bench.data / "tasks").iterdir()) == []


def test_a_folder_in_the_stages_place_is_refused_before_any_work(bench):
    """With the file that is in the way."""
    bench.node()
    folder = bench.folder("mine")
    (folder / "stages" / "echo").mkdir(parents=True)
    (folder / "stages" / "echo" / "x").write_bytes(b"x")
    task = bench.submit(name="mine", jobs=1, stages=2)
    bench.settle()
    assert "stages/echo/x" in bench.desk.view(ME, task).error


def test_a_run_is_settled_once_and_lives_by_it(make_bench):
    """Options that depend on the farm have their values from the first split on, also after a restart and in the second stage."""
    bench = make_bench()
    slot = bench.node(slots=3)
    task, first = bench.in_work(slot, jobs=1, kind="slow", how="", stages=2)
    assert first[0].options["slots"] == 3
    bench.node("other", slots=4)
    answer(bench, slot, first)
    bench.settle()
    (second,) = leased(bench, slot)
    assert second.options["slots"] == 3
    with bench.store.read() as tx:
        assert msgspec.json.decode(tx.one("task", id=task)["spec"], type=TaskSpec).options.get("slots", 0) == 0, "the next run settles anew"


# --- what earlier runs have made


def test_a_restart_does_only_what_is_missing(bench):
    """What was accepted is taken over by its key, shown with who made it; the result is whole."""
    slot = bench.node("maker")
    task, grants = bench.in_work(slot, jobs=3)
    answer(bench, slot, grants[:2])
    bench.desk.cancel(ME, task)
    bench.desk.restart(ME, task)
    bench.settle()
    (missing,) = leased(bench, slot)
    assert missing.region.name == "job0000002"
    view, jobs, _ = bench.desk.show(ME, task, 0, 10)
    assert (view.jobs.done, view.run) == (2, 2) and [a.node for a in jobs[0].attempts] == ["maker"]
    answer(bench, slot, [missing])
    bench.settle()
    assert result(bench, task) == b"".join(content(n, 16) for n in range(3))


def test_a_restart_of_what_is_complete_only_joins_it_again(bench):
    """All stages at once; `fresh` does all of it again."""
    slot = bench.node()
    task, first = bench.in_work(slot, jobs=2, stages=2)
    answer(bench, slot, first)
    bench.settle()
    answer(bench, slot, leased(bench, slot))
    bench.settle()
    bench.desk.restart(ME, task)
    bench.settle(8)
    assert bench.state(task) == "completed" and bench.desk.view(ME, task).run == 2
    bench.desk.restart(ME, task, fresh=True)
    bench.settle()
    assert len(leased(bench, slot)) == 2


def test_a_restart_may_begin_with_a_stage(bench):
    """What that stage and later ones made is made again, what came before is kept; a name that is none is refused and nothing is lost."""
    slot = bench.node()
    task, first = bench.in_work(slot, jobs=2, stages=2)
    answer(bench, slot, first)
    bench.settle()
    answer(bench, slot, leased(bench, slot))
    bench.settle()
    with pytest.raises(Conflict, match="no stage called agian; it has been in echo, again"):
        bench.desk.restart(ME, task, anew="agian")
    bench.desk.restart(ME, task, anew="again")
    bench.settle()
    grants = leased(bench, slot)
    assert [(grant.stage, grant.region.name) for grant in grants] == [("again", "job0000000"), ("again", "job0000001")]
    answer(bench, slot, grants)
    bench.settle()
    bench.desk.restart(ME, task)
    bench.settle(8)
    assert bench.state(task) == "completed" and bench.desk.view(ME, task).run == 3, "what was made anew is kept like anything"


def test_a_piece_whose_files_are_lost_is_made_again(bench):
    """A restored backup has the row and not the pack."""
    slot = bench.node()
    task, (one, two) = bench.in_work(slot, jobs=2, bytes=50_000)
    bench.finish(slot, one, outputs=(bench.upload(one, content(0, 50_000)),))
    bench.finish(slot, two, outputs=(bench.upload(two, content(1, 50_000)),))
    bench.settle()
    digest = ref(content(1, 50_000)).digest
    bench.farm.keeper.path(digest).unlink()
    del bench.farm.keeper._kept[digest]
    bench.desk.restart(ME, task)
    bench.settle()
    assert [grant.region.name for grant in leased(bench, slot)] == ["job0000001"]


def test_a_stage_without_regions_is_stitched_at_once(bench):
    """An optional stage finds nothing to do: the task goes on and says so, without a job; a restart does the same."""
    bench.node()
    task = bench.submit(jobs=0, stages=2)
    bench.settle(8)
    assert bench.state(task) == "completed" and result(bench, task) == b""
    assert bench.desk.view(ME, task).notes == ("Stage echo has nothing to do.", "Stage again has nothing to do.")
    bench.desk.restart(ME, task)
    bench.settle(8)
    assert bench.state(task) == "completed" and bench.desk.view(ME, task).run == 2


def test_the_key_is_made_of_all_that_the_outputs_depend_on():
    """Another program, version, option, region or input file gives another key; the order of options does not."""
    class Own(EchoStage):
        name = "own"

        def reads(self, task, region):
            return [task.options, region.data]

    class Other(Own):
        name = "other"

    class Newer(type(ECHO)):
        version = 2

    def files(**digests):
        packs = tuple(PackRef(digest=digit * 64, size=1) for digit in digests.values())
        return Chooser(Bundle(files=tuple(FileEntry(n, 1, 0o644, d * 64, p, 0) for p, (n, d) in enumerate(digests.items())), packs=packs))

    def key(by=ECHO, stage=Own, needs=(), data=1, program="p==1", a="1", b="2", **options):
        spec = TaskSpec(kind="echo", name="t", options=options or {"x": 1, "y": 2})
        (made,) = keys(by, spec, stage(), [Region(name="r", data={"number": data}, needs=needs)], files(a=a, b=b), program)
        return made

    base = key()
    assert key(y=2, x=1) == base == key()
    others = [key(Newer()), key(stage=Other), key(data=2), key(program="p==2"), key(b="3"), key(x=2), key(needs=("a",))]
    assert len({base, *others}) == len(others) + 1
    assert key(needs=("a",), b="3") == key(needs=("a",)), "a file that it does not read may change"
    assert key(needs=("!a",), a="3") == key(needs=("!a",))


# --- pieces that are joined as they come


def stream_of(bench, task):
    return bench.farm.stitcher._streams.get(task)


def begun(bench, slot, **more):
    task, grants = bench.in_work(slot, streams=True, **more)
    assert stream_of(bench, task) is not None
    return task, grants


def test_pieces_are_joined_while_jobs_run(bench):
    """In split order, whatever the order in which they come; when the last is there, only that is left to do."""
    slot = bench.node()
    task, grants = begun(bench, slot, jobs=3)
    stream = stream_of(bench, task)
    answer(bench, slot, [grants[1], grants[0]])
    while stream.feed._next < 2:
        assert not stream.future.done()
    answer(bench, slot, grants[2:])
    bench.settle()
    assert bench.state(task) == "completed" and result(bench, task) == b"".join(content(n, 16) for n in range(3))
    assert stream_of(bench, task) is None and list((bench.data / "tasks").iterdir()) == []


def test_both_stages_can_stream(bench):
    """A stage that is not the last as well."""
    slot = bench.node()
    task, first = begun(bench, slot, jobs=2, stages=2)
    answer(bench, slot, first)
    bench.settle()
    second = leased(bench, slot)
    bench.settle()
    assert stream_of(bench, task).stage == 1
    answer(bench, slot, second)
    bench.settle()
    assert bench.state(task) == "completed"


def test_a_stream_that_crashes_costs_nothing_but_its_head_start(bench, tmp_path, caplog):
    """It is said in the log, no second one is begun, and the pieces are joined at the end."""
    slot = bench.node()
    task, grants = begun(bench, slot, jobs=2, kind="slow", where="piece", how="once", marker=str(tmp_path / "marker"))
    stream = stream_of(bench, task)
    answer(bench, slot, grants[:1])
    with pytest.raises(Exception, match="crashed"):
        stream.future.result(30)
    with caplog.at_level(logging.WARNING):
        bench.settle(2)
    assert "it is done at the end" in caplog.text and stream_of(bench, task) is None and bench.state(task) == "running"
    answer(bench, slot, grants[1:])
    bench.settle()
    assert bench.state(task) == "completed" and result(bench, task) == content(0, 16) + content(1, 16)


def test_a_stream_that_crashes_at_its_end_is_made_up_for(bench, tmp_path):
    """The last piece was there already: the pieces are joined once more in the usual way."""
    slot = bench.node()
    task, grants = begun(bench, slot, jobs=1, kind="slow", where="piece", how="once", marker=str(tmp_path / "marker"))
    answer(bench, slot, grants)
    bench.thread.stitch()
    bench.settle(6)
    assert bench.state(task) == "completed" and (tmp_path / "marker").exists()


@pytest.mark.parametrize("how", ["cancel", "fail"])
def test_the_end_of_a_task_ends_its_stream_at_once(bench, how):
    """Its child goes, the place is free, and a restart begins a new one."""
    slot = bench.node()
    task, grants = begun(bench, slot, jobs=2, attempts=1)
    stream = stream_of(bench, task)
    answer(bench, slot, grants[:1])
    if how == "cancel":
        bench.desk.cancel(ME, task)
    else:
        bench.finish(slot, grants[1], outputs=(), failure=Failure(cause=Cause.ERROR, sentence="no"))
    with pytest.raises(Exception, match=r"called off|signal 9|broke off"):
        stream.future.result(5)
    bench.desk.restart(ME, task)
    bench.settle()
    answer(bench, slot, leased(bench, slot))
    bench.settle()
    assert bench.state(task) == "completed" and result(bench, task) == content(0, 16) + content(1, 16)


def test_more_streams_than_places_are_joined_at_the_end(bench):
    """The fourth waits for its turn or its end; none is lost."""
    slot = bench.node()
    tasks = [bench.in_work(slot, jobs=1, streams=True, name=f"work{n}") for n in range(4)]
    bench.settle()
    assert [stream_of(bench, task) is not None for task, _ in tasks] == [True, True, True, False]
    for _, grants in tasks:
        answer(bench, slot, grants)
    bench.settle(6)
    assert [bench.state(task) for task, _ in tasks] == ["completed"] * 4


def test_a_restart_of_the_server_begins_the_stream_again(make_bench):
    """From the first piece, with those that were accepted before."""
    bench = make_bench()
    slot = bench.node()
    task, grants = begun(bench, slot, jobs=2)
    answer(bench, slot, grants[:1])
    bench = make_bench()
    farm = bench.farm
    rebuild(farm.store, farm.splitter, farm.terms, farm.roster, farm.logbook)
    farm.roster.arrive(slot.node, slot.incarnation, 0, farm.roster.get(slot.node).info, object())
    bench.settle()
    assert stream_of(bench, task) is not None
    answer(bench, slot, grants[1:])
    bench.settle()
    assert bench.state(task) == "completed" and result(bench, task) == content(0, 16) + content(1, 16)


def test_the_farm_shape_names_the_cards(bench):
    """Of the nodes that can serve the task."""
    bench.node("a", gpus=("RTX", "A40"))
    bench.node("b", gpus=("RTX",))
    bench.node("c", gpus=("old",), allow=())
    bench.submit(jobs=1)
    bench.settle()
    with bench.store.read() as tx:
        (row,) = tx.all("tasks_in", state="running")
        farm = msgspec.json.decode(tx.one("run", task=row["id"], number=1)["farm"], type=FarmShape)
    assert farm.gpus == ("A40", "RTX", "RTX")
