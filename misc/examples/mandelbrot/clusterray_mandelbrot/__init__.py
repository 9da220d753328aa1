"""A kind in one page: the Mandelbrot set, cut into bands of rows, each computed by a program on a node, joined into one PNG.

docs/kinds.md walks through it. Client, server and nodes all import this file; program.py runs on nodes alone and knows nothing of us.
"""

import sys
import zlib
from itertools import pairwise
from pathlib import Path

import msgspec
from clusterray.common.errors import OutputRejected, StitchFailed
from clusterray.common.kinds.kind import Examined, Kind, Option, Recipe, Stage
from clusterray.common.kinds.options import normalise
from clusterray.common.model import Region

BAND = "band.z"
PROGRAM = Path(__file__).with_name("program.py")


class Bands(Stage):
    """The one round of split, process, verify, stitch."""

    name = "bands"

    def split(self, task, files, farm):
        """Runs in a child process of the server: which regions are there? Three per slot, so that no slot idles at the end."""
        height = task.options["height"]
        count = min(height, 3 * farm.slots)
        bounds = [height * n // count for n in range(count + 1)]
        return [Region(name=f"rows{top:05d}", data={"rows": [top, end]}) for top, end in pairwise(bounds)]

    def process(self, task, region, place):
        """Runs on a node: which program makes this region, and what does it leave in ``scratch / "out"``?"""
        o = task.options
        words = [o["width"], o["height"], *region.data["rows"], o["x"], o["y"], o["span"], o["steps"], place.scratch / "out" / BAND]
        return Recipe(
            argv=(sys.executable, str(PROGRAM), *map(str, words)),
            outputs=(BAND,),
            progress=lambda line: float(line.removeprefix("done ")) if line.startswith("done ") else None,
            see=(PROGRAM.parent,),  # the confinement shows nothing that is not named
        )

    def verify(self, task, region, outputs):
        """Runs in a child process of the server: is this what was asked for? The bytes come from elsewhere; trust nothing."""
        top, end = region.data["rows"]
        unpacked = zlib.decompressobj()
        try:
            data = unpacked.decompress(outputs.read(BAND))
        except (KeyError, zlib.error) as error:
            raise OutputRejected(f"{region.name}: {BAND} cannot be read: {error}.") from error
        if len(data) != (end - top) * task.options["width"] or not unpacked.eof or unpacked.unused_data:
            raise OutputRejected(f"{region.name}: {BAND} does not hold {end - top} rows.")

    def stitch(self, task, files, pieces, out, progress):
        """Runs in a child process of the server: pieces come in the order of the split; what is written below ``out`` are the assets."""
        from PIL import Image

        width, height = task.options["width"], task.options["height"]
        picture = Image.new("L", (width, height))
        row = 0
        for piece in pieces:
            top, end = piece.region.data["rows"]
            if top != row:
                break
            band = Image.frombytes("L", (width, end - top), zlib.decompress(piece.files.read(BAND)))
            picture.paste(band, (0, top))
            row = end
            progress(row / height)
        if row != height:
            raise StitchFailed(f"rows{row:05d} is missing.")
        picture.save(out / f"{task.name}.png")


class Mandelbrot(Kind):
    """What ``clusterray kinds mandelbrot`` shows, and what a task.toml with ``kind = "mandelbrot"`` may say."""

    name = "mandelbrot"
    version = 1  # raise it whenever the same task would give other bytes
    allow = "render"  # what the owner of a node must allow
    options = (
        Option(name="width", type="int", default=640, help="pixels", minimum=1, maximum=100_000),
        Option(name="height", type="int", default=480, help="pixels", minimum=1, maximum=100_000),
        Option(name="x", type="float", default=-0.6, help="centre, real part", minimum=-3, maximum=3),
        Option(name="y", type="float", default=0.0, help="centre, imaginary part", minimum=-3, maximum=3),
        Option(name="span", type="float", default=3.2, help="width of the picture in the plane", minimum=1e-12, maximum=10),
        Option(name="steps", type="int", default=120, help="steps after which a point counts as inside", minimum=1, maximum=1_000_000),
    )

    def recognise(self, files):
        """Whether a folder without a task.toml is one of ours: never, as there is nothing to see in it."""
        return False

    def examine(self, spec, files):
        """Runs where the task is submitted, and again on the server: every mistake is found here, before anything is sent."""
        return Examined(spec=msgspec.structs.replace(spec, options=normalise(self.name, self.options, spec.options)))

    def needs(self, spec):
        """What one job needs of a node: memory, cores, a program. Python is there."""
        return spec.needs

    def stages(self, task):
        return (Bands(),)


MANDELBROT = Mandelbrot()
