"""One grant on a real machine: real programs, with bubblewrap and without."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from clusterray.common import proc
from clusterray.common.clock import SystemClock
from clusterray.common.errors import OutputRejected, TransferError, UsageError
from clusterray.common.kinds.command_items import MANIFEST
from clusterray.common.kinds.command_outputs import seal
from clusterray.common.kinds.kind import Place, Recipe
from clusterray.common.model import Account, Cause, Failure, Grant, Limits, Needs, Program, Region, TaskSpec
from clusterray.common.testing_node import FolderCache, FolderCourier, grant
from clusterray.node import sandbox
from clusterray.node.cards import Card, Cards
from clusterray.node.means import Means
from clusterray.node.runner import Outcome, Runner
from clusterray.node.sandbox import Confinement
from clusterray.node.scratch import Scratch
from clusterray.node.work import Ending, Work

PROGRAMS = Path(__file__).parent.parent / "programs"


def program(name: str, *args: object) -> tuple[str, ...]:
    return (sys.executable, str(PROGRAMS / f"{name}.py"), *map(str, args))


class TestKind:
    """A kind whose only stage does what the test says."""

    __test__ = False
    name, version, options = "test", 1, ()

    def __init__(self, make: Callable[[Place], Recipe], allow: str = "render", command: str = "") -> None:
        self.make, self.allow, self.command = make, allow, command

    def needs(self, spec: TaskSpec) -> Needs:
        return msgspec.structs.replace(spec.needs, command=self.command)

    def stages(self, task: TaskSpec) -> tuple[Any, ...]:
        return (TestStage(self.make),)


class TestStage:
    __test__ = False
    name = "only"

    def __init__(self, make: Callable[[Place], Recipe]) -> None:
        self.make = make

    def process(self, task: TaskSpec, region: Region, place: Place) -> Recipe:
        return self.make(place)


class Bench:
    """A runner with everything around it."""

    def __init__(self, folder: Path) -> None:
        self.data = folder / "data"
        self.scratch = Scratch(self.data)
        self.inputs = folder / "inputs"
        self.inputs.mkdir()
        self.cache = FolderCache(self.inputs)
        self.confinement = Confinement()
        self.allow: tuple[str, ...] = ("render",)
        self.commands: tuple[str, ...] = ()
        self.command = ""
        self.programs: tuple[Program, ...] = ()
        self.cards = Cards(())
        self.keep_free = 0
        self.accounts: list[Account] = []
        self.work: Work | None = None

    def run(self, make: Callable[[Place], Recipe], given: Grant | None = None, *, allow: str = "render") -> Outcome:
        kind: Any = TestKind(make, allow, self.command)

        def kinds(name: str) -> Any:
            if name != "test":
                raise UsageError("there is no such kind")
            return kind

        def couriers(account: Account, stop: threading.Event) -> FolderCourier:
            self.accounts.append(account)
            return FolderCourier(self.data, account, set())

        means = Means(
            allow=self.allow,
            commands=self.commands,
            programs=self.programs,
            confinement=self.confinement,
            cores=2,
            keep_free=self.keep_free,
            cards=self.cards,
        )
        runner = Runner(means=means, kinds=kinds, cache=self.cache, couriers=couriers, scratch=self.scratch, clock=SystemClock())
        self.work = self.work or Work(given or grant(), threading.Event())
        return runner.run(self.work)

    def failure(self, make: Callable[[Place], Recipe], given: Grant | None = None, **more: Any) -> Failure:
        outcome = self.run(make, given, **more)
        assert outcome.result is not None
        assert outcome.result.failure is not None
        assert not [path for path in self.scratch.folder.rglob("*") if path.is_file()], "a failure leaves no scratch"
        assert not list((self.data / "running").iterdir())
        return outcome.result.failure


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def python(code: str, **more: Any) -> Callable[[Place], Recipe]:
    return lambda place: Recipe(argv=(sys.executable, "-c", code), **more)


def call(act: Callable[[Place], object], **more: Any) -> Callable[[Place], Recipe]:
    return lambda place: Recipe(call=lambda: act(place) and None, **more)


WRITE = "open('out/a.txt', 'w').write('made')"


def test_a_small_output_rides_along_and_scratch_is_gone(bench: Bench) -> None:
    """16 KiB or less need no upload."""
    outcome = bench.run(python(WRITE))
    assert outcome.out is None
    assert outcome.result is not None
    assert [(one.path, one.data) for one in outcome.result.outputs] == [("a.txt", b"made")]
    assert not list(bench.scratch.folder.iterdir())


def test_a_large_output_stays_until_it_is_sent(bench: Bench) -> None:
    """More than 16 KiB together go by FTP; each is told with its size and digest."""
    outcome = bench.run(python("open('out/a', 'wb').write(bytes(10000)); open('out/b', 'wb').write(bytes(10000))"))
    assert outcome.out is not None
    assert outcome.result is not None
    assert [(one.path, one.size, one.data) for one in outcome.result.outputs] == [("a", 10000, None), ("b", 10000, None)]
    assert (outcome.out / "a").stat().st_size == 10000


def test_a_call_needs_no_process(bench: Bench) -> None:
    """Our own quick code runs in the agent."""
    outcome = bench.run(call(lambda place: (place.scratch / "out" / "a").write_text("x")))
    assert outcome.result is not None
    assert outcome.result.outputs[0].data == b"x"


def test_progress_and_lines_are_told_apart(bench: Bench) -> None:
    """Progress lines move the bar; all other lines go into the log."""
    bench.work = Work(grant(), threading.Event())
    code = WRITE + "; print('half\\rhello'); print('half')"
    bench.run(python(code, progress=lambda line: 0.5 if line == "half" else None))
    progress = bench.work.progress()
    assert progress.fraction == 1.0
    assert progress.phase == "working"


def test_a_failure_keeps_the_evidence(bench: Bench) -> None:
    """The exit code and the last lines reach the submitter, and what the kind makes of them."""
    failure = bench.failure(lambda place: Recipe(argv=program("crash", 3)))
    assert (failure.cause, failure.exit_code, failure.tail) == (Cause.ERROR, 3, ("about to fail",))
    bench.work = None

    def wrong_scene(code: int, tail: Any) -> Failure:
        return Failure(cause=Cause.INPUT, sentence="line 3: no such colour", exit_code=code)

    assert bench.failure(lambda place: Recipe(argv=program("crash", 1), diagnose=wrong_scene)).cause is Cause.INPUT


@pytest.mark.parametrize("confined", [False, True])
def test_a_signal_is_told_as_one(bench: Bench, tmp_path: Path, confined: bool) -> None:
    """A crash reads the same with confinement and without."""
    if confined:
        bench.confinement = sandbox.try_out(tmp_path, "auto")
    failure = bench.failure(lambda place: Recipe(argv=program("crash", -6), see=(PROGRAMS,)))
    assert failure.exit_code == -6


def test_time_is_limited(bench: Bench) -> None:
    """A job that takes too long is stopped, whole."""
    failure = bench.failure(lambda place: Recipe(argv=program("slow", 60)), grant(limits=Limits(timeout=0.3)))
    assert failure.cause is Cause.TIMEOUT
    assert "0.3 s" in failure.sentence


def test_a_job_that_shows_no_progress_is_stopped(bench: Bench) -> None:
    """`stall` counts from the last progress."""
    failure = bench.failure(lambda place: Recipe(argv=program("deaf")), grant(limits=Limits(stall=0.3)))
    assert failure.cause is Cause.STALL


def test_memory_is_limited_and_told(bench: Bench) -> None:
    """A job gets the memory that it asked for; one that wants more is told so."""
    failure = bench.failure(lambda place: Recipe(argv=program("hog", 4000)), grant(needs=Needs(memory=100 << 20)))
    assert failure.cause is Cause.MEMORY


@pytest.mark.parametrize(("why", "cause"), [(Ending.CANCELED, Cause.CANCELED), (Ending.DRAINED, Cause.DRAINED), (Ending.NOT_YOURS, None)])
@pytest.mark.parametrize("confined", [False, True])
def test_a_stop_ends_the_tree_within_five_seconds(bench: Bench, tmp_path: Path, why: Ending, cause: Cause | None, confined: bool) -> None:
    """Cancel, drain and `not yours` end a program that ignores SIGTERM and what it started, and leave no scratch."""
    if confined:
        bench.confinement = sandbox.try_out(tmp_path, "auto")
    pids = bench.scratch.folder / "x"
    bench.work = Work(grant(), threading.Event())
    proc.adopt_orphans()

    def stop_when_forked(line: str) -> float | None:
        if line == "forked" and bench.work is not None:
            bench.work.end(why)
        return None

    def make(place: Place) -> Recipe:
        nonlocal pids
        pids = place.scratch / "pids"
        return Recipe(argv=program("forks", pids, "stay"), see=(PROGRAMS,), progress=stop_when_forked)

    clock = SystemClock()
    begun = clock.monotonic()
    marks_before = {one.pid for one in proc.table().values()}
    outcome = bench.run(make)
    assert clock.monotonic() - begun < 5
    assert (outcome.result.failure.cause if outcome.result and outcome.result.failure else None) is cause
    left = [one for one in proc.table().values() if one.pid not in marks_before and not one.dead and _is_ours(one.pid)]
    assert not left
    assert not list(bench.scratch.folder.iterdir())


def _is_ours(pid: int) -> bool:
    try:
        return b"forks.py" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def test_outputs_that_are_missing_or_empty_are_a_failure(bench: Bench) -> None:
    """Exit code 0 is no proof: each pattern needs a file that holds something."""
    failure = bench.failure(python("open('out/a.png', 'w')", outputs=("a.png",)))
    assert failure.cause is Cause.REJECTED
    assert "a.png" in failure.sentence


def test_finish_may_reject(bench: Bench) -> None:
    """A kind looks at what was made before it is sent."""

    def finish() -> None:
        raise OutputRejected("The picture is black.")

    failure = bench.failure(python(WRITE, finish=finish))
    assert (failure.cause, failure.sentence) == (Cause.REJECTED, "The picture is black.")


LINKED = {
    "the folder": ("import os; os.rmdir('out'); os.symlink({theirs!r}, 'out')", "has put something else into the place of its folder"),
    "our list": ("import os; os.symlink({theirs!r} + '/precious', 'out/' + {name!r}); open('out/x', 'w').write('x')", ""),
}


@pytest.mark.parametrize("confined", [True, False])
@pytest.mark.parametrize("what", LINKED)
def test_links_that_a_program_leaves_do_not_lead_a_kind_elsewhere(bench: Bench, tmp_path: Path, what: str, confined: bool) -> None:
    """What a kind tidies up and writes after the job is in the job's own folder, or nowhere."""
    if confined:
        bench.confinement = sandbox.try_out(tmp_path, "auto")
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    for name in ("precious", "x"):
        (theirs / name).write_text("mine")
    code, why = LINKED[what]

    def make(place: Place) -> Recipe:
        program = code.format(theirs=str(theirs), name=MANIFEST)
        return python(program, outputs=("x", MANIFEST), finish=lambda: seal(place.scratch / "out", {"it": ("x",)}))(place)

    result = bench.run(make).result
    assert {path.name: path.read_text() for path in theirs.iterdir()} == {"precious": "mine", "x": "mine"}
    assert result is not None
    assert result.failure is None if not why else result.failure is not None and why in result.failure.sentence


