"""The whole agent with its threads and real programs, against a scripted server."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from clusterray.common import proc, process
from clusterray.common.clock import SystemClock
from clusterray.common.errors import AlreadyRunning, Refused
from clusterray.common.kinds.echo import ECHO
from clusterray.common.kinds.kind import Place, Recipe, Warm
from clusterray.common.model import Cause, Region, Role, TaskSpec
from clusterray.common.security import JoinCode
from clusterray.common.settings import NodeSettings
from clusterray.common.testing_node import FolderCache, FolderCourier, ScriptedServer, grant
from clusterray.common.wire.messages import Bye, Hello
from clusterray.node.agent import Agent

PROGRAMS = Path(__file__).parent.parent / "programs"
CODE = JoinCode(role=Role.NODE, addresses=("farm:5007",), pin="ab" * 32, token="join-token")


class ProgramKind:
    """Runs one of the programs of tests/programs, by the option ``argv``."""

    name, version, allow, options = "only", 1, "render", ()

    def stages(self, task: TaskSpec) -> tuple[Any, ...]:
        return (self,)

    def process(self, task: TaskSpec, region: Region, place: Place) -> Recipe:
        name, *words = task.options["argv"]
        return Recipe(argv=(sys.executable, str(PROGRAMS / f"{name}.py"), *words))


def make(data: Path, server: ScriptedServer, slots: int = 1, kind: Any = None, **more: Any) -> Agent:
    def kinds(name: str) -> Any:
        return ECHO if name == "echo" else kind or ProgramKind()

    return Agent(
        NodeSettings(slots=slots, sandbox="off", keep_free=0, name="test"),
        data,
        SystemClock(),
        CODE,
        dial=server.dial,
        kinds=kinds,
        cache=FolderCache(data),
        couriers=lambda account, stop: FolderCourier(data / "sent", account, set()),
        **more,
    )


@pytest.fixture
def server() -> ScriptedServer:
    return ScriptedServer(patience=30.0, beat=0.05)


@pytest.fixture
def build(tmp_path: Path, server: ScriptedServer) -> Iterator[Callable[..., Agent]]:
    agents: list[Agent] = []

    def one(**more: Any) -> Agent:
        agents.append(make(tmp_path / "node", server, **more))
        return agents[-1]

    yield one
    for agent in agents:
        agent.stop(now=True)
        assert agent.join(10)


def echo(number: int) -> Any:
    return grant("echo", stage="echo", bytes=16, fail=[], seconds=0.0, jobs=1, lease=f"e{number}")


def with_number(given: Any, number: int) -> Any:
    return msgspec.structs.replace(given, region=Region(name=f"r{number}", data={"number": number}))


def test_a_node_says_what_it_is_and_gets_an_identity(build: Callable[..., Agent], server: ScriptedServer) -> None:
    """All slots come under one id, however many there are."""
    agent = build(slots=3)
    agent.start()
    assert server.wait_for(lambda s: s.kinds_asked().count("Ask") >= 3)
    hellos = [question for question in server.asked if isinstance(question, Hello)]
    assert [hello.node_id for hello in hellos] == ["", "node-1", "node-1"]
    assert {hello.slot for hello in hellos} == {0, 1, 2}
    assert len({hello.incarnation for hello in hellos}) == 1
    info = hellos[0].node
    assert info is not None
    assert (info.name, info.slots, info.confined) == ("test", 3, "off")
    assert info.memory > 0
    assert info.disk > 0


def test_short_jobs_flow(build: Callable[..., Agent], server: ScriptedServer) -> None:
    """Hundreds of small jobs over two slots, each accepted once."""
    server.give(*(with_number(echo(number), number) for number in range(500)))
    build(slots=2).start()
    assert server.wait_for(lambda s: len(s.results) == 500)
    assert all(result.failure is None for result in server.results.values())


def test_cancel_ends_a_real_program_and_the_slot_goes_on(build: Callable[..., Agent], server: ScriptedServer) -> None:
    """Within 5 s, also when it is deaf; then the next job comes."""
    agent = build()
    agent.start()
    server.give(grant(argv=["deaf"], lease="l0"))
    assert server.wait_for(lambda s: s.kinds_asked().count("Beat") >= 3)
    server.cancel = {"l0"}
    assert server.wait_for(lambda s: "l0" in s.results, 5.0)
    assert server.failure("l0").cause is Cause.CANCELED
    server.give(with_number(echo(1), 1))
    assert server.wait_for(lambda s: "e1" in s.results)


def test_drain_finishes_what_runs_and_a_second_signal_does_not_wait(build: Callable[..., Agent], server: ScriptedServer) -> None:
    """As run_forever hears them: the first stop drains, the second stops."""
    agent, stop, codes = build(), threading.Event(), []
    agent.start()
    thread = threading.Thread(target=lambda: codes.append(agent.run_forever(stop)))
    thread.start()
    server.give(grant(argv=["slow", "30"], lease="l0"))
    assert server.wait_for(lambda s: s.kinds_asked().count("Beat") >= 2)
    stop.set()
    beats = server.kinds_asked().count("Beat")
    assert server.wait_for(lambda s: s.kinds_asked().count("Beat") >= beats + 20)
    assert "l0" not in server.results
    stop.set()
    thread.join(10)
    assert codes == [0]
    assert server.failure("l0").cause is Cause.DRAINED
    assert isinstance(server.asked[-1], Bye)


def test_an_idle_node_leaves_at_once(build: Callable[..., Agent], server: ScriptedServer) -> None:
    """A parked question does not hold up a stop."""
    agent = build(slots=2)
    agent.start()
    assert server.wait_for(lambda s: s.kinds_asked().count("Ask") >= 2)
    agent.stop()
    assert agent.join(3)


def test_one_agent_for_each_folder(build: Callable[..., Agent]) -> None:
    """A second one is told who is there."""
    build().start()
    with pytest.raises(AlreadyRunning):
        build().start()


def test_a_refusal_ends_the_agent_with_4(build: Callable[..., Agent], server: ScriptedServer) -> None:
    """A wrong code is not tried for ever."""
    server.refusal = Refused("this code was replaced", code="token")
    agent = build(slots=2)
    agent.start()
    assert agent.run_forever(threading.Event()) == 4


def test_after_a_crash_the_next_life_ends_what_was_left(build: Callable[..., Agent], server: ScriptedServer, tmp_path: Path) -> None:
    """kill -9 of an agent leaves its program running; the next start ends it, also one that hears no signal, and clears up."""
    up = threading.Event()
    said: list[str] = []

    def hear(line: str) -> None:
        said.append(line)
        up.set()

    env = process.plain_env() | {"PYTHONDONTWRITEBYTECODE": "1"}
    argv = (sys.executable, str(PROGRAMS / "lonely_agent.py"), str(tmp_path / "node"), str(PROGRAMS / "deaf.py"))
    agent = process.start(argv, cwd=tmp_path, env=env, on_line=hear)
    try:
        assert up.wait(30), agent.lines()
        assert said == ["deaf"], said
        leader = proc.look(agent.pid)
        assert leader is not None
        assert proc.send(leader, signal.SIGKILL)
        assert agent.wait(20) == -signal.SIGKILL
        orphans = [one for one in proc.table().values() if not one.dead and _is_deaf(one.pid)]
        assert len(orphans) == 1
        build().start()
        assert not [one for one in proc.table().values() if not one.dead and _is_deaf(one.pid)]
        assert list((tmp_path / "node" / "scratch").iterdir()) == []
    finally:
        agent.stop(0)
    assert server.wait_for(lambda s: "Ask" in s.kinds_asked())


def _is_deaf(pid: int) -> bool:
    try:
        return str(PROGRAMS / "deaf.py").encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False


class WarmKind(ProgramKind):
    """Its jobs leave the process id of who did them."""

    name = "warm"

    def process(self, task: TaskSpec, region: Region, place: Place) -> Recipe:
        program = str(PROGRAMS / "warm.py")
        warm = Warm(key="k", argv=(sys.executable, "-u", program), request={})
        return Recipe(argv=(sys.executable, program, str(place.scratch / "out")), warm=warm, outputs=("pid",))


def test_a_slot_keeps_a_warm_program_and_takes_it_along_when_it_leaves(build: Callable[..., Agent], server: ScriptedServer) -> None:
    """Two jobs, one process; an idle node that is drained leaves none behind."""
    agent = build(kind=WarmKind())
    agent.start()
    pids = []
    for number in range(2):
        server.give(grant("warm", stage="warm", lease=f"l{number}"))
        assert server.wait_for(lambda s, lease=f"l{number}": lease in s.results)
        (output,) = server.results[f"l{number}"].outputs
        assert output.data is not None
        pids.append(int(output.data))
    assert pids[0] == pids[1]
    assert proc.look(pids[0]) is not None
    agent.stop()
    assert agent.join(10)
    assert proc.look(pids[0]) is None
