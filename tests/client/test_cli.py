"""The command line: exit codes, sentences, listings."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from clusterray import __version__
from clusterray.client.cli import hoist, run
from clusterray.common import security
from clusterray.common.model import Role
from clusterray.common.settings import KNOWN
from clusterray.common.wire import messages

from .conftest import Double, Terminal, node, task

ONE, TWO = "11111111-aaaa-4aaa-8aaa-aaaaaaaaaaaa", "12222222-aaaa-4aaa-8aaa-aaaaaaaaaaaa"


@pytest.fixture
def two(farm: Double) -> Double:
    """A farm with two tasks."""
    for number, full in enumerate((ONE, TWO)):
        farm.tasks[full] = task(full, ("good", "bad\x1b[31m")[number], "povray", number, 0)
        farm.steps[full] = 0
    return farm


class TestExitCodes:
    def test_version_is_quick_and_works_anywhere(self, stranger: Terminal) -> None:
        """`clusterray --version` prints the version and needs no library."""
        stranger("--version", code=0)
        assert stranger.out == f"clusterray {__version__}\n"
        code = "import sys; from clusterray.client.cli import run; run(['--version']); print(*sorted(sys.modules))"
        loaded = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True).stdout.split()
        assert not {"typer", "rich", "pyftpdlib", "msgspec", "numpy"} & set(loaded)

    def test_a_listing_loads_neither_rich_nor_a_picture_library(self, stranger: Terminal) -> None:
        """Commands start fast: what they do not use is not imported."""
        code = "import sys; from clusterray.client.cli import run; run(['settings']); print(*sorted(sys.modules), file=sys.stderr)"
        loaded = subprocess.run(
            [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True, env=os.environ
        ).stderr.split()
        assert not {"rich", "pyftpdlib", "ftplib", "numpy", "PIL", "sqlite3", "cryptography"} & set(loaded)
        assert not [name for name in loaded if name.startswith(("clusterray.server", "clusterray.node"))]

    def test_not_logged_in(self, stranger: Terminal) -> None:
        """One sentence that says what to type; exit code 2."""
        stranger("tasks", code=2)
        assert "clusterray login CODE" in stranger.err and len(stranger.err.splitlines()) == 1

    def test_no_server(self, person: Terminal, farm: Double) -> None:
        """One sentence that names the address; exit code 3."""
        farm.hang_up()
        for command in (["tasks"], ["submit", person.scene("good")], ["nodes"], ["watch", "abc"]):
            person(*command, code=3)
            assert f"127.0.0.1:{farm.port}" in person.err and len(person.err.splitlines()) == 1

    def test_refused(self, person: Terminal, farm: Double) -> None:
        """A code that was ended: exit code 4."""
        farm.tokens.renew(Role.SUBMIT)
        person("tasks", code=4)
        assert len(person.err.splitlines()) == 1

    def test_interrupted(self, person: Terminal, farm: Double, monkeypatch: pytest.MonkeyPatch) -> None:
        """Ctrl-C ends any command with 130 and without a traceback."""
        from clusterray.client.session import Session

        def interrupt(*_: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(Session, "connect", interrupt)
        person("tasks", code=130)

    def test_a_wrong_setting(self, person: Terminal) -> None:
        """A slip in a file is told by whatever command meets it."""
        (person.cwd / "clusterray.toml").write_text("[server]\nprot = 1\n")
        person("tasks", code=2)
        assert 'clusterray.toml:2: [server] has no setting "prot"' in person.err

    def test_a_mistake_of_ours_is_a_sentence_too(self, person: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nobody gets a traceback who did not ask for one."""
        from clusterray.client.session import Session

        def stumble(*_: object) -> None:
            raise RuntimeError("stumbled")

        monkeypatch.setattr(Session, "connect", stumble)
        person("tasks", code=1)
        assert "stumbled" in person.err and "CLUSTERRAY_DEBUG=1" in person.err

    def test_debug_shows_where(self, person: Terminal) -> None:
        """CLUSTERRAY_DEBUG=1 lets an error through whole, for a report."""
        from clusterray.common.errors import ClusterRayError

        with pytest.raises(ClusterRayError):
            run(["tasks"], out=io.StringIO(), err=io.StringIO(), env={"HOME": str(person.cwd), "CLUSTERRAY_DEBUG": "1"}, cwd=person.cwd)

    def test_help(self, stranger: Terminal, capsys: pytest.CaptureFixture[str]) -> None:
        """Every command has a help text."""
        stranger("--help", code=0)
        for command in ("submit", "demo", "tasks", "show", "log", "watch", "fetch", "cancel", "restart", "remove", "priority", "login",
                        "join-code", "nodes", "lock", "unlock", "drain", "server", "node", "settings", "kinds"):  # fmt: skip
            assert f"\n  {command} " in capsys.readouterr().out or stranger(command, "--help", code=0)


