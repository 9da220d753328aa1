"""On the node: an item becomes an argv, and a job a recipe.

A single item whose streams are not redirected runs as it is. Everything else runs through DRIVER, a small Python program inside of
the confinement that starts one argv after the other: no shell ever sees a word of a submitter.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import FileError, KindError
from ..model import Cause, Failure
from .command_items import Item, outputs_of, values_of
from .command_options import env_templates, over, program_of, templates, variables_of
from .film_options import curves_of
from .kind import Place, Recipe
from .placeholders import Value, fill, fill_words

PATH = "/usr/local/bin:/usr/bin:/bin"
MOST_WORDS = 1_500_000
"""Bytes of a command's words, with a pointer for each."""
SAID = "clusterray: "
"""Begins a line of the driver."""
DRIVER = """\
import json, os, signal, sys

jobs = json.load(open(sys.argv[1]))
for number, job in enumerate(jobs):
    print(f"clusterray: item {number} of {len(jobs)}", file=sys.stderr, flush=True)
    moves = [(os.POSIX_SPAWN_OPEN, 0, job["stdin"] or os.devnull, os.O_RDONLY, 0)]
    if job["stdout"]:
        os.makedirs(os.path.dirname(job["stdout"]), exist_ok=True)
        moves.append((os.POSIX_SPAWN_OPEN, 1, job["stdout"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644))
    try:
        child = os.posix_spawn(job["argv"][0], job["argv"], os.environ, file_actions=moves)
    except OSError as error:
        print(f"{error.filename or job['argv'][0]}: {error.strerror}", file=sys.stderr)
        code = 127
    else:
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code:
        print(f"clusterray: failed {number}", file=sys.stderr, flush=True)
        if code < 0:
            signal.signal(-code, signal.SIG_DFL) if -code not in (signal.SIGKILL, signal.SIGSTOP) else None
            os.kill(os.getpid(), -code)
        sys.exit(code if code > 0 else 128 - code)
"""


@dataclass(frozen=True, kw_only=True)
class Call:
    """One start of the program. ``label`` names it for people; stdin and stdout are paths, or empty."""

    argv: tuple[str, ...]
    label: str
    stdin: str = ""
    stdout: str = ""


def calls_of(options: Mapping[str, Any], items: Sequence[Item], place: Place, labels: Sequence[str]) -> list[Call]:
    """The program's start for each item."""
    words, program = templates(options, "command"), find(options["command"], place)
    stdin = templates(options, "stdin", [options["stdin"]])[0]
    stdout = templates(options, "stdout", [options["stdout"]])[0]
    curves = curves_of(options) if variables_of(options) else None
    found = []
    for item, label in zip(items, labels, strict=True):
        values = _place_values(place, outputs_of(options, item)) | values_of(options, item)
        if over(options) == "files":
            values["input"] = str(place.inputs / item)
        if curves is not None:
            values |= {f"var:{name}": value for name, value in curves.at(item).items()}
        argv = (program, *fill_words(words[1:], values))
        found.append(Call(argv=argv, label=label, stdin=fill(stdin, values), stdout=fill(stdout, values)))
    return found


def last_call(options: Mapping[str, Any], pieces: Sequence[Path], folder: Path, place: Place) -> Call:
    """The start of the last command over the outputs of the first."""
    listing = place.scratch / "pieces.txt"
    listing.write_text("".join(f"{path}\n" for path in pieces), "utf-8")
    values = _place_values(place, options["last_outputs"])
    values |= {"pieces": tuple(str(path) for path in pieces), "list": str(listing), "folder": str(folder)}
    return Call(argv=(find(options["last"], place), *fill_words(templates(options, "last")[1:], values)), label="the last command")


def recipe(options: Mapping[str, Any], calls: Sequence[Call], place: Place, outputs: Sequence[str], finish: Callable[[], None]) -> Recipe:
    """The calls one after the other, in the folder that outputs are collected from. Raises KindError where one has too many words."""
    for call in calls:
        _check_length(call)
    program = calls[0].argv[0]
    alone = len(calls) == 1 and not calls[0].stdin and not calls[0].stdout
    out = place.scratch / "out"
    for path in outputs:
        (out / path).parent.mkdir(parents=True, exist_ok=True)
    argv = calls[0].argv if alone else _driven(calls, place.scratch)
    return Recipe(
        argv=argv,
        env={name: fill(template, _place_values(place, ())) for name, template in env_templates(options).items()},
        cwd=out,
        outputs=tuple(escaped(path) for path in outputs),
        progress=None if alone else progress,
        finish=finish,
        diagnose=partial(diagnose, [call.label for call in calls], Path(program).name),
        see=() if alone else _homes(program, place),
    )


