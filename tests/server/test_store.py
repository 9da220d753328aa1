"""The store: one truth, committed before anybody is told."""

from __future__ import annotations

import re
import sqlite3
import threading
from importlib import resources

import pytest
from clusterray.common.clock import SystemClock
from clusterray.server.store import Store, StoreError, load_queries, migrations


@pytest.fixture
def store(tmp_path):
    opened = Store(tmp_path / "farm.db", SystemClock())
    yield opened
    opened.close()


def schema(script: str) -> list[tuple[str, str]]:
    connection = sqlite3.connect(":memory:")
    connection.executescript(script)
    rows = connection.execute("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name").fetchall()
    connection.close()
    return [(name, plain(sql)) for name, sql in rows]


def plain(sql: str) -> str:
    """Without comments and line ends: ALTER TABLE keeps those that were there and adds its own text in one line."""
    bare = " ".join(re.sub(r"--[^\n]*", "", sql).split())
    return re.sub(r"\s*([(),])\s*", r"\1", bare)


def test_schema_is_the_sum_of_the_migrations():
    """schema.sql, which people read, is what the migrations make."""
    text = (resources.files("clusterray.server") / "sql" / "schema.sql").read_text()
    assert schema(text) == schema("\n".join(migrations()))


def test_every_statement_is_valid_sql(store):
    """No statement of queries.sql fails to compile against the schema."""
    connection = sqlite3.connect(store.path)
    for name, body in load_queries().items():
        try:
            connection.execute("EXPLAIN " + body, _Anything())
        except sqlite3.Error as error:
            raise AssertionError(f"{name}: {error}") from error
    connection.close()


class _Anything(dict):
    def __missing__(self, key):
        return None


def test_a_change_that_raises_undoes_itself_alone(store):
    """Of changes that are committed together, one that fails takes nothing of the others along."""
    store.write(lambda tx: tx.run("set_meta", key="a", value="1"))

    def fails(tx):
        tx.run("set_meta", key="a", value="2")
        raise ValueError("no")

    results = []
    gate = threading.Barrier(3)

    def write(change):
        gate.wait()
        try:
            results.append(store.write(change))
        except ValueError as error:
            results.append(str(error))

    threads = [threading.Thread(target=write, args=(c,)) for c in (fails, lambda tx: tx.run("set_meta", key="b", value="3"))]
    for thread in threads:
        thread.start()
    gate.wait()
    for thread in threads:
        thread.join()
    with store.read() as tx:
        assert (tx.one("meta", key="a")["value"], tx.one("meta", key="b")["value"]) == ("1", "3")
    assert sorted(map(str, results)) == ["1", "no"]


def test_what_was_written_is_there_after_it_is_opened_again(tmp_path):
    """A change that returned has been committed."""
    first = Store(tmp_path / "farm.db", SystemClock())
    first.write(lambda tx: tx.run("set_meta", key="a", value="1"))
    first.close()
    again = Store(tmp_path / "farm.db", SystemClock())
    with again.read() as tx:
        assert tx.one("meta", key="a")["value"] == "1"
    again.close()


def test_readers_cannot_write(store):
    """A view that tries to change the truth fails."""
    with store.read() as tx, pytest.raises(sqlite3.OperationalError, match="readonly"):
        tx.run("set_meta", key="a", value="1")


def test_a_newer_database_is_refused_with_the_way_out(tmp_path):
    """An old program never touches what a newer one wrote."""
    connection = sqlite3.connect(tmp_path / "farm.db")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StoreError, match="newer ClusterRay"):
        Store(tmp_path / "farm.db", SystemClock())


def test_a_file_that_is_no_database_is_refused_in_one_sentence(tmp_path):
    """The operator is told which file it is and what to do."""
    (tmp_path / "farm.db").write_bytes(b"not a database at all, but long enough to be looked at by sqlite" * 20)
    with pytest.raises(StoreError, match=r"farm\.db cannot be opened"):
        Store(tmp_path / "farm.db", SystemClock())


def test_forgetting_a_large_task_does_not_look_through_all_jobs_for_each(store):
    """Removing a hundred thousand jobs takes seconds, not hours: the way back from an attempt to its job has an index."""
    plan = [row["detail"] for row in store._writing.execute("EXPLAIN QUERY PLAN SELECT 1 FROM jobs WHERE accepted = 'x'")]
    assert any("jobs_accepted" in line for line in plan), plan


def test_a_writer_outlives_a_disk_that_fails_even_to_roll_back(store):
    """Whoever writes is told; when the disk is well again, so is the store."""
    whole = store._writing

    class Broken:
        in_transaction = True

        def execute(self, statement):
            raise sqlite3.OperationalError("disk I/O error")

    store._writing = Broken()
    with pytest.raises(StoreError, match="disk I/O error"):
        store.write(lambda tx: None)
    store._writing = whole
    assert store.write(lambda tx: "well") == "well"


def test_a_database_of_the_last_release_goes_on(tmp_path):
    """A task that was in work before there were stages is in its first one now, with its own files; nothing of it is lost."""
    path = tmp_path / "farm.db"
    connection = sqlite3.connect(path)
    connection.executescript("".join(migrations()[:2]) + "PRAGMA user_version = 2;")
    connection.executescript(
        "INSERT INTO tasks (id, owner, kind, name, spec, needs, bundle, bundle_size, state, priority, run, created, queued)"
        " VALUES ('t', 'me', 'echo', 'n', '{}', '{\"memory\":5}', 'b', 7, 'running', 0, 1, 1.0, 1.0);"
        "INSERT INTO runs (task, number, farm, program, spec, stage_name, created) VALUES ('t', 1, '{}', '', '{}', 'echo', 2.0);"
        "INSERT INTO jobs (id, task, run, stage, position, region, name, state) VALUES ('j', 't', 1, 0, 0, '{}', 'r', 'queued');"
        "INSERT INTO task_packs VALUES ('t', 'b', 7);"
    )
    connection.close()
    opened = Store(path, SystemClock())
    with opened.read() as tx:
        run = tx.one("run", task="t", number=1)
        assert (run["stage_name"], run["bundle"], run["bundle_size"], run["stages"], run["begun"]) == ("echo", "b", 7, 1, 2.0)
        assert run["needs"] == '{"memory":5}'
        assert [job["id"] for job in tx.all("jobs_queued", task="t", run=1)] == ["j"]
        assert [(row["digest"]) for row in tx.all("packs_in_use")] == ["b"]
    opened.close()
