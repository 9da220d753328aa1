"""The truth: one SQLite file, one writer thread, a few readers.

All changes go through ``write()``. The writer takes whatever waits, runs each change in a savepoint, commits once, and
only then wakes the callers: the batch is what came in during the last fsync, so there is no timer. A change that raises
is rolled back alone. Nothing is told to anyone before its commit. Statements live in sql/queries.sql, by name.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import re
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from ..common.clock import Clock
from ..common.errors import ClusterRayError

log = logging.getLogger(__name__)
T = TypeVar("T")
Row = Mapping[str, Any]
Change = Callable[["Tx"], T]
READERS = 4


class StoreError(ClusterRayError):
    """The database file cannot be used."""

    code = "store"


def load_queries() -> dict[str, str]:
    """Named statements of queries.sql: each begins with a line ``-- name: NAME``."""
    text = (resources.files(__package__) / "sql" / "queries.sql").read_text("utf-8")
    parts = re.split(r"^-- name: (\w+)[^\n]*\n", text, flags=re.MULTILINE)
    names = parts[1::2]
    if len(set(names)) != len(names):
        raise StoreError("queries.sql names a statement twice.")
    return {name: body.strip().rstrip(";") for name, body in zip(names, parts[2::2], strict=True)}


def migrations() -> list[str]:
    """The migrations in order; number n brings ``user_version`` from n - 1 to n."""
    folder = resources.files(__package__) / "sql" / "migrations"
    return [entry.read_text("utf-8") for entry in sorted(folder.iterdir(), key=lambda e: e.name) if entry.name.endswith(".sql")]


class Tx:
    """Named statements on one connection, and the time at which the transaction happens."""

    def __init__(self, connection: sqlite3.Connection, queries: Mapping[str, str], now: float) -> None:
        self._connection = connection
        self._queries = queries
        self.now = now

    def all(self, name: str, /, **values: Any) -> list[Row]:
        return self._connection.execute(self._queries[name], {"now": self.now, **values}).fetchall()

    def one(self, name: str, /, **values: Any) -> Row | None:
        row: Row | None = self._connection.execute(self._queries[name], {"now": self.now, **values}).fetchone()
        return row

    def run(self, name: str, /, **values: Any) -> int:
        """Execute; return how many rows were changed."""
        return self._connection.execute(self._queries[name], {"now": self.now, **values}).rowcount

    def many(self, name: str, /, rows: list[dict[str, Any]]) -> None:
        self._connection.executemany(self._queries[name], rows)


class Store:
    """Opens (and brings up to date) the database; ``close()`` after the last writer is gone."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self.path = path
        self._clock = clock
        self._queries = load_queries()
        self._waiting: queue.SimpleQueue[tuple[Change[Any], Future[Any]] | None] = queue.SimpleQueue()
        self._gate = threading.Lock()
        self._closed = False
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._writing = self._connect()
            self._migrate()
            self._readers: queue.LifoQueue[sqlite3.Connection] = queue.LifoQueue()
            for _ in range(READERS):
                connection = self._connect()
                connection.execute("PRAGMA query_only = ON")
                self._readers.put(connection)
        except sqlite3.Error as error:
            way_out = "Restore it from a backup, or start with another --data folder."
            raise StoreError(f"The database {path} cannot be opened: {error}. {way_out}") from error
        self._writer = threading.Thread(target=self._write_loop, name="store-writer", daemon=True)
        self._writer.start()

    def write(self, change: Change[T]) -> T:
        """Run the change, wait for its commit, return what it returned or raise what it raised."""
        if threading.current_thread() is self._writer:
            raise RuntimeError("write() inside of a change")
        future: Future[T] = Future()
        with self._gate:  # nothing may stand behind the end of the queue: its caller would wait for ever
            self._need_open()
            self._waiting.put((change, future))
        return future.result()

    @contextmanager
    def read(self) -> Iterator[Tx]:
        """A consistent view; statements that write fail."""
        self._need_open()
        connection = self._readers.get()
        try:
            connection.execute("BEGIN")
            try:
                yield Tx(connection, self._queries, self._clock.now())
            finally:
                connection.execute("ROLLBACK")
        finally:
            self._readers.put(connection)

    def close(self) -> None:
        """Let the writer finish what waits, then close all connections. Who comes later gets StoreError; again is harmless."""
        with self._gate:
            if self._closed:
                return
            self._closed = True
            self._waiting.put(None)
        self._writer.join()
        for _ in range(READERS):
            self._readers.get().close()
        self._writing.close()

    def _need_open(self) -> None:
        if self._closed:
            raise StoreError("The server is stopping: nothing was read or changed.")

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=30.0, cached_statements=256)
        connection.row_factory = sqlite3.Row
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "temp_store = MEMORY", "cache_size = -4096"):
            connection.execute(f"PRAGMA {pragma}")
        return connection

    def _migrate(self) -> None:
        scripts = migrations()
        version: int = self._writing.execute("PRAGMA user_version").fetchone()[0]
        if version > len(scripts):
            known = f"schema {version}, this one knows {len(scripts)}"
            raise StoreError(f"{self.path} was written by a newer ClusterRay ({known}): update this one.")
        for number in range(version, len(scripts)):
            self._writing.executescript(f"BEGIN; {scripts[number]}\n; PRAGMA user_version = {number + 1}; COMMIT;")

    def _write_loop(self) -> None:
        while True:
            batch = [self._waiting.get()]
            while len(batch) < 256:
                try:
                    batch.append(self._waiting.get_nowait())
                except queue.Empty:
                    break
            work = [item for item in batch if item is not None]
            if work:
                self._commit(work)
            if len(work) < len(batch):
                return

    def _commit(self, work: list[tuple[Change[Any], Future[Any]]]) -> None:
        done: list[tuple[Future[Any], Any]] = []
        try:
            self._writing.execute("BEGIN IMMEDIATE")
            for change, future in work:
                self._writing.execute("SAVEPOINT change")
                try:
                    result = change(Tx(self._writing, self._queries, self._clock.now()))
                except Exception as error:
                    self._writing.execute("ROLLBACK TO change")
                    future.set_exception(error)
                else:
                    done.append((future, result))
                self._writing.execute("RELEASE change")
            self._writing.execute("COMMIT")
        except BaseException as error:  # disk full, I/O error: none of the batch happened
            log.exception("the store could not commit %d changes", len(work))
            with contextlib.suppress(sqlite3.Error):  # on a broken disk this fails too; the writer must live on and say so
                if self._writing.in_transaction:
                    self._writing.execute("ROLLBACK")
            failure = StoreError(f"The database could not be written ({error}); nothing was changed. Make room on its disk and try again.")
            for _, future in work:
                if not future.done():
                    future.set_exception(failure)
            return
        for future, result in done:
            future.set_result(result)