def test_a_script_whose_interpreter_is_nowhere_is_a_failure_of_the_job(bench: Bench, tmp_path: Path) -> None:
    """Not of the confinement: given back, it would be tried for ever."""
    bench.confinement = sandbox.try_out(tmp_path, "auto")
    (bench.inputs / "tool").write_text("#!/no/such/interpreter\n")
    (bench.inputs / "tool").chmod(0o755)
    failure = bench.failure(lambda place: Recipe(argv=(str(place.inputs / "tool"),), outputs=("x",)))
    assert failure.cause is Cause.ERROR
    assert "No such file" in " ".join((failure.sentence, *failure.tail))


def test_a_bug_in_a_kind_is_a_failure_of_the_job(bench: Bench) -> None:
    """It is told with its own words, and the node goes on."""
    failure = bench.failure(call(lambda place: 1 / 0))
    assert failure.cause is Cause.ERROR
    assert "ZeroDivisionError" in failure.sentence


RETURNS: Mapping[str, tuple[Callable[[Bench], Grant], str]] = {
    "kind": (lambda bench: grant("other"), "does not know the kind"),
    "stage": (lambda bench: grant(stage="later"), "no stage 'later'"),
    "program": (lambda bench: _with_program("povray==3.8"), "povray 3.8; this node has no povray"),
    "disk": (lambda bench: grant(needs=Needs(scratch=1 << 60)), "MiB are needed"),
}


