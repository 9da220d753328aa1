"""What a person can do to tasks and nodes, and what a chain of folders does."""

from __future__ import annotations

import signal
import subprocess
import time

from clusterray.common.kinds.echo import content

from .box import until


def test_a_chain_goes_on_after_a_failure(box):
    """Three folders, the second fails: the others have results, and the exit code is 1."""
    box.node()
    folders = [box.echo("a", jobs=2), box.echo("b", jobs=2, fail=["1"], limits="[limits]\nattempts = 1"), box.echo("c", jobs=2)]
    done = box.run("submit", *folders, ok=False)
    assert done.returncode == 1
    assert (box.folder / "a-result" / "a.txt").exists() and (box.folder / "c-result" / "c.txt").exists()
    assert not (box.folder / "b-result").exists()
    assert "this job was told to fail" in done.stdout + done.stderr
    started = {task["name"]: task["started"] for task in box.json("tasks")}
    assert started["a"] <= started["b"] <= started["c"]


def test_stop_on_failure_ends_the_chain(box):
    """--stop-on-failure: what comes after the failure is not run."""
    box.node()
    folders = [box.echo("a", jobs=1, fail=["0"], limits="[limits]\nattempts = 1"), box.echo("b", jobs=1, seconds=3)]
    done = box.run("submit", "--stop-on-failure", *folders, ok=False)
    assert done.returncode == 1
    assert not (box.folder / "b-result").exists()
    assert {task["name"]: task["state"] for task in box.json("tasks")}["b"] == "canceled"


def test_cancel_stops_the_programs_within_five_seconds(box):
    """After `cancel` nothing of the task runs on the node."""
    box.node()
    ident = box.detach(box.echo("work", jobs=1, seconds=1234.5))
    sleeping = lambda: subprocess.run(["pgrep", "-f", "sleep 1234.5"], capture_output=True).returncode == 0  # noqa: E731
    until(sleeping)
    before = time.monotonic()
    box.run("cancel", ident)
    until(lambda: not sleeping(), 5)
    assert time.monotonic() - before < 6
    assert box.task(ident)["state"] == "canceled"


def test_restart_runs_it_again_and_remove_forgets_it(box):
    """A canceled task can be restarted; a removed one is gone."""
    box.node()
    ident = box.detach(box.echo("work", jobs=1, seconds=600))
    until(lambda: box.task(ident)["jobs"]["running"] == 1)
    refused = box.run("remove", ident, ok=False)
    assert refused.returncode != 0 and "cancel it first" in refused.stderr
    box.run("cancel", ident)
    box.run("restart", ident)
    until(lambda: box.task(ident)["jobs"]["running"] == 1)
    box.run("cancel", ident)
    box.run("remove", ident)
    assert box.json("tasks") == []
    assert "no task" in box.run("show", ident, ok=False).stderr


def test_ctrl_c_detaches_and_says_how_to_come_back(box):
    """The task goes on without its watcher."""
    box.node()
    client = box.start("submit", box.echo("work", jobs=2, seconds=2))
    until(lambda: box.json("tasks") and box.json("tasks")[0]["state"] == "running")
    client.send_signal(signal.SIGINT)
    said, _ = client.communicate(timeout=20)
    assert client.returncode == 130
    assert "clusterray watch" in said
    ident = box.json("tasks")[0]["id"]
    box.run("watch", ident)
    assert box.task(ident)["state"] == "completed"


def test_submitting_the_same_folder_again_sends_nothing(box):
    """Packs are known by their content."""
    box.node()
    folder = box.echo("work", jobs=1)
    (folder / "big.bin").write_bytes(bytes(range(256)) * 20_000)
    first = box.run("submit", folder)
    assert "sending work, 5" in first.stdout + first.stderr
    again = box.run("submit", "--overwrite", folder)
    assert "sending" not in again.stdout + again.stderr


def test_an_older_result_is_not_overwritten_unasked(box):
    """A second submit of a folder with a result is refused before anything is sent."""
    box.node()
    folder = box.echo("work", jobs=1)
    box.run("submit", folder)
    done = box.run("submit", folder, ok=False)
    assert done.returncode == 2 and "--overwrite" in done.stderr
    assert len(box.json("tasks")) == 1


