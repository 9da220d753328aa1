"""Who a node is, over its lives."""

from __future__ import annotations

from pathlib import Path

import pytest
from clusterray.common.errors import UsageError
from clusterray.common.model import Role
from clusterray.common.security import JoinCode
from clusterray.node.identity import NodeIdentity


def code(pin: str = "ab", token: str = "token", role: Role = Role.NODE) -> JoinCode:
    return JoinCode(role=role, addresses=("farm:5007",), pin=pin * 32, token=token)


def test_the_code_and_the_id_are_remembered(tmp_path: Path) -> None:
    """A node is told its join code once; its id and token survive, in a file that only its user reads."""
    first = NodeIdentity(tmp_path, code())
    assert first.node_id == ""
    first.learn("n1", "secret-token", "farm")
    second = NodeIdentity(tmp_path)
    assert (second.node_id, second.node_token, second.code) == ("n1", "secret-token", code())
    assert (tmp_path / "identity.json").stat().st_mode & 0o777 == 0o600
    assert {"token", "secret-token"} <= set(second.secrets())


def test_a_new_code_of_the_same_farm_keeps_the_id(tmp_path: Path) -> None:
    """Codes are renewed; nodes stay who they are."""
    NodeIdentity(tmp_path, code()).learn("n1", "t", "farm")
    assert NodeIdentity(tmp_path, code(token="newer")).node_id == "n1"
    assert NodeIdentity(tmp_path).code.token == "newer"


def test_another_farm_or_the_owners_wish_forget_it(tmp_path: Path) -> None:
    """An id is worth nothing elsewhere; `--new-id` is for copied disks."""
    NodeIdentity(tmp_path, code()).learn("n1", "t", "farm")
    assert NodeIdentity(tmp_path, code(pin="cd")).node_id == ""
    NodeIdentity(tmp_path).learn("n2", "t", "farm")
    assert NodeIdentity(tmp_path, new_id=True).node_id == ""
    assert NodeIdentity(tmp_path).node_token == ""


def test_what_is_missing_or_wrong_is_said(tmp_path: Path) -> None:
    """No code, the code of another role, a broken file: one sentence each."""
    with pytest.raises(UsageError, match="knows no server yet"):
        NodeIdentity(tmp_path)
    with pytest.raises(UsageError, match="for the role submit"):
        NodeIdentity(tmp_path, code(role=Role.SUBMIT))
    assert not (tmp_path / "identity.json").exists()
    (tmp_path / "identity.json").write_text("{")
    with pytest.raises(UsageError, match=r"identity\.json cannot be read"):
        NodeIdentity(tmp_path)
