"""What README and docs tell is so: commands parse, settings have these defaults, links lead somewhere, quoted errors exist."""

from __future__ import annotations

import ast
import re
import shlex
import tomllib
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from clusterray.client.cli import hoist
from clusterray.client.commands import build
from clusterray.common.settings import KNOWN
from clusterray.common.taskfile import read_task

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text("utf-8")
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES += [ROOT / part / "README.md" for part in ("client", "common", "init.d", "node", "server")]
SHORTEST = 12
"""Letters of a quoted message between two gaps that are enough to be looked for."""


def blocks(text: str, *languages: str) -> Iterator[str]:
    for language, block in re.findall(r"^```(\w*)\n(.*?)^```", text, re.S | re.M):
        if language in languages:
            yield block


def typed(text: str) -> Iterator[list[str]]:
    """What a reader is told to type: whole blocks without a language, and the lines after a $ in a console."""
    lines = [line for block in blocks(text, "") for line in block.splitlines()]
    lines += [line[2:] for block in blocks(text, "console") for line in block.splitlines() if line.startswith("$ ")]
    for line in lines:
        yield shlex.split(line, comments=True)


def spoken(text: str) -> Iterator[list[str]]:
    """Whole command lines between backticks in running prose."""
    for quote in re.findall(r"`(clusterray [^`]+)`", re.sub(r"^```.*?^```", "", text, flags=re.S | re.M)):
        if "VERB" not in quote:
            yield shlex.split(quote.replace("FOLDER…", "FOLDER"))


def command_lines() -> Iterator[tuple[str, tuple[list[str], bool]]]:
    """A name for the test -> the words, and whether they are only named in prose."""
    for page in PAGES:
        text = page.read_text("utf-8")
        for prose, lines in ((True, spoken(text)), (False, typed(text))):
            for words in lines:
                if words and words[0] in ("clusterray", "client.py"):
                    yield f"{page.relative_to(ROOT)}: {' '.join(words)}", (words, prose)


COMMANDS = dict(command_lines())


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_parse(line: str) -> None:
    """Every command line in README and docs is one: the command exists, its options exist, no argument is missing."""
    words, prose = COMMANDS[line]
    arguments = hoist(words[1:] if words[0] == "clusterray" else ["submit", *words[1:]])
    group: Any = typer.main.get_command(build())
    try:
        context = group.make_context("clusterray", arguments)
        name, command, rest = group.resolve_command(context, [*context._protected_args, *context.args])
        command.make_context(name, rest, parent=context)
    except typer.Exit:
        pass  # --help
    except Exception as error:
        if not (prose and type(error).__name__ == "MissingParameter"):  # prose may name `clusterray login` without its code
            raise AssertionError(f"{line}: {getattr(error, 'message', '') or error!r}") from error


def test_run_commands_exist() -> None:
    """Every `./run WORD` in the docs is one that the script has."""
    script = (ROOT / "run").read_text("utf-8")
    for page in PAGES:
        for word in re.findall(r"(?:^|`)\./run (\w+)", page.read_text("utf-8"), re.M):
            assert re.search(rf"^  {word}\)$", script, re.M), f"{page.name}: ./run {word}"


def test_settings_table() -> None:
    """The table in the README has every setting, with the default and the meaning that the program has."""
    rows = re.findall(r"^\| `([a-z]+\.[a-z_]+)` \| `([^`]*)` \| (.*) \|$", README, re.M)
    assert [key for key, _, _ in rows] == list(KNOWN)
    for key, default, meaning in rows:
        known = KNOWN[key]
        assert known.check(tomllib.loads(f"value = {default}")["value"]) == known.default, key
        assert meaning == known.help, key


def test_settings_in_prose() -> None:
    """A setting that a page names exists."""
    for page in PAGES:
        names = re.findall(r"`((?:server|ftp|farm|node|client|retention|log)\.[a-z_]+)`", page.read_text("utf-8"))
        for name in names:
            assert name in KNOWN or name.endswith((".py", ".md")), f"{page.name}: {name}"


