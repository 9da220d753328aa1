"""``python -m clusterray.server``: one server in the foreground, settings from files and variables, until SIGTERM or Ctrl-C."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from ..common.clock import SystemClock
from ..common.daemon import READY_FD, announce_failure, announce_ready
from ..common.errors import ClusterRayError
from ..common.log import set_up
from ..common.model import Role
from ..common.settings import load
from .farm import Farm

log = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="clusterray server", description="The server of a farm, in the foreground.")
    parser.add_argument("--data", type=Path, help="folder that keeps this farm's state")
    parser.add_argument("--log", type=Path, help="log into this file instead of the terminal")
    given = parser.parse_args(arguments)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        loaded = load({"data": given.data}, os.environ, Path.cwd())
        logs = set_up(loaded.settings.log, file=given.log)
        farm = Farm(loaded.settings, loaded.folders.server, SystemClock())
        farm.start()
    except ClusterRayError as error:
        announce_failure(str(error), error.exit_code)
        return error.exit_code
    try:
        announce_ready(_greeting(farm))
        stop.wait()
        log.info("stopping")
    finally:
        farm.stop()
        logs.close()
    return 0


def _greeting(farm: Farm) -> str:
    """What its operator sees: at the first start, the codes that let others in."""
    lines = [f"ClusterRay server {farm.name} is up on port {farm.port} (FTP {farm.ftp_port}); its data lies in {farm.data}."]
    # a service's output lands in a journal that others may read: there the codes have to be asked for
    if farm.first_start and (READY_FD in os.environ or sys.stdout.isatty()):
        lines += [
            "",
            "On each machine that shall work, type:",
            f"  clusterray node start --join {farm.join_code(Role.NODE)}",
            "On each machine that submits, once:",
            f"  clusterray login {farm.join_code(Role.SUBMIT)}",
            "",
            "`clusterray join-code` prints the codes again.",
        ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
