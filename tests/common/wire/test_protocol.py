"""The conversation: the table read from both ends, without a socket."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from clusterray.common.errors import FrameError, IllegalStep, ProtocolError
from clusterray.common.model import Role
from clusterray.common.wire.frames import CAP, frame
from clusterray.common.wire.messages import (
    Ask,
    Beat,
    Beaten,
    Bye,
    Change,
    ChangeNode,
    Denied,
    Fetch,
    Finished,
    Have,
    Hello,
    Leases,
    Lines,
    Log,
    Message,
    Nodes,
    Refused,
    Resume,
    Show,
    Status,
    Stored,
    Submit,
    Tasks,
    Watch,
    Welcome,
)
from clusterray.common.wire.protocol import ANSWERS, QUESTIONS, TABLE, Conversation, NodeHello, Side, State, UserHello, encode
from hypothesis import given, settings
from hypothesis import strategies as st

QUICK = settings(max_examples=80, derandomize=True, deadline=None, database=None)
Strategies = Callable[[Any], st.SearchStrategy[Any]]
HELLO = {NodeHello: Hello(role=Role.NODE, token="t"), UserHello: Hello(role=Role.SUBMIT, token="t")}


def pair() -> tuple[Conversation, Conversation]:
    return Conversation(Side.ASKER), Conversation(Side.ANSWERER)


def greeted(role: Role = Role.NODE) -> tuple[Conversation, Conversation]:
    asker, answerer = pair()
    answerer.receive(asker.send(Hello(role=role, token="t")))
    asker.receive(answerer.send(Welcome()))
    return asker, answerer


@QUICK
@given(data=st.data())
def test_a_walk_through_the_table_never_fails_and_both_ends_agree(messages: Strategies, data: st.DataObject) -> None:
    asker, answerer = pair()
    for _ in range(20):
        rows = [step for state, step in TABLE if state is asker.state]
        if not rows:
            break
        step = data.draw(st.sampled_from(rows))
        role = {NodeHello: st.just(Role.NODE), UserHello: st.sampled_from([Role.SUBMIT, Role.ADMIN])}.get(step)
        message = data.draw(messages(step)) if role is None else Hello(role=data.draw(role), token="t")
        speaker, hearer = (asker, answerer) if step in QUESTIONS or role is not None else (answerer, asker)
        assert speaker.may_send or step is Refused
        after = TABLE[speaker.state, step]
        assert hearer.receive(speaker.send(message)) == [message]
        assert asker.state is answerer.state is after


@QUICK
@given(data=st.data())
def test_a_step_outside_of_the_table_raises_and_changes_nothing(messages: Strategies, data: st.DataObject) -> None:
    state = data.draw(st.sampled_from(State))
    side = data.draw(st.sampled_from(Side))
    own, theirs = (QUESTIONS, ANSWERS) if side is Side.ASKER else (ANSWERS, QUESTIONS)
    kind = data.draw(st.sampled_from([*QUESTIONS, *ANSWERS]))
    message = data.draw(messages(kind))
    key = (NodeHello if message.role is Role.NODE else UserHello) if isinstance(message, Hello) else kind
    for spoken, legal in ((True, kind in own), (False, kind in theirs)):
        conversation = Conversation(side)
        conversation.state = state
        if legal and (state, key) in TABLE:
            continue
        with pytest.raises(IllegalStep, match=kind.__name__):
            conversation.send(message) if spoken else conversation.receive(frame(encode(message)))
        assert conversation.state is state


@settings(max_examples=200, derandomize=True, deadline=None, database=None)
@given(start=st.sampled_from(State), side=st.sampled_from(Side), chunks=st.lists(st.binary(max_size=300), max_size=4), framed=st.booleans())
def test_random_bytes_break_the_rules_and_nothing_else(start: State, side: Side, chunks: list[bytes], framed: bool) -> None:
    conversation = Conversation(side)
    conversation.state = start
    try:
        for chunk in chunks:
            conversation.receive(frame(chunk) if framed and chunk else chunk)
        conversation.receive_eof()
    except ProtocolError:
        pass
    assert conversation.state in (start, State.CLOSED)


@pytest.mark.parametrize("kind", [Ask, Beat, Finished, Resume], ids=lambda kind: kind.__name__)
def test_only_nodes_ask_the_questions_of_a_node(kind: type[Message]) -> None:
    assert (State.NODE, kind) in TABLE
    assert (State.USER, kind) not in TABLE


@pytest.mark.parametrize(
    "kind",
    [Have, Stored, Submit, Tasks, Show, Watch, Change, Fetch, Log, Nodes, ChangeNode, Status],
    ids=lambda kind: kind.__name__,
)
def test_only_submitters_and_admins_ask_the_questions_of_a_user(kind: type[Message]) -> None:
    assert (State.USER, kind) in TABLE
    assert (State.NODE, kind) not in TABLE


def test_the_table_covers_every_message_and_every_state_but_the_last_has_a_way_out() -> None:
    steps = {step for _, step in TABLE}
    assert steps - {NodeHello, UserHello} | {Hello} == {*QUESTIONS, *ANSWERS}
    assert {state for state, _ in TABLE} == set(State) - {State.CLOSED}
    assert set(TABLE.values()) == set(State) - {State.START}


def test_nothing_comes_before_hello_and_no_second_one() -> None:
    asker, answerer = pair()
    with pytest.raises(IllegalStep):
        asker.send(Ask())
    with pytest.raises(IllegalStep):
        answerer.receive(frame(encode(Ask())))
    asker, answerer = greeted()
    with pytest.raises(IllegalStep):
        asker.send(HELLO[NodeHello])


def test_hello_is_welcomed_or_refused_and_never_denied() -> None:
    asker, answerer = pair()
    answerer.receive(asker.send(HELLO[UserHello]))
    with pytest.raises(IllegalStep):
        answerer.send(Denied(code="x", sentence="no"))
    asker.receive(answerer.send(Refused(code="token", sentence="no")))
    assert asker.state is answerer.state is State.CLOSED


def test_denied_leaves_the_link_open_and_refused_ends_it() -> None:
    asker, answerer = greeted(Role.ADMIN)
    answerer.receive(asker.send(Log(task="t")))
    asker.receive(answerer.send(Denied(code="no_such_task", sentence="no")))
    answerer.receive(asker.send(Log(task="t")))
    asker.receive(answerer.send(Lines(lines=())))
    answerer.receive(asker.send(Log(task="t")))
    asker.receive(answerer.send(Refused(code="stopping", sentence="bye")))
    with pytest.raises(IllegalStep):
        asker.send(Log(task="t"))


def test_the_server_may_refuse_while_the_next_question_is_on_its_way() -> None:
    asker, answerer = greeted()
    crossing = answerer.send(Refused(code="stopping", sentence="bye"))
    asker.send(Ask())
    assert asker.receive(crossing) == [Refused(code="stopping", sentence="bye")]
    assert asker.state is State.CLOSED


def test_an_answer_to_another_question_is_illegal() -> None:
    asker, answerer = greeted()
    answerer.receive(asker.send(Ask()))
    with pytest.raises(IllegalStep):
        answerer.send(Beaten())
    with pytest.raises(IllegalStep):
        asker.receive(frame(encode(Beaten())))
    assert asker.receive(answerer.send(Leases())) == [Leases()]


def test_a_second_question_before_the_answer_is_illegal_and_takes_the_first_with_it() -> None:
    asker, answerer = greeted()
    with pytest.raises(IllegalStep):
        answerer.receive(asker.send(Ask()) + frame(encode(Ask())))
    assert answerer.state is State.NODE


def test_bye_closes() -> None:
    asker, answerer = greeted()
    answerer.receive(asker.send(Bye()))
    assert asker.state is answerer.state is State.CLOSED
    assert not asker.may_send
    assert not answerer.may_send


def test_an_answer_that_does_not_fit_a_frame_is_the_senders_own_mistake_and_changes_nothing() -> None:
    asker, answerer = greeted(Role.SUBMIT)
    answerer.receive(asker.send(Log(task="t")))
    with pytest.raises(FrameError):
        answerer.send(Lines(lines=("x" * CAP,)))
    asker.receive(answerer.send(Lines(lines=("short",))))


def test_the_end_of_the_bytes_closes_and_tells_a_cut_message() -> None:
    asker, answerer = greeted()
    answerer.receive_eof()
    assert answerer.state is State.CLOSED
    asker.receive(b"\0\0")
    with pytest.raises(FrameError):
        asker.receive_eof()
    assert asker.state is State.CLOSED
