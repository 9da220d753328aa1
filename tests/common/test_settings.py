"""Settings: what is in force, from where, and what is said about a slip."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from clusterray.common.errors import SettingsError
from clusterray.common.folders import find_folders
from clusterray.common.settings import KNOWN, SECTIONS, Settings, as_variables, load


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """An environment with a home of its own."""
    (tmp_path / "home").mkdir()
    return {"HOME": str(tmp_path / "home")}


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return path


def test_without_any_file_the_defaults_hold(tmp_path: Path, home: dict[str, str]) -> None:
    """Nothing has to be configured."""
    loaded = load({}, home, tmp_path)
    assert loaded.settings == Settings()
    assert loaded.settings.server.port == 5007
    assert loaded.settings.ftp.passive_range == (3458, 3557)
    assert set(loaded.origins.values()) == {"default"}


def test_the_order_is_flag_variable_folder_person_default(tmp_path: Path, home: dict[str, str]) -> None:
    """A flag wins over a variable, that over ./clusterray.toml, that over the person's own file; each origin is told."""
    here = write(tmp_path / "clusterray.toml", "[server]\nport = 3\nname = 'here'\nhands = 3\n")
    mine = write(
        tmp_path / "home/.config/clusterray/clusterray.toml", "[server]\nport = 4\nname = 'mine'\nhands = 4\nlisten = '127.0.0.1'\n"
    )
    loaded = load({"server.port": 1}, {**home, "CLUSTERRAY_SERVER_PORT": "2", "CLUSTERRAY_SERVER_NAME": "two"}, tmp_path)
    server = loaded.settings.server
    assert (server.port, server.name, server.hands, server.listen) == (1, "two", 3, "127.0.0.1")
    told = [loaded.origins[f"server.{key}"] for key in ("port", "name", "hands", "listen", "addresses")]
    assert told == ["flag --port", "CLUSTERRAY_SERVER_NAME", f"{here}:4", f"{mine}:5", "default"]
    assert loaded.files[:2] == (here, mine)


def test_xdg_config_home_is_honoured(tmp_path: Path, home: dict[str, str]) -> None:
    """The person's config folder may be elsewhere."""
    write(tmp_path / "conf/clusterray/clusterray.toml", "[node]\nslots = 3\n")
    assert load({}, {**home, "XDG_CONFIG_HOME": str(tmp_path / "conf")}, tmp_path).settings.node.slots == 3


def test_values_are_read_the_same_in_a_file_and_in_a_variable(tmp_path: Path, home: dict[str, str]) -> None:
    """Lists, tables, spans and sizes may come from anywhere."""
    text = (
        '[node]\nallow = ["render", "commands"]\ncache = "2GB"\nalone = "15m"\nkeep_free = 5\n'
        '[node.programs]\npovray = "/opt/p v"\n[log]\nlevel="DEBUG"\n'
    )
    write(tmp_path / "clusterray.toml", text)
    from_file = load({}, home, tmp_path).settings
    (tmp_path / "clusterray.toml").unlink()
    variables = {
        "CLUSTERRAY_NODE_ALLOW": "render, commands",
        "CLUSTERRAY_NODE_CACHE": "2GB",
        "CLUSTERRAY_NODE_ALONE": "900",
        "CLUSTERRAY_NODE_KEEP_FREE": "5",
        "CLUSTERRAY_NODE_PROGRAMS": "povray=/opt/p v",
        "CLUSTERRAY_LOG_LEVEL": "debug",
    }
    assert load({}, {**home, **variables}, tmp_path).settings == from_file
    assert from_file.node.programs == {"povray": "/opt/p v"}
    assert (from_file.node.cache, from_file.node.alone, from_file.log.level) == (2_000_000_000, 900.0, "debug")


