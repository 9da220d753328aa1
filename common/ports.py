"""Ports and addresses of this machine: is one free, who holds it, what are we called from outside.

All answers are of the moment. A port that was free may be taken a line later, so servers bind and report what happened;
these functions are for choosing, and for saying who is in the way.
"""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

from .errors import UsageError

_LISTEN = "0A"
"""State of a listening socket in /proc/net/tcp."""

_LOCAL_BRIDGES = ("docker", "br-", "virbr", "veth", "cni", "lxc", "podman")
"""Interfaces for guests on this machine: their addresses mean nothing elsewhere, or another machine."""


def split_address(text: str) -> tuple[str, int]:
    """``host:port`` or ``[v6]:port`` -> both parts. UsageError says what is missing."""
    host, colon, port = text.strip().rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise UsageError(f"{text!r} is no address: write an IPv6 address in brackets, as [::1]:5007.")
    if not colon or not host or not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise UsageError(f"{text!r} is no address: write host:port, as farm.example.org:5007.")
    return host, int(port)


def join_address(host: str, port: int) -> str:
    """The text that split_address reads."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen there now."""
    try:
        with contextlib.closing(listen(host, port)):
            return True
    except OSError:
        return False


def listen(host: str, port: int, backlog: int = 1) -> socket.socket:
    """A listening TCP socket; OSError as the system says it. An empty host means all interfaces."""
    family, kind, protocol, _, address = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    listening = socket.socket(family, kind, protocol)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if host == "::" else 1)
        listening.bind(address)
        listening.listen(backlog)
    except BaseException:
        listening.close()
        raise
    return listening


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody listens on."""
    with contextlib.closing(listen(host, 0)) as listening:
        return int(listening.getsockname()[1])


def free_range(count: int, host: str = "127.0.0.1") -> tuple[int, int]:
    """First and last of ``count`` free ports in a row."""
    for _ in range(100):
        first = free_port(host)
        if first + count <= 65536 and all(is_free(host, port) for port in range(first, first + count)):
            return first, first + count - 1
    raise UsageError(f"There are no {count} free ports in a row on {host}: name a range that is free in the settings.")


def holder(port: int) -> str:
    """Who listens on the port, as ``pid 123 (python3)``; less where /proc tells less, ``""`` where nobody does or it cannot be seen."""
    found = [line for name in ("tcp", "tcp6") for line in _listeners(Path("/proc/net", name)) if line[0] == port]
    inodes = {f"socket:[{inode}]" for _, inode, _ in found}
    if not inodes:
        return ""
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and _has_open(process, inodes):
            with contextlib.suppress(OSError):
                return f"pid {process.name} ({(process / 'comm').read_text().strip()})"
    return f"a process of user {_user(found[0][2])}"


def _listeners(table: Path) -> list[tuple[int, str, int]]:
    """Port, inode and uid of each listening socket."""
    try:
        rows = [line.split() for line in table.read_text("ascii").splitlines()[1:]]
    except OSError:
        return []
    return [(int(row[1].rpartition(":")[2], 16), row[9], int(row[7])) for row in rows if len(row) > 9 and row[3] == _LISTEN]


def _has_open(process: Path, inodes: set[str]) -> bool:
    try:
        with os.scandir(process / "fd") as handles:
            for handle in handles:
                with contextlib.suppress(OSError):
                    if os.readlink(handle.path) in inodes:  # noqa: PTH115 - no path: "socket:[123]"
                        return True
    except OSError:  # another user's process, or one that has just ended
        pass
    return False


def _user(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def own_addresses() -> tuple[str, ...]:
    """This machine's addresses, the likeliest first: that of the way out, other IPv4, IPv6; loopback if there is nothing else."""
    import psutil

    ways_out = [_way_to(socket.AF_INET, "192.0.2.1"), _way_to(socket.AF_INET6, "2001:db8::1")]
    by_family: dict[int, list[str]] = {socket.AF_INET: [], socket.AF_INET6: []}
    for interface, entries in sorted(psutil.net_if_addrs().items()):
        if not interface.startswith(_LOCAL_BRIDGES):
            for entry in entries:
                by_family.get(entry.family, []).append(entry.address)
    candidates = [ways_out[0], *by_family[socket.AF_INET], ways_out[1], *by_family[socket.AF_INET6]]
    useful = [address for address in candidates if address and not address.startswith(("127.", "169.254.", "fe80:")) and address != "::1"]
    return tuple(dict.fromkeys(useful)) or ("127.0.0.1",)


def _way_to(family: int, far: str) -> str:
    """Our address on the route to a far one. A connected UDP socket sends nothing; the address is one kept for examples."""
    with contextlib.closing(socket.socket(family, socket.SOCK_DGRAM)) as probe:
        try:
            probe.connect((far, 9))
            return str(probe.getsockname()[0])
        except OSError:
            return ""
