"""The command line put together: the options of every command, and the list of the files that hold the commands."""

from __future__ import annotations

from typing import Annotated

import typer

from .. import __version__
from ..common.errors import UsageError
from ..common.settings import KNOWN
from . import commands_daemons, commands_farm, commands_info, commands_shared, commands_submit, commands_tasks
from .call import the_call


def build() -> typer.Typer:
    """The whole command line, as a callable."""
    app = typer.Typer(
        name="clusterray",
        help="Hand it a folder: it cuts the work, spreads it over your machines, and joins the pieces.",
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(every_command)
    for part in (commands_submit, commands_tasks, commands_farm, commands_shared, commands_daemons, commands_info):
        part.add(app)
    return app


def every_command(
    ctx: typer.Context,
    data: Annotated[str, typer.Option(metavar="DIR", help="Keep all state of this farm below DIR (also CLUSTERRAY_DATA).")] = "",
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Any setting, for this command; `clusterray settings` lists them."),
    ] = None,
    version: Annotated[bool, typer.Option("--version", "-V", help="Print the version.")] = False,
) -> None:
    call = the_call(ctx)
    if version:
        call.say(f"clusterray {__version__}")
        raise typer.Exit
    call.flags |= {"data": data} if data else {}
    for item in set_ or ():
        key, sign, value = item.partition("=")
        if not sign or "." not in key:
            raise UsageError(f'--set wants SECTION.KEY=VALUE, such as --set server.port=5007, not "{item}".')
        call.flags[_known(key.strip())] = value


def _known(key: str) -> str:
    """The key; a wrong one is told by the settings themselves, as for a file."""
    return key if key in KNOWN or key.startswith("shared.") else key.replace("-", "_")
