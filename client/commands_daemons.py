"""Commands that run the farm's two programs on this machine: ``server VERB`` and ``node VERB``.

The programs are started as ``-m clusterray.server`` and ``-m clusterray.node``; the client imports neither. Flags travel as
variables, the join code too: no list of processes shows it, and the node keeps it in a file of mode 0600.
"""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ..common.errors import UsageError
from ..common.folders import SERVICE_USER
from ..common.model import Role
from ..common.settings import as_variables
from .call import Call, the_call
from .commands_farm import read_code


class Verb(StrEnum):
    START = "start"
    STOP = "stop"
    RESTART = "restart"
    STATUS = "status"
    FOREGROUND = "foreground"


Which = Annotated[Verb, typer.Argument(metavar="start|stop|restart|status|foreground", help="What to do.", show_default=False)]
LogLevel = Annotated[str | None, typer.Option(metavar="LEVEL", help="debug, info, warning or error.")]
STARTS = frozenset({Verb.START, Verb.RESTART, Verb.FOREGROUND})


def add(app: typer.Typer) -> None:
    app.command("server")(server)
    app.command("node")(node)


def server(
    ctx: typer.Context,
    verb: Which,
    listen: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Address of the farm socket.")] = None,
    port: Annotated[int | None, typer.Option(help="Port of the farm socket.")] = None,
    ftp_port: Annotated[int | None, typer.Option(help="FTP control port.")] = None,
    ftp_passive: Annotated[str | None, typer.Option(metavar="FIRST-LAST", help="FTP data ports.")] = None,
    address: Annotated[list[str] | None, typer.Option(metavar="HOST[:PORT]", help="How others reach this machine.")] = None,
    name: Annotated[str | None, typer.Option(help="The server's name.")] = None,
    log_level: LogLevel = None,
) -> None:
    """Run the server on this machine; its first start prints the join codes."""
    call = the_call(ctx)
    call.set(server_listen=listen, server_port=port, server_name=name, server_addresses=address or None)
    call.set(ftp_port=ftp_port, ftp_passive=ftp_passive, log_level=log_level)
    raise typer.Exit(_control(call, "server", verb, call.folders.server))


def node(
    ctx: typer.Context,
    verb: Which,
    join: Annotated[
        str, typer.Option(metavar="CODE", help="The code from `clusterray join-code --role node`; - reads it from stdin. It is remembered.")
    ] = "",
    join_file: Annotated[Path | None, typer.Option(metavar="FILE", help="Read the code from a file.")] = None,
    slots: Annotated[int | None, typer.Option(help="Jobs at a time; 0: one per two cores.")] = None,
    cores: Annotated[int | None, typer.Option(help="Cores to use; 0: all.")] = None,
    name: Annotated[str | None, typer.Option(help="The node's name; else the host's.")] = None,
    allow: Annotated[list[str] | None, typer.Option(metavar="WHAT", help="What may run here: render, commands, python.")] = None,
    tag: Annotated[list[str] | None, typer.Option(metavar="WORD", help="A word that a task may ask for.")] = None,
    sandbox: Annotated[str | None, typer.Option(metavar="auto|off", help="Confinement of programs.")] = None,
    new_id: Annotated[bool, typer.Option("--new-id", help="Be another node than before: for a cloned disk.")] = False,
    log_level: LogLevel = None,
) -> None:
    """Run a node on this machine; the first start needs a join code."""
    call = the_call(ctx)
    call.set(node_slots=slots, node_cores=cores, node_name=name, node_allow=allow or None, node_tags=tag or None, node_sandbox=sandbox)
    call.set(log_level=log_level)
    if verb in STARTS and (join or join_file or call.env.get("CLUSTERRAY_JOIN")):
        call.set(node_join=_join_code(read_code(call, join, join_file)))
    raise typer.Exit(_control(call, "node", verb, call.folders.node, *(["--new-id"] if new_id else [])))


def _control(call: Call, what: str, verb: Verb, state: Path, *more: str) -> int:
    from ..common.daemon import control, module_argv

    folders = call.folders
    logfile = folders.logs / f"{what}.log"
    data = ["--data", str(folders.data)] if folders.data else []
    if what == "server" and verb in (Verb.START, Verb.RESTART):
        more = ("--log", call.settings.log.file or str(logfile), *more)
    for name in ("CLUSTERRAY_JOIN", "CLUSTERRAY_NODE_JOIN"):
        os.environ.pop(name, None)  # a given one was read, and goes its own way
    os.environ.update(as_variables({key: value for key, value in call.flags.items() if not key.startswith("client.")}))
    return control(
        what,
        verb.value,
        pidfile=folders.run / f"{what}.pid",
        logfile=logfile,
        argv=module_argv(f"clusterray.{what}", *data, *more),
        user=SERVICE_USER if folders.origin == "service" else "",
        folders=(state,),
        say=call.say,
    )


def _join_code(text: str) -> str:
    """The code, looked at before anything is started."""
    from ..common.security import JoinCode

    code = JoinCode.decode(text)
    if code.role is not Role.NODE:
        raise UsageError("This code is not for nodes: `clusterray join-code --role node` on the server prints the one for them.")
    return code.encode()
