"""A farm for a test: the real server, nodes and client as processes of their own, in a folder of the test, on free ports."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from clusterray.common import ports

BIN = Path(sys.executable).parent
QUICK = {
    "CLUSTERRAY_FARM_BEAT": "0.3s",
    "CLUSTERRAY_FARM_TERM": "3s",
    "CLUSTERRAY_RETENTION_KEEP_FREE": "0",
    "CLUSTERRAY_NODE_KEEP_FREE": "0",
}
"""So that a test need not wait a minute for a lease to run out."""


def until(what, seconds=30.0, every=0.05):
    """Wait for something to become true, and give it; a test that waits in vain says for what."""
    end = time.monotonic() + seconds
    while True:
        value = what()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"after {seconds} s still not: {getattr(what, '__doc__', '') or what}")
        time.sleep(every)


class Box:
    """Start, kill and ask. Everything that was started is ended by ``close()``, by its own process id."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.data = folder / "farm"
        self.port, self.ftp = ports.free_port(), ports.free_port()
        first, last = ports.free_range(32)
        self.env = {
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "CLUSTERRAY_DATA": str(self.data),
            "CLUSTERRAY_SERVER_LISTEN": "127.0.0.1",
            "CLUSTERRAY_SERVER_PORT": str(self.port),
            "CLUSTERRAY_SERVER_ADDRESSES": f"127.0.0.1:{self.port}",
            "CLUSTERRAY_FTP_LISTEN": "127.0.0.1",
            "CLUSTERRAY_FTP_PORT": str(self.ftp),
            "CLUSTERRAY_FTP_PASSIVE": f"{first}-{last}",
            "CLUSTERRAY_EXTRA_KINDS": "clusterray.common.kinds.echo:ECHO,slow_kind:SLOW",
            "PYTHONPATH": str(Path(__file__).parent / "path"),
            **QUICK,
            **settings,
        }
        self.running: dict[str, subprocess.Popen] = {}

    # --- processes

    def spawn(self, name, module, *arguments, before=(), **env):
        """``before``: a command that ends by running the rest, as ``unshare -m`` does."""
        log = (self.folder / f"{name}.log").open("ab")
        self.running[name] = subprocess.Popen(
            [*before, sys.executable, "-P", "-m", module, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**self.env, **env},
            cwd=self.folder,
            start_new_session=True,
        )
        log.close()
        return self.running[name]

    def server(self):
        """Start the server and wait until it is up."""
        already = self.log("server").count(" is up on port")
        process = self.spawn("server", "clusterray.server")
        until(lambda: self.log("server").count(" is up on port") > already or self.died(process, "server"))
        return self

    def node(self, name="node1", slots=1, wait=True, before=(), **env):
        """Start a node with a data folder of its own."""
        settings = {"CLUSTERRAY_NODE_NAME": name, "CLUSTERRAY_NODE_SLOTS": str(slots), "CLUSTERRAY_DATA": str(self.folder / name)}
        process = self.spawn(name, "clusterray.node", before=before, **{"CLUSTERRAY_JOIN": self.code("node"), **settings, **env})
        if wait:
            until(lambda: self.died(process, name) or any(n["name"] == name and n["online"] for n in self.json("nodes")))
        return process

    def died(self, process, name):
        if process.poll() is not None:
            raise AssertionError(f"{name} ended with {process.returncode}:\n{self.log(name)}")
        return False

    def kill(self, name, number=signal.SIGKILL):
        """Signal one process that this box started, and wait for its end."""
        process = self.running.pop(name)
        process.send_signal(number)
        return process.wait(30)

    def log(self, name):
        path = self.folder / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def close(self):
        for name in sorted(self.running, key=lambda n: n == "server"):
            process = self.running[name]
            if process.poll() is None:
                process.send_signal(signal.SIGINT if name != "server" else signal.SIGTERM)
        for process in self.running.values():
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    # --- commands

    def run(self, *arguments, ok=True, timeout=120, cwd=None, **env):
        """A clusterray command; returns the finished process."""
        done = subprocess.run(
            [BIN / "clusterray", *map(str, arguments)],
            capture_output=True,
            text=True,
            env={**self.env, **env},
            cwd=cwd or self.folder,
            timeout=timeout,
            stdin=subprocess.DEVNULL,
        )
        if ok and done.returncode:
            said = f"{done.stdout}\n{done.stderr}\n--- server\n{self.log('server')[-3000:]}"
            raise AssertionError(f"{arguments} -> {done.returncode}\n{said}")
        return done

    def start(self, *arguments, **env):
        """A command that goes on in the background."""
        return subprocess.Popen(
            [BIN / "clusterray", *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**self.env, **env},
            cwd=self.folder,
        )

    def json(self, *arguments, **env):
        return json.loads(self.run(*arguments, "--json", **env).stdout)

    def code(self, role, *arguments):
        return self.run("join-code", "--role", role, *arguments).stdout.split()[-1]

    def login(self, role="submit"):
        self.run("login", self.code(role))
        return self

    def task(self, ident):
        """One task as `show --json` has it."""
        shown = self.json("show", ident)
        return shown[0] if isinstance(shown, list) else shown

    def echo(self, name="work", **options):
        """A folder with an echo task."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        kind = options.pop("kind", "echo")
        limits = options.pop("limits", "")
        lines = "\n".join(f"{key} = {json.dumps(value)}" for key, value in options.items())
        (folder / "task.toml").write_text(f'kind = "{kind}"\nname = "{name}"\n[options]\n{lines}\n{limits}\n')
        (folder / "readme.txt").write_text(f"the files of {name}\n")
        return folder

    def detach(self, folder, *arguments):
        """Submit and leave; the id."""
        return self.json("submit", folder, "--detach", *arguments)[0]["id"]
