"""The init scripts really start and stop a server and a node, below a folder of their own and on free ports.

Nothing of the machine's own /etc, /var or /run is touched: the scripts read a defaults file that the test wrote.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from clusterray.common.clock import SystemClock
from clusterray.common.pidfile import PidFile, Status

COMMAND = Path(sys.executable).with_name("clusterray")


class Machine:
    """A machine's defaults file and a farm's folder."""

    def __init__(self, checkout: Path, folder: Path) -> None:
        self.scripts, self.folder, self.data = checkout / "init.d", folder, folder / "farm"
        self.defaults = folder / "default"
        self.write()

    def write(self, more: str = "") -> None:
        server = f'SERVER_ARGS="--data {self.data} --port 0 --ftp-port 0 --listen 127.0.0.1 --address 127.0.0.1"'
        node = f'NODE_ARGS="--data {self.data} --slots 1 --join-file {self.folder}/join"'
        self.defaults.write_text(f"CLUSTERRAY={COMMAND}\n{server}\n{node}\n{more}\n")

    def __call__(self, what: str, verb: str) -> tuple[int, str]:
        """Run a script as init does; its exit code, and what it printed."""
        env = {"PATH": "/usr/bin:/bin", "HOME": str(self.folder), "CLUSTERRAY_DEFAULTS": str(self.defaults)}
        script = str(self.scripts / f"clusterray-{what}")
        done = subprocess.run(
            [script, verb], env=env, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=120
        )
        return done.returncode, done.stdout

    def pid(self, what: str) -> int:
        status, pid = PidFile(self.data / "run" / f"{what}.pid").look()
        return pid if status is Status.RUNNING else 0


@pytest.fixture
def machine(checkout: Path, tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(checkout, tmp_path)
    yield machine
    for what in ("node", "server"):
        if pid := machine.pid(what):
            os.kill(pid, signal.SIGKILL)


def test_a_server_starts_stops_and_tells_how_it_is(machine: Machine) -> None:
    """Every verb of LSB with its exit codes; the first start shows the join codes, and a kill -9 is no obstacle."""
    assert machine("server", "status")[0] == 3
    code, said = machine("server", "start")
    assert code == 0, said
    assert "clusterray node start --join cr1-" in said
    first = machine.pid("server")
    assert machine("server", "status") == (0, f"The server is running (pid {first}).\n")
    assert machine("server", "start")[0] == 0
    assert machine.pid("server") == first

    assert machine("server", "restart")[0] == 0
    second = machine.pid("server")
    assert second not in (0, first)
    assert machine("server", "try-restart")[0] == 0
    third = machine.pid("server")
    assert third not in (0, second)

    os.kill(third, signal.SIGKILL)
    clock, never = SystemClock(), threading.Event()
    while machine.pid("server"):
        clock.wait(never, 0.05)
    assert machine("server", "status")[0] == 1
    assert machine("server", "force-reload")[0] == 0
    assert machine.pid("server") not in (0, third)

    code, said = machine("server", "stop")
    assert (code, said) == (0, "The server has stopped.\n")
    assert machine("server", "status")[0] == 3
    assert machine("server", "stop")[0] == 0
    assert machine("server", "try-restart")[0] == 0
    assert machine.pid("server") == 0
    assert (machine.data / "log" / "server.log").stat().st_size > 0


def test_a_node_starts_with_its_join_file_and_stops(machine: Machine) -> None:
    """An unattended machine needs the script, a join code in a file, and no more."""
    assert machine("server", "start")[0] == 0
    printed = subprocess.run(
        [COMMAND, "join-code", "--role", "node", "--data", str(machine.data)], stdout=subprocess.PIPE, text=True, check=True, timeout=60
    )
    code = re.search(r"cr1-\S+", printed.stdout)
    assert code
    (machine.folder / "join").write_text(code[0])
    assert machine("node", "status")[0] == 3
    exit_code, said = machine("node", "start")
    assert exit_code == 0, said
    pid = machine.pid("node")
    assert code[0] not in Path(f"/proc/{pid}/cmdline").read_text()
    assert machine("node", "status") == (0, f"The node is running (pid {pid}).\n")
    assert machine("node", "stop")[0] == 0
    assert machine("node", "status")[0] == 3
    assert machine("server", "stop")[0] == 0


def test_a_node_that_was_never_told_where_to_go_says_so(machine: Machine) -> None:
    """No join code: the start fails with one sentence and leaves nothing running."""
    code, said = machine("node", "start")
    assert code != 0
    assert "join" in said
    assert machine("node", "status")[0] == 3


def test_a_service_that_is_not_wanted_is_not_started(machine: Machine) -> None:
    """SERVER_ENABLED=no keeps a machine from starting it at boot, without an error."""
    machine.write("SERVER_ENABLED=no")
    code, said = machine("server", "start")
    assert (code, "SERVER_ENABLED is not yes" in said) == (0, True)
    assert machine.pid("server") == 0


@pytest.mark.parametrize("what", ["server", "node"])
def test_wrong_words_and_a_missing_program_have_lsbs_codes(machine: Machine, what: str) -> None:
    """2 for a verb that is none, 5 where it is not installed (status: 4), and 0 for stopping it then."""
    code, said = machine(what, "begin")
    assert (code, "start|stop|restart" in said) == (2, True)
    machine.write("CLUSTERRAY=/no/such/clusterray")
    code, said = machine(what, "start")
    assert (code, f"there is no /no/such/clusterray; set CLUSTERRAY in {machine.defaults}" in said) == (5, True)
    assert machine(what, "status")[0] == 4
    assert machine(what, "stop")[0] == 0


@pytest.mark.parametrize("what", ["server", "node"])
def test_the_headers_are_those_of_lsb(machine: Machine, what: str) -> None:
    """insserv and systemd's generator read them."""
    text = (machine.scripts / f"clusterray-{what}").read_text()
    header = text.split("### BEGIN INIT INFO\n")[1].split("### END INIT INFO")[0]
    fields = dict(line[2:].split(":", 1) for line in header.splitlines())
    assert fields["Provides"].strip() == f"clusterray-{what}"
    assert {"Required-Start", "Required-Stop", "Default-Start", "Default-Stop", "Short-Description"} <= set(fields)


@pytest.mark.parametrize("what", ["server", "node"])
def test_the_units_run_what_the_scripts_run(machine: Machine, what: str) -> None:
    """In the foreground, as the user clusterray, with the same file of defaults."""
    unit = (machine.scripts / "systemd" / f"clusterray-{what}.service").read_text()
    assert f"\nExecStart=/usr/local/bin/clusterray {what} foreground ${what.upper()}_ARGS\n" in unit
    assert "\nUser=clusterray\n" in unit
    assert "\nType=simple\n" in unit
    assert "\nEnvironmentFile=-/etc/default/clusterray\n" in unit


def test_the_shipped_defaults_change_nothing(checkout: Path) -> None:
    """As it comes, every line of /etc/default/clusterray is a comment."""
    lines = (checkout / "init.d" / "default" / "clusterray").read_text().splitlines()
    assert [line for line in lines if line and not line.startswith("#")] == []
