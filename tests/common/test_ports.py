"""Ports and addresses of this machine."""

from __future__ import annotations

import contextlib
import os

import pytest
from clusterray.common import ports
from clusterray.common.errors import UsageError


def test_a_port_is_free_until_somebody_listens_and_the_holder_is_named() -> None:
    with contextlib.closing(ports.listen("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        assert not ports.is_free("127.0.0.1", port)
        assert not ports.is_free("0.0.0.0", port)
        assert ports.holder(port).startswith(f"pid {os.getpid()} (")
    assert ports.is_free("127.0.0.1", port)
    assert ports.holder(port) == ""


def test_an_address_of_another_machine_is_not_free() -> None:
    assert not ports.is_free("192.0.2.1", 0)


def test_free_ports_and_ranges_can_be_bound() -> None:
    assert ports.is_free("127.0.0.1", ports.free_port())
    first, last = ports.free_range(5)
    assert last - first == 4
    assert all(ports.is_free("127.0.0.1", port) for port in range(first, last + 1))


@pytest.mark.parametrize(
    ("text", "parts"),
    [("farm:5007", ("farm", 5007)), (" 10.0.0.1:1 ", ("10.0.0.1", 1)), ("[::1]:65535", ("::1", 65535))],
)
def test_an_address_is_read_and_written(text: str, parts: tuple[str, int]) -> None:
    assert ports.split_address(text) == parts
    assert ports.join_address(*parts) == text.strip()


@pytest.mark.parametrize("text", ["", "farm", "farm:", ":5007", "farm:0", "farm:65536", "farm:-1", "farm:x", "::1:5007", "farm:٣"])
def test_a_wrong_address_gets_a_sentence_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match="5007"):
        ports.split_address(text)


def test_own_addresses_are_distinct_and_never_empty() -> None:
    addresses = ports.own_addresses()
    assert addresses
    assert len(set(addresses)) == len(addresses)
    assert addresses == ("127.0.0.1",) or not any(address.startswith("127.") for address in addresses)
