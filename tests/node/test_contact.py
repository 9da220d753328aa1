"""What a node says of its server, and when it gives up."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from clusterray.common.errors import ClusterRayError, LinkLost, NoServer, Refused
from clusterray.common.model import NodeInfo, Role
from clusterray.common.security import JoinCode
from clusterray.common.testing import FakeClock
from clusterray.common.testing_node import ScriptedServer
from clusterray.node.contact import Contact
from clusterray.node.identity import NodeIdentity


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def server() -> ScriptedServer:
    return ScriptedServer()


@pytest.fixture
def contact(tmp_path: Path, clock: FakeClock, server: ScriptedServer, caplog: pytest.LogCaptureFixture) -> Contact:
    caplog.set_level(logging.INFO, "clusterray")
    return Contact(
        identity=NodeIdentity(tmp_path, JoinCode(role=Role.NODE, addresses=("farm:5007",), pin="ab" * 32, token="t")),
        dial=server.dial,
        describe=lambda: NodeInfo(name="test"),
        finished=lambda: (),
        incarnation="life",
        clock=clock,
    )


def fail(contact: Contact, error: ClusterRayError, slot: int = 0, attempt: int = 1) -> float:
    return contact.down(slot, error, attempt)


def test_each_change_is_said_once_for_all_slots(contact: Contact, caplog: pytest.LogCaptureFixture) -> None:
    """A farm of many slots that loses its server writes one line, and one when it is back."""
    for slot in range(3):
        contact.meet(slot)
    for attempt in range(5):
        for slot in range(3):
            fail(contact, LinkLost("the link ended") if attempt == 0 else NoServer("no server answers"), slot, attempt)
    for slot in range(3):
        contact.meet(slot)
    lines = [record.message for record in caplog.records]
    assert len(lines) == 3
    assert "Connected to the server scripted as node node-1" in lines[0] == lines[2]
    assert lines[1] == "No server answers. Trying again until it answers; running jobs go on."


def test_a_link_that_is_back_at_once_is_no_news(contact: Contact, caplog: pytest.LogCaptureFixture) -> None:
    """A server that was restarted quickly is reached again without a pause and without alarm."""
    contact.meet(0)
    assert fail(contact, LinkLost("ended"), attempt=0) == 0.0
    contact.meet(0)
    assert [record.levelno for record in caplog.records] == [logging.INFO]


def test_pauses_grow_and_end_never(contact: Contact) -> None:
    """A server may be away for a week."""
    pauses = [fail(contact, NoServer("no"), attempt=attempt) for attempt in range(1, 2000)]
    assert 0 < pauses[0] <= 1
    assert all(15 <= pause <= 30 for pause in pauses[10:])
    assert not contact.over.is_set()


@pytest.mark.parametrize("code", ["token", "role", "version", "pin"])
def test_what_waiting_cannot_mend_ends_a_first_contact(contact: Contact, code: str) -> None:
    """The one who just typed the code gets the server's sentence and exit code 4."""
    fail(contact, Refused("that code is old", code=code))
    assert contact.over.is_set()
    assert contact.failure is not None
    assert contact.failure.exit_code == 4
    assert "That code is old." in contact.told


@pytest.mark.parametrize("code", ["token", "version", "stopping", "busy", "internal"])
def test_a_running_node_goes_on_trying(contact: Contact, code: str, caplog: pytest.LogCaptureFixture) -> None:
    """A daemon outlives an operator's mistake; it says so once, and tries slowly."""
    contact.meet(0)
    pauses = [fail(contact, Refused("not now", code=code)) for _ in range(5)]
    assert not contact.over.is_set()
    assert all(pause >= 2 for pause in pauses)
    assert len(caplog.records) == 2


def test_a_clone_is_borne_for_a_while(contact: Contact, clock: FakeClock) -> None:
    """After a power cut the server may hold the node's own past for alive; a true clone is told to take a new id."""
    while not contact.over.is_set():
        clock.advance(max(1.0, fail(contact, Refused("this id is at work elsewhere: --new-id", code="clone"))))
    assert 1090 <= clock.monotonic() <= 1100
    assert "--new-id" in contact.told
