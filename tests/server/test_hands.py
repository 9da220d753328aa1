"""Kinds' code in child processes: whatever it does, the server gets an answer or a sentence."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from clusterray.common.errors import HandDied, SplitFailed
from clusterray.common.kinds.echo import content
from clusterray.common.manifest import Bundle, write_manifest
from clusterray.common.model import FarmShape, Region, TaskSpec
from clusterray.server.calls import File, Given, GivenPiece, Look, Split, Stitch, Verify
from clusterray.server.hands import STREAMS, Hands

from .bench import ME
from .live import until

GOOD = [(Region(name="r", data={"number": 0}), {"echo.txt": File(data=content(0, 16))})]


@pytest.fixture
def own(with_kinds):
    """Hands of this test alone."""
    made = Hands(quick=1, heavy=1, memory=4_000_000_000, seconds=60.0)
    yield made
    made.close()


def slow(how, where="verify"):
    return TaskSpec(kind="slow", name="n", options={"jobs": 1, "bytes": 16, "seconds": 0.0, "fail": [], "where": where, "how": how})


def verify(tmp_path, spec):
    return Verify(spec=spec, stage=0, jobs=GOOD, work=str(tmp_path / "work"))


def gone(pid):
    return not Path(f"/proc/{pid}").exists() or "State:\tZ" in Path(f"/proc/{pid}/status").read_text()


def test_a_crash_fails_its_call_and_the_next_gets_a_fresh_child(own, tmp_path):
    """The signal is named; nothing is left of the dead child."""
    with pytest.raises(HandDied, match=r"verify of kind slow crashed \(signal 6\)"):
        own.verify(verify(tmp_path, slow("crash")))
    assert own._children == []
    assert own.verify(verify(tmp_path, slow(""))).reasons == [""]


def test_a_hang_is_ended_in_time_and_said_so(with_kinds, tmp_path):
    """The setting that says how long is named."""
    hands = Hands(quick=1, heavy=1, memory=4_000_000_000, seconds=1.5)
    try:
        assert hands.verify(verify(tmp_path, slow(""))).reasons == [""]
        began = time.monotonic()
        with pytest.raises(HandDied, match="hand_time"):
            hands.verify(verify(tmp_path, slow("hang")))
        assert time.monotonic() - began < 10
    finally:
        hands.close()


def test_a_child_that_eats_the_memory_is_stopped_by_its_limit(with_kinds, tmp_path):
    """It gets a sentence, and the machine keeps its memory."""
    hands = Hands(quick=1, heavy=1, memory=1_000_000_000, seconds=60.0)
    try:
        spec = TaskSpec(kind="echo", name="n", options={"jobs": 1, "bytes": 16})
        endless = Pieces([(Region(name="r", data={"number": 0}), {"echo.txt": File(path="/dev/zero")})])
        with pytest.raises(Exception, match="memory"):
            hands.stitch(stitch_of(spec, tmp_path), endless, quiet, nothing).result(60)
        assert hands.look(Look(spec=TaskSpec(kind="echo", name="n"))).allow == "render"
    finally:
        hands.close()


def test_what_a_kind_prints_does_not_disturb_the_talk(with_kinds, tmp_path, monkeypatch):
    """print() in a kind, and a program that writes to its standard output, go to the log."""
    (tmp_path / "chatty_kind.py").write_text(
        "import os\n"
        "from clusterray.common.kinds.echo import Echo\n"
        "class Chatty(Echo):\n"
        "    name = 'chatty'\n"
        "    def needs(self, spec):\n"
        "        print('x' * 100_000, flush=True)\n"
        "        os.write(1, b'\\0\\0\\0\\4junk')\n"
        "        os.system('echo more junk')\n"
        "        return super().needs(spec)\n"
        "CHATTY = Chatty()\n"
    )
    monkeypatch.setenv("CLUSTERRAY_EXTRA_KINDS", "chatty_kind:CHATTY")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    hands = Hands(quick=1, heavy=1, memory=4_000_000_000, seconds=60.0)
    try:
        for _ in range(2):
            assert hands.look(Look(spec=TaskSpec(kind="chatty", name="n"))).allow == "render"
    finally:
        hands.close()


def test_an_unknown_kind_is_the_submitters_mistake(hands):
    """With the nearest right name, and no talk of splits."""
    with pytest.raises(SplitFailed, match="echo"):
        hands.look(Look(spec=TaskSpec(kind="ehco", name="n")))


def test_a_child_that_died_in_between_is_replaced(own, tmp_path):
    """The system ended an idle child, say for its memory: the next call does not notice, and no pipe stays open."""
    own.verify(verify(tmp_path, slow("")))
    (child,) = own._children
    os.kill(child.pid, signal.SIGKILL)
    child.wait(5)
    assert own.verify(verify(tmp_path, slow(""))).reasons == [""]
    assert child not in own._children and child.stdin.closed and child.stdout.closed


def test_a_listener_that_breaks_costs_that_call_only(own, tmp_path):
    """An answer that was not heard to its end is never taken for the next call's."""
    spec = TaskSpec(kind="echo", name="n", options={"jobs": 1, "bytes": 16, "seconds": 0.0, "fail": []})
    own.stitch(stitch_of(spec, tmp_path), Pieces(GOOD), quiet, nothing).result(60)
    with pytest.raises(ZeroDivisionError):
        own.stitch(stitch_of(slow("slow", "stitch"), tmp_path), Pieces(GOOD), lambda fraction: 1 / 0, nothing).result(60)
    out = tmp_path / "next"
    out.mkdir()
    assert own.stitch(stitch_of(spec, out), Pieces(GOOD), quiet, lambda: "then").result(60) == "then"
    assert (out / "n.txt").read_bytes() == content(0, 16), "its own answer, not the one before"


