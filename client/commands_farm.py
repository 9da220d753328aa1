"""Commands about the farm itself: login, join-code, nodes, lock, unlock, drain, undrain, forget-node, status."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from .. import __version__
from ..common.errors import UsageError
from ..common.model import NodeView, Role
from ..common.units import show_duration
from ..common.wire.messages import Changed, ChangeNode, NodeList, Nodes, ServerStatus, Status
from .call import Call, the_call
from .login import Login, LoginFile, checked_code
from .session import Session
from .summary import node_row as row_of
from .summary import print_json, print_nodes
from .words import clean, count, short

Json = Annotated[bool, typer.Option("--json", help="Print a list of objects with stable keys.")]
Node = Annotated[list[str], typer.Argument(metavar="NODE…", help="Names or ids of nodes, or beginnings of ids.")]


LISTENING = "listening.json"
"""In the server's folder: where its last start listened, flags and chosen ports included."""


@dataclass(frozen=True)
class Listening:
    """What the server notes of its last start."""

    port: int
    addresses: tuple[str, ...] = ()


def add(app: typer.Typer) -> None:
    app.command("login")(login)
    app.command("join-code")(join_code)
    for command in (nodes, lock, unlock, drain, undrain, status):
        app.command(command.__name__)(command)
    app.command("forget-node")(forget_node)


def login(
    ctx: typer.Context,
    code: Annotated[
        str, typer.Argument(metavar="CODE", help="The code from `clusterray join-code --role submit`; - reads it from stdin.")
    ] = "",
    join_file: Annotated[Path | None, typer.Option(metavar="FILE", help="Read the code from a file.")] = None,
) -> None:
    """Log this machine in as a submitter (or an administrator, with that code). Also from CLUSTERRAY_JOIN."""
    call = the_call(ctx)
    way = checked_code(read_code(call, code, join_file))
    fresh = Login(code=way.encode())
    with call.session(fresh, remember=False) as session:
        known = session.login
    file = LoginFile(call.folders.client)
    file.write(known)
    call.say(f"Logged in at {clean(known.server) or 'the farm'} ({', '.join(way.addresses)}) with the rights of {_rights(way.role)}.")


def join_code(
    ctx: typer.Context,
    role: Annotated[Role, typer.Option(help="Whom it lets in.")] = Role.NODE,
    address: Annotated[
        list[str] | None, typer.Option(metavar="HOST[:PORT]", help="How the server is reached; else as set, else all its addresses.")
    ] = None,
    new: Annotated[bool, typer.Option("--new", help="Make a new code and end the old one.")] = False,
) -> None:
    """On the server's machine: print the code that a node, a submitter or an administrator types once."""
    from ..common import security

    call = the_call(ctx)
    folder = call.folders.server
    try:
        there = (folder / "key.pem").exists()
    except PermissionError:
        raise UsageError(f"{folder} belongs to another user: ask as that user, or as root.") from None
    if not there:
        raise UsageError(
            f"No server has run with its state in {folder}: start it first (`clusterray server start`), or name its folder with --data."
        )
    addresses = _addresses(call, tuple(address or ()))
    try:
        tokens = security.Tokens(folder)
        token = tokens.renew(role) if new else tokens.current(role)
        pin = security.make_identity(folder).pin
    except PermissionError:
        raise UsageError(f"{folder} belongs to another user: ask as that user, or as root.") from None
    call.say(security.JoinCode(role=role, addresses=addresses, pin=pin, token=token).encode())


def nodes(ctx: typer.Context, as_json: Json = False) -> None:
    """List the nodes: what they have, what they do, what confines them."""
    call = the_call(ctx)
    with call.session() as session:
        views = session.ask(Nodes(), NodeList).nodes
    if as_json:
        print_json([row_of(view) for view in views], call.out)
    else:
        print_nodes(views, call.out)


def lock(ctx: typer.Context, nodes: Node) -> None:
    """Give nodes no more jobs; what runs there goes on."""
    _change(the_call(ctx), nodes, "lock", "locked")


def unlock(ctx: typer.Context, nodes: Node) -> None:
    """Give nodes jobs again."""
    _change(the_call(ctx), nodes, "unlock", "unlocked")


