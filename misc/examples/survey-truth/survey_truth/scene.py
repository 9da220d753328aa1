"""The place as POV-Ray reads it: a film whose frames are the photos, and one picture from straight above."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from .flight import Camera
from .ground import Array, Building, Ground

WORLD = """\
// {about}
#version 3.7;
global_settings {{ assumed_gamma 1.0 max_trace_level 3 }}
#default {{ finish {{ ambient 0.35 diffuse 0.65 }} }}
light_source {{ <-600, 1200, -500> rgb 1.15 parallel point_at 0 }}
background {{ rgb <.5, .6, .8> }}
#declare Map = pigment {{
  image_map {{ png "ground.png" interpolate 2 }}
  rotate 90*x scale <{wide}, 1, {deep}> translate <{west}, 0, {south}>
}}
height_field {{ png "heights.png" scale <{wide}, {relief}, {deep}> translate <{west}, 0, {south}> pigment {{ Map }} }}
#macro Building(Centre, Size, Turn, Roof, Colour)
  #local Half = <Size.x/2, 0, Size.y/2>;
  box {{ -Half - 50*y, Half - 0.001*y
    pigment {{ average pigment_map {{
      [1 granite scale 3 color_map {{ [0 Colour*.2] [.5 Colour] [1 rgb 1] }}]
      [1 crackle scale .7 color_map {{ [0 rgb .05] [.4 Colour] [1 Colour*1.6] }}]
      [1 bozo scale .4 color_map {{ [.2 rgb .1] [.5 Colour] [.8 rgb .9] }}]
    }} translate 37*Roof }}
    rotate -Turn*y translate <Centre.x, Roof, Centre.y>
  }}
  box {{ -Half - 0.001*y, Half rotate -Turn*y translate <Centre.x, Roof, Centre.y> pigment {{ Map }} }}
