"""Inside of Blender: one picture is rendered and written. Runs beside blender_driver.py, standard library and bpy only."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def save(bpy: Any, scene: Any, out: str, name: str, form: dict[str, Any]) -> None:
    """Render what is set up as the file ``name``. Raises RuntimeError."""
    apply_format(scene, form)
    path = Path(out) / name
    scene.render.filepath = str(path)
    scene.render.use_overwrite, scene.render.use_placeholder, scene.render.use_file_extension = True, False, False
    bpy.ops.render.render(write_still=True, scene=scene.name)
    if not path.exists():
        raise RuntimeError(f"Blender rendered no picture for {name}.")


def apply_format(scene: Any, form: dict[str, Any]) -> None:
    """File format, depth and channels of what is saved."""
    image = scene.render.image_settings
    several = form["format"] == "OPEN_EXR_MULTILAYER"
    if hasattr(image, "media_type"):  # since 5.0
        image.media_type = "MULTI_LAYER_IMAGE" if several else "IMAGE"
    image.file_format = form["format"]
    if form["format"] != "JPEG":
        image.color_depth = str(form["bits"])
    image.color_mode = form["color"]
    if form["format"] == "PNG":
        image.compression = 15
    elif form["format"] == "JPEG":
        image.quality = form["quality"]
    else:
        image.exr_codec = "ZIP"
    if hasattr(image, "use_exr_interleave"):
        image.use_exr_interleave = False
    if hasattr(image, "use_preview"):
        image.use_preview = False