def drain(ctx: typer.Context, nodes: Node) -> None:
    """Let nodes finish what they run, and give them no more."""
    _change(the_call(ctx), nodes, "drain", "draining")


def undrain(ctx: typer.Context, nodes: Node) -> None:
    """Take a drain back."""
    _change(the_call(ctx), nodes, "undrain", "no longer draining")


def forget_node(ctx: typer.Context, nodes: Node) -> None:
    """Remove nodes and end their tokens: each needs a join code to come back."""
    _change(the_call(ctx), nodes, "remove", "removed")


def status(ctx: typer.Context, as_json: Json = False) -> None:
    """The server in numbers."""
    call = the_call(ctx)
    with call.session() as session:
        told = session.ask(Status(), ServerStatus)
    if as_json:
        import msgspec

        print_json([msgspec.to_builtins(told) | {"client": __version__}], call.out)
        return
    up = show_duration(max(0.0, call.clock.now() - told.started))
    call.say(
        f"{clean(told.name)}, version {clean(told.version)}, up {up}: {count(told.nodes, 'node')}, {told.busy} of {told.slots} slots busy"
    )
    call.say("tasks: " + (", ".join(f"{number} {clean(state)}" for state, number in told.tasks.items() if number) or "none"))


def read_code(call: Call, code: str, join_file: Path | None) -> str:
    """A join code from the argument, a file, stdin (-) or CLUSTERRAY_JOIN."""
    if code and join_file:
        raise UsageError("Give the code either as CODE or in --join-file, not both.")
    if code == "-":
        return sys.stdin.readline()
    if join_file is not None:
        try:
            return (call.cwd / join_file).read_text("ascii")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{join_file} cannot be read as a join code: {error}.") from None
    code = code or call.env.get("CLUSTERRAY_JOIN", "")
    if not code:
        raise UsageError("A join code is wanted: as CODE, in --join-file, on stdin (-) or in CLUSTERRAY_JOIN.")
    return code


def _change(call: Call, names: list[str], verb: str, word: str) -> None:
    with call.session() as session:
        views = session.ask(Nodes(), NodeList).nodes
        for node in [_find(views, name) for name in names]:
            _tell(session, node, verb)
            call.say(f"{clean(node.name)} ({short(node.id)}): {word}")


def _tell(session: Session, node: NodeView, verb: str) -> None:
    session.ask(ChangeNode(node=node.id, verb=verb), Changed)


def _find(views: tuple[NodeView, ...], text: str) -> NodeView:
    """By id, by name, or by a beginning of an id; only where it is unique."""
    for found in (
        [view for view in views if view.id == text],
        [view for view in views if view.name == text],
        [view for view in views if view.id.startswith(text)],
    ):
        if len(found) == 1:
            return found[0]
        if found:
            raise UsageError(f"{len(found)} nodes are meant by {text}: {', '.join(short(view.id) for view in found)}; use an id.")
    names = ", ".join(sorted(clean(view.name) for view in views)) or "none has joined"
    raise UsageError(f"There is no node {text}; there are: {names}.")


def _addresses(call: Call, given: tuple[str, ...]) -> tuple[str, ...]:
    """As said here, as set, or all of this machine's. The port is the set one; else that of the server's last start (it notes it)."""
    from ..common import ports

    settings, origins = call.settings.server, call.loaded.origins
    noted = _noted(call.folders.server / LISTENING)
    port = settings.port
    if noted is not None and (port == 0 or origins["server.port"] == "default"):
        port = noted.port
    hosts = given or settings.addresses or (noted.addresses if noted else ()) or ports.own_addresses()
    return tuple(_with_port(host, port) for host in hosts)


def _noted(path: Path) -> Listening | None:
    import msgspec

    try:
        return msgspec.json.decode(path.read_bytes(), type=Listening)
    except (OSError, msgspec.DecodeError):
        return None


def _with_port(host: str, port: int) -> str:
    from ..common import ports

    bare = host.strip("[]")
    if ":" not in host or (bare.count(":") > 1 and "]:" not in host):
        if port == 0:
            raise UsageError(f"The server's port is chosen anew at each start ([server] port = 0): give --address {host}:PORT.")
        return ports.join_address(bare, port)
    ports.split_address(host)
    return host


def _rights(role: Role) -> str:
    return "an administrator" if role is Role.ADMIN else "a submitter"
