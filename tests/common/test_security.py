"""Keys, tokens, join codes and the lock of a data folder."""

from __future__ import annotations

import os
import ssl
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from clusterray.common import security
from clusterray.common.errors import AlreadyRunning, UsageError
from clusterray.common.model import Role
from clusterray.common.security import FolderLock, JoinCode, Tokens
from hypothesis import given, settings
from hypothesis import strategies as st

QUICK = settings(max_examples=60, derandomize=True, deadline=None, database=None)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def run_python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60, check=False)


# --- files


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o277])
def test_a_secret_is_for_its_owner_alone_whatever_the_umask(tmp_path: Path, mask: int) -> None:
    path = tmp_path / "secret"
    path.write_text("old")
    path.chmod(0o644)
    before = os.umask(mask)
    try:
        security.write_secret(path, "new")
    finally:
        os.umask(before)
    assert mode(path) == 0o600
    assert path.read_text() == "new"
    assert [entry.name for entry in tmp_path.iterdir()] == ["secret"]


def test_what_root_writes_into_a_services_folder_belongs_to_the_service(tmp_path: Path) -> None:
    """After `sudo clusterray join-code --new` the server, which is not root, still reads its tokens."""
    if os.geteuid() == 0:
        os.chown(tmp_path, 65534, 65534)
    Tokens(tmp_path).renew(Role.NODE)
    with FolderLock(tmp_path):
        pass
    assert {path.name: path.stat().st_uid for path in tmp_path.iterdir()} == dict.fromkeys(
        ("lock", "tokens.json", "tokens.lock"), tmp_path.stat().st_uid
    )


def test_a_failed_write_leaves_the_old_secret_and_no_rubbish(tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    with pytest.raises(OSError):
        security.write_secret(tmp_path / "secret", b"new")
    assert [entry.name for entry in tmp_path.iterdir()] == ["secret"]


def test_a_second_process_is_told_who_has_the_folder(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path)
    with lock:
        with pytest.raises(AlreadyRunning, match=f"{tmp_path} is in use by process {os.getpid()}"):
            FolderLock(tmp_path).acquire()
        lock.acquire()  # by the same one again: nothing
    with FolderLock(tmp_path):
        assert mode(tmp_path / "lock") == 0o600


def test_a_killed_process_leaves_no_lock_behind(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from clusterray.common.security import FolderLock\n"
        "FolderLock(Path(sys.argv[1])).acquire(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert run_python(code, str(tmp_path)).returncode == -9
    with FolderLock(tmp_path):
        pass


def test_a_data_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be used as a data folder"):
        FolderLock(tmp_path / "file" / "data").acquire()


# --- the server's key


def test_the_identity_is_made_once_and_its_files_are_secret(tmp_path: Path) -> None:
    folder = tmp_path / "server"
    first = security.make_identity(folder)
    assert security.make_identity(folder) == first
    assert {path.name: mode(path) for path in folder.iterdir()} == {"key.pem": 0o600, "cert.pem": 0o600}
    assert mode(folder) == 0o700
    assert len(bytes.fromhex(first.pin)) == 32
    assert security.make_identity(tmp_path / "other").pin != first.pin


def test_a_restored_file_with_a_loose_mode_is_tightened(tmp_path: Path) -> None:
    identity = security.make_identity(tmp_path)
    identity.key_path.chmod(0o644)
    security.make_identity(tmp_path)
    assert mode(identity.key_path) == 0o600


def test_a_certificate_made_again_from_the_same_key_keeps_the_pin(tmp_path: Path) -> None:
    first = security.make_identity(tmp_path)
    first.cert_path.unlink()
    assert security.make_identity(tmp_path).pin == first.pin


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: (folder / "key.pem").unlink(), "is missing beside its certificate"),
        (lambda folder: (folder / "cert.pem").write_text("rubbish"), "is no certificate"),
        (lambda folder: (folder / "cert.pem").write_bytes(b"\xff"), "is no certificate"),
        (lambda folder: ((folder / "cert.pem").unlink(), (folder / "key.pem").write_text("rubbish")), "is no private key"),
    ],
)
def test_a_spoilt_identity_is_named_and_never_replaced_in_silence(tmp_path: Path, spoil: object, said: str) -> None:
    security.make_identity(tmp_path)
    spoil(tmp_path)  # type: ignore[operator]
    with pytest.raises(UsageError, match=said):
        security.make_identity(tmp_path)


def test_key_and_certificate_of_two_servers_do_not_start_one(tmp_path: Path) -> None:
    one, two = security.make_identity(tmp_path / "1"), security.make_identity(tmp_path / "2")
    one.key_path.write_bytes(two.key_path.read_bytes())
    with pytest.raises(UsageError, match="do not fit together"):
        security.server_context(one)


def test_both_contexts_speak_tls_1_3_only(tmp_path: Path) -> None:
    for context in (security.server_context(security.make_identity(tmp_path)), security.client_context()):
        assert context.minimum_version == ssl.TLSVersion.TLSv1_3
        assert context.verify_mode == ssl.CERT_NONE


def test_importing_security_does_not_load_cryptography() -> None:
    """A node's memory counts: the library comes with the first look at a key."""
    ran = run_python("import sys, clusterray.common.security; sys.exit('cryptography' in sys.modules)")
    assert ran.returncode == 0, ran.stderr