class Pieces:
    """All pieces at once, as a feed gives them."""

    def __init__(self, pieces):
        self.pieces = pieces

    def more(self):
        return Given(pieces=[GivenPiece(region, files) for region, files in self.pieces], last=True)

    def stop(self):
        """Nothing waits here."""


def quiet(fraction):
    """Progress that nobody follows."""


def nothing():
    """Nothing to do afterwards."""


def stitch_of(spec, out):
    manifest = out / "manifest"
    manifest.write_bytes(write_manifest(Bundle(files=(), packs=())))
    return Stitch(spec=spec, stage=0, manifest=str(manifest), packs={}, out=str(out), work=str(out / "work"))


def test_after_the_end_each_call_says_that_the_server_is_stopping(own, tmp_path):
    """Under way, waiting for its turn, or too late: a sentence, never a fault and never a wait."""
    own.verify(verify(tmp_path, slow("")))
    said = []

    def call():
        try:
            own.verify(verify(tmp_path, slow("hang")))
        except HandDied as error:
            said.append(str(error))

    callers = [threading.Thread(target=call) for _ in range(3)]
    for caller in callers:
        caller.start()
    while own._lanes["quick"]._work_queue.qsize() < 2:
        time.sleep(0.01)
    children = [child.pid for child in own._children]
    own.close()
    for caller in callers:
        caller.join(10)
    assert len(said) == 3
    with pytest.raises(HandDied, match="stopping"):
        own.look(Look(spec=TaskSpec(kind="echo", name="n")))
    assert all(gone(pid) for pid in children)


def test_a_kind_that_never_stops_cutting_is_stopped(with_kinds, tmp_path, monkeypatch, make_bench):
    """Millions of jobs are refused with a sentence before they fill the server's memory."""
    (tmp_path / "endless_kind.py").write_text(
        "from itertools import count\n"
        "from clusterray.common.kinds.echo import Echo, EchoStage\n"
        "from clusterray.common.model import Region\n"
        "from clusterray.server import hand\n"
        "hand.MOST_JOBS = 1000\n"
        "import sys\n"
        "sys.modules['__main__'].MOST_JOBS = 1000\n"
        "class Stage(EchoStage):\n"
        "    def split(self, task, files, farm):\n"
        "        return (Region(name=str(n)) for n in count())\n"
        "class Endless(Echo):\n"
        "    name = 'endless'\n"
        "    def stages(self, task):\n"
        "        return (Stage(),)\n"
        "ENDLESS = Endless()\n"
    )
    monkeypatch.setenv("CLUSTERRAY_EXTRA_KINDS", "endless_kind:ENDLESS")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    bench = make_bench()
    bundle, _ = bench.send(ME, bench.folder())
    packs, _ = bench.farm.works.files(bundle)
    hands = Hands(quick=1, heavy=1, memory=4_000_000_000, seconds=60.0)
    try:
        split = Split(
            spec=TaskSpec(kind="endless", name="n"), manifest=str(packs[bundle.digest]), packs={d: str(p) for d, p in packs.items()},
            work=str(tmp_path / "work"), stage=0, farm=FarmShape(),
        )  # fmt: skip
        with pytest.raises(SplitFailed, match="more than 1000 jobs"):
            hands.split(split).result(60)
    finally:
        hands.close()


