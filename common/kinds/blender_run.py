"""Recipes: Blender as a child process, one for each job or one that serves many (kind.Warm)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from .blender_output import diagnose, picture_progress, progress
from .kind import Place, Recipe, Warm

INSIDE = ("blender_driver", "blender_finish", "blender_jobs", "blender_look", "blender_rna", "blender_save", "blender_scene")
"""The modules that run inside of Blender; there they are the package ``inside``, so that they import each other as here."""
START = """import os, sys
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from inside.blender_driver import main
main(sys.argv)
"""


def settings_of(options: dict[str, Any], place: Place) -> dict[str, Any]:
    """What is set once when the file is opened (blender_scene.prepare)."""
    bound = bound_of(options)
    names = ("scene", "camera", "view_layers", "engine", "width", "height", "percentage", "samples", "denoise", "transparent", "missing")
    return {name: options[name] for name in names} | {
        "rna": [[path, value] for path, value in (options["rna"] or {}).items() if path not in bound],
        "threads": place.cores,
        "device": options["device"] if options["device"] != "auto" else "cpu",
        "mixed": options["mixed"],
    }


def bound_of(options: dict[str, Any]) -> dict[str, str]:
    """Properties that follow a keyframed variable: path -> name."""
    return {path: value[1:] for path, value in (options["rna"] or {}).items() if isinstance(value, str) and value.startswith("$")}


def recipe(options: dict[str, Any], place: Place, request: dict[str, Any], outputs: Sequence[str]) -> Recipe:
    """One job for blender_jobs.do(); ``request`` as there, without blend, settings and out."""
    program = place.programs.get("blender", "blender")
    whole = {"blend": str(place.inputs / options["blend"]), "settings": settings_of(options, place), **request}
    folder = place.scratch / "blender"
    folder.mkdir(exist_ok=True)
    for name, data in scripts().items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)
    (folder / "job.json").write_text(json.dumps({**whole, "out": str(place.scratch / "out")}), encoding="utf-8")
    return Recipe(
        argv=command(program, str(folder / "start.py"), str(folder / "job.json")),
        outputs=tuple(outputs),
        progress=picture_progress if request["do"] == "picture" else progress,
        diagnose=diagnose,
        warm=Warm(key="blender", argv=command(program, "start.py", "--serve"), request=whole, files=scripts()),
    )


def command(program: str, script: str, *words: str) -> tuple[str, ...]:
    """Run a script with bpy. ``program``: the blender program, or a Python interpreter that has the module."""
    if Path(program).name.startswith("python"):
        return (program, "-I", "-B", script, *words)
    quiet = ("--background", "--factory-startup", "--disable-autoexec", "--python-exit-code", "1")
    return (program, *quiet, "--python", script, "--", *words)


@cache
def scripts() -> dict[str, bytes]:
    """The files that run inside of Blender."""
    here = Path(__file__).parent
    modules = {f"inside/{name}.py": (here / f"{name}.py").read_bytes() for name in INSIDE}
    return {"start.py": START.encode(), "inside/__init__.py": b"", **modules}