#end
{buildings}
"""
PHOTO = """\
// Frame n is the photo n: its camera is the n-th of the list.
#version 3.7;
#include "world.inc"
#declare Cameras = array[{count}][4] {{
{cameras}
}}
#declare N = frame_number - 1;
// direction is as long as the focal length in pixels, right and up are as long as the picture has pixels
camera {{ perspective location Cameras[N][0] direction Cameras[N][1] right Cameras[N][2] up Cameras[N][3] }}
"""
ABOVE = """\
#version 3.7;
#include "world.inc"
camera {{ orthographic location <{x}, {z}, {y}> direction -y right <{wide}, 0, 0> up <0, 0, {deep}> }}
"""


def vector(at: Array) -> str:
    x, y, z = (repr(float(one)) for one in at)
    return f"<{x}, {z}, {y}>"


def write_world(folder: Path, ground: Ground, texel: float, seed: int) -> None:
    """``world.inc`` with its two pictures; heights.png is there."""
    random = np.random.default_rng(seed)
    paint(ground, texel, random).save(folder / "ground.png", compress_level=3)
    rows = []
    for box in ground.buildings:
        red, green, blue = random.uniform(0.25, 0.8, 3)
        rows.append(
            f"Building(<{box.x!r}, {box.y!r}>, <{box.length!r}, {box.width!r}>, {box.turn!r}, {box.roof!r}, "
            f"rgb <{red:.3f}, {green:.3f}, {blue:.3f}>)"
        )
    (folder / "world.inc").write_text(
        WORLD.format(
            about="Made by misc/examples/survey-truth.", wide=2 * ground.east, deep=2 * ground.north, west=-ground.east,
            south=-ground.north, relief=ground.relief, buildings="\n".join(rows),
        )
    )  # fmt: skip


def paint(ground: Ground, texel: float, random: np.random.Generator) -> Image.Image:
    """What lies on ground and roofs, seen from above: nothing in it repeats, and it has detail at every scale from a texel to the whole."""
    from scipy.ndimage import gaussian_filter

    rows, columns = round(2 * ground.north / texel), round(2 * ground.east / texel)
    field = np.zeros((rows, columns, 3), np.float32)
    for octave in range(int(np.log2(min(rows, columns))) - 1):
        # waves of 2^octave texels; red, green and blue go mostly together
        grid = (max(2, -(-rows >> octave)), max(2, -(-columns >> octave)))
        coarse = random.standard_normal((*grid, 1)) * 0.8 + random.standard_normal((*grid, 3)) * 0.35
        for band in range(3):
            wave = Image.fromarray(coarse[..., band].astype(np.float32)).resize((columns, rows), Image.Resampling.BILINEAR)
            field[..., band] += np.asarray(wave) * (0.55 + 0.1 * octave)
    field = (field - field.mean()) / field.std()
    tint = np.array([118, 112, 92], np.float32)
    picture = Image.fromarray(np.clip(tint + 34 * field, 10, 245).astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    area = 4 * ground.east * ground.north
    for size, each in ((4.0, 60.0), (1.2, 9.0), (0.45, 2.0)):
        for _ in range(int(area / each)):
            x, y = random.uniform(0, columns), random.uniform(0, rows)
            radius = size / texel * random.uniform(0.4, 1.0)
            corners = np.sort(random.uniform(0, 2 * np.pi, random.integers(3, 8)))
            shape = [(x + radius * np.cos(one), y + radius * np.sin(one)) for one in corners]
            draw.polygon(shape, fill=tuple(int(one) for one in random.integers(30, 225, 3)))
    pixels = np.asarray(picture, np.float32)
    pixels = pixels * (1 - 0.45) + np.clip(tint + 34 * field, 0, 255) * 0.45
    east = (np.arange(columns) + 0.5) * texel - ground.east
    north = ground.north - (np.arange(rows) + 0.5) * texel
    for box in ground.buildings:
        shade, seen = random.uniform(0.6, 1.2, 3), covered(box, east, north, 0.3)
        pixels[seen] = np.clip((255 - pixels[seen]) * shade, 0, 255)  # other colours than beside it, with as much to see
    # what is finer than a photo's pixel would only flicker from photo to photo
    soft = np.stack([gaussian_filter(pixels[..., band], 0.9) for band in range(3)], axis=-1)
    return Image.fromarray(np.clip(soft + 0.5, 0, 255).astype(np.uint8))


def covered(box: Building, east: Array, north: Array, margin: float) -> NDArray[np.bool_]:
    return box.covers(east[None, :], north[:, None], margin)


def write_photos(folder: Path, cameras: tuple[Camera, ...]) -> None:
    """``photo.pov`` and its ``task.toml``: a film of one frame a camera."""
    rows = []
    for camera in cameras:
        right, down, ahead = camera.rotation
        words = (camera.centre, camera.focal * ahead, camera.width * right, -camera.height * down)
        rows.append("  {" + ", ".join(vector(word) for word in words) + "}")
    (folder / "photo.pov").write_text(PHOTO.format(count=len(cameras), cameras=",\n".join(rows)))
    first = cameras[0]
    (folder / "task.toml").write_text(
        f'kind = "povray"\nname = "photo"\n\n[options]\nscene = "photo.pov"\nwidth = {first.width}\nheight = {first.height}\n\n'
        f'[animation]\nframes = "1-{len(cameras)}"\ncodec = "none"\n'
    )


def write_above(folder: Path, bounds: tuple[float, float, float, float], gsd: float, top: float) -> None:
    """``above.pov``: west, south, east, north at ``gsd``, as an orthophoto without any mistake would be."""
    west, south, east, north = bounds
    (folder / "above.pov").write_text(
        ABOVE.format(x=(west + east) / 2, y=(south + north) / 2, z=top + 50, wide=east - west, deep=north - south)
    )
    (folder / "task.toml").write_text(
        f'kind = "povray"\nname = "above"\n\n[options]\nscene = "above.pov"\nwidth = {round((east - west) / gsd)}\n'
        f"height = {round((north - south) / gsd)}\n"
    )