def test_submitters_do_not_see_each_other(box):
    """Each submitter's token is an owner; an admin sees all."""
    ident = box.detach(box.echo("mine", jobs=1))
    box.run("join-code", "--role", "submit", "--new")
    box.login()
    assert box.json("tasks") == []
    assert "no task" in box.run("show", ident, ok=False).stderr
    box.login("admin")
    assert [task["id"] for task in box.json("tasks")] == [ident]


def test_lock_keeps_work_away_and_unlock_gives_it_back(box):
    """An admin can take a node out without stopping it; a submitter cannot."""
    box.node("one")
    assert box.run("lock", "one", ok=False).returncode == 4
    box.login("admin")
    box.run("lock", "one")
    ident = box.detach(box.echo("work", jobs=1))
    time.sleep(1)
    task = box.task(ident)
    assert task["state"] == "queued" and any("locked" in note for note in task["notes"])
    box.run("unlock", "one")
    box.run("watch", ident)
    assert box.task(ident)["state"] == "completed"


def test_sigterm_drains_a_node_and_its_job_goes_on(box):
    """A node that is told to leave finishes what it has; nothing is counted against the task."""
    box.node("leaver")
    ident = box.detach(box.echo("work", jobs=2, seconds=1.5))
    until(lambda: box.task(ident)["jobs"]["running"] == 1)
    assert box.kill("leaver", signal.SIGTERM) == 0
    task = box.task(ident)
    assert task["jobs"]["done"] == 1
    box.node("other")
    box.run("watch", ident)
    assert all(a["state"] == "accepted" for j in box.task(ident)["job_list"] for a in j["attempts"])


def test_an_urgent_task_overtakes(box):
    """--priority: leased before what came earlier."""
    box.node()
    slow = box.detach(box.echo("slow", jobs=4, seconds=1))
    until(lambda: box.task(slow)["jobs"]["running"] == 1)
    urgent = box.detach(box.echo("urgent", jobs=1), "--priority", "5")
    box.run("watch", urgent)
    assert box.task(slow)["state"] == "running"
    box.run("watch", slow)


def test_the_log_has_what_the_program_said(box):
    """`log` shows each attempt's lines under a heading."""
    box.node()
    box.run("submit", box.echo("work", jobs=1, fail=["0"], limits="[limits]\nattempts = 2"), ok=False)
    said = box.run("log", box.json("tasks")[0]["id"]).stdout
    assert said.count("this job was told to fail") >= 2 and "attempt 2" in said


def test_a_run_that_took_everything_over_says_why_it_has_no_log(box):
    """An empty answer would look like a loss."""
    box.node()
    box.run("submit", box.echo("work", jobs=1))
    ident = box.json("tasks")[0]["id"]
    box.run("restart", ident)
    box.run("watch", ident, ok=False)
    done = box.run("log", ident)
    assert not done.stdout and "taken over from an earlier run" in done.stderr


def test_many_short_jobs_come_in_order(box):
    """Two thousand jobs in batches: every piece once, in split order."""
    box.node("one", slots=2)
    box.run("submit", box.echo("many", jobs=2000))
    assert (box.folder / "many-result" / "many.txt").read_bytes() == b"".join(content(n, 16) for n in range(2000))


def test_restart_with_a_changed_option(box):
    """`restart -o` runs a task of before with one thing changed, without its folder; a wrong word is one sentence, and nothing happens."""
    box.node()
    folder = box.echo("work", jobs=2)
    box.run("submit", folder)
    (task,) = box.json("tasks")
    wrong = box.run("restart", task["id"], "-o", "jbos=3", ok=False)
    assert wrong.returncode != 0 and 'did you mean "jobs"?' in wrong.stderr
    assert box.task(task["id"])["run"] == 1
    box.run("restart", task["id"], "-o", "jobs=3")
    until(lambda: box.task(task["id"])["state"] == "completed")
    box.run("fetch", task["id"], "--into", box.folder / "changed")
    assert (box.folder / "changed" / "work.txt").read_bytes() == b"".join(content(number, 16) for number in range(3))
