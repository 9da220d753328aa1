"""A farm on this machine for the figures: the real server, nodes and wire, without the command line between them.

    python misc/bench/farm.py makespan   # one still on two one-core slots against povray +WT2
    python misc/bench/farm.py noop       # no-op jobs per second through the whole path, beside plain Dask in the same run
    python misc/bench/farm.py latency    # from submit to the first job running, two idle nodes
    python misc/bench/farm.py memory     # resident memory of an idle server and an idle node

Each prints the median of five (``--runs``) with all single values, as one table row for docs/figures.md.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import psutil
from clusterray.common import ports
from clusterray.common.bundle import make_bundle
from clusterray.common.clock import SystemClock
from clusterray.common.model import PackRef, Role, TaskSpec, TaskView, new_task_id
from clusterray.common.security import JoinCode, Tokens, make_identity
from clusterray.common.states import LIVE_TASK
from clusterray.common.taskfile import read_task
from clusterray.common.transfer import Courier
from clusterray.common.wire.link import Link, dial
from clusterray.common.wire.messages import Have, Hello, Missing, News, Show, Stored, Submit, Submitted, TaskDetail, Watch

A = TypeVar("A")
SCENE = Path("/usr/share/doc/povray/examples/advanced/chess2.pov")
SIZE = (640, 480)


class BenchFarm:
    """One server, some nodes of one slot each, a link of a submitter."""

    def __init__(self, nodes: int) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="cr-bench-"))
        first, last = ports.free_range(16)
        port = ports.free_port()
        self.env = {
            **os.environ,
            "CLUSTERRAY_SERVER_LISTEN": "127.0.0.1",
            "CLUSTERRAY_SERVER_PORT": str(port),
            "CLUSTERRAY_FTP_LISTEN": "127.0.0.1",
            "CLUSTERRAY_FTP_PORT": str(ports.free_port()),
            "CLUSTERRAY_FTP_PASSIVE": f"{first}-{last}",
            "CLUSTERRAY_EXTRA_KINDS": "clusterray.common.kinds.echo:ECHO",
            "CLUSTERRAY_RETENTION_KEEP_FREE": "0",
            "CLUSTERRAY_NODE_KEEP_FREE": "0",
            "CLUSTERRAY_NODE_SLOTS": "1",
            "CLUSTERRAY_NODE_CORES": "1",
        }
        data = self.folder / "farm" / "server"
        identity = make_identity(data)
        tokens = Tokens(data)
        self.codes = {
            role: JoinCode(role=role, addresses=(f"127.0.0.1:{port}",), pin=identity.pin, token=tokens.current(role)) for role in Role
        }
        self.server = self._spawn("clusterray.server", self.folder / "farm")
        self.link = self._dial()
        self.nodes = [self._spawn("clusterray.node", self.folder / f"node{n}", join=True) for n in range(nodes)]
        self._wait_for_nodes(nodes)

    def submit(self, folder: Path, spec: TaskSpec) -> TaskView:
        """Send what is missing and hand in the task."""
        work = Path(tempfile.mkdtemp(dir=self.folder))
        prepared = make_bundle(folder, work)
        missing = self._ask(Have(packs=prepared.packs), Missing)
        wanted: list[PackRef] = [pack for pack in prepared.packs if pack.digest in missing.packs]
        if wanted:
            courier = Courier(missing.account, self.link.host, self.codes[Role.SUBMIT].pin, SystemClock())
            for pack in wanted:
                courier.put_pack(pack, lambda pack=pack: prepared.open(pack.digest), compress=False)  # type: ignore[misc]
            courier.close()
            self.link.ask(Stored(session=missing.session, packs=tuple(wanted)))
        return self._ask(Submit(task=new_task_id(), spec=spec, bundle=prepared.bundle, session=missing.session), Submitted).task

    def finish(self, task: TaskView) -> TaskView:
        """Watch a task to its end."""
        event = 0
        while True:
            news = self._ask(Watch(tasks=(task.id,), event=event), News)
            event = news.event
            if news.tasks[0].state not in LIVE_TASK:
                if news.tasks[0].error:
                    raise SystemExit(news.tasks[0].error)
                return news.tasks[0]

    def first_running(self, task: TaskView) -> float:
        """Seconds since 1970 at which the first attempt began, as the store has it."""
        self.finish(task)
        detail = self._ask(Show(task=task.id), TaskDetail)
        return min(attempt.started for job in detail.jobs for attempt in job.attempts)

    def close(self) -> None:
        self.link.close()
        for process in (*self.nodes, self.server):
            process.send_signal(signal.SIGTERM)
            process.wait(30)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _ask(self, question: Any, kind: type[A]) -> A:
        answer = self.link.ask(question)
        assert isinstance(answer, kind), answer
        return answer

    def _spawn(self, module: str, data: Path, *, join: bool = False) -> subprocess.Popen[bytes]:
        env = {**self.env, "CLUSTERRAY_DATA": str(data), "CLUSTERRAY_NODE_NAME": data.name}
        if join:
            env["CLUSTERRAY_JOIN"] = self.codes[Role.NODE].encode()
        log = (self.folder / f"{data.name}.log").open("wb")
        return subprocess.Popen([sys.executable, "-P", "-m", module], env=env, stdout=log, stderr=log, cwd=self.folder)

    def _dial(self) -> Link:
        code = self.codes[Role.SUBMIT]
        for _ in range(200):
            try:
                link = dial(code.addresses, code.pin)
                break
            except Exception:
                time.sleep(0.1)
        link.ask(Hello(role=Role.SUBMIT, token=code.token))
        return link

    def _wait_for_nodes(self, count: int) -> None:
        from clusterray.common.wire.messages import NodeList, Nodes

        while sum(node.online for node in self._ask(Nodes(), NodeList).nodes) < count:
            time.sleep(0.05)


def makespan(runs: int) -> None:
    scene = Path(tempfile.mkdtemp(prefix="cr-scene-"))
    shutil.copy(SCENE, scene)
    width, height = SIZE
    spec, _ = read_task(scene, [f"width={width}", f"height={height}", 'args=["+AM2", "+A0.3"]'])
    farm = BenchFarm(2)
    ours, alone = [], []
    try:
        for _ in range(runs):
            begun = time.monotonic()
            farm.finish(farm.submit(scene, spec))
            ours.append(time.monotonic() - begun)
            begun = time.monotonic()
            argv = ["povray", f"+I{SCENE.name}", f"+W{width}", f"+H{height}", "+AM2", "+A0.3", "+WT2", "-D", "-GA", f"+O{scene}/alone.png"]
            subprocess.run(argv, cwd=scene, check=True, capture_output=True)
            alone.append(time.monotonic() - begun)
    finally:
        farm.close()
        shutil.rmtree(scene)
    ratio = statistics.median(ours) / statistics.median(alone)
    print(f"makespan {SCENE.stem} {width}x{height}: farm {show(ours)} s, povray +WT2 {show(alone)} s, ratio {ratio:.3f}")


def noop(runs: int, jobs: int) -> None:
    folder = Path(tempfile.mkdtemp(prefix="cr-noop-"))
    (folder / "task.toml").write_text('kind = "echo"\n')
    farm = BenchFarm(2)
    ours = []
    try:
        spec = TaskSpec(kind="echo", name="noop", options={"jobs": jobs, "bytes": 16})
        for _ in range(runs):
            begun = time.monotonic()
            farm.finish(farm.submit(folder, spec))
            ours.append(jobs / (time.monotonic() - begun))
    finally:
        farm.close()
        shutil.rmtree(folder)
    dask = dask_noop(runs, min(jobs, 2000))
    ratio = statistics.median(ours) / statistics.median(dask)
    print(f"no-op jobs, 2 slots: farm {show(ours, 0)} jobs/s ({jobs} jobs), dask {show(dask, 0)} tasks/s, ratio {ratio:.1f}")


def dask_noop(runs: int, tasks: int) -> list[float]:
    from distributed import Client, LocalCluster

    values = []
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        for _ in range(runs):
            begun = time.monotonic()
            client.gather(client.map(nothing, range(tasks), pure=False))
            values.append(tasks / (time.monotonic() - begun))
    return values


def nothing(number: int) -> int:
    return number


def latency(runs: int) -> None:
    folder = Path(tempfile.mkdtemp(prefix="cr-latency-"))
    (folder / "task.toml").write_text('kind = "echo"\n')
    farm = BenchFarm(2)
    values = []
    try:
        for _ in range(runs):
            farm.finish(farm.submit(folder, TaskSpec(kind="echo", name="warm", options={"jobs": 1})))
            time.sleep(1.0)
            begun = time.time()
            task = farm.submit(folder, TaskSpec(kind="echo", name="x", options={"jobs": 1}))
            values.append((farm.first_running(task) - begun) * 1000)
    finally:
        farm.close()
        shutil.rmtree(folder)
    print(f"submit to first job running: {show(values, 0)} ms")


def memory(runs: int) -> None:
    farm = BenchFarm(1)
    try:
        time.sleep(3.0)
        sizes = [[psutil.Process(p.pid).memory_info().rss / 1e6 for p in (farm.server, farm.nodes[0])] for _ in range(runs)]
        hands = [child.memory_info().rss / 1e6 for child in psutil.Process(farm.server.pid).children()]
    finally:
        farm.close()
    server, node = zip(*sizes, strict=True)
    print(f"idle resident memory: server {show(list(server))} MB, node {show(list(node))} MB, each hand {max(hands, default=0):.0f} MB")


def show(values: list[float], digits: int = 2) -> str:
    return f"{statistics.median(values):.{digits}f} ({', '.join(f'{v:.{digits}f}' for v in values)})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["makespan", "noop", "latency", "memory"])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=10_000)
    given = parser.parse_args()
    what: dict[str, Callable[[], None]] = {
        "makespan": lambda: makespan(given.runs),
        "noop": lambda: noop(given.runs, given.jobs),
        "latency": lambda: latency(given.runs),
        "memory": lambda: memory(given.runs),
    }
    what[given.what]()


if __name__ == "__main__":
    main()
