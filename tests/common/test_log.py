"""Logging: what a line carries, and what it must not."""

from __future__ import annotations

import io
import json
import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from clusterray.common.log import Secrets, about, bound, set_up
from clusterray.common.settings import LogSettings

log = logging.getLogger("clusterray.server.reaper")


@pytest.fixture
def out() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def levels() -> Iterator[None]:
    """What set_up changes for the whole process, put back."""
    loggers = [logging.getLogger(), logging.getLogger("clusterray")]
    before = [one.level for one in loggers]
    yield
    for one, level in zip(loggers, before, strict=True):
        one.setLevel(level)


@pytest.mark.usefixtures("levels")
class TestLines:
    def test_a_line_names_time_place_and_what_it_is_about(self, out: io.StringIO) -> None:
        """A line tells when (UTC), where, and of which task, job and lease it speaks."""
        made = set_up(LogSettings(), stream=out)
        bound(log, task="t1", lease="l1").info("lease over after %d s", 60)
        with about(task="t2", job="j2"):
            log.warning("odd")
            bound(log, task="t3").info("own task wins")
        log.info("nothing")
        made.close()
        lines = out.getvalue().splitlines()
        assert lines[0].endswith("INFO    server.reaper: lease over after 60 s task=t1 lease=l1")
        assert lines[1].endswith("WARNING server.reaper: odd task=t2 job=j2")
        assert lines[2].endswith("own task wins task=t3 job=j2")
        assert lines[3].endswith("nothing")
        assert lines[0][:4].isdigit() and lines[0][23] == "Z"

    def test_what_a_block_is_about_stays_in_its_thread(self, out: io.StringIO) -> None:
        """Two threads at work on two tasks do not mix their lines."""
        made = set_up(LogSettings(), stream=out)
        with about(task="mine"):
            other = threading.Thread(target=log.info, args=("from another thread",))
            other.start()
            other.join()
        made.close()
        assert "mine" not in out.getvalue()

    def test_json_is_one_object_a_line(self, out: io.StringIO) -> None:
        """format = "json" can be read by a machine, tracebacks too."""
        made = set_up(LogSettings(format="json"), stream=out)
        try:
            raise ValueError("broken\nin two")
        except ValueError:
            bound(log, job="j").exception("failed: %s", "why\nnot")
        made.close()
        row = json.loads(out.getvalue())
        assert (row["level"], row["logger"], row["message"], row["job"]) == ("error", "server.reaper", "failed: why\nnot", "j")
        assert "ValueError: broken" in row["error"] and row["time"].endswith("Z") and row["thread"] == "MainThread"

    def test_nobody_can_forge_a_line(self, out: io.StringIO) -> None:
        """Line ends and escape sequences that a peer sent are written out; a traceback is indented."""
        made = set_up(LogSettings(), stream=out)
        log.info("node %s joined", "evil\n2026-01-01T00:00:00.000Z INFO fake\x1b[2J")
        try:
            raise ValueError("x\nfake line")
        except ValueError:
            log.exception("failed")
        made.close()
        lines = out.getvalue().splitlines()
        assert "\\n2026" in lines[0] and "\x1b" not in out.getvalue()
        assert all(line.startswith("  | ") for line in lines[2:])

    def test_secrets_are_struck_out_everywhere(self, out: io.StringIO) -> None:
        """Tokens, passwords and join codes reach no log, in messages, fields or tracebacks, in text or JSON."""
        secrets = Secrets()
        secrets.add("s3cret-token-1", "pw-of-a-lease", "short")
        for form in ("text", "json"):
            made = set_up(LogSettings(format=form), stream=out, secrets=secrets)
            bound(log, lease="pw-of-a-lease").info("token s3cret-token-1, a short word, code cr1-AbC_9-xyz0123")
            try:
                raise ValueError("login with s3cret-token-1")
            except ValueError:
                log.exception("failed")
            made.close()
        assert "s3cret" not in out.getvalue() and "pw-of" not in out.getvalue() and "AbC_9" not in out.getvalue()
        assert "short word" in out.getvalue()
        secrets.forget("s3cret-token-1")
        assert secrets.strike("s3cret-token-1") == "s3cret-token-1"

    def test_levels(self, out: io.StringIO) -> None:
        """Ours from the set level upwards; libraries only from WARNING."""
        made = set_up(LogSettings(level="debug"), stream=out)
        log.debug("ours")
        logging.getLogger("somebody.else").info("chatter")
        made.close()
        log.info("after the end")
        assert "ours" in out.getvalue() and "chatter" not in out.getvalue() and "after" not in out.getvalue()

    def test_a_daemons_file_rotates(self, tmp_path: Path) -> None:
        """Log files stay small, and the folder is made; bytes that are no text do no harm."""
        made = set_up(LogSettings(size=2000, keep=2), file=tmp_path / "log/server.log")
        for number in range(100):
            log.info("line %d %s", number, "\udcff")
        assert made.path == tmp_path / "log/server.log" and made.stream is not None
        made.close()
        assert sorted(path.name for path in (tmp_path / "log").iterdir()) == ["server.log", "server.log.1", "server.log.2"]
        assert all(path.stat().st_size <= 2000 for path in (tmp_path / "log").iterdir())

    def test_the_file_in_the_settings_wins(self, tmp_path: Path) -> None:
        """[log] file is where a daemon writes."""
        made = set_up(LogSettings(file=str(tmp_path / "other.log")), file=tmp_path / "usual.log")
        log.info("here")
        made.close()
        assert "here" in (tmp_path / "other.log").read_text("utf-8")
        assert not (tmp_path / "usual.log").exists()
