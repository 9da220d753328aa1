"""Where state lies: apart for server, node and client, so that all three may live on one machine.

``--data DIR`` keeps one farm wholly below DIR. Else the FHS holds for a service (root, or the user ``clusterray`` that the
init scripts use), and XDG for a person. What a client remembers always belongs to a person.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

SERVICE_USER = "clusterray"


@dataclass(frozen=True, kw_only=True)
class Folders:
    """Nothing is made here: whoever writes first makes its folder, mode 0700."""

    server: Path
    node: Path
    client: Path
    logs: Path
    run: Path
    origin: str = ""
    """``--data``, ``service`` or ``person``."""
    data: Path | None = None
    """The --data folder, if any."""


def find_folders(data: Path | None, env: Mapping[str, str], *, service: bool | None = None) -> Folders:
    """The folders for this process; ``service`` None looks at who runs it."""
    if data is not None:
        data = Path(os.path.abspath(data.expanduser()))  # noqa: PTH100  (absolute, but links as the user wrote them)
        return Folders(
            server=data / "server",
            node=data / "node",
            client=data / "client",
            logs=data / "log",
            run=data / "run",
            origin="--data",
            data=data,
        )
    state = _xdg(env, "XDG_STATE_HOME", ".local/state")
    if _is_service() if service is None else service:
        state_of = Path("/var/lib/clusterray")
        return Folders(
            server=state_of / "server",
            node=state_of / "node",
            client=state / "client",
            logs=Path("/var/log/clusterray"),
            run=Path("/run/clusterray"),
            origin="service",
        )
    share = _xdg(env, "XDG_DATA_HOME", ".local/share")
    runtime = env.get("XDG_RUNTIME_DIR", "")
    return Folders(
        server=share / "server",
        node=share / "node",
        client=state / "client",
        logs=state / "log",
        run=Path(runtime) / "clusterray" if os.path.isabs(runtime) else state / "run",  # noqa: PTH117
        origin="person",
    )


def config_home(env: Mapping[str, str]) -> Path:
    """The user's config folder for ClusterRay."""
    return _xdg(env, "XDG_CONFIG_HOME", ".config")


def _xdg(env: Mapping[str, str], name: str, below_home: str) -> Path:
    """The XDG rule: a relative or empty value does not count."""
    value = env.get(name, "")
    base = Path(value) if os.path.isabs(value) else _home(env) / below_home  # noqa: PTH117
    return base / "clusterray"


def _home(env: Mapping[str, str]) -> Path:
    home = env.get("HOME", "")
    if home:
        return Path(home)
    try:
        return Path(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:  # a container may run under a number that has no name
        return Path("/")


def _is_service() -> bool:
    if os.geteuid() == 0:
        return True
    try:
        return pwd.getpwuid(os.geteuid()).pw_name == SERVICE_USER
    except KeyError:
        return False
