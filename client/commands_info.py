"""Commands that tell what there is, without a server: settings and kinds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from ..common.settings import SECRET, SECTIONS, SHARED, Loaded
from .call import the_call
from .summary import print_columns, print_json

if TYPE_CHECKING:
    from ..common.kinds.kind import Option

EXAMPLE = ("misc", "clusterray.toml.example")
Json = Annotated[bool, typer.Option("--json", help="Print a list of objects with stable keys.")]


def add(app: typer.Typer) -> None:
    app.command("settings")(settings)
    app.command("kinds")(kinds)


def settings(
    ctx: typer.Context,
    example: Annotated[bool, typer.Option("--example", help="Print a commented clusterray.toml with every default.")] = False,
    as_json: Json = False,
) -> None:
    """Print the settings in force, and where each comes from."""
    call = the_call(ctx)
    if example:
        call.out.write(Path(__file__).resolve().parents[1].joinpath(*EXAMPLE).read_text("utf-8"))
        return
    loaded = call.loaded
    rows = [{"key": key, "value": _value(loaded, key), "origin": loaded.origins[key]} for key in loaded.origins]
    folders = {name: str(getattr(loaded.folders, name)) for name in ("server", "node", "client", "logs", "run")}
    if as_json:
        print_json(
            [*rows, *({"key": f"folders.{name}", "value": path, "origin": loaded.folders.origin} for name, path in folders.items())],
            call.out,
        )
        return
    table = [(row["key"], _shown(row["value"]), str(row["origin"])) for row in rows]
    table += [(f"folders.{name}", path, loaded.folders.origin) for name, path in folders.items()]
    print_columns(("SETTING", "VALUE", "FROM"), table, call.out)


def kinds(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="KIND", help="One kind: print its options.")] = "",
    as_json: Json = False,
) -> None:
    """List the kinds of tasks, or the options of one."""
    from ..common.kinds.registry import kind as one_kind
    from ..common.kinds.registry import kinds as all_kinds

    call = the_call(ctx)
    found = [one_kind(name)] if name else [known for _, known in sorted(all_kinds().items())]
    rows: list[dict[str, Any]] = [
        {
            "name": kind.name,
            "version": kind.version,
            "allow": kind.allow,
            "options": [_option(option) for option in kind.options],
        }
        for kind in found
    ]
    if as_json:
        print_json(rows, call.out)
    elif name:
        _print_options(rows[0]["options"], call.out)
    else:
        print_columns(("KIND", "VERSION", "NODES MUST ALLOW"), [(row["name"], str(row["version"]), row["allow"]) for row in rows], call.out)


def _option(option: Option) -> dict[str, Any]:
    """An option as ``--json`` has it; a table's own keys are in ``options``."""
    return {
        "name": option.name,
        "type": option.type,
        "default": option.default,
        "required": option.required,
        "choices": list(option.choices),
        "minimum": option.minimum,
        "maximum": option.maximum,
        "help": option.help,
        "options": [_option(inner) for inner in option.options],
    }


def _print_options(options: list[dict[str, Any]], out: TextIO) -> None:
    """The options, then each table under a heading as task.toml writes it."""
    header = ("OPTION", "TYPE", "DEFAULT", "HELP")
    plain = [option for option in options if option["type"] != "table"]
    tables = [(option["name"], option) for option in options if option["type"] == "table"]
    rows = [_row(option) for option in plain]
    for path, table in tables:
        rows += [("", "", "", ""), (f"[{path}]", "table", "required" if table["required"] else "-", table["help"])]
        rows += [_row(option, "  ") for option in table["options"] if option["type"] != "table"]
        tables += [(f"{path}.{inner['name']}", inner) for inner in table["options"] if inner["type"] == "table"]
    print_columns(header, rows, out, none="This kind has no options.")


def _row(option: dict[str, Any], indent: str = "") -> tuple[str, str, str, str]:
    kind = " or ".join(option["choices"]) or {"value": "any"}.get(option["type"], option["type"])
    return f"{indent}{option['name']}", kind, "required" if option["required"] else _shown(option["default"]), option["help"]


def _value(loaded: Loaded, key: str) -> Any:
    section, _, name = key.partition(".")
    if section == SHARED:
        seen = loaded.settings.shared[name]
        return {"path": str(seen.path), "results": str(seen.results), "also": list(seen.also)}
    assert section in SECTIONS
    value = getattr(getattr(loaded.settings, section), name)
    if key in SECRET:
        return "(set)" if value else ""
    return dict(value) if hasattr(value, "items") else list(value) if isinstance(value, tuple) else value


def _shown(value: Any) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value == int(value):
        return str(int(value))
    if isinstance(value, list):
        return ", ".join(str(item) for item in value) or "-"
    if isinstance(value, dict):
        return ", ".join(f"{name}={item}" for name, item in value.items()) or "-"
    return str(value)