def test_short_variables_and_foreign_ones(tmp_path: Path, home: dict[str, str]) -> None:
    """CLUSTERRAY_JOIN is the node's join code; variables of other tools, and empty ones, are passed over."""
    env = {**home, "CLUSTERRAY_JOIN": "cr1-abc", "CLUSTERRAY_VENV": "/x", "CLUSTERRAY_SERVER_PORT": "", "CLUSTERRAY_DEBUG": "1"}
    loaded = load({}, env, tmp_path)
    assert loaded.settings.node.join == "cr1-abc"
    assert loaded.origins["node.join"] == "CLUSTERRAY_JOIN"
    assert loaded.settings.server.port == 5007


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[server]\n\nprot = 1\n", r'clusterray\.toml:3: \[server\] has no setting "prot"\. Is "port" meant\?'),
        ("[sever]\nport = 1\n", r"clusterray\.toml:2: there is no section \[sever\] in the settings\. Is \[server\] meant\?"),
        ("# empty\n[zzz]\n", r"clusterray\.toml:2: there is no section \[zzz\] in the settings\. The sections are: server"),
        ("port = 1\n", r'clusterray\.toml:1: "port" stands in no section\.'),
        ("[node]\nxyzzy = 1\n", r'clusterray\.toml:2: \[node\] has no setting "xyzzy"\. It has: name, slots'),
        ("[server]\nport = 'x'\n", r"clusterray\.toml:2: server\.port: a whole number from 0 to 65535"),
        ("[server]\nport = 70000\n", r"clusterray\.toml:2: server\.port: .* not 70000"),
        ("[server]\nport = true\n", r"clusterray\.toml:2: server\.port: .* not true"),
        ("[ftp]\npassive = '9-3'\n", r"clusterray\.toml:2: ftp\.passive: a range of ports"),
        ("[retention]\nresults = 'soon'\n", r'clusterray\.toml:2: retention\.results: "soon" is no span of time'),
        ("[node]\ncache = []\n", r"clusterray\.toml:2: node\.cache: a number with a unit"),
        ("[node]\nallow = ['rendr']\n", r"clusterray\.toml:2: node\.allow: one of render, commands, python"),
        ("[node]\nprograms = 3\n", r"clusterray\.toml:2: node\.programs: a table of texts"),
        ("server = { prt = 1 }\n", r'\[server\] has no setting "prt"'),
        ("[server]\nport = \n", r"clusterray\.toml:2: is not written as TOML"),
    ],
)
def test_a_slip_names_file_line_and_the_nearest(tmp_path: Path, home: dict[str, str], text: str, sentence: str) -> None:
    """A misspelt or impossible setting is never passed over: the sentence names where it stands and what may be meant."""
    write(tmp_path / "clusterray.toml", text)
    with pytest.raises(SettingsError, match=sentence) as caught:
        load({}, home, tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("CLUSTERRAY_SERVER_PRT", "1", 'CLUSTERRAY_SERVER_PRT: .* Is "port" meant'),
        ("CLUSTERRAY_SEVER_PORT", "1", "Is CLUSTERRAY_SERVER_PORT meant"),
        ("CLUSTERRAY_SERVER_PORT", "many", "CLUSTERRAY_SERVER_PORT: server.port: a whole number"),
        ("CLUSTERRAY_NODE_PROGRAMS", "povray", "name=value"),
    ],
)
def test_a_slip_in_a_variable_is_told_too(tmp_path: Path, home: dict[str, str], name: str, value: str, sentence: str) -> None:
    """A misspelt variable of ours is an error, not a surprise."""
    with pytest.raises(SettingsError, match=sentence):
        load({}, {**home, name: value}, tmp_path)


def test_a_wrong_value_that_is_overruled_is_told_all_the_same(tmp_path: Path, home: dict[str, str]) -> None:
    """A broken file does not hide behind a flag until the day when the flag is left out."""
    write(tmp_path / "clusterray.toml", "[server]\nport = 'x'\n")
    with pytest.raises(SettingsError):
        load({"server.port": 1}, home, tmp_path)


def test_unreadable_and_odd_files(tmp_path: Path, home: dict[str, str]) -> None:
    """A file that is no text is told by name; a byte order mark or an empty file is not a disaster."""
    (tmp_path / "clusterray.toml").write_bytes(b"[server]\nname = '\xff'\n")
    with pytest.raises(SettingsError, match="is not UTF-8"):
        load({}, home, tmp_path)
    (tmp_path / "clusterray.toml").write_bytes(b"")
    assert load({}, home, tmp_path).settings == Settings()


