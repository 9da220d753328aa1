"""On the node: one Mitsuba job as a Recipe, and what its lines and its end mean."""

from __future__ import annotations

import json
import re
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..libraries import remedy
from ..model import Cause, Failure
from .kind import Place, Recipe
from .mitsuba_driver import BAD_INPUT, MARK, NO_LIBRARY
from .mitsuba_options import PROGRAM

DRIVER = "clusterray-mitsuba.py"
JOB = "clusterray-job.json"
_PICTURE = re.compile(rf"{MARK} picture (\d\.\d+) (\d\.\d+)$")
_BAR = re.compile(r"Rendering \[(=*)( *)\] \(")


def recipe(options: Mapping[str, Any], place: Place, pictures: Sequence[Mapping[str, Any]], outputs: tuple[str, ...]) -> Recipe:
    """``pictures``: seed, samples, parameters, file and perhaps facts, both below ``out``; rendered one after the other in one process."""
    out = place.scratch / "out"
    job = {
        "scene": str(place.inputs / options["scene"]),
        "inputs": str(place.inputs),
        "variant": options["variant"],
        "sensor": options["sensor"],
        "size": [options["width"], options["height"]],
        "threads": place.cores,
        "bits": options["bits"],
        "pictures": [{**one, **{name: str(out / one[name]) for name in ("file", "facts") if name in one}} for one in pictures],
    }
    (place.scratch / JOB).write_text(json.dumps(job), "utf-8")
    (place.scratch / DRIVER).write_bytes(Path(__file__).with_name("mitsuba_driver.py").read_bytes())
    return Recipe(
        argv=(place.programs.get(PROGRAM, sys.executable), "-P", "-u", str(place.scratch / DRIVER), str(place.scratch / JOB)),
        env={"HOME": str(place.scratch), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUTF8": "1"},
        outputs=outputs,
        progress=Progress(),
        diagnose=diagnose,
    )


class Progress:
    """Mitsuba's bar, ``Rendering [=====     ] (1.2s, ETA: 3s)``, as a part of what the driver says of each picture: where it begins in
    the whole job, and its share."""

    def __init__(self) -> None:
        self._start, self._share = 0.0, 1.0

    def __call__(self, line: str) -> float | None:
        match = _PICTURE.match(line)
        if match:
            self._start, self._share = float(match[1]), float(match[2])
            return min(1.0, self._start)
        bar = _BAR.search(line)
        return min(1.0, self._start + self._share * len(bar[1]) / len(bar[1] + bar[2])) if bar else None


def diagnose(code: int, tail: Sequence[str]) -> Failure:
    """Mitsuba's own words with the file and the line of the scene; what the scene is to blame for is not tried again."""
    number = -code if code < 0 else code - 128 if code > 128 else 0
    said = [line.removeprefix(MARK).strip().partition(" ") for line in tail if line.startswith(MARK)]
    words = {word: rest for word, _, rest in said}
    evidence = tuple(line for line in tail if line.strip() and not _BAR.search(line) and not _PICTURE.match(line))[-40:]
    cause, sentence = Cause.ERROR, f"Mitsuba exited with {code}{': ' + evidence[-1].strip() if evidence else '.'}"
    if code == BAD_INPUT and "input" in words:
        cause, sentence = Cause.INPUT, f"Mitsuba cannot load the scene: {words['input']}"
    elif code == NO_LIBRARY:
        sentence = f"Mitsuba does not work on this node ({words.get('library', '')}): {remedy('mitsuba')}."
    elif "memory" in words or any("bad_alloc" in line for line in evidence):
        cause, sentence = Cause.MEMORY, "Mitsuba ran out of memory; give the job more with needs.memory."
    elif number == signal.SIGKILL:
        cause, sentence = Cause.MEMORY, "Mitsuba was killed, most likely because the machine ran out of memory."
    elif number == signal.SIGXCPU:
        cause, sentence = Cause.TIMEOUT, "Mitsuba used up its processor time."
    elif number:
        sentence = f"Mitsuba ended by signal {number}."
    elif "error" in words:
        sentence = f"Mitsuba failed: {words['error']}"
    return Failure(cause=cause, sentence=sentence, exit_code=code, tail=evidence)
