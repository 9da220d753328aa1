"""Commands about shared storage: shared check."""

from __future__ import annotations

from typing import Annotated

import typer

from ..common.units import show_size
from ..common.wire.messages import CheckShared, SharedChecked
from .call import the_call
from .summary import print_columns, print_json, shared_row
from .words import clean

WAIT = 60.0
"""Seconds for the answer: the slowest node may take 20, and each share of the server that hangs some more."""


def add(app: typer.Typer) -> None:
    group = typer.Typer(help="Shared storage: folders that server and nodes see alike, so that nothing is copied.", no_args_is_help=True)
    group.command("check")(check)
    group.callback()(lambda: None)  # a group of one command is still a group
    app.add_typer(group, name="shared")


Json = Annotated[bool, typer.Option("--json", help="Print a list of objects with stable keys.")]


def check(ctx: typer.Context, as_json: Json = False) -> None:
    """Probe the shared roots now, on the server and on every node that declares one; the exit code is 1 where one fails."""
    call = the_call(ctx)
    with call.session() as session:
        found = session.ask(CheckShared(), SharedChecked, timeout=WAIT).found
    bad = any(one.state == "bad" for one in found)
    if as_json:
        print_json([shared_row(one) for one in found], call.out)
        raise typer.Exit(1 if bad else 0)
    rows = [
        (
            clean(one.machine) or "(server)",
            clean(one.root),
            {"good": "ok", "bad": "FAILED"}.get(one.state, "not probed"),
            clean(one.path),
            clean(one.results) if one.results != one.path else "-",
            show_size(one.free) if one.free else "-",
            f"{one.skew:+.1f} s" if one.state == "good" else "-",
            clean(one.why),
        )
        for one in found
    ]
    print_columns(("MACHINE", "ROOT", "PROBE", "PATH", "RESULTS", "FREE", "CLOCK", "NOTE"), rows, call.out)
    alone = sorted({one.root for one in found if not one.machine} - {one.root for one in found if one.machine})
    for root in alone:
        call.tell(f"No node has the shared root {clean(root)}: say [shared.{clean(root)}] in the settings of nodes that are to serve it.")
    raise typer.Exit(1 if bad else 0)
