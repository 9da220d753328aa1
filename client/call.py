"""One invocation of the command line: what it was given, and the parts that commands are built from, each made when asked for.

The composition root of the client. Commands reach it as typer's context object, so nothing is global and a test may hand in
its own folder, environment and streams.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from ..common.clock import Clock
from ..common.folders import Folders
from ..common.model import Account
from ..common.settings import Loaded, Settings, load
from .login import Login, LoginFile, find_login
from .session import Session

if TYPE_CHECKING:
    import typer

    from ..common.transfer import Courier

INTERRUPTED = 130


@dataclass(kw_only=True)
class Call:
    """``flags`` goes from ``section.key`` to a value; ``data`` is the --data folder."""

    out: TextIO
    err: TextIO
    env: Mapping[str, str]
    cwd: Path
    clock: Clock
    flags: dict[str, Any] = field(default_factory=dict)

    def set(self, **flags: Any) -> None:
        """Flags of a command, ``server_port=5007`` for ``server.port``; None is a flag that was not given. Before the first use."""
        self.flags |= {name.replace("_", ".", 1): value for name, value in flags.items() if value is not None}

    @cached_property
    def loaded(self) -> Loaded:
        return load(self.flags, self.env, self.cwd)

    @property
    def settings(self) -> Settings:
        return self.loaded.settings

    @property
    def folders(self) -> Folders:
        return self.loaded.folders

    def say(self, text: str) -> None:
        """A result, to stdout."""
        print(text, file=self.out, flush=True)

    def tell(self, text: str) -> None:
        """Something to read beside the result, to stderr."""
        print(text, file=self.err, flush=True)

    def session(self, login: Login | None = None, *, remember: bool = True) -> AbstractContextManager[Session]:
        """A session, connected on entering. Without a login, the remembered one."""
        from ..common.wire.link import dial

        file = LoginFile(self.folders.client)
        known = file.read() if login is None else None
        if login is None:
            login = find_login(file, self.env.get("CLUSTERRAY_JOIN", ""))
        return Session(
            login,
            dial=dial,
            clock=self.clock,
            patience=self.settings.client.patience,
            addresses=self.settings.client.server if remember else (),
            say=self.tell,
            met=file.write if remember and known is not None else lambda login: None,
        )

    def courier(self, account: Account, host: str, pin: str) -> Courier:
        """One FTP session at the server that a session talks to."""
        from ..common.transfer import Courier

        return Courier(account, host, pin, self.clock)


def the_call(ctx: typer.Context) -> Call:
    """The invocation that a command belongs to."""
    call = ctx.find_object(Call)
    assert call is not None
    return call
