"""A submitter's talk with the server: first contact, refusals, and coming back."""

from __future__ import annotations

import pytest
from clusterray.client.login import Login
from clusterray.client.session import Session
from clusterray.common.errors import Conflict, LinkLost, NoServer, NoSuchTask, ProtocolError, Refused
from clusterray.common.model import Role
from clusterray.common.security import JoinCode
from clusterray.common.testing import FakeClock
from clusterray.common.wire import messages
from clusterray.common.wire.link import dial

from .conftest import Double, messages_refused, task


def make(farm: Double, clock: FakeClock, said: list[str] | None = None, login: Login | None = None) -> Session:
    say = said.append if said is not None else (lambda text: None)
    return Session(login or Login(code=farm.code()), dial=dial, clock=clock, patience=60.0, say=say)


def status(session: Session) -> messages.ServerStatus:
    return session.ask(messages.Status(), messages.ServerStatus)


def test_the_farm_is_remembered_at_first_contact(farm: Double) -> None:
    """What the server says of itself goes into the login, once."""
    met: list[Login] = []
    session = Session(Login(code=farm.code()), dial=dial, clock=FakeClock(), met=met.append)
    for _ in range(2):
        with session:
            assert status(session).name == "double"
    assert [(login.farm, login.server) for login in met] == [("farm-1", "double")]


def test_another_farm_under_the_old_address_is_told(farm: Double) -> None:
    """Nothing is sent to a farm that merely lives where the old one lived."""
    with pytest.raises(Refused, match="Another farm answers") as caught:
        make(farm, FakeClock(), login=Login(code=farm.code(), farm="farm-0")).connect()
    assert caught.value.exit_code == 4


def test_a_server_with_another_key_hears_nothing(farm: Double) -> None:
    """The pin is checked before the token is sent."""
    way = JoinCode.decode(farm.code())
    false = JoinCode(role=way.role, addresses=way.addresses, pin="0" * 64, token=way.token)
    with pytest.raises(Refused):
        make(farm, FakeClock(), login=Login(code=false.encode())).connect()
    assert farm.asked == []


def test_a_token_that_has_ended_is_refused(farm: Double) -> None:
    """An outdated join code is one sentence and exit code 4."""
    code = farm.code()
    farm.tokens.renew(Role.SUBMIT)
    with pytest.raises(Refused, match="does not open"):
        make(farm, FakeClock(), login=Login(code=code)).connect()


def test_no_server_is_said_at_once(farm: Double) -> None:
    """Nobody waits ten minutes for a server that was never there."""
    farm.hang_up()
    clock = FakeClock()
    before = clock.monotonic()
    with pytest.raises(NoServer):
        make(farm, clock).connect()
    assert clock.monotonic() == before


def test_a_talk_goes_on_after_the_link_was_cut(farm: Double) -> None:
    """A cut link, or a server that says that it is stopping, costs a pause and nothing else."""
    said: list[str] = []
    cuts = iter([ConnectionError(), messages_refused("stopping"), None, None])

    def cut(question: messages.AnyMessage) -> None:
        trouble = next(cuts) if isinstance(question, messages.Status) else None
        if trouble:
            raise trouble

    farm.before = cut
    with make(farm, FakeClock(), said) as session:
        assert session.patiently(lambda: status(session)).name == "double"
    assert [line.split("(")[0].strip() for line in said] == ["The server is away", "The server is back.", "The server is back."]


def test_patience_ends(farm: Double) -> None:
    """A server that stays away is told in the end, with how long it was waited for."""
    clock, said = FakeClock(), list[str]()
    with make(farm, clock, said) as session:
        farm.hang_up()
        with pytest.raises(NoServer, match="has been away for 1m"):
            session.patiently(lambda: status(session))
    assert len(said) == 1


def test_a_server_that_always_hangs_up_on_one_question_does_not_hold_us_for_ever(farm: Double) -> None:
    """The patience is for the question, not for the connection."""

    def cut(question: messages.AnyMessage) -> None:
        if isinstance(question, messages.Status):
            raise ConnectionError

    farm.before = cut
    with make(farm, FakeClock()) as session, pytest.raises(NoServer):
        session.patiently(lambda: status(session))


def test_a_refusal_ends_the_talk(farm: Double) -> None:
    """A token that ends in mid-talk is not tried again."""
    with make(farm, FakeClock()) as session:
        farm.tokens.renew(Role.SUBMIT)
        farm.hang_up()
        farm.come_back()
        with pytest.raises(Refused):
            session.patiently(lambda: status(session))


def test_the_desk_may_say_no_and_the_talk_goes_on(session: Session) -> None:
    """A question that is denied does not end the link."""
    with pytest.raises(NoSuchTask):
        session.ask(messages.Show(task="nothing"), messages.TaskDetail)
    assert status(session).name == "double"


def test_an_answer_of_another_sort_closes_the_link(farm: Double, session: Session) -> None:
    """What the table of the conversation lacks is never taken for an answer."""
    with pytest.raises((ProtocolError, LinkLost)):
        session.ask(messages.Status(), messages.TaskList)
    with pytest.raises(LinkLost, match="closed"):
        status(session)


def test_ids_may_be_shortened_and_jobs_come_in_pages(farm: Double, session: Session) -> None:
    """A unique beginning of an id is enough; a task's jobs are all there."""
    full = "12345678-aaaa-4aaa-8aaa-aaaaaaaaaaaa"
    farm.tasks[full] = task(full, "good", "echo", 0, 0)
    assert session.full_id("1234") == full
    assert session.full_id(full.replace("1", "9")) == full.replace("1", "9")
    assert [job.id for job in session.show("12").jobs] == ["job0", "job1", "job2"]
    with pytest.raises((NoSuchTask, Conflict)):
        session.full_id("77")
