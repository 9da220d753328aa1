"""Nothing lost, nothing twice: kill -9 at the arrows of DESIGN.md section 4, then a start."""

from __future__ import annotations

import sqlite3
import threading
import time

import pytest
from clusterray.common.kinds.echo import content

from .box import until


def expected(jobs, size):
    return b"".join(content(n, size) for n in range(jobs))


def books_balance(box):
    """In the store: each done job has exactly one accepted attempt, and no lease id was used twice."""
    connection = sqlite3.connect(f"file:{box.data / 'server' / 'clusterray.db'}?mode=ro", uri=True)
    try:
        wrong = connection.execute(
            "SELECT j.id FROM jobs j LEFT JOIN attempts a ON a.job = j.id AND a.state = 'accepted' "
            "GROUP BY j.id HAVING count(a.lease) <> (j.state = 'done')"
        ).fetchall()
        assert wrong == []
    finally:
        connection.close()


def result(box, name):
    return (box.folder / f"{name}-result" / f"{name}.txt").read_bytes()


def test_an_acknowledged_submission_survives_the_plug(make_box):
    """The id was printed: the task is there after kill -9, and is done when a node comes."""
    box = make_box().server().login()
    ident = box.detach(box.echo("work", jobs=3))
    box.kill("server")
    box.server()
    assert box.task(ident)["state"] == "queued"
    box.node()
    box.run("watch", ident)
    assert result(box, "work") == expected(3, 16)
    books_balance(box)


def test_a_server_killed_while_stitching_stitches_again(box):
    """The pieces are kept; the restart joins them into an empty folder, and the result is whole."""
    box.node()
    ident = box.detach(box.echo("work", kind="slow", jobs=3, where="stitch", how="slow"))
    until(lambda: box.task(ident)["state"] == "stitching")
    box.kill("server")
    box.server()
    box.run("watch", ident)
    assert result(box, "work") == expected(3, 16)
    assert all(len(job["attempts"]) == 1 for job in box.task(ident)["job_list"])
    books_balance(box)


@pytest.mark.parametrize("where", ["split", "verify"])
def test_a_server_killed_while_splitting_or_verifying(box, where):
    """Whatever the hand was doing is done again, and nothing is rendered twice for it."""
    box.node()
    ident = box.detach(box.echo("work", kind="slow", jobs=2, bytes=100_000, where=where, how="slow"))
    if where == "verify":
        until(lambda: any(a["state"] == "verifying" for j in box.task(ident)["job_list"] for a in j["attempts"]))
    else:
        until(lambda: box.task(ident)["state"] == "running")
    box.kill("server")
    box.server()
    box.run("watch", ident)
    assert result(box, "work") == expected(2, 100_000)
    books_balance(box)


def test_kill_at_random_moments(box):
    """Six blows with kill -9 to server and node while a task runs: the result is whole and each job counted once."""
    box.node("one")
    ident = box.detach(box.echo("work", jobs=40, bytes=20_000, seconds=0.1))
    for blow, name in enumerate(["server", "one", "server", "one", "server", "server"]):
        time.sleep(0.4 + 0.25 * blow)
        box.kill(name)
        if name == "server":
            box.server()
        else:
            box.node(name)
    box.run("watch", ident, timeout=110)
    assert result(box, "work") == expected(40, 20_000)
    books_balance(box)


def test_the_same_task_submitted_twice_at_once_is_one_task(box):
    """Two terminals submit the same folder: both are served, each gets its own whole result or is told why not."""
    box.node()
    folder = box.echo("work", jobs=2)
    done = []
    threads = [threading.Thread(target=lambda: done.append(box.run("submit", folder, ok=False))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(d.returncode for d in done)[0] == 0, [d.stderr for d in done]
    for one in done:
        assert one.returncode == 0 or "work-result" in one.stderr, one.stderr
    assert result(box, "work") == expected(2, 16)


def test_two_folders_of_one_name_do_not_meet(box):
    """Same name, other content, at the same time: each gets its own."""
    box.node()
    folders = []
    for n in (1, 2):
        (box.folder / f"place{n}").mkdir()
        folder = box.folder / f"place{n}" / "work"
        box.echo("work", jobs=n).rename(folder)
        folders.append(folder)
    box.run("submit", *folders)
    for n in (1, 2):
        assert (box.folder / f"place{n}" / "work-result" / "work.txt").read_bytes() == expected(n, 16)


FAULTS = [(where, how) for where in ("split", "verify", "stitch") for how in ("crash", "raise")] + [("split", "hang")]


@pytest.mark.parametrize(("where", "how"), FAULTS)
def test_a_kind_that_crashes_or_hangs_takes_only_its_task(make_box, where, how):
    """The task fails with a sentence; the server serves the next one."""
    box = make_box(CLUSTERRAY_SERVER_HAND_TIME="2s").server().login()
    box.node()
    done = box.run("submit", box.echo("bad", kind="slow", jobs=1, where=where, how=how, limits="[limits]\nattempts = 1"), ok=False)
    assert done.returncode == 1
    assert "told to raise" in done.stderr + done.stdout if how == "raise" else "slow" in done.stderr + done.stdout
    box.run("submit", box.echo("good", jobs=2))
    assert result(box, "good") == expected(2, 16)
    assert box.running["server"].poll() is None