def find(words: Sequence[str], place: Place) -> str:
    """The program's path on this node. Raises FileError where there is none, KindError where the task's own is not executable."""
    program = program_of(words)
    if program.startswith("./"):
        path = place.inputs / program
        if not os.access(path, os.X_OK):
            raise KindError(f"{program} is not executable: chmod +x it and submit again.")
        return str(path)
    found = place.programs.get(program) or shutil.which(program, path=PATH)
    if not found:
        raise FileError(f"The program {program!r} is not on this node; its owner can name its path in [node] programs.")
    return found


def progress(line: str) -> float | None:
    """The driver's word before each item."""
    words = line.split()
    if line.startswith(f"{SAID}item ") and len(words) == 5 and words[2].isdigit() and words[4].isdigit():
        return int(words[2]) / max(1, int(words[4]))
    return None


def diagnose(labels: Sequence[str], program: str, code: int, tail: Sequence[str]) -> Failure:
    """As plain_diagnosis, with the program and the item by name."""
    lines = [line for line in tail if not line.startswith(SAID)]
    failed = next((line.rpartition(" ")[2] for line in reversed(tail) if line.startswith(f"{SAID}failed ")), "0")
    number = int(failed) if failed.isdigit() and int(failed) < len(labels) else 0
    how = f"ended by signal {-code}" if code < 0 else f"exited with {code}"
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    sentence = f"{program} {how} on {labels[number]}{': ' + last if last else '.'}"
    return Failure(cause=Cause.ERROR, sentence=sentence, exit_code=code, tail=tuple(lines))


def escaped(path: str) -> str:
    """A pattern for the collector that some globs would read otherwise: a bracket matches itself as any letter does."""
    return path.replace("[", "?").replace("]", "?")


def _check_length(call: Call) -> None:
    """What Linux starts no program with: a word of 128 KiB, or 2 MiB of words, of which bubblewrap and the environment need some."""
    sizes = [len(os.fsencode(word)) + 1 for word in call.argv]
    if max(sizes) > 128 << 10 or sum(sizes) + 8 * len(sizes) > MOST_WORDS:
        what = f"{len(sizes)} words of {sum(sizes)} bytes"
        raise KindError(f"The command for {call.label} has {what}, too many to start a program with; {{list}} has {{pieces}} in a file.")


def _place_values(place: Place, outputs: Sequence[str]) -> dict[str, Value]:
    out = place.scratch / "out"
    found: dict[str, Value] = {"outputs": str(out), "inputs": str(place.inputs), "scratch": str(place.scratch), "cores": place.cores}
    return found | ({"output": str(out / outputs[0])} if outputs else {})


def _driven(calls: Sequence[Call], scratch: Path) -> tuple[str, ...]:
    script, jobs = scratch / "clusterray-run.py", scratch / "clusterray-run.json"
    script.write_text(DRIVER, "utf-8")
    jobs.write_text(json.dumps([{"argv": call.argv, "stdin": call.stdin, "stdout": call.stdout} for call in calls]), "utf-8")
    return (sys.executable, "-I", "-S", str(script), str(jobs))


def _homes(program: str, place: Place) -> tuple[Path, ...]:
    """Where a program outside of /usr keeps itself; the confinement finds that of argv[0] alone, which is the driver's."""
    found: list[Path] = []
    if Path(program).is_relative_to(place.inputs):
        return ()
    if place.scratch.is_relative_to(Path(program).parent):
        return (Path(program),)
    for folder in dict.fromkeys((Path(program).parent, Path(program).resolve().parent)):
        if not folder.is_relative_to("/usr") and folder != Path("/"):
            found += [folder, *(folder.parent / name for name in ("lib", "lib64", "share", "etc") if folder.name == "bin")]
    return tuple(path for path in found if path.is_dir())
