"""Messages: every one survives the wire, and what is none is told apart from what is of another version."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from clusterray.common.errors import DecodeError, OtherVersion, ProtocolError
from clusterray.common.model import Account, Grant, Limits, Needs, NodeInfo, PackRef, Progress, Region, Role
from clusterray.common.wire.dialogue import describe
from clusterray.common.wire.frames import FrameReader, frame
from clusterray.common.wire.messages import VERSION, Ask, Beat, Hello, Leases, Message, Resumed, Watch, Welcome
from clusterray.common.wire.protocol import ANSWERS, QUESTIONS, decode, encode, foreign_version
from hypothesis import given, settings
from hypothesis import strategies as st

QUICK = settings(max_examples=15, derandomize=True, deadline=None, database=None)
Strategies = Callable[[Any], st.SearchStrategy[Any]]


@pytest.mark.parametrize("kind", [*QUESTIONS, *ANSWERS], ids=lambda kind: kind.__name__)
@QUICK
@given(data=st.data())
def test_every_message_arrives_as_it_was_sent_whole_byte_by_byte_and_with_a_tail(
    messages: Strategies, kind: type[Message], data: st.DataObject
) -> None:
    message = data.draw(messages(kind))
    sent = frame(encode(message))
    whole, bytewise, tailed = FrameReader(), FrameReader(), FrameReader()
    whole.feed(sent)
    assert [decode(payload) for payload in whole.frames()] == [message]
    seen = []
    for index in range(len(sent)):
        bytewise.feed(sent[index : index + 1])
        seen += [decode(payload) for payload in bytewise.frames()]
    assert seen == [message]
    tailed.feed(sent + sent[:-1])
    assert [decode(payload) for payload in tailed.frames()] == [message]


@pytest.mark.parametrize("kind", [*QUESTIONS, *ANSWERS], ids=lambda kind: kind.__name__)
@QUICK
@given(data=st.data())
def test_a_log_line_of_a_message_never_fails_and_stays_short(messages: Strategies, kind: type[Message], data: st.DataObject) -> None:
    line = describe(data.draw(messages(kind)))
    assert line.startswith(kind.__name__)
    assert len(line) <= 601


@settings(max_examples=200, derandomize=True, deadline=None, database=None)
@given(payload=st.binary(max_size=200))
def test_random_bytes_are_no_message_and_nothing_worse(payload: bytes) -> None:
    with pytest.raises(DecodeError):
        decode(payload)


DEEP = b"[" * 5000 + b"]" * 5000


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"null",
        b"{}",
        b'{"type":"nonsense"}',
        b'{"type":"ask","wait":"long"}',
        b'{"type":"ask","wait":1e999}',
        b'{"type":"ask","wait":' + b"9" * 5000 + b"}",
        b'{"type":"watch","tasks":["\xff\xfe"]}',
        b'{"type":"watch","tasks":["\\ud800"]}',
        b'{"type":"submit","task":"x","spec":{"kind":"a","name":"b","options":{"a":' + DEEP + b"}}}",
        DEEP,
    ],
    ids=lambda payload: str(payload[:30]),
)
def test_a_malicious_payload_is_a_decode_error(payload: bytes) -> None:
    with pytest.raises(DecodeError):
        decode(payload)


def test_text_that_has_no_json_is_refused_by_the_sender_itself() -> None:
    with pytest.raises(ProtocolError, match="Watch cannot be written"):
        encode(Watch(tasks=("\udcff",)))


def test_unknown_fields_of_a_newer_peer_are_passed_over() -> None:
    payload = b'{"type":"hello","role":"node","token":"t","version":7,"moon":"full","node":{"name":"n","tides":[1]}}'
    assert decode(payload) == Hello(role=Role.NODE, token="t", version=7, node=NodeInfo(name="n"))


@pytest.mark.parametrize("hello", [{"who": "me"}, {"role": "pilot", "token": {}}, {"role": 3}])
def test_a_hello_of_another_version_that_does_not_decode_is_reported_as_such(hello: dict[str, Any]) -> None:
    payload = json.dumps({"type": "hello", "version": VERSION + 1, **hello}).encode()
    assert foreign_version(payload) == VERSION + 1
    with pytest.raises(OtherVersion, match=f"version {VERSION + 1}") as caught:
        decode(payload)
    assert (caught.value.code, caught.value.version) == ("version", VERSION + 1)


@pytest.mark.parametrize(
    "payload", [b"", b"[]", DEEP, b'{"type":"ask","version":9}', b'{"type":"hello"}', b'{"type":"hello","version":"2"}', b"\xff"]
)
def test_what_is_no_hello_of_another_version_is_not_taken_for_one(payload: bytes) -> None:
    assert foreign_version(payload) is None


def test_no_secret_is_in_a_log_line() -> None:
    account = Account(user="lease-1", password="geheim-1", port=21)
    grant = Grant(
        lease="l",
        job="j",
        number=1,
        task="t",
        task_name="n",
        kind="k",
        kind_version=1,
        stage="s",
        region=Region(name="r"),
        options={"token": "geheim-5"},
        limits=Limits(),
        needs=Needs(),
        program="",
        bundle=PackRef(digest="d", size=1),
        term=60.0,
        account=account,
    )
    said = [
        Hello(role=Role.NODE, token="geheim-2", node_token="geheim-3", node_id="n1"),
        Welcome(node_token="geheim-4", node_id="n1"),
        Resumed(account=account),
        Leases(grants=(grant,)),
    ]
    lines = " ".join(map(describe, said))
    assert "geheim" not in lines
    assert lines.count("***") == 6
    assert "lease-1" in lines
    assert "n1" in lines


def test_a_log_line_says_what_was_said() -> None:
    assert describe(Ask(wait=5.0)) == "Ask wait=5.0"
    assert describe(Ask()) == "Ask"
    beat = Beat(progress=tuple(Progress(lease=str(number), lines=("x" * 500,)) for number in range(9)))
    assert len(describe(beat)) <= 601
    assert "9 in all" in describe(Watch(tasks=tuple("abcdefghi")))
