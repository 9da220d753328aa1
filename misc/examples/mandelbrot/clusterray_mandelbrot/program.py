"""Brightness of some rows of the Mandelbrot set, by how fast each point leaves, packed by zlib; prints ``done 0.5`` as it goes."""

import sys
import zlib
from pathlib import Path


def compute(width, height, top, end, x, y, span, steps, to):
    """Write rows top … end - 1 of a picture, one byte for each point."""
    rows = bytearray()
    for row in range(top, end):
        for column in range(width):
            c = complex(x + (column / width - 0.5) * span, y - (row - height / 2) / width * span)
            z, n = 0j, 0
            while n < steps and z.real * z.real + z.imag * z.imag < 4:
                z, n = z * z + c, n + 1
            rows.append(255 - 255 * n // steps)
        print("done", (row + 1 - top) / (end - top), flush=True)
    Path(to).write_bytes(zlib.compress(bytes(rows)))


sizes, numbers, (limit, target) = sys.argv[1:5], sys.argv[5:8], sys.argv[8:]
compute(*map(int, sizes), *map(float, numbers), int(limit), target)
