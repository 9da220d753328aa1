"""The options of the blender kind."""

from __future__ import annotations

from .animation import ANIMATION
from .keyframes import KEYFRAMES
from .kind import Option

DEVICES = ("auto", "cpu", "cuda", "optix", "hip", "oneapi")
FORMATS = ("png", "jpeg", "exr", "multilayer")
BITS = {"png": (8, 16), "jpeg": (8,), "exr": (16, 32), "multilayer": (16, 32)}
"""By format; the first is the default."""

_SIZE = "0: the file's, or 100 where both are given"
_DEPTH = "png: 8 or 16; exr and multilayer: 16 (half) or 32 (float); 0: the first of them"
_DEVICE = "what Cycles renders on; auto: the farm's cards, or its processors"
_RNA = 'any property of Blender: "objects[\'Cube\'].location" = [0, 0, 1]; "$name" is a keyframed variable'
_LAST = 1_048_574
"""Blender's last frame."""

OPTIONS = (
    Option(name="blend", type="str", default="", help="the .blend file; empty: the only one in the folder"),
    Option(name="scene", type="str", default="", help="empty: the one that was open when the file was saved"),
    Option(name="camera", type="str", default="", help="name of a camera; empty: the scene's own"),
    Option(name="view_layers", type="strings", default=[], help="view layers to render; empty: those that the file renders"),
    Option(name="engine", type="choice", default="", choices=("", "cycles", "eevee", "workbench"), help="empty: the file's"),
    Option(name="width", type="int", default=0, help="pixels; 0: the file's", minimum=0, maximum=65_536),
    Option(name="height", type="int", default=0, help="pixels; 0: the file's", minimum=0, maximum=65_536),
    Option(name="percentage", type="int", default=0, help=f"of width and height; {_SIZE}", minimum=0, maximum=1000),
    Option(name="samples", type="int", default=0, help="of Cycles or Eevee; 0: the file's", minimum=0, maximum=1 << 24),
    Option(name="denoise", type="choice", default="file", choices=("file", "on", "off"), help="Cycles' denoising"),
    Option(name="transparent", type="bool", help="a transparent background; not given: as in the file"),
    Option(name="frame", type="int", help="of a still; not given: where the file was saved", minimum=-_LAST, maximum=_LAST),
    Option(name="format", type="choice", default="png", choices=FORMATS, help="png, jpeg, exr, multilayer (OpenEXR with all passes)"),
    Option(name="bits", type="int", default=0, help=_DEPTH, minimum=0, maximum=32),
    Option(name="color", type="choice", default="", choices=("", "grey", "rgb", "rgba"), help="empty: rgba, or rgb for jpeg"),
    Option(name="quality", type="int", default=90, help="of JPEG, in per cent", minimum=1, maximum=100),
    Option(name="split", type="choice", default="auto", choices=("auto", "tiles", "samples", "whole"), help="how a still is cut into jobs"),
    Option(name="tiles", type="tiles", default="auto", help='"auto", or [columns, rows]'),
    Option(name="parts", type="int", default=0, help='jobs of split = "samples"; 0: two per slot', minimum=0, maximum=4096),
    Option(name="device", type="choice", default="auto", choices=DEVICES, help=_DEVICE),
    Option(name="mixed", type="bool", default=False, help="nodes without such a card take part with their processors; pixels may differ"),
    Option(name="missing", type="choice", default="error", choices=("error", "ignore"), help="what to do about files that are not there"),
    Option(name="rna", type="table", help=_RNA),
    ANIMATION,
    KEYFRAMES,
)