def _with_program(name: str) -> Grant:
    return msgspec.structs.replace(grant(), program=name)


@pytest.mark.parametrize("what", RETURNS)
def test_what_this_node_cannot_do_is_given_back(bench: Bench, what: str) -> None:
    """Given back with a sentence: the job goes elsewhere, and the attempt does not count."""
    make, sentence = RETURNS[what]
    failure = bench.failure(python(WRITE), make(bench))
    assert failure.cause is Cause.RETURNED
    assert sentence in failure.sentence


def test_the_owner_decides_what_runs(bench: Bench, tmp_path: Path) -> None:
    """Commands need the owner's word, and a kind that is not ours needs a confinement, or the owner's `sandbox = off`."""
    assert "does not allow 'commands'" in bench.failure(python(WRITE), allow="commands").sentence
    bench.allow, bench.confinement, bench.work = ("render", "commands"), Confinement(reason="no bwrap"), None
    assert "built-in render kinds only" in bench.failure(python(WRITE), allow="commands").sentence
    bench.work = None
    assert "built-in render kinds only" in bench.failure(python(WRITE)).sentence  # render, but of a test
    bench.confinement, bench.work = Confinement(), None
    bench.commands = ("any",)
    outcome = bench.run(python(WRITE), allow="commands")
    assert outcome.result is not None
    assert outcome.result.failure is None