def test_a_hand_goes_when_its_server_is_killed(with_kinds, tmp_path):
    """Also in the midst of a call: nothing goes on writing into the folders of the next start."""
    script = (
        "import sys, threading\n"
        "from clusterray.server.hands import Hands\n"
        "from clusterray.server.calls import Verify, File\n"
        "from clusterray.common.model import Region, TaskSpec\n"
        "hands = Hands(quick=1, heavy=1, memory=4_000_000_000, seconds=600.0)\n"
        "spec = TaskSpec(kind='slow', name='n', options={'where': 'verify', 'how': 'hang'})\n"
        "call = Verify(spec=spec, stage=0, jobs=[(Region(name='r'), {})], work=sys.argv[1])\n"
        "threading.Thread(target=lambda: hands.verify(call), daemon=True).start()\n"
        "while not hands._children: pass\n"
        "print(hands._children[0].pid, flush=True)\n"
        "threading.Event().wait()\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "w")], stdout=subprocess.PIPE, text=True) as server:
        pid = int(server.stdout.readline())
        time.sleep(0.7)
        server.kill()
    for _ in range(100):
        if gone(pid):
            return
        time.sleep(0.1)
    os.kill(pid, signal.SIGKILL)
    raise AssertionError("the hand outlived its server")


# --- stitches that wait for their pieces

ECHO = TaskSpec(kind="echo", name="n", options={"jobs": 2, "bytes": 16})


def piece(number):
    return GivenPiece(Region(name=f"r{number}", data={"number": number}), {"echo.txt": File(data=content(number, 16))})


class Slowly:
    """A feed whose pieces come when the test says so."""

    def __init__(self):
        self.coming = queue.Queue()
        self.asked = threading.Event()

    def more(self):
        self.asked.set()
        given = self.coming.get(timeout=30)
        if given is None:
            raise HandDied("called off")
        return given

    def stop(self):
        self.coming.put(None)

    def give(self, *numbers, last=False):
        self.coming.put(Given(pieces=[piece(number) for number in numbers], last=last))


def test_waiting_for_a_piece_is_no_hang(with_kinds, tmp_path):
    """A slow piece takes as long as it takes: only what the hand works between two pieces is counted."""
    hands = Hands(quick=1, heavy=1, memory=4_000_000_000, seconds=2.0)
    try:
        feed = Slowly()
        done = hands.stream(stitch_of(ECHO, tmp_path), feed, quiet, nothing)
        assert feed.asked.wait(30)
        time.sleep(2.2)
        feed.give(0)
        feed.give(1, last=True)
        done.result(30)
        assert (tmp_path / "n.txt").read_bytes() == content(0, 16) + content(1, 16)
        assert hands._children == [], "its child ends with it"
    finally:
        hands.close()


def test_a_stream_that_hangs_at_a_piece_is_ended(with_kinds, tmp_path):
    """The clock runs again when it has its piece."""
    hands = Hands(quick=1, heavy=1, memory=4_000_000_000, seconds=1.5)
    try:
        feed = Slowly()
        feed.give(0)
        feed.give(1, last=True)
        options = {**slow("hang", "piece").options, "jobs": 2}
        done = hands.stream(stitch_of(TaskSpec(kind="slow", name="n", options=options), tmp_path), feed, quiet, nothing)
        with pytest.raises(HandDied, match="hand_time"):
            done.result(30)
    finally:
        hands.close()


def test_streams_do_not_hold_up_the_others(own, tmp_path):
    """All places of streams wait for pieces; a stitch and a verification are done meanwhile."""
    feeds = [Slowly() for _ in range(STREAMS)]
    folders = [tmp_path / f"s{n}" for n in range(STREAMS + 1)]
    for folder in folders:
        folder.mkdir()
    waiting = [own.stream(stitch_of(ECHO, folder), feed, quiet, nothing) for folder, feed in zip(folders, feeds, strict=False)]
    assert all(feed.asked.wait(30) for feed in feeds)
    one = TaskSpec(kind="echo", name="n", options={"jobs": 1, "bytes": 16})
    own.stitch(stitch_of(one, folders[-1]), Pieces(GOOD), quiet, nothing).result(60)
    assert own.verify(verify(tmp_path, slow(""))).reasons == [""]
    assert not any(future.done() for future in waiting)


@pytest.mark.parametrize("busy", [False, True])
def test_a_stream_that_is_called_off_ends_at_once(own, tmp_path, busy):
    """Whether it waits or works; its child is gone."""
    feed = Slowly()
    options = {**slow("hang" if busy else "", "piece").options, "jobs": 2}
    done = own.stream(stitch_of(TaskSpec(kind="slow", name="n", options=options), tmp_path), feed, quiet, nothing)
    assert feed.asked.wait(30)
    (pid,) = [child.pid for child in own._children]
    if busy:
        feed.give(0)
        until(lambda: feed.coming.empty())
    own.call_off(feed)
    with pytest.raises(HandDied):
        done.result(10)
    until(lambda: gone(pid))
    own.call_off(feed)  # again is harmless


def test_a_stop_ends_streams_that_wait(own, tmp_path):
    """No thread and no child is left."""
    feed = Slowly()
    done = own.stream(stitch_of(ECHO, tmp_path), feed, quiet, nothing)
    assert feed.asked.wait(30)
    own.close()
    with pytest.raises(HandDied):
        done.result(5)
    assert not any(thread.is_alive() for thread in own._lanes["stream"]._threads)
