"""One set-up of logging for server, node and client.

A line carries the task, job and lease that it speaks of, whether the code that wrote it knew them (``bound``) or only ran
on their behalf (``about``). Times are UTC. Control characters are written out, so that what a peer sent cannot forge a line,
and whatever was registered as a secret is struck out, in tracebacks too. The formatters and the registry are wired up in
``set_up`` alone: the logging module itself is the one thing that a whole process shares.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
import threading
from collections.abc import Iterator, Mapping, MutableMapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TextIO

from .clock import stamp
from .settings import LogSettings

FIELDS = ("task", "job", "lease")
PACKAGE = __package__.partition(".")[0]
_ABOUT: ContextVar[Mapping[str, str]] = ContextVar("clusterray_log_about", default={})  # noqa: B039  (never changed in place)


class Secrets:
    """What must not be seen in a log: join codes by their shape, all else by being registered."""

    _shape = re.compile(r"\bcr1-[A-Za-z0-9_=-]{8,}")

    def __init__(self) -> None:
        self._known: frozenset[str] = frozenset()
        self._lock = threading.Lock()

    def add(self, *secrets: str) -> None:
        """Register tokens and passwords; short words are passed over, they would blot out the log."""
        with self._lock:
            self._known |= {secret for secret in secrets if len(secret) >= 8}

    def forget(self, *secrets: str) -> None:
        """For passwords of accounts that have ended: the registry must not grow for ever."""
        with self._lock:
            self._known -= frozenset(secrets)

    def strike(self, text: str) -> str:
        """The text with every secret replaced."""
        for secret in self._known:
            if secret in text:
                text = text.replace(secret, "[secret]")
        return self._shape.sub("cr1-[secret]", text)


SECRETS = Secrets()
"""The registry of this process, as the logging module is this process's; pass it on rather than import it where you can."""


class _Bound(logging.LoggerAdapter[logging.Logger]):
    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        kwargs["extra"] = {**(self.extra or {}), **(kwargs.get("extra") or {})}
        return msg, kwargs


def bound(logger: logging.Logger, *, task: str = "", job: str = "", lease: str = "") -> logging.LoggerAdapter[logging.Logger]:
    """A logger whose lines name what they are about."""
    return _Bound(logger, _named(task, job, lease))


@contextlib.contextmanager
def about(*, task: str = "", job: str = "", lease: str = "") -> Iterator[None]:
    """All lines that this thread writes inside of the block name these, unless they name their own."""
    token = _ABOUT.set({**_ABOUT.get(), **_named(task, job, lease)})
    try:
        yield
    finally:
        _ABOUT.reset(token)


class TextFormatter(logging.Formatter):
    """``2026-11-20T18:02:00.123Z INFO  server.reaper: lease over task=… lease=…``; a traceback follows indented."""

    def __init__(self, secrets: Secrets = SECRETS) -> None:
        super().__init__()
        self._secrets = secrets

    def format(self, record: logging.LogRecord) -> str:
        words = [_time(record), f"{record.levelname:<7}", f"{_name(record)}:", _printable(record.getMessage())]
        words += [f"{key}={_printable(value)}" for key, value in _fields(record).items()]
        lines = [" ".join(words), *("  | " + _printable(line) for line in _trace(self, record).splitlines())]
        return self._secrets.strike("\n".join(lines))


class JsonFormatter(logging.Formatter):
    """One object a line: time, level, logger, thread, message; task, job, lease and error where there are any."""

    def __init__(self, secrets: Secrets = SECRETS) -> None:
        super().__init__()
        self._secrets = secrets

    def format(self, record: logging.LogRecord) -> str:
        row = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": _name(record),
            "thread": record.threadName,
            "message": record.getMessage(),
            **_fields(record),
        }
        if trace := _trace(self, record):
            row["error"] = trace
        return json.dumps({key: self._secrets.strike(str(value)) for key, value in row.items()}, ensure_ascii=False)


class LogSetUp:
    """What ``set_up`` put in place; ``close()`` takes it away again and closes the file."""

    def __init__(self, handler: logging.Handler, path: Path | None) -> None:
        self._handler = handler
        self.path = path

    @property
    def stream(self) -> TextIO | None:
        """The open file or stream, which a daemon must keep when it closes what it inherited."""
        return getattr(self._handler, "stream", None)

    def close(self) -> None:
        logging.getLogger().removeHandler(self._handler)
        self._handler.close()


def set_up(settings: LogSettings, *, file: Path | None = None, stream: TextIO | None = None, secrets: Secrets = SECRETS) -> LogSetUp:
    """Log to ``file`` (``[log] file`` wins over it), rotated by size; without any, to ``stream``, else to stderr.

    Our own lines come from the level in the settings upwards, those of libraries from WARNING.
    """
    path = Path(settings.file) if settings.file and stream is None else file
    handler: logging.Handler
    if path is None:
        handler = logging.StreamHandler(stream)
    else:
        from logging.handlers import RotatingFileHandler  # brings socket and queue along: only daemons need it

        path.parent.mkdir(parents=True, exist_ok=True)
        handler = RotatingFileHandler(path, maxBytes=settings.size, backupCount=settings.keep, encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(JsonFormatter(secrets) if settings.format == "json" else TextFormatter(secrets))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.getLogger(PACKAGE).setLevel(settings.level.upper())
    return LogSetUp(handler, path)


def _named(task: str, job: str, lease: str) -> dict[str, str]:
    return {key: value for key, value in (("task", task), ("job", job), ("lease", lease)) if value}


def _fields(record: logging.LogRecord) -> dict[str, str]:
    around = _ABOUT.get()
    found = {key: getattr(record, key, None) or around.get(key) for key in FIELDS}
    return {key: str(value) for key, value in found.items() if value}


def _time(record: logging.LogRecord) -> str:
    return f"{stamp(record.created)[:-1]}.{int(record.msecs):03d}Z"


def _name(record: logging.LogRecord) -> str:
    return record.name.removeprefix(PACKAGE + ".")


def _trace(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    parts = [formatter.formatException(record.exc_info)] if record.exc_info else []
    return "\n".join(parts + ([record.stack_info] if record.stack_info else []))


def _printable(text: str) -> str:
    """Control and other unprintable characters written out: one record stays one line."""
    return text if text.isprintable() else "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
