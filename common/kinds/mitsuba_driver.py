"""Runs on the node, in a process of its own, by the Python that has Mitsuba: ``python driver.py job.json``. Imports nothing of ours.

The job says the scene, its parameters, the film's size, and what to render: pictures, each with a seed, a number of samples and a file.
What it prints for the agent begins with MARK; the rest is Mitsuba's own log.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import traceback
from importlib import import_module
from pathlib import Path
from typing import Any

MARK = "clusterray:"
BAD_INPUT, NO_LIBRARY = 2, 3


def main(path: str) -> int:
    job = json.loads(Path(path).read_text("utf-8"))
    try:
        drjit: Any = import_module("drjit")
        mitsuba: Any = import_module("mitsuba")
        mitsuba.set_variant(job["variant"])
    except (ImportError, OSError, NameError) as error:
        say(f"library {type(error).__name__}: {error}")
        return NO_LIBRARY
    # parse_file() does not do this by itself, as load_file() does
    mitsuba.file_resolver().prepend(str(Path(job["scene"]).parent))
    more = max(2, job["threads"])
    drjit.set_thread_count(more)
    whole = sum(picture["samples"] for picture in job["pictures"])
    done = 0
    last: dict[str, str] | None = None
    scene: Any = None
    for picture in job["pictures"]:
        say(f"picture {done / whole:.6f} {picture['samples'] / whole:.6f}")
        try:
            if picture["parameters"] != last:
                scene = None  # one scene in memory at a time
                scene = load(mitsuba, job, picture["parameters"])
                last = picture["parameters"]
            if job["sensor"] >= len(scene.sensors()):
                raise RuntimeError(f"the scene has {len(scene.sensors())} sensors, and none of number {job['sensor']}, counted from 0")
        except (RuntimeError, ValueError, TypeError, KeyError) as error:
            say(f"input {plain(str(error), job)}")
            return BAD_INPUT
        drjit.set_thread_count(job["threads"])
        render(mitsuba, scene, job, picture)
        # Mitsuba 3.9 hangs for ever where it writes OpenEXR with one thread
        drjit.set_thread_count(more)
        write(mitsuba, scene.sensors()[job["sensor"]], job, picture)
        done += picture["samples"]
    return 0


def load(mitsuba: Any, job: dict[str, Any], parameters: dict[str, str]) -> Any:
    """The scene, its film of the size that is wanted."""
    parser = mitsuba.parser
    config = parser.ParserConfig(job["variant"])
    # a film offers every scene its number, asked for or not; unknown names were found before the upload
    config.unused_parameters = mitsuba.LogLevel.Debug
    state = parser.parse_file(config, job["scene"], **parameters)
    for node in state.nodes:
        cropped = any(name in node.props for name in ("crop_width", "crop_height", "cropWidth", "cropHeight"))
        if node.type == mitsuba.ObjectType.Film and not cropped:
            node.props["width"], node.props["height"] = job["size"]
    parser.transform_all(config, state)
    made = parser.instantiate(config, state)
    return made[0] if isinstance(made, list) else made


def render(mitsuba: Any, scene: Any, job: dict[str, Any], picture: dict[str, Any]) -> None:
    """One picture, into the sensor's film. Mitsuba draws its bar from the level Info on, and says much else."""
    mitsuba.set_log_level(mitsuba.LogLevel.Info)
    mitsuba.render(scene, sensor=job["sensor"], seed=picture["seed"], spp=picture["samples"])
    mitsuba.set_log_level(mitsuba.LogLevel.Warn)


def write(mitsuba: Any, sensor: Any, job: dict[str, Any], picture: dict[str, Any]) -> None:
    """What is on the film, in linear float, or as PNG in sRGB; with ``facts``, a second file that says how many samples it has."""
    bitmap = sensor.film().bitmap()
    path = Path(picture["file"])
    if path.suffix == ".png":
        write_png(mitsuba, bitmap, path, job["bits"])
    else:
        if bitmap.component_format() != mitsuba.Struct.Type.Float32:
            bitmap = bitmap.convert(component_format=mitsuba.Struct.Type.Float32)
        bitmap.write(str(path))
    if "facts" in picture:
        Path(picture["facts"]).write_bytes(facts(sensor.sampler().sample_count(), path.read_bytes()))


def facts(samples: int, picture: bytes) -> bytes:
    """What is told of a picture: its samples, which a sampler may round up, and a digest over both."""
    digest = hashlib.sha256(f"{samples}\n".encode() + picture).hexdigest()
    return f'{{"samples": {samples}, "sha256": "{digest}"}}\n'.encode()


def write_png(mitsuba: Any, bitmap: Any, path: Path, bits: int) -> None:
    """By Mitsuba's own conversion; layers beside the picture itself (AOV) are left out."""
    formats = mitsuba.Bitmap.PixelFormat
    if bitmap.pixel_format() == formats.MultiChannel:
        bitmap = dict(bitmap.split())["<root>"]
    sample = mitsuba.Struct.Type.UInt8 if bits == 8 else mitsuba.Struct.Type.UInt16
    keep = bitmap.pixel_format() in (formats.Y, formats.YA, formats.RGB, formats.RGBA)
    bitmap.convert(bitmap.pixel_format() if keep else formats.RGB, sample, srgb_gamma=True).write(str(path))


def plain(message: str, job: dict[str, Any]) -> str:
    """One line, with files as the submitter knows them and without the lines of Mitsuba's sources."""
    message = message.replace(job["inputs"].rstrip("/") + "/", "")
    return " ".join(re.sub(r"\[[\w.]+:\d+\] ?", "", message).split())


def say(line: str) -> None:
    print(f"{MARK} {line}", flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1]))
    except MemoryError:
        say("memory")
        sys.exit(1)
    except Exception as error:
        traceback.print_exc()
        say(f"error {type(error).__name__}: {' '.join(str(error).split())}")
        sys.exit(1)
