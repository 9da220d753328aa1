"""Several stages and pieces that are joined as they come, with real processes and the plug pulled: nothing is rendered twice."""

from __future__ import annotations

import os
import signal
import sqlite3
from pathlib import Path

from clusterray.common.kinds.echo import content

from .box import until
from .test_crash import result


def backwards(jobs, size=16):
    return b"".join(content(n, size)[::-1] for n in range(jobs))


def forwards(jobs, size=16):
    return b"".join(content(n, size) for n in range(jobs))


def jobs_of(box, ident, stage):
    return [job for job in box.task(ident)["job_list"] if job["stage"] == stage]


def once_each(box, ident, jobs):
    """Each job of the task has exactly one attempt, which was accepted."""
    rows = ask(box, "SELECT count(*), count(DISTINCT job) FROM attempts")
    assert rows == [(jobs, jobs)]
    assert {a["state"] for job in box.task(ident)["job_list"] for a in job["attempts"]} == {"accepted"}


def ask(box, query):
    connection = sqlite3.connect(f"file:{box.data / 'server' / 'clusterray.db'}?mode=ro", uri=True)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def test_two_stages_from_folder_to_result(box):
    """The second stage's jobs read what the first one's made, on nodes that hold the rest already; show tells them apart."""
    box.node("one", slots=2)
    box.run("submit", box.echo("work", jobs=3, stages=2))
    assert result(box, "work") == backwards(3)
    (task,) = box.json("tasks")
    once_each(box, task["id"], 6)
    assert len(jobs_of(box, task["id"], "again")) == 3
    assert task["asset_count"] == 1


def test_the_server_killed_while_it_joins_the_first_stage(box):
    """Between the stages: the first is joined again from what was accepted, the second is done, and no job twice."""
    box.node()
    ident = box.detach(box.echo("work", kind="slow", jobs=3, stages=2, where="stitch", how="slow", at="echo"))
    until(lambda: [job["state"] for job in jobs_of(box, ident, "echo")] == ["done"] * 3)
    assert box.task(ident)["state"] == "running"
    box.kill("server")
    box.server()
    box.run("watch", ident)
    assert result(box, "work") == backwards(3)
    once_each(box, ident, 6)


def test_the_server_killed_while_it_splits_the_second_stage(box):
    """The bundle of the second stage is there once; it is split again and done."""
    box.node()
    ident = box.detach(box.echo("work", kind="slow", jobs=2, stages=2, where="split", how="slow", at="again"))
    until(lambda: ask(box, "SELECT 1 FROM stages WHERE stage = 1"))
    box.kill("server")
    box.server()
    box.run("watch", ident)
    assert result(box, "work") == backwards(2)
    once_each(box, ident, 4)


def test_the_server_killed_in_the_second_stage(box):
    """What is leased goes on, and the rest is given out with the right files."""
    box.node()
    ident = box.detach(box.echo("work", jobs=3, stages=2, seconds=0.3))
    until(lambda: any(job["state"] == "done" for job in jobs_of(box, ident, "again")))
    box.kill("server")
    box.server()
    box.run("watch", ident)
    assert result(box, "work") == backwards(3)
    once_each(box, ident, 6)


def test_the_server_killed_in_a_stream(box):
    """A new one begins with the first piece, and the result is whole."""
    box.node()
    ident = box.detach(box.echo("work", jobs=6, seconds=0.4, streams=True, bytes=50_000))
    until(lambda: box.log("server").count("joined as they come") and box.task(ident)["jobs"]["done"] >= 2)
    box.kill("server")
    box.server()
    until(lambda: box.log("server").count("joined as they come") == 2)
    box.run("watch", ident)
    assert result(box, "work") == forwards(6, 50_000)
    once_each(box, ident, 6)


def test_the_hand_of_a_stream_killed(box):
    """The task goes on without it and is joined at the end."""
    box.node()
    ident = box.detach(box.echo("work", jobs=6, seconds=0.4, streams=True))
    until(lambda: box.log("server").count("joined as they come") and box.task(ident)["jobs"]["done"] >= 1)
    hands = {pid for pid, words in children(box.running["server"].pid) if "clusterray.server.hand" in words}
    youngest = max(hands, key=lambda pid: int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]))
    os.kill(youngest, signal.SIGKILL)
    until(lambda: "it is done at the end" in box.log("server"))
    box.run("watch", ident)
    assert result(box, "work") == forwards(6)
    once_each(box, ident, 6)


def children(parent):
    """Processes that this one has started, with their command lines."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == parent:
                    yield int(entry.name), (entry / "cmdline").read_bytes().decode(errors="replace")
            except OSError:
                continue


def test_a_restart_takes_over_what_is_there_and_fresh_does_not(box):
    """`restart` after a cancel does the rest; `restart --fresh` does all of it."""
    box.node()
    ident = box.detach(box.echo("work", jobs=5, seconds=0.4))
    until(lambda: box.task(ident)["jobs"]["done"] >= 2)
    box.run("cancel", ident)
    until(lambda: box.task(ident)["state"] == "canceled")
    kept = box.task(ident)["jobs"]["done"]
    box.run("restart", ident)
    box.run("watch", ident)
    assert result(box, "work") == forwards(5)
    assert ask(box, "SELECT count(*) FROM events WHERE cause = 'taken over'") == [(kept,)]
    accepted = "SELECT count(*) FROM attempts WHERE state = 'accepted'"
    assert ask(box, accepted) == [(5,)]
    box.run("restart", "--fresh", ident)
    until(lambda: box.task(ident)["state"] == "completed" and box.task(ident)["run"] == 3)
    assert ask(box, accepted) == [(10,)]
