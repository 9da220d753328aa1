"""Probes of shared roots: who sees the same disk and may write serves it; everybody else is named with the reason, and tried again."""

from __future__ import annotations

import pytest
from clusterray.common.model import Needs, NodeInfo, Probe, Probed, SharedAt
from clusterray.common.shared import PROBES, roots
from clusterray.common.testing import FakeClock
from clusterray.node.shared import Shares
from clusterray.server import prober as prober_module
from clusterray.server.prober import AGAIN, ANSWER, Prober
from clusterray.server.roster import Roster

from .bench import Bell

NEEDS = Needs(shared="photos")


class Yard:
    """A server, a disk, and nodes that see it or not."""

    def __init__(self, folder):
        self.clock = FakeClock()
        self.folder = folder
        for name in ("disk", "out", "other"):
            (folder / name).mkdir()
        self.roots = self.seen(folder / "disk", folder / "out")
        self.roster = Roster(self.clock)
        self.prober = Prober(self.roots, self.roster, self.clock)
        self.roster.shared_bar = self.prober.bar
        self.shares = {}

    def seen(self, path, results):
        return roots({"photos": {"path": str(path), "results": str(results)}})

    def node(self, name, path=None, results=None, *, life="life1"):
        known = self.seen(path or self.folder / "disk", results or self.folder / "out")
        self.shares[name] = Shares(known, self.clock)
        info = NodeInfo(name=name, shared=self.shares[name].told())
        self.roster.arrive(name, life, 0, info, object())
        return name

    def probe(self, name):
        """One round, as node and server go through it."""
        asked = self.prober.due(name)
        found = tuple(self.shares[name]._prove(probe) for probe in asked)
        self.prober.hear(name, found)
        self.shares[name].forget(asked)
        return found

    def able(self):
        return [node.id for node in self.roster.able(NEEDS, "render")]

    def why(self, name):
        return self.prober.bar(self.roster.get(name), "photos")


@pytest.fixture
def yard(tmp_path, monkeypatch):
    return Yard(tmp_path)


def test_a_node_serves_a_root_after_its_probe_and_not_before(yard):
    """It arrives, it is asked, it reads and writes, it serves; nothing of that stays on the disk."""
    yard.node("one")
    assert yard.able() == [] and "has yet to show that it sees the shared root photos" in yard.why("one")
    rang = []
    yard.prober.judged = lambda: rang.append(1)
    yard.probe("one")
    assert yard.able() == ["one"] and rang == [1]
    assert list((yard.folder / "disk" / PROBES).iterdir()) == [] and list((yard.folder / "out").iterdir()) == []
    assert yard.prober.due("one") == ()
    assert yard.roster.able(Needs(), "render")  # other tasks never waited


def test_a_node_that_did_not_declare_the_root_has_none(yard):
    """The owner's setting is named."""
    yard.roster.arrive("bare", "life1", 0, NodeInfo(name="bare"), object())
    assert yard.prober.due("bare") == ()
    assert "node bare has no shared root photos (its owner's setting [shared.photos])" in yard.roster.why_none(NEEDS, "render")


def test_the_wrong_disk_is_told_from_the_right_one(yard):
    """Nothing there, or a file of that name with other content: both are another disk."""
    yard.node("wrong", yard.folder / "other")
    yard.probe("wrong")
    assert "sees another disk than the server" in yard.why("wrong")
    assert "Left out: node wrong sees another disk" in yard.prober.left_out("photos")
    yard.clock.advance(AGAIN)
    (asked,) = yard.prober.due("wrong")
    yard.prober.hear("wrong", [Probed(name=asked.name, root="photos", read="something else", own="x")])
    assert "the probe there has other content" in yard.why("wrong") and yard.able() == []


def test_who_writes_elsewhere_is_caught(yard):
    """Results that the server does not see are no results."""
    yard.node("elsewhere", results=yard.folder / "other")
    yard.probe("elsewhere")
    assert "writes results of the shared root photos elsewhere" in yard.why("elsewhere")


def test_what_is_not_mounted_or_cannot_be_written_is_said_by_the_node(yard):
    """In its own words, with its own paths."""
    yard.node("gone", yard.folder / "nothing")
    yard.probe("gone")
    assert f"there is no folder {yard.folder / 'nothing'} on it; is the share mounted?" in yard.why("gone")
    (yard.folder / "file").write_text("")
    yard.node("mute", results=yard.folder / "file")
    yard.probe("mute")
    assert f"cannot write results into {yard.folder / 'file'}: Not a directory" in yard.why("mute")


def test_a_failed_node_is_probed_again_and_comes_back(yard):
    """Somebody mounts the share: no restart of anything is needed."""
    yard.node("late", yard.folder / "nothing")
    yard.probe("late")
    assert yard.prober.due("late") == ()
    (yard.folder / "nothing").symlink_to(yard.folder / "disk")
    yard.clock.advance(AGAIN)
    yard.probe("late")
    assert yard.able() == ["late"]


