"""Who may import whom (DESIGN, section 3), read from the syntax of every file; and that each rule would notice a breach."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SIDES = ("server", "node", "client")
FILES = ["__init__.py", *sorted(path.relative_to(ROOT).as_posix() for part in (*SIDES, "common") for path in (ROOT / part).rglob("*.py"))]
GROUND = ("model", "states", "errors", "clock")
FRONTS = ("server/client_thread.py", "server/console.py", "server/httpd.py", "server/odm/", "server/ui/", "server/autoscale/")

ONLY = {
    "sqlite3": ("server/store.py",),
    "socket": ("common/wire/link.py", "server/listener.py", "server/console.py", "common/ports.py"),
    "subprocess": ("common/process.py",),
    "multiprocessing": ("client/unified_map.py",),
    "ftplib": ("common/transfer.py",),
    "pyftpdlib": ("server/ftp_thread.py",),
    "secrets": ("common/security.py", "common/model.py"),
    "time": ("common/clock.py",),
    "random": ("common/clock.py",),
    "daemon": ("common/daemon.py",),
    "dask": ("server/engines/dask.py", "client/unified_map.py", "client/cluster_setup.py"),
    "distributed": ("server/engines/dask.py", "client/unified_map.py", "client/cluster_setup.py"),
    "pyspark": ("server/engines/spark.py", "client/unified_map.py", "client/cluster_setup.py"),
    "typer": ("client/",),
    "rich": ("client/",),
    "pydantic": (),
}
"""Library -> the files (or folders) that may import it. A library of the standard kind means that one file owns the matter."""

HEAVY = {"cv2", "open3d", "pycolmap", "rasterio", "pyproj", "av", "OpenEXR", "mitsuba", "bpy", "scipy", "laspy", "trimesh", "pyvips"}
HEAVY |= {"tifffile", "imageio", "imageio_ffmpeg"}
HEAVY |= {"nicegui", "fastapi", "uvicorn", "aiohttp", "boto3", "libcloud", "dask", "distributed", "pyspark", "pydo", "hcloud", "scaleway"}
"""Not in the base: imported inside functions, so that a node or a client without the extra still starts."""

KINDS_MAY_NOT = {"threading", "socket", "sqlite3", "subprocess", "multiprocessing", "asyncio", "concurrent", "ftplib", "ssl", "queue"}
STARTS_PROGRAMS = {  # calls that fork or start a program, and who may
    "fork": (), "forkpty": (), "system": (), "popen": (), "spawnv": (), "spawnl": (), "spawnve": (), "spawnvp": (),
    "posix_spawn": ("common/daemon.py",),  # a fresh interpreter that detaches: a process with threads cannot fork
    "posix_spawnp": (),
    "execv": ("common/daemon.py", "client/client.py"),
    "execve": ("common/daemon.py",),
    "execvp": (), "execvpe": (), "execl": (), "execlp": (),
}  # fmt: skip


@dataclass(frozen=True)
class Import:
    """One imported module, by its whole name; ``at_once`` if importing the file imports it too."""

    target: str
    at_once: bool
    line: int


class Imports(ast.NodeVisitor):
    """Collects a file's imports. Those under TYPE_CHECKING count for the rules, as they couple just the same, but are never at once."""

    def __init__(self, file: str) -> None:
        self.package = ["clusterray", *Path(file).parent.parts]
        self.found: list[Import] = []
        self.inside = 0

    def note(self, target: str, node: ast.stmt) -> None:
        self.found.append(Import(target, not self.inside, node.lineno))

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self.note(alias.name, node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        above = self.package[: len(self.package) - node.level + 1] if node.level else []
        base = ".".join([*above, *([node.module] if node.module else [])])
        for alias in node.names:
            self.note(f"{base}.{alias.name}", node)

    def deeper(self, node: ast.AST) -> None:
        self.inside += 1
        self.generic_visit(node)
        self.inside -= 1

    visit_FunctionDef = visit_AsyncFunctionDef = visit_Lambda = deeper  # noqa: N815

    def visit_If(self, node: ast.If) -> None:
        self.deeper(node) if "TYPE_CHECKING" in ast.dump(node.test) else self.generic_visit(node)


def offences(file: str, source: str) -> Iterator[str]:
    """Every breach of a rule in one file, in words."""
    tree = ast.parse(source)
    reader = Imports(file)
    reader.visit(tree)
    side = file.split("/")[0]
    for found in reader.found:
        where = f"{file}:{found.line}: "
        top, *below = found.target.split(".")
        if top == "clusterray":
            yield from (where + said for said in inner(file, side, below))
            continue
        if top in ONLY and not file.startswith(ONLY[top]):
            yield f"{where}{top} belongs to {' and '.join(ONLY[top]) or 'nobody'}"
        if top in HEAVY and found.at_once:
            yield f"{where}{top} is not in the base: import it inside the function that needs it"
        if file.startswith("common/kinds/") and top in KINDS_MAY_NOT:
            yield f"{where}a kind imports no {top}"
        if top in SIDES or top == "common":
            yield f"{where}{top} is only importable as clusterray.{top}"
    yield from (f"{file}:{said}" for said in calls(file, tree))


def inner(file: str, side: str, below: list[str]) -> Iterator[str]:
    """The rules for imports of our own modules; ``below`` is the module's path below clusterray."""
    to, what = [*below, "", ""][:2]
    if side in (*SIDES, "common") and to in SIDES and to != side:
        yield f"{side} does not import {to}: they meet on the wire and in common"
    if file.startswith(FRONTS) and to == "server" and what in ("store", "splitter", "dispatcher"):
        yield f"a front knocks at desk, never at {what}"
    if side != "common" or to != "common":
        return
    here, there = file.split("/")[1].removesuffix(".py"), what
    if here in GROUND and there not in GROUND:
        yield f"{here} is at the ground and does not import {there}"
    floors = {"wire", "kinds", "survey"}
    if here in floors and there in floors - {here} and (here, there) != ("kinds", "survey"):
        yield f"{here} knows nothing of {there}"
    if here == "kinds" and there in ("transfer", "service", "process", "daemon"):
        yield f"a kind imports no thread, socket, store or engine, and so no {there}"


def calls(file: str, tree: ast.AST) -> Iterator[str]:
    """The rules that no import shows: reading a clock, forking, a shell."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in ("now", "utcnow", "today") and file != "common/clock.py":
            if ast.unparse(node.value).split(".")[-1] in ("datetime", "date"):
                yield f"{node.lineno}: {ast.unparse(node)} reads a clock: take a Clock"
        elif isinstance(node, ast.Call):
            if isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name) and node.func.value.id == "os":
                allowed = STARTS_PROGRAMS.get(node.func.attr)
                if allowed is not None and file not in allowed:
                    yield f"{node.lineno}: os.{node.func.attr}: programs start in common/process.py"
            for keyword in node.keywords:
                if keyword.arg == "preexec_fn":
                    yield f"{node.lineno}: preexec_fn is not safe in a process with threads"
                if keyword.arg == "shell" and not (isinstance(keyword.value, ast.Constant) and keyword.value.value is False):
                    yield f"{node.lineno}: programs run by argv, never through a shell"
        elif isinstance(node, ast.ImportFrom) and node.module == "os" and any(alias.name in STARTS_PROGRAMS for alias in node.names):
            yield f"{node.lineno}: say os.{node.names[0].name}, so that this test sees it"


@pytest.mark.parametrize("file", FILES)
def test_every_file_keeps_the_rules(file: str) -> None:
    """Folders can be understood, tested and taken out one by one."""
    assert list(offences(file, (ROOT / file).read_text("utf-8"))) == []


@pytest.mark.parametrize(
    ("file", "source", "said"),
    [
        ("server/a.py", "from ..node import agent", "server does not import node"),
        ("node/a.py", "from clusterray.client.cli import main", "node does not import client"),
        ("client/a.py", "def f():\n    from ..server.store import Store", "client does not import server"),
        ("common/a.py", "from ..server import desk", "common does not import server"),
        ("common/clock.py", "from .log import set_up", "clock is at the ground"),
        ("common/wire/a.py", "from ..kinds.kind import Kind", "wire knows nothing of kinds"),
        ("common/kinds/a.py", "from ..wire import link", "kinds knows nothing of wire"),
        ("common/kinds/a.py", "import threading", "a kind imports no threading"),
        ("common/kinds/a.py", "from ..process import start", "a kind imports no thread"),
        ("server/client_thread.py", "from .store import Store", "a front knocks at desk"),
        ("server/odm/routes.py", "from ..dispatcher import Dispatcher", "a front knocks at desk"),
        ("server/a.py", "import sqlite3", "sqlite3 belongs to server/store.py"),
        ("node/a.py", "from socket import create_connection", "socket belongs to"),
        ("node/a.py", "import subprocess as sp", "subprocess belongs to common/process.py"),
        ("server/a.py", "import time", "time belongs to common/clock.py"),
        ("server/a.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import random", "random belongs to common/clock.py"),
        ("server/a.py", "from datetime import datetime\nx = datetime.now()", "reads a clock"),
        ("server/a.py", "import datetime\nx = datetime.date.today()", "reads a clock"),
        ("server/a.py", "import rich.console", "rich belongs to client/"),
        ("common/survey/a.py", "import cv2", "cv2 is not in the base"),
        ("server/a.py", "import common.model", "common is only importable as clusterray.common"),
        ("server/a.py", "import os\nos.fork()", "programs start in common/process.py"),
        ("server/a.py", "from os import fork", "so that this test sees it"),
        ("common/process.py", "Popen(argv, preexec_fn=f)", "preexec_fn"),
        ("common/process.py", "Popen(argv, shell=True)", "never through a shell"),
    ],
)
def test_a_breach_of_each_rule_is_noticed(file: str, source: str, said: str) -> None:
    """A rule that cannot fail holds nothing."""
    found = list(offences(file, source))
    assert len(found) == 1
    assert said in found[0]


def test_imports_inside_functions_and_of_the_own_side_are_fine() -> None:
    """The rules forbid no more than they mean to."""
    assert list(offences("server/engines/dask.py", "from ..desk import Desk\ndef f():\n    import dask")) == []
    assert list(offences("common/clock.py", "import time, random, datetime\nfrom .errors import UsageError\ndatetime.datetime.now()")) == []
    assert list(offences("client/a.py", "import datetime\nfrom ..common.wire import link\nx = datetime.timedelta(1)\nb.now()")) == []


def loaded_by(statement: str) -> set[str]:
    """The modules in memory after a statement in an interpreter of its own."""
    code = f"{statement}\nimport sys\nprint('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize("side", ["server", "node"])
def test_the_daemons_start_without_what_they_do_not_need(side: str) -> None:
    """Neither pixels nor terminals: their libraries cost memory in a process that never uses them."""
    modules = loaded_by(f"import clusterray.{side}.__main__")
    assert modules & {"numpy", "PIL", "typer", "rich", "pydantic", "dask", "cv2"} == set()
    assert {name.split(".")[1] for name in modules if name.startswith("clusterray.")} == {side, "common"}


def test_the_server_and_its_node_speak_no_ftp_of_the_other_side() -> None:
    """pyftpdlib serves, ftplib fetches: neither is loaded where it has no work."""
    assert "pyftpdlib" not in loaded_by("import clusterray.node.__main__")
    assert "pyftpdlib" not in loaded_by("import clusterray.client.cli")


def test_the_package_itself_loads_nothing() -> None:
    """``import clusterray`` gives the version; parts are loaded as they are used."""
    assert {name for name in loaded_by("import clusterray") if name.startswith("clusterray.")} == set()