def test_a_data_folder_keeps_one_farm_apart(tmp_path: Path, home: dict[str, str]) -> None:
    """--data DIR, or CLUSTERRAY_DATA, puts all state below DIR; the flag wins."""
    flag, variable = tmp_path / "a", tmp_path / "b"
    folders = load({"data": "a"}, {**home, "CLUSTERRAY_DATA": str(variable)}, tmp_path).folders
    for path in (folders.server, folders.node, folders.client, folders.logs, folders.run):
        assert path.is_relative_to(flag)
    assert len({folders.server, folders.node, folders.client, folders.logs, folders.run}) == 5
    assert load({}, {**home, "CLUSTERRAY_DATA": str(variable)}, tmp_path).folders.data == variable
    assert not flag.exists()


def test_a_service_follows_the_fhs_and_a_person_xdg(tmp_path: Path, home: dict[str, str]) -> None:
    """State is where an administrator, or a person, would look for it."""
    service = find_folders(None, home, service=True)
    assert (service.server, service.logs, service.run) == (
        Path("/var/lib/clusterray/server"),
        Path("/var/log/clusterray"),
        Path("/run/clusterray"),
    )
    person = find_folders(None, {**home, "XDG_STATE_HOME": str(tmp_path / "state"), "XDG_DATA_HOME": "relative"}, service=False)
    assert person.client == tmp_path / "state/clusterray/client"
    assert person.server == tmp_path / "home/.local/share/clusterray/server"
    assert person.run == tmp_path / "state/clusterray/run"
    assert find_folders(None, {**home, "XDG_RUNTIME_DIR": "/run/user/7"}, service=False).run == Path("/run/user/7/clusterray")


def test_flags_travel_to_a_child_as_variables(tmp_path: Path, home: dict[str, str]) -> None:
    """A daemon runs under the flags that its starter was given."""
    flags: dict[str, Any] = {
        "node.slots": 2,
        "node.allow": ("render", "commands"),
        "node.programs": {"povray": "/p"},
        "data": "x",
        "node.name": None,
    }
    assert "CLUSTERRAY_DATA" not in as_variables(flags)
    node = load({}, {**home, **as_variables(flags)}, tmp_path).settings.node
    assert (node.slots, node.allow, node.programs) == (2, ("render", "commands"), {"povray": "/p"})


@pytest.mark.parametrize(
    ("text", "allow", "commands"),
    [
        ("", ("render",), ()),
        ("commands = ['ffmpeg', 'gmic']", ("render", "commands"), ("ffmpeg", "gmic")),
        ("commands = 'any'", ("render", "commands"), ("any",)),
        ("allow = ['render', 'commands']", ("render", "commands"), ("any",)),
        ("allow = ['commands']\ncommands = ['ffmpeg']", ("commands",), ("ffmpeg",)),
    ],
)
def test_naming_commands_allows_them(tmp_path: Path, home: dict[str, str], text: str, allow: Any, commands: Any) -> None:
    """One line of the owner's is enough, as a list or as the word any."""
    write(tmp_path / "clusterray.toml", f"[node]\n{text}\n")
    assert load({}, home, tmp_path).settings.node.permits == (allow, commands)


def test_the_example_shows_every_setting_with_its_default(tmp_path: Path, home: dict[str, str], checkout: Path) -> None:
    """The commented example that ships is complete and true: with every comment sign taken away it changes nothing."""
    text = (checkout / "misc/clusterray.toml.example").read_text("utf-8")
    assert all(not line or line.startswith(("#", "[")) for line in text.splitlines())
    bare = re.sub(r"^#(?! )", "", text, flags=re.MULTILINE)
    write(tmp_path / "clusterray.toml", bare)
    loaded = load({}, home, tmp_path)
    assert loaded.settings == Settings()
    given = {f"{section}.{key}" for section, table in tomllib.loads(bare).items() for key in table}
    assert given == set(KNOWN)
    assert set(tomllib.loads(text)) == set(SECTIONS)
