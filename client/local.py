"""A farm of this machine alone, for one command: a server and nodes as child processes, on loopback, in a folder that goes with it.

They run the same programs as a real farm and differ by settings only: free ports, one folder, one slot per core. Whatever
ends the command ends them, in the reverse of the order of starting; should it be killed, the kernel tells them (setpriv).
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from ..common import ports, process, security
from ..common.clock import Clock
from ..common.daemon import module_argv
from ..common.errors import LinkError, NoServer, UsageError
from ..common.kinds.command_run import PATH
from ..common.model import NodeView, Role, TaskSpec
from ..common.settings import as_variables
from ..common.wire.link import dial
from ..common.wire.messages import NodeList, Nodes
from .login import Login
from .session import Session

HOST = "127.0.0.1"
START = 60.0
"""Seconds for the whole farm to come up: it takes about one, but a busy machine may need more."""
GRACE = 8.0
"""Seconds between SIGTERM and SIGKILL: a node ends its programs within five."""
DATA_PORTS = 32
INSTALL = {"mitsuba": "pip install 'clusterray[mitsuba]'", "blender": "./run install blender, or apt-get install blender"}
"""What brings a renderer that is no package of the same name."""
OWN = ("CLUSTERRAY_SERVER_", "CLUSTERRAY_FTP_", "CLUSTERRAY_JOIN", "CLUSTERRAY_NODE_JOIN", "CLUSTERRAY_DATA", "CLUSTERRAY_LOG_FILE")
"""Variables of the caller that speak of another farm."""


class LocalFarm:
    """Start, check, stop."""

    def __init__(self, folder: Path, *, nodes: int, env: Mapping[str, str], cwd: Path, flags: Mapping[str, Any], clock: Clock) -> None:
        self._folder = folder
        self._count = nodes
        self._cwd = cwd
        self._clock = clock
        plain = {
            key: value
            for key, value in flags.items()
            if key.partition(".")[0] in ("farm", "node", "log", "retention", "shared") and key != "node.join"
        }
        self._env = {name: value for name, value in env.items() if not name.startswith(OWN)} | as_variables(plain)
        self._children: list[tuple[str, process.Running]] = []
        self._nodes: tuple[NodeView, ...] = ()
        self._code = ""

    @property
    def login(self) -> Login:
        """The way in, with all rights: it is this user's own farm."""
        return Login(code=self._code)

    def start(self) -> None:
        """Start all and wait until every node is there. Raises ClusterRayError with the last words of the one that failed."""
        port, ftp = ports.free_port(), ports.free_port()
        first, last = ports.free_range(DATA_PORTS)
        server = self._folder / "farm"
        identity = security.make_identity(server / "server")  # made before the server looks: so its codes are known here at once
        tokens = security.Tokens(server / "server")
        address = ports.join_address(HOST, port)
        codes = {
            role: security.JoinCode(role=role, addresses=(address,), pin=identity.pin, token=tokens.current(role)).encode()
            for role in (Role.NODE, Role.ADMIN)
        }
        self._code = codes[Role.ADMIN]
        own = {"server.listen": HOST, "server.port": port, "server.addresses": address}
        own |= {"ftp.listen": HOST, "ftp.port": ftp, "ftp.passive": f"{first}-{last}", "ftp.public_address": HOST}
        end = self._clock.monotonic() + START
        self._spawn("server", server, as_variables(own))
        with self._connected(end) as session:
            slots = max(1, (os.cpu_count() or 1) // self._count)
            for number in range(1, self._count + 1):
                name = f"local-{number}"
                self._spawn(
                    "node",
                    self._folder / name,
                    as_variables({"node.name": name, "node.slots": slots, "node.cores": slots, "node.join": codes[Role.NODE]}),
                )
            self._await_nodes(session, end)

    @property
    def programs(self) -> set[str]:
        """Names of the renderers on this machine."""
        return {program.name for node in self._nodes for program in node.programs}

    def check(self, specs: Iterable[TaskSpec]) -> None:
        """A program that this machine lacks, or does not allow, is said at once: no other node will ever join."""
        for spec in specs:
            name = re.split("[<>=]", spec.needs.program)[0].strip()
            if name and name not in self.programs:
                how = INSTALL.get(name, f"apt-get install {name}")
                raise UsageError(f"{spec.name} needs {name}, which is not on this machine: install it ({how}), or set [node] programs.")
            command = spec.needs.command
            if command and not any("commands" in node.allow for node in self._nodes):
                raise UsageError(
                    f"{spec.name} runs {command}, and commands of a task run only where that is allowed: set [node] commands, "
                    f"or for once CLUSTERRAY_NODE_COMMANDS={','.join(command.split())}."
                )
            for name in command.split():
                if not name.startswith("./") and name not in self.programs and not shutil.which(name, path=PATH):
                    raise UsageError(f"{spec.name} runs {name}, which is not on this machine: install it, or set [node] programs.")

    def stop(self) -> None:
        """End everything, in the reverse of the order of starting."""
        with _undisturbed():
            for what, child in self._children:
                if what == "node" and child.poll() is None:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(child.pid, signal.SIGINT)  # now; SIGTERM would let it finish its jobs, for nobody
            while self._children:
                self._children.pop()[1].stop(GRACE)

    def _spawn(self, what: str, data: Path, variables: Mapping[str, str]) -> None:
        argv = module_argv(f"clusterray.{what}", "--data", str(data))
        setpriv = shutil.which("setpriv")
        if setpriv:
            argv = (setpriv, "--pdeathsig", "TERM", *argv)
        env = {"PATH": os.defpath, **self._env, **variables}
        self._children.append((what, process.start(argv, cwd=self._cwd, env=env)))

    @contextlib.contextmanager
    def _connected(self, end: float) -> Iterator[Session]:
        session = Session(self.login, dial=dial, clock=self._clock)
        while True:
            try:
                session.connect()
                break
            except NoServer:
                self._pause(end, "The server did not start in time.")
        with contextlib.closing(session):
            yield session

    def _await_nodes(self, session: Session, end: float) -> None:
        while True:
            self._nodes = tuple(node for node in session.ask(Nodes(), NodeList).nodes if node.online)
            if len(self._nodes) >= self._count:
                return
            self._pause(end, "The nodes did not join in time.")

    def _pause(self, end: float, late: str) -> None:
        """A moment; raises where a child has ended or the time is over."""
        for what, child in self._children:
            if child.poll() is not None:
                raise LocalFarmError(f"The {what} of the local farm ended with code {child.poll()}: {_last_words(child)}")
        if self._clock.monotonic() >= end:
            raise LocalFarmError(f"{late} {_last_words(self._children[-1][1])}")
        self._clock.wait(threading.Event(), 0.05)


class LocalFarmError(LinkError):
    """The embedded farm did not come up."""

    code = "local_farm"
    exit_code = 3


@contextlib.contextmanager
def interrupts() -> Iterator[None]:
    """SIGTERM and SIGHUP end the block as Ctrl-C does, so that what it started is stopped."""

    def raise_interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    with _handled(raise_interrupt, signal.SIGTERM, signal.SIGHUP):
        yield


def _undisturbed() -> AbstractContextManager[None]:
    """A second Ctrl-C does not leave anything running."""
    return _handled(signal.SIG_IGN, signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def _handled(handler: Any, *numbers: signal.Signals) -> Iterator[None]:
    """These signals have this handler inside of the block; only the main thread may say so."""
    main = threading.current_thread() is threading.main_thread()
    before = {number: signal.signal(number, handler) for number in numbers} if main else {}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def _last_words(child: process.Running) -> str:
    lines = [line for line in child.lines() if line.strip()]
    return " / ".join(lines[-3:]) if lines else "it printed nothing."