def test_options_of_every_command_may_stand_anywhere() -> None:
    """`clusterray tasks --data DIR` is `clusterray --data DIR tasks`."""
    assert hoist(["tasks", "--data", "d", "--json"]) == ["--data", "d", "tasks", "--json"]
    assert hoist(["a", "--set=x.y=1", "--", "--data", "d"]) == ["--set=x.y=1", "a", "--", "--data", "d"]
    assert hoist(["tasks", "--data"]) == ["--data", "tasks"]


class TestTasks:
    def test_tasks(self, person: Terminal, two: Double) -> None:
        """Newest first, by pages; control characters of names are dropped."""
        person("tasks", code=0)
        lines = person.out.splitlines()
        assert [line.split()[:2] for line in lines] == [["ID", "NAME"], ["12222222", "bad[31m"], ["11111111", "good"]]
        assert [row["id"] for row in person.json("tasks")] == [TWO, ONE]
        assert [row["id"] for row in person.json("tasks", "--limit", "1")] == [TWO]

    def test_no_tasks(self, person: Terminal) -> None:
        """An empty farm is no error."""
        person("tasks", code=0)
        assert person.out == "No tasks.\n"
        assert person.json("tasks") == []

    def test_show(self, person: Terminal, two: Double) -> None:
        """A beginning of the id is enough, if it is the only one."""
        person("show", "111", code=0)
        assert "id        11111111-aaaa" in person.out and "tile-2" in person.out
        row = person.json("show", "111")[0]
        assert [job["region"] for job in row["job_list"]] == ["tile-0", "tile-1", "tile-2"]
        person("show", "1", code=1)
        assert "2 tasks have an id" in person.err

    def test_log(self, person: Terminal, two: Double) -> None:
        """All lines, by pages, of the task or of one job by its name; escape sequences do not reach the terminal."""
        person("log", "111", code=0)
        assert person.out.splitlines() == [f"line {number} of all" for number in range(5)] + ["[31mred"]
        person("log", "111", "--job", "tile-1", code=0)
        assert person.out.startswith("line 0 of job1")
        assert person.json("log", "111")[0] == {"line": "line 0 of all"}

    def test_verbs(self, person: Terminal, two: Double) -> None:
        """cancel, restart, priority and remove say what became of the task."""
        person("cancel", "111", "122", code=0)
        assert person.out.splitlines() == ["good (11111111): cancelled", "bad[31m (12222222): cancelled"]
        assert person.json("restart", "111")[0]["state"] == "queued"
        person("priority", "111", "5", code=0)
        assert two.tasks[ONE].priority == 5
        person("remove", "111", code=0)
        assert person.out == "11111111: removed\n"
        assert list(two.tasks) == [TWO]
        person("cancel", "999", code=1)
        assert "0 tasks have an id" in person.err

    def test_fetch(self, person: Terminal, two: Double) -> None:
        """Into <name>-result here, or --into; not over an older result; not before it is there."""
        person("fetch", "111", code=2)
        assert "has no result: queued" in person.err
        for _ in range(4):
            two.advance(ONE)
        person("fetch", "111", code=0)
        assert (person.cwd / "good-result/good.png").read_bytes() == b"the picture of good"
        assert (person.cwd / "good-result/good.png").stat().st_mode & 0o600 == 0o600
        person("fetch", "111", code=2)
        row = person.json("fetch", "111", "--into", "deep/place")[0]
        assert row["result"] == str(person.cwd / "deep/place") and (person.cwd / "deep/place/good.png").exists()
        assert sorted(path.name for path in person.cwd.iterdir()) == ["data", "deep", "good-result"]

    def test_a_server_cannot_write_where_it_likes(self, person: Terminal, two: Double) -> None:
        """Names of results are checked like any stranger's."""
        import msgspec

        for _ in range(4):
            two.advance(ONE)
        view = two.tasks[ONE]
        two.tasks[ONE] = msgspec.structs.replace(view, assets=(msgspec.structs.replace(view.assets[0], path="../evil.png"),))
        person("fetch", "111", code=1)
        assert "leads out of the folder" in person.err
        assert sorted(path.name for path in person.cwd.iterdir()) == ["data"]

    def test_a_result_that_does_not_match_its_digest_is_not_kept(self, person: Terminal, two: Double) -> None:
        """A damaged file never gets its name."""
        for _ in range(4):
            two.advance(ONE)
        asset = two.tasks[ONE].assets[0]
        two.packs[asset.digest].write_bytes(b"x" * asset.size)
        person("fetch", "111", code=1)
        assert sorted(path.name for path in person.cwd.iterdir()) == ["data"]


