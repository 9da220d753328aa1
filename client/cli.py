"""The command line: ``clusterray COMMAND …``.

Commands are in commands_*.py, by what they are about. Here is the one place where an error becomes a sentence on stderr and
an exit code: 0 done, 1 the task failed, 2 wrong usage, 3 no server, 4 refused, 130 interrupted. ``--data`` and ``--set`` may
stand before or after the command.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from .. import __version__

if TYPE_CHECKING:
    from ..common.clock import Clock
    from .call import Call

ANYWHERE = ("--data", "--set")
INTERRUPTED = 130


def main() -> None:
    """Entry point ``clusterray``."""
    sys.exit(run(sys.argv[1:]))


def run(
    argv: Sequence[str],
    *,
    name: str = "clusterray",
    out: TextIO | None = None,
    err: TextIO | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    clock: Clock | None = None,
) -> int:
    """Run one command line and return its exit code."""
    out, err = out or sys.stdout, err or sys.stderr
    if list(argv) in (["--version"], ["-V"]):
        print(f"clusterray {__version__}", file=out)
        return 0
    env = os.environ if env is None else env
    from ..common.errors import ClusterRayError

    try:
        from ..common.clock import SystemClock
        from .call import Call

        call = Call(out=out, err=err, env=env, cwd=cwd or Path.cwd(), clock=clock or SystemClock())
        return _typer(call, hoist(argv), name)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # `clusterray tasks | head`: the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if env.get("CLUSTERRAY_DEBUG"):
            raise
        print(f"{name}: {_sentence(error)}", file=err)
        return error.exit_code if isinstance(error, ClusterRayError) else 1


def _sentence(error: Exception) -> str:
    from ..common.errors import ClusterRayError

    if isinstance(error, ClusterRayError):
        return str(error)
    if isinstance(error, OSError):
        return f"{error.filename or 'The system'}: {error.strerror or error}."
    return f"Something went wrong that should not have ({type(error).__name__}: {error}); CLUSTERRAY_DEBUG=1 shows where."


def hoist(argv: Sequence[str]) -> list[str]:
    """Options that belong to every command, moved to the front; nothing behind ``--`` is touched."""
    front: list[str] = []
    rest: list[str] = []
    words = iter(argv)
    for word in words:
        if word == "--":
            return [*front, *rest, word, *words]
        if word in ANYWHERE:
            front += [word, *(value for value in [next(words, None)] if value is not None)]
        elif word.startswith(tuple(f"{option}=" for option in ANYWHERE)):
            front.append(word)
        else:
            rest.append(word)
    return front + rest


def _typer(call: Call, argv: list[str], name: str) -> int:
    from .commands import build

    try:
        build()(args=argv, prog_name=name, obj=call)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1 if end.code else 0
    return 0