def test_ports_of_the_firewall_table() -> None:
    """The firewall table names the default ports."""
    for key in ("server.port", "ftp.port", "ftp.passive"):
        assert f"| {KNOWN[key].default}/tcp | `{key}` |" in README


@pytest.mark.parametrize(
    ("number", "kind", "option", "value"),
    [(0, "povray", "width", 317), (1, "povray", "height", 720), (2, "command", "files", "shots/*.mov")],
)
def test_the_task_files_shown_are_read(tmp_path: Path, number: int, kind: str, option: str, value: Any) -> None:
    """Each task.toml in the README can be copied as it stands."""
    texts = list(blocks(README, "toml"))
    assert len(texts) == 3
    (tmp_path / "task.toml").write_text(texts[number], "utf-8")
    (tmp_path / "biscuit.pov").write_text("camera { look_at 0 }\n", "utf-8")
    (tmp_path / "shots").mkdir()
    (tmp_path / "shots/one.mov").write_bytes(b"a film")
    with wave.open(str(tmp_path / "track.wav"), "wb") as track:
        track.setparams((1, 2, 8000, 0, "NONE", ""))
        track.writeframes(bytes(16000))
    spec, warnings = read_task(tmp_path)
    assert (spec.kind, warnings) == (kind, ())
    assert spec.options[option] == value


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links(page: Path) -> None:
    """A link in a page leads to a file, and to a heading in it, that is there."""
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        if re.match(r"[a-z]+://", target):
            continue
        name, _, anchor = target.partition("#")
        path = page.parent / name if name else page
        assert path.exists(), f"{page.name} links to {target}"
        if anchor:
            assert anchor in headings(path.read_text("utf-8")), f"{page.name} links to {target}"


def headings(text: str) -> set[str]:
    """Anchors, as the usual forges make them."""
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in re.findall(r"^#+ (.*)$", text, re.M)}


def test_files_named_by_the_folder_pages() -> None:
    """The tables of node, client and init.d name files that exist, and leave no module out."""
    for part in ("client", "node", "init.d"):
        folder = ROOT / part
        text = (folder / "README.md").read_text("utf-8")
        names = [name.rstrip("/") for cell in re.findall(r"^\| (`[^|]*) \|", text, re.M) for name in re.findall(r"`([^`]+)`", cell)]
        named = {file for name in names for file in folder.glob(name)}
        assert names and all(any(folder.glob(name)) for name in names), part
        assert {file for file in folder.glob("*.py") if file.name != "__init__.py"} <= named, part


def source_texts() -> str:
    """All texts in the program, one a line, with … for what is put in."""
    found = []
    for part in ("client", "common", "node", "server"):
        for path in (ROOT / part).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    found.append("".join(str(piece.value) if isinstance(piece, ast.Constant) else "…" for piece in node.values))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.append(node.value)
    return "\n".join(found)


def test_quoted_errors_exist() -> None:
    """Each message in the troubleshooting page is one that the program can say."""
    texts = source_texts()
    page = (ROOT / "docs" / "troubleshooting.md").read_text("utf-8")
    said = [quote for quote in re.findall(r"`([^`\n]+)`", page) if "…" in quote or quote.endswith(".")]
    quotes = [quote for quote in said if not quote.startswith(("File 'scene.pov'", "clusterray "))]
    assert len(quotes) > 25
    unknown = []
    for quote in quotes:
        pieces = [piece.strip() for piece in re.split(r"…|The server(?= is dead)|\[server\](?= has no)", quote)]
        sought = [piece for piece in pieces if len(piece) >= SHORTEST] or [max(pieces, key=len)]
        unknown += [f"{piece!r} of {quote!r}" for piece in sought if piece not in texts]
    assert not unknown, "nothing in the source says " + "; ".join(unknown)
