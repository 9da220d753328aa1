"""What a node starts for a job of a survey: ``python -m clusterray.common.survey.work JOB request.json``.

A child process: the libraries abort where they meet what they did not expect, and keep their memory. The request holds what the kind's
``process`` knew; ``JOB`` is a module of this package. Lines that begin with MARK are for the node.
"""

from __future__ import annotations

import os
import sys
import traceback
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec

from ..errors import KindError
from .errors import BadSurvey

MARK = "clusterray:"
BAD_INPUT = 3
"""Exit code: the last marked line says what is wrong with the input."""
NO_LIBRARY = 4
NO_MEMORY = 5


@dataclass(kw_only=True)
class Job:
    """What ``run(job)`` of a module gets."""

    inputs: Path
    """The task's folder, with ``stages/…`` of earlier stages; read-only."""
    out: Path
    """Empty; all that is written here goes to the server."""
    scratch: Path
    """For temporary files; exists, is removed by the node."""
    cores: int
    """How many threads it may keep busy."""
    options: dict[str, Any]
    """All options of the task."""
    data: dict[str, Any]
    """Of the region."""
    _told: float = field(default=-1.0)

    def progress(self, fraction: float) -> None:
        """How much is done, 0 to 1; call it as often as you like."""
        if fraction - self._told >= 0.01:
            self._told = fraction
            print(f"{MARK} progress {min(1.0, fraction):.3f}", flush=True)

    def say(self, sentence: str) -> None:
        """A line for the job's log."""
        print(sentence, flush=True)


def main(arguments: list[str]) -> int:
    name, request = arguments
    words = msgspec.json.decode(Path(request).read_bytes())
    job = Job(
        inputs=Path(words["inputs"]), out=Path(words["out"]), scratch=Path(words["scratch"]), cores=words["cores"],
        options=words["options"], data=words["data"],
    )  # fmt: skip
    os.environ.update({name: str(job.cores) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "GDAL_NUM_THREADS")})
    job.scratch.mkdir(parents=True, exist_ok=True)
    try:
        import_module(f".{name}", __package__).run(job)
    except BadSurvey as error:
        print(f"{MARK} input {error}", flush=True)
        return BAD_INPUT
    except KindError as error:
        print(f"{MARK} library {error}", flush=True)
        return NO_LIBRARY
    except MemoryError:
        print(f"{MARK} memory", flush=True)
        return NO_MEMORY
    except Exception:
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
