"""Commands that tell what there is, without a server: settings and kinds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..common.settings import KNOWN, SECRET, SECTIONS, Loaded
from .call import the_call
from .summary import print_columns, print_json

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
    rows = [{"key": key, "value": _value(loaded, key), "origin": loaded.origins[key]} for key in KNOWN]
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
            "options": [
                {
                    "name": option.name,
                    "type": option.type,
                    "default": option.default,
                    "required": option.required,
                    "choices": list(option.choices),
                    "minimum": option.minimum,
                    "maximum": option.maximum,
                    "help": option.help,
                }
                for option in kind.options
            ],
        }
        for kind in found
    ]
    if as_json:
        print_json(rows, call.out)
    elif name:
        table = [
            (
                option["name"],
                " or ".join(option["choices"]) or option["type"],
                "required" if option["required"] else _shown(option["default"]),
                option["help"],
            )
            for option in rows[0]["options"]
        ]
        print_columns(("OPTION", "TYPE", "DEFAULT", "HELP"), table, call.out)
    else:
        print_columns(("KIND", "VERSION", "NODES MUST ALLOW"), [(row["name"], str(row["version"]), row["allow"]) for row in rows], call.out)


def _value(loaded: Loaded, key: str) -> Any:
    section, _, name = key.partition(".")
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