@pytest.mark.parametrize(
    ("runs", "says", "missing"), [("ffmpeg", "", ""), ("ffmpeg gmic", "", ""), ("ffmpeg rm", "ffmpeg", "rm"), ("", "ffmpeg", "?")]
)
def test_only_programs_that_the_owner_named_run(bench: Bench, runs: str, says: str, missing: str) -> None:
    """By what the kind on the node reads out of the options, whatever the task says that it needs."""
    bench.allow, bench.commands, bench.command = ("render", "commands"), ("ffmpeg", "gmic"), runs
    given = grant(needs=Needs(command=says))
    if missing:
        failure = bench.failure(python(WRITE), given, allow="commands")
        assert failure.cause is Cause.RETURNED
        said = f"does not allow the program {missing!r} there ([node] commands has ffmpeg, gmic)."
        assert failure.sentence == f"The owner of this node {said}"
    else:
        outcome = bench.run(python(WRITE), given, allow="commands")
        assert outcome.result is not None
        assert outcome.result.failure is None


def test_a_job_has_its_graphics_cards_to_itself_and_others_see_none(bench: Bench) -> None:
    """By the variables that drivers heed; a job that asks for more than are free is given back."""
    bench.cards = Cards([Card(maker="NVIDIA", number=number, name="One") for number in range(2)])
    code = "import os; open('out/a', 'w').write(os.environ['CUDA_VISIBLE_DEVICES'] + '.')"
    places: list[Place] = []

    def make(place: Place) -> Recipe:
        places.append(place)
        return python(code)(place)

    def seen(needs: Needs) -> tuple[bytes | None, tuple[int, ...]]:
        bench.work = None
        result = bench.run(make, grant(needs=needs)).result
        assert result is not None and result.failure is None
        return result.outputs[0].data, places[-1].gpus

    assert seen(Needs()) == (b".", ())
    assert seen(Needs(gpu=1)) == (b"0.", (0,))
    with bench.cards.take(1) as other:
        assert other == (0,)
        assert seen(Needs(gpu=1)) == (b"1.", (1,))
        bench.work = None
        assert "2 graphics cards" in bench.failure(make, grant(needs=Needs(gpu=2))).sentence
    assert seen(Needs(gpu=2)) == (b"0,1.", (0, 1))