class TestLogin:
    def test_the_code_is_kept_for_its_owner_only(self, person: Terminal, farm: Double) -> None:
        """The login is a file of mode 0600; the farm is named."""
        assert "Logged in at double" in person.out and "a submitter" in person.out
        path = person.cwd / "data/client/login"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert person("login", farm.code(Role.ADMIN), code=0) and "administrator" in person.out

    def test_the_code_from_a_file_or_a_variable(self, stranger: Terminal, farm: Double) -> None:
        """For unattended set-ups; with the variable alone no login is needed at all."""
        (stranger.cwd / "code").write_text(farm.code() + "\n")
        stranger("tasks", code=0, CLUSTERRAY_JOIN=farm.code())
        assert not (stranger.cwd / "data").exists()
        stranger("login", "--join-file", "code", code=0)
        stranger("login", code=0, CLUSTERRAY_JOIN=farm.code())
        stranger("tasks", code=0)

    @pytest.mark.parametrize("code", ["", "nonsense", "cr1-abc", "cr9-abcdef"])
    def test_a_wrong_code_is_one_sentence(self, stranger: Terminal, code: str) -> None:
        """Mistyped, cut short, of another version, or none: exit code 2."""
        stranger("login", code, code=2)
        assert len(stranger.err.splitlines()) == 1
        assert not (stranger.cwd / "data").exists()

    def test_a_nodes_code_is_told(self, stranger: Terminal, farm: Double) -> None:
        """The sentence names the command that the code is for."""
        stranger("login", farm.code(Role.NODE), code=2)
        assert "clusterray node start --join" in stranger.err

    def test_an_outdated_code_replaces_nothing(self, person: Terminal, farm: Double) -> None:
        """The login is written only after the server has said welcome."""
        before = (person.cwd / "data/client/login").read_bytes()
        old = farm.code(Role.ADMIN)
        farm.tokens.renew(Role.ADMIN)
        person("login", old, code=4)
        assert (person.cwd / "data/client/login").read_bytes() == before

    def test_a_damaged_login_is_told(self, person: Terminal) -> None:
        """With what to type."""
        (person.cwd / "data/client/login").write_bytes(b"{")
        person("tasks", code=2)
        assert "log in again" in person.err


class TestJoinCode:
    def test_on_the_servers_machine(self, stranger: Terminal) -> None:
        """Needs no network: the code has the role, the addresses asked for, and the server's key."""
        identity = security.make_identity(stranger.cwd / "data/server")
        stranger("join-code", "--role", "submit", "--address", "farm.example", "--address", "10.0.0.1:7", "--address", "::1", code=0)
        way = security.JoinCode.decode(stranger.out)
        assert (way.role, way.pin) == (Role.SUBMIT, identity.pin)
        assert way.addresses == ("farm.example:5007", "10.0.0.1:7", "[::1]:5007")
        first = way.token
        stranger("join-code", "--role", "submit", "--new", code=0)
        assert security.JoinCode.decode(stranger.out).token != first
        assert security.Tokens(stranger.cwd / "data/server").role_of(first) is None

    def test_elsewhere(self, stranger: Terminal) -> None:
        """Where no server has run, nothing is made up."""
        stranger("join-code", code=2)
        assert "No server has run" in stranger.err
        assert not (stranger.cwd / "data").exists()


class TestNodes:
    def test_nodes(self, person: Terminal, farm: Double) -> None:
        """What each has, does, and is confined by."""
        person("nodes", code=0)
        assert [line.split()[0] for line in person.out.splitlines()] == ["NAME", "alpha", "beta"]
        assert "povray 3.7.0.10" in person.out and "bubblewrap" in person.out and "locked" in person.out
        assert [row["state"] for row in person.json("nodes")] == ["idle", "locked"]

    def test_verbs(self, person: Terminal, farm: Double) -> None:
        """By name, by id, or by the beginning of an id."""
        alpha = farm.nodes[0]
        for verb, name in (
            ("lock", "alpha"),
            ("unlock", alpha.id),
            ("drain", alpha.id[:6]),
            ("undrain", "alpha"),
            ("forget-node", "alpha"),
        ):
            person(verb, name, code=0)
            asked = farm.asked[-2] if isinstance(farm.asked[-1], messages.Bye) else farm.asked[-1]
            assert isinstance(asked, messages.ChangeNode) and asked.node == alpha.id
        person("lock", "gamma", code=2)
        assert "There is no node gamma; there are: alpha, beta." in person.err

    def test_two_nodes_of_one_name(self, person: Terminal, farm: Double) -> None:
        """A name that two have is told with both ids."""
        import msgspec

        farm.nodes.append(msgspec.structs.replace(node("other"), name="alpha"))
        person("lock", "alpha", code=2)
        assert "2 nodes are meant" in person.err

    def test_status(self, person: Terminal) -> None:
        """The server in numbers."""
        person("status", code=0)
        assert "2 nodes, 1 of 4 slots busy" in person.out
        assert person.json("status")[0]["slots"] == 4


