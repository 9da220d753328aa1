"""The script that runs inside of Blender: it opens a file once and does one job after another with it.

    python start.py job.json                 one job, with the bpy module
    blender … --python start.py -- job.json  one job, with the program
    … --serve                                 a job per line of standard input (kind.Warm)

start.py (blender_run.START) calls main(). Here and in the files imported: the standard library and bpy only, for Python 3.10 and
later. Blender writes to C's standard output by fits and starts, so that its chatter is sent to standard error and standard output
is ours alone. A mistake of the submitter ends with code 3 and a line "clusterray: input: …", one of the node's with code 4 and
"clusterray: node: …".
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from . import blender_jobs as jobs
from .blender_rna import WrongPath
from .blender_scene import CannotHere, Mistake, prepare

DONE, FAILED = "clusterray: done", "clusterray: failed"
INPUT, NODE, PROGRESS = "clusterray: input: ", "clusterray: node: ", "clusterray: progress "
INPUT_CODE, NODE_CODE = 3, 4


class Talk:
    """Our lines to whoever started us; each is one write, so that none is torn apart."""

    def __init__(self) -> None:
        self._out = os.dup(1)
        os.dup2(2, 1)

    def say(self, line: str) -> None:
        os.write(self._out, f"\n{line}\n".encode())

    def complain(self, line: str) -> None:
        os.write(2, f"\n{line}\n".encode())

    def progress(self, fraction: float) -> None:
        self.say(f"{PROGRESS}{fraction:.6f}")


class Session:
    """The open file. It is opened again only where a job asks for another file or other settings, or has changed it for good."""

    def __init__(self, bpy: Any) -> None:
        self._bpy = bpy
        self._open = ""

    def do(self, request: dict[str, Any], talk: Talk) -> None:
        """One job. Raises WrongPath, Mistake, CannotHere, RuntimeError."""
        wanted = json.dumps(
            [request["blend"], request["settings"], request.get("plain"), request.get("subset") is not None], sort_keys=True
        )
        if wanted != self._open:
            self._open = ""
            prepare(self._bpy, request["blend"], request["settings"])
        self._open = ""
        jobs.do(self._bpy, request, talk.progress)
        if request["do"] in jobs.HARMLESS:
            self._open = wanted


def main(argv: Sequence[str]) -> None:
    """See the head of this file. Does not return: Blender's own way out takes time, and complains of memory that it has not freed."""
    status = 1
    try:
        status = work(argv)
    except Exception:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def work(argv: Sequence[str]) -> int:
    """All jobs; the exit code."""
    words = argv[argv.index("--") + 1 :] if "--" in argv else argv[1:]
    talk = Talk()
    session = Session(import_module("bpy"))
    if words and words[0] == "--serve":
        for line in sys.stdin:
            code, sentence = attempt(session, json.loads(line), talk)
            talk.say(DONE if code == 0 else f"{FAILED} {sentence}")
            if code not in (0, INPUT_CODE, NODE_CODE):
                return code  # what went wrong once may have left anything behind
        return 0
    request = json.loads(Path(words[-1]).read_text(encoding="utf-8"))
    code, _ = attempt(session, request, talk)
    return code


def attempt(session: Session, request: dict[str, Any], talk: Talk) -> tuple[int, str]:
    """The exit code of one job, and what went wrong."""
    try:
        session.do(request, talk)
    except (WrongPath, Mistake) as error:
        talk.complain(f"{INPUT}{error}")
        return INPUT_CODE, str(error)
    except CannotHere as error:
        talk.complain(f"{NODE}{error}")
        return NODE_CODE, str(error)
    except Exception as error:
        traceback.print_exc()
        sys.stderr.flush()
        return 1, " ".join(str(error).split())
    return 0, ""