def test_the_asked_version_is_used(bench: Bench) -> None:
    """Of several versions side by side the one of the run is taken."""
    bench.programs = (Program(name="povray", version="3.7", path="/a"), Program(name="povray", version="3.8", path="/b"))
    seen: list[Mapping[str, str]] = []

    def make(place: Place) -> Recipe:
        seen.append(place.programs)
        return Recipe(call=lambda: (place.scratch / "out" / "a").write_text("x") and None)

    bench.run(make, _with_program("povray==3.8"))
    assert seen == [{"povray": "/b"}]


def test_fetching_goes_on_with_a_new_account(bench: Bench) -> None:
    """A server that restarted has forgotten the account; a bundle that cannot be had is given back."""
    bench.cache.fails = [TransferError("530 no such account")]
    work = bench.work = Work(grant(), threading.Event())
    new = Account(user="u", password="new", port=1)
    work.renew_account = lambda: bool(work.give_account(new)) or True  # type: ignore[method-assign,func-returns-value]
    outcome = bench.run(python(WRITE))
    assert outcome.result is not None
    assert outcome.result.failure is None
    assert [account.password for account in bench.accounts] == ["password-1", "new"]
    bench.cache.fails = [TransferError("550 no such pack")] * 3
    assert "550 no such pack" in bench.failure(python(WRITE)).sentence


def test_a_confined_program_sees_what_it_should_and_no_more(bench: Bench, tmp_path: Path) -> None:
    """Inputs and the system are read-only, the node's own data and the network are out of sight, scratch is writable."""
    bench.confinement = sandbox.try_out(tmp_path, "auto")
    assert bench.confinement.words == "bubblewrap"
    (bench.inputs / "scene").write_text("scene")
    secret = bench.data / "identity.json"
    secret.write_text("secret")
    code = f"""
import os, socket
def tried(what):
    try: what(); return 'yes'
    except OSError: return 'no'
with open('out/a', 'w') as out:
    print(open({str(bench.inputs / "scene")!r}).read(), file=out)
    print(tried(lambda: open({str(bench.inputs / "new")!r}, 'w')), file=out)
    print(tried(lambda: open({str(secret)!r})), file=out)
    print(tried(lambda: open('/etc/passwd')), file=out)
    print(tried(lambda: open('/usr/new', 'w')), file=out)
    print(tried(lambda: socket.create_connection(('127.0.0.1', 22), 1)), len(socket.if_nameindex()), file=out)
    others = [p for p in os.listdir('/proc') if p.isdigit()]
    print(tried(lambda: open('/tmp/x', 'w')), os.environ.get('HOME') == os.getcwd(), len(others) < 5, file=out)
"""
    outcome = bench.run(python(code))
    assert outcome.result is not None
    assert outcome.result.failure is None, outcome.result.failure
    data = outcome.result.outputs[0].data
    assert data is not None
    assert data.decode().split() == ["scene", "no", "no", "no", "no", "no", "1", "yes", "True", "True"]
