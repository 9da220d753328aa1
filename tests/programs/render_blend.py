"""One picture as Blender makes it alone: render_blend.py FILE OUT.png [FRAME]; runs inside of Blender."""

from __future__ import annotations

import sys

import bpy

words = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else sys.argv[1:]
bpy.ops.wm.read_factory_settings(use_empty=True)
bpy.ops.wm.open_mainfile(filepath=words[0], load_ui=False, use_scripts=False)
scene = bpy.context.scene
if words[2:]:
    scene.frame_set(int(words[2]))
scene.render.image_settings.file_format = "PNG"
scene.render.image_settings.color_mode = "RGBA"
scene.render.filepath = words[1]
bpy.ops.render.render(write_still=True)