# --- tokens


def test_a_token_opens_its_role_and_nothing_else(tmp_path: Path) -> None:
    tokens = Tokens(tmp_path)
    by_role = {role: tokens.current(role) for role in Role}
    assert len(set(by_role.values())) == len(Role)
    for role, token in by_role.items():
        assert tokens.role_of(token) is role
        assert tokens.current(role) == token
    for wrong in ("", "x", by_role[Role.ADMIN][:-1], by_role[Role.ADMIN] + "x", "é"):
        assert tokens.role_of(wrong) is None
    assert mode(tmp_path / "tokens.json") == 0o600


def test_no_tokens_open_nothing(tmp_path: Path) -> None:
    assert Tokens(tmp_path).role_of("") is None
    assert Tokens(tmp_path).role_of("x") is None


def test_tokens_survive_a_restart(tmp_path: Path) -> None:
    token = Tokens(tmp_path).current(Role.NODE)
    assert Tokens(tmp_path).current(Role.NODE) == token


def test_a_renewed_code_ends_the_old_one_and_leaves_the_others(tmp_path: Path) -> None:
    tokens = Tokens(tmp_path)
    anna, ben = tokens.current(Role.SUBMIT), tokens.issue(Role.SUBMIT)
    assert tokens.current(Role.SUBMIT) == ben
    new = tokens.renew(Role.SUBMIT)
    assert (tokens.role_of(anna), tokens.role_of(ben), tokens.role_of(new)) == (Role.SUBMIT, None, Role.SUBMIT)
    assert tokens.revoke(anna)
    assert not tokens.revoke(anna)
    assert tokens.role_of(anna) is None


def test_a_running_server_sees_what_a_command_beside_it_changed(tmp_path: Path) -> None:
    server, command = Tokens(tmp_path), Tokens(tmp_path)
    old = server.current(Role.NODE)
    new = command.renew(Role.NODE)
    assert server.role_of(old) is None
    assert server.role_of(new) is Role.NODE


def test_a_broken_file_of_tokens_is_named(tmp_path: Path) -> None:
    (tmp_path / "tokens.json").write_text('["secret"]')
    with pytest.raises(UsageError, match=r"tokens\.json is no file of tokens") as caught:
        Tokens(tmp_path).role_of("x")
    assert "secret" not in str(caught.value)


def test_the_id_of_a_token_is_short_stable_and_tells_nothing(tmp_path: Path) -> None:
    token = security.new_token()
    assert security.token_id(token) == security.token_hash(token)[:12]
    assert security.token_id(token) not in token
    assert security.same_token(token, token)
    assert not security.same_token(token, token + "x")


# --- join codes

CODE = JoinCode(role=Role.NODE, addresses=("192.168.1.5:5007", "[fd00::1]:5007", "farm.example.org:5007"), pin="ab" * 32, token="t-o_k")


@QUICK
@given(
    role=st.sampled_from(Role),
    addresses=st.lists(st.from_regex(r"[a-z0-9.\[\]:-]{1,20}", fullmatch=True), max_size=4),
    pin=st.binary(min_size=32, max_size=32),
    token=st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True),
)
def test_a_code_carries_all_and_any_shell_takes_it(role: Role, addresses: list[str], pin: bytes, token: str) -> None:
    code = JoinCode(role=role, addresses=tuple(addresses), pin=pin.hex(), token=token)
    text = code.encode()
    assert JoinCode.decode(text) == code
    assert text.startswith("cr1-")
    assert set(text) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


def test_a_code_is_read_as_people_paste_it() -> None:
    text = CODE.encode()
    for pasted in (f"  {text}\n", f"'{text}'", f"{text[:70]}\n  {text[70:]}", text.replace("cr1", "CR1")):
        assert JoinCode.decode(pasted) == CODE


def test_every_cut_of_a_code_is_said_to_be_one() -> None:
    text = CODE.encode()
    for end in range(4, len(text)):
        with pytest.raises(UsageError, match="cut short"):
            JoinCode.decode(text[:end])


def test_every_wrong_letter_is_noticed() -> None:
    text = CODE.encode()
    for place in range(4, len(text) - 1):  # the last letter may hold bits that belong to no byte
        wrong = text[:place] + ("A" if text[place] != "A" else "B") + text[place + 1 :]
        with pytest.raises(UsageError, match=r"mistyped|cut short"):
            JoinCode.decode(wrong)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no join code"),
        ("hello", "no join code"),
        ("cr-abc", "no join code"),
        ("cr2-abc", "version 2"),
        ("cr1-", "cut short"),
        ("cr1-a", "cut short"),
        ("cr1-ä" + CODE.encode()[5:], "a character"),
        (CODE.encode() + "AAAA", "mistyped"),
    ],
)
def test_a_wrong_code_is_told_in_what_way_without_repeating_it(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        JoinCode.decode(text)
    assert CODE.encode()[10:30] not in str(caught.value)


@settings(max_examples=200, derandomize=True, deadline=None, database=None)
@given(text=st.one_of(st.text(max_size=60), st.from_regex(r"cr1-[A-Za-z0-9_-]{0,90}", fullmatch=True)))
def test_rubbish_is_a_usage_error_and_nothing_else(text: str) -> None:
    with pytest.raises(UsageError):
        JoinCode.decode(text)
