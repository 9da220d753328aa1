"""What the tests of the POV-Ray kind share: a scene, and what povray alone makes of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from clusterray.common.kinds.images import any_rows
from clusterray.common.process import run

ENV = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/nonexistent"}
BALLS = """\
#version 3.7;
global_settings { assumed_gamma 1.0 }
camera { location <0, 1, -4> right x*image_width/image_height look_at 0 }
light_source { <5, 5, -5> rgb 1 }
sphere { 0, 1 pigment { rgb <.2, .5, .9> } finish { phong .6 reflection .2 } }
sphere { <1.2, 0, -1>, .6 pigment { rgbf .9 } interior { ior 1.5 } }
plane { y, -1 pigment { checker rgb .9 rgb .2 scale .3 } }
"""
SKY = "sky_sphere { pigment { gradient y color_map { [0 rgb <.9, .8, .6>] [1 rgb <.1, .2, .6>] } } }\n"


def folder(tmp_path: Path, **files: str) -> Path:
    place = tmp_path / "scene"
    place.mkdir(parents=True)
    for name, text in ({"scene.pov": BALLS + SKY} | files).items():
        (place / name).write_text(text, "utf-8")
    return place


def pixels(path: Path) -> np.ndarray:
    return np.concatenate(list(any_rows(path)))


def unsplit(inputs: Path, work: Path, *switches: str, scene: str = "scene.pov") -> np.ndarray:
    """What one povray makes of it, by the switches that a person would type."""
    work.mkdir(parents=True, exist_ok=True)
    out = work / "unsplit.png"
    done = run(["povray", f"+I{scene}", f"+O{out}", "-D", "+WT2", *switches], timeout=100, cwd=inputs, env=ENV)
    assert done.code == 0, done.stderr
    return pixels(out)


def chunk(png: bytes, tag: bytes) -> bytes:
    at = png.find(tag)
    return b"" if at < 0 else png[at : at + 4 + int.from_bytes(png[at - 4 : at], "big")]