class TestInfo:
    def test_settings_tell_where_they_come_from(self, stranger: Terminal) -> None:
        """Every setting with its value and origin; a join code is not shown."""
        rows = {row["key"]: row for row in stranger.json("settings", "--set", "server.port=6007")}
        assert set(rows) >= set(KNOWN)
        assert rows["server.port"] == {"key": "server.port", "value": 6007, "origin": "flag --port"}
        assert rows["folders.server"]["value"] == str(stranger.cwd / "data/server")
        stranger("settings", code=0, CLUSTERRAY_JOIN="cr1-secret")
        assert "secret" not in stranger.out and "(set)" in stranger.out and "CLUSTERRAY_JOIN" in stranger.out

    def test_the_example_is_printed(self, stranger: Terminal, checkout: Path) -> None:
        """`clusterray settings --example > clusterray.toml`."""
        stranger("settings", "--example", code=0)
        assert stranger.out == (checkout / "misc/clusterray.toml.example").read_text("utf-8")

    def test_kinds(self, stranger: Terminal) -> None:
        """All kinds, and the options of one; a wrong name is told."""
        assert "povray" in [row["name"] for row in stranger.json("kinds")]
        stranger("kinds", "povray", code=0)
        assert "width" in stranger.out
        lines = [line.split() for line in stranger.out.splitlines()]
        assert ["[animation]", "table"] in [line[:2] for line in lines], "a table stands as task.toml writes it"
        assert ["frames", "any", "required"] in [line[:3] for line in lines], "and its keys below"
        (row,) = stranger.json("kinds", "povray")
        (table,) = (option for option in row["options"] if option["name"] == "animation")
        assert "fps" in [option["name"] for option in table["options"]]
        stranger("kinds", "povrai", code=2)
        assert "povray" in stranger.err


class TestScript:
    def test_client_py_is_submit(self, person: Terminal, farm: Double, checkout: Path) -> None:
        """`client.py scene/` from the checkout does what `clusterray submit scene/` does."""
        scene = person.scene("good")
        env = {"PATH": os.environ["PATH"], **person.env}
        done = subprocess.run(
            [sys.executable, checkout / "client/client.py", scene], env=env, cwd=person.cwd, capture_output=True, text=True
        )
        assert (done.returncode, done.stdout) == (0, f"{person.cwd}/good-result\n"), done.stderr
        done = subprocess.run([sys.executable, checkout / "client/client.py"], env=env, cwd=person.cwd, capture_output=True, text=True)
        assert "FOLDER" in done.stdout

    def test_it_goes_on_with_the_environment_that_run_made(self, tmp_path: Path, checkout: Path) -> None:
        """Any python3 may start it; the one in .venv does the work, with the same arguments."""
        script = tmp_path / "checkout/client/client.py"
        python = tmp_path / "checkout/.venv/bin/python"
        for path in (script, python):
            path.parent.mkdir(parents=True)
        script.write_bytes((checkout / "client/client.py").read_bytes())
        python.write_text('#!/bin/sh\nprintf "%s|" "$@"\n')
        python.chmod(0o755)
        done = subprocess.run([sys.executable, "-S", "-E", script, "a b", "--json"], capture_output=True, text=True, cwd=tmp_path)
        assert done.stdout == f"{script}|a b|--json|"

    def test_without_an_environment_it_says_what_to_type(self, tmp_path: Path, checkout: Path) -> None:
        """A checkout that was not set up: one sentence."""
        alone = tmp_path / "checkout/client/client.py"
        alone.parent.mkdir(parents=True)
        alone.write_bytes((checkout / "client/client.py").read_bytes())
        done = subprocess.run([sys.executable, "-S", "-E", alone, "x"], capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode != 0 and "./run install" in done.stderr and len(done.stderr.splitlines()) == 1
