"""common/README.md says what the code says: words drift apart from tables unless a test holds them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from clusterray.common import states
from clusterray.common.wire import messages
from clusterray.common.wire.protocol import TABLE, NodeHello, State, UserHello

READY = {State.START: "", State.NODE: "node", State.USER: "submitter"}
QUESTIONS_OF: dict[str, tuple[type, ...]] = {
    str(msgspec.inspect.type_info(cls).tag): (NodeHello, UserHello) if cls is messages.Hello else (cls,)  # type: ignore[attr-defined]
    for cls in get_args(messages.Question)
}
TAG_OF = {str(msgspec.inspect.type_info(cls).tag): cls.__name__ for cls in get_args(messages.Answer)}  # type: ignore[attr-defined]
README = (Path(__file__).parents[2] / "common" / "README.md").read_text("utf-8")


def diagram(number: int) -> tuple[set[str], set[tuple[str, str]]]:
    """Where the drawn machine begins, and its steps."""
    drawn = re.findall(r"```mermaid\n(.*?)```", README, re.S)[number]
    arrows = re.findall(r"^ *(\S+) --> (\S+)", drawn, re.M)
    return {new for old, new in arrows if old == "[*]"}, {(old, new) for old, new in arrows if old != "[*]"}


def rows(heading: str) -> dict[str, list[str]]:
    """The table under a heading, by its first column."""
    part = README.split(f"### {heading}\n")[1].split("\n#")[0]
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in part.splitlines() if line.startswith("| `")]
    return {row[0].strip("`"): row for row in table}


def tags(union: Any) -> dict[str, tuple[str, ...]]:
    """Tag and fields of each message of a union."""
    infos = {cls: msgspec.inspect.type_info(cls) for cls in get_args(union)}
    return {str(info.tag): tuple(f.name for f in info.fields) for info in infos.values() if isinstance(info, msgspec.inspect.StructType)}


@pytest.mark.parametrize(
    ("number", "table", "first"), [(0, states.TASK, "QUEUED"), (1, states.JOB, "QUEUED"), (2, states.ATTEMPT, "LEASED")]
)
def test_the_drawn_states_are_those_of_the_table(number: int, table: Mapping[StrEnum, frozenset[StrEnum]], first: str) -> None:
    """Whoever reads the diagram knows each step that can happen, and no other."""
    begins, steps = diagram(number)
    assert begins == {first}
    assert steps == {(old.name, new.name) for old, news in table.items() for new in news}


def test_every_question_is_described_with_its_fields() -> None:
    """The README names each question and its fields in order."""
    described = {tag: tuple(filter(None, row[3].split(", "))) for tag, row in rows("Questions").items()}
    assert described == tags(messages.Question)


def test_who_asks_and_what_may_answer_are_those_of_the_conversation_table() -> None:
    """The README's columns 'from' and 'answered by' are TABLE of wire/protocol.py; refused and denied go without saying."""
    for tag, row in rows("Questions").items():
        asks = {step: [now for (before, said), now in TABLE.items() if said is step and before in READY] for step in QUESTIONS_OF[tag]}
        askers = {READY[before] for before, said in TABLE if said in asks and before in READY} - {""}
        if tag == "hello":
            askers = {"node", "submitter"}
        assert row[1] == ("both" if len(askers) == 2 else askers.pop()), tag
        answers = {said.__name__ for (before, said) in TABLE for after in asks.values() if before in after} - {"Refused", "Denied"}
        named = {TAG_OF[cell.strip(" `")] for cell in row[2].split(",") if cell}
        assert named == answers, tag


def test_every_answer_is_described_with_its_fields() -> None:
    """As above, for answers."""
    described = {tag: tuple(filter(None, row[1].split(", "))) for tag, row in rows("Answers").items()}
    assert described == tags(messages.Answer)


def test_the_refusal_codes_are_listed() -> None:
    """All reason codes of `refused` stand in the README and in the message's docstring alike."""
    documented = re.findall(r"closes: ([a-z, ]+)", rows("Answers")["refused"][2])[0]
    assert documented in " ".join((messages.Refused.__doc__ or "").split()).replace("Codes: ", "")