def test_a_task_has_its_nodes_probed_anew(yard):
    """What was proven an hour ago proves nothing now; a parked node is woken for it, and a probe that failed since counts."""
    yard.node("one")
    yard.probe("one")
    bell = Bell()
    assert yard.prober.due("one", bell) == ()
    yard.prober.renew("photos")
    assert bell.rang == 0 and yard.able() == ["one"]  # it passed just now
    yard.clock.advance(3600)
    yard.prober.renew("photos")
    assert bell.rang == 1 and yard.able() == []
    yard.probe("one")
    assert yard.able() == ["one"]
    yard.prober.doubt("one", "photos")  # it gave a job back
    assert yard.able() == []


def test_a_new_life_of_a_node_is_a_stranger(yard):
    """Mounts may be others after a restart."""
    yard.node("one")
    yard.probe("one")
    yard.node("one", life="life2")
    assert yard.able() == []


def test_a_probe_of_which_nothing_is_heard_is_asked_anew(yard):
    """The link was lost; a late answer to the first question counts no more."""
    yard.node("one")
    (first,) = yard.prober.due("one")
    assert yard.prober.due("one") == ()
    yard.clock.advance(ANSWER)
    (second,) = yard.prober.due("one")
    yard.prober.hear("one", [Probed(name=first.name, root="photos", fault="late")])
    assert "late" not in yard.why("one")
    yard.prober.hear("one", [yard.shares["one"]._prove(second)])
    assert yard.able() == ["one"]


def test_clock_and_space_are_told_but_do_not_keep_a_node_away(yard, monkeypatch):
    """A warning where clocks differ or room is short."""
    monkeypatch.setattr(prober_module, "LITTLE", 1 << 62)
    yard.node("one")
    (asked,) = yard.prober.due("one")
    found = yard.shares["one"]._prove(asked)
    yard.prober.hear("one", [Probed(name=found.name, root="photos", read=found.read, own=found.own, free=found.free, skew=97.0)])
    (view,) = (one for one in yard.prober.views() if one.machine)
    assert view.state == "good" and yard.able() == ["one"]
    assert "has a clock that is 1m 37s behind that of the storage" in view.why and "left for results" in view.why


def test_a_root_that_the_server_itself_cannot_use(yard):
    """The server is named, not the node."""
    yard.prober.roots = roots({"photos": {"path": str(yard.folder / "nothing")}})
    yard.node("one")
    assert yard.prober.due("one") == ()
    assert f"cannot be probed: the server cannot use {yard.folder / 'nothing'}" in yard.why("one")
    (yard.folder / "other" / PROBES).symlink_to(yard.folder / "out")
    yard.prober.roots = roots({"photos": {"path": str(yard.folder / "other")}})
    yard.clock.advance(AGAIN)
    assert yard.prober.due("one") == () and "finds a link in the place of" in yard.why("one")
    assert list((yard.folder / "out").iterdir()) == []
    yard.prober.roots = roots({"photos": {"path": str(yard.folder / "nothing")}})
    yard.prober._look(yard.prober.roots["photos"])
    own = yard.prober.views()[0]
    assert (own.machine, own.state) == ("", "bad") and "is the share mounted there, and may the server write to it?" in own.why


def test_a_root_that_the_server_lost(yard):
    """Its settings were changed while tasks of that root waited: the note names the setting."""
    yard.node("one")
    yard.prober.roots = {}
    assert yard.prober.due("one") == () and "the server has no shared root photos any more" in yard.why("one")


def test_a_root_that_only_the_node_has(yard):
    """It is listed, with the setting that the server lacks."""
    yard.roster.arrive("n", "life1", 0, NodeInfo(name="n", shared=(SharedAt(root="films", path="/mnt/films"),)), object())
    assert yard.prober.due("n") == ()
    assert "this server has not ([shared.films] in its settings)" in yard.prober.views()[-1].why


def test_what_a_node_says_is_not_trusted(yard):
    """A name of another probe, a root that nobody has, a fault of many lines: nothing comes of it but words."""
    yard.node("one")
    (asked,) = yard.prober.due("one")
    yard.prober.hear("one", [Probed(name="../../x", root="photos"), Probed(name=asked.name, root="films"), Probed(name="", root="photos")])
    assert "has yet to show" in yard.why("one")
    yard.prober.hear("one", [Probed(name=asked.name, root="photos", fault="is \x1b[31mred\n" * 1000)])
    assert yard.why("one").isprintable() and len(yard.why("one")) <= 400
    faulty = yard.shares["one"]._prove(Probe(name="../../../etc/passwd", root="photos"))
    assert faulty.fault and not faulty.read
