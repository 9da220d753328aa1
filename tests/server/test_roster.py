"""What the farm says of nodes that do not take a task's jobs."""

from __future__ import annotations

import pytest
from clusterray.common.model import Needs, NodeInfo, Program
from clusterray.common.testing import FakeClock
from clusterray.server.roster import Roster

POV = Needs(program="povray")
ON_37 = "povray==3.7.0.10"


@pytest.fixture
def roster():
    return Roster(FakeClock())


def arrive(roster, node, version="3.7.0.10", slots=1):
    for slot in range(slots):
        roster.arrive(node, "i", slot, NodeInfo(name=node, slots=slots, programs=(Program(name="povray", version=version),)), object())


def test_nodes_of_another_version_are_named(roster):
    """Who waits sees which nodes are left out of a task, and why."""
    arrive(roster, "usual")
    assert roster.left_out(POV, "render", ON_37) == ""
    arrive(roster, "new", "3.8.0")
    sentence = "Node new (it has 3.8.0) is left out, because the task runs on povray 3.7.0.10 alone."
    assert roster.left_out(POV, "render", ON_37) == sentence
    arrive(roster, "newer", "3.8.1")
    assert "Nodes new (it has 3.8.0), newer (it has 3.8.1) are left out" in roster.left_out(POV, "render", ON_37)
    assert roster.left_out(Needs(), "render", "") == ""


def test_a_version_that_has_gone_is_said(roster):
    """When the last node of the task's version goes, the task says what it waits for."""
    arrive(roster, "new", "3.8.0")
    assert roster.left_out(POV, "render", ON_37).endswith("the task runs on povray 3.7.0.10 alone, and no node with that one is here now.")


def test_a_node_without_room_is_named_until_a_slot_has_some(roster):
    """A farm whose nodes all rest says why; one slot that takes jobs is enough to be silent."""
    arrive(roster, "full", slots=2)
    roster.say("full", 0, "its disk has 3 MiB free.")
    assert roster.why_none(POV, "render") == ""
    roster.say("full", 1, "its disk has 3 MiB free.")
    assert roster.why_none(POV, "render") == "No node can run it now, so it waits: node full takes no job now: its disk has 3 MiB free."
    roster.say("full", 0, "")
    assert roster.why_none(POV, "render") == ""


def test_a_command_that_a_node_does_not_allow_names_the_setting(roster):
    """Its owner decides program by program; `any` allows all."""
    needs = Needs(command="ffmpeg")
    roster.arrive("shy", "i", 0, NodeInfo(name="shy", allow=("commands",), commands=("convert",), confined="off"), object())
    assert roster.able(needs, "commands") == []
    assert "node shy does not allow the program ffmpeg (its owner's setting [node] commands)" in roster.why_none(needs, "commands")
    for name, commands in (("bold", ("any",)), ("fair", ("convert", "ffmpeg"))):
        roster.arrive(name, "i", 0, NodeInfo(name=name, allow=("commands",), commands=commands, confined="off"), object())
    assert {node.id for node in roster.able(needs, "commands")} == {"bold", "fair"}
