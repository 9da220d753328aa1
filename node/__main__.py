"""``python -m clusterray.node --data DIR [--join CODE]``: a node in the foreground, or as the daemon that `clusterray node start` makes.

SIGTERM drains and a second one stops now; SIGINT stops now. A join code may come from a flag, the variable CLUSTERRAY_JOIN, a
file (``--join-file``) or standard input (``--join -``); a daemon never has it among its arguments.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from ..common import daemon, log
from ..common.clock import SystemClock
from ..common.errors import ClusterRayError, UsageError
from ..common.security import JoinCode
from ..common.settings import NodeSettings, load
from .agent import Agent

FIRST_WORD = 5.0
"""Seconds that a start waits for the server's first word, to tell whoever started us."""


def main(arguments: list[str] | None = None) -> int:
    """Run a node; return its exit code."""
    flags, new_id = _flags(arguments)
    try:
        loaded = load(flags, os.environ, Path.cwd())
        os.environ.pop("CLUSTERRAY_JOIN", None)
        file = loaded.folders.logs / "node.log" if daemon.READY_FD in os.environ else None
        set_up = log.set_up(loaded.settings.log, file=file)
    except ClusterRayError as error:
        daemon.announce_failure(str(error), error.exit_code)
        return error.exit_code
    try:
        settings = loaded.settings.node
        shared = loaded.settings.shared
        agent = Agent(settings, loaded.folders.node, SystemClock(), _join(settings), new_id=new_id, secrets=log.SECRETS.add, shared=shared)
        stop, now = threading.Event(), threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: stop.set())
        signal.signal(signal.SIGINT, lambda *_: now.set())
        agent.start()
        return _run(agent, stop, now)
    except ClusterRayError as error:
        daemon.announce_failure(str(error), error.exit_code)
        return error.exit_code
    finally:
        set_up.close()


def _run(agent: Agent, stop: threading.Event, now: threading.Event) -> int:
    contact = agent.contact
    assert contact is not None
    contact.settled.wait(FIRST_WORD)
    if contact.over.is_set():
        if daemon.READY_FD in os.environ:  # in the foreground the log has said it
            daemon.announce_failure(contact.told, agent.exit_code)
    else:
        told = contact.told or "The server has not answered yet; the node goes on trying."
        daemon.announce_ready(told if daemon.READY_FD in os.environ else "")
    return agent.run_forever(stop, now)


def _flags(arguments: list[str] | None) -> tuple[dict[str, Any], bool]:
    parser = argparse.ArgumentParser(prog="python -m clusterray.node", description="A ClusterRay node.", allow_abbrev=False)
    parser.add_argument("--data", metavar="DIR", help="folder for all that this farm keeps on this machine")
    parser.add_argument("--join", metavar="CODE", help="join code of the server; - reads it from standard input")
    parser.add_argument("--join-file", metavar="FILE", help="file with the join code")
    parser.add_argument("--name", help="name shown to others")
    parser.add_argument("--slots", help="jobs at a time")
    parser.add_argument("--cores", help="cores to use")
    parser.add_argument("--new-id", action="store_true", help="forget this node's id and ask for a new one (after copying a disk)")
    given = parser.parse_args(arguments)
    names = ("join", "join_file", "name", "slots", "cores")
    return {"data": given.data} | {f"node.{name}": getattr(given, name) for name in names}, given.new_id


def _join(settings: NodeSettings) -> JoinCode | None:
    """The code that was given just now; None: the remembered one counts."""
    if settings.join == "-":
        return JoinCode.decode(sys.stdin.readline())
    if settings.join:
        return JoinCode.decode(settings.join)
    if not settings.join_file:
        return None
    try:
        return JoinCode.decode(Path(settings.join_file).read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"The join code cannot be read from {settings.join_file}: {error}.") from error


if __name__ == "__main__":
    sys.exit(main())
