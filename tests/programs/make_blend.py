"""Writes small .blend files for tests, by Blender itself: make_blend.py FOLDER NAME=TRAITS …; runs inside of Blender.

NAME may hold slashes. TRAITS, letters: a adaptive sampling, d denoising, c a compositor that blurs, p passes, z compressed,
0 no dithering, v fog, w Workbench, t a texture (tex/wood.png beside it), T one that is packed, m a moving cube, n no camera, l linked
from lib/lib.blend, g saved as by gzip (as before 3.0).
"""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

import bpy


def build(path: Path, traits: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    bpy.ops.wm.read_factory_settings(use_empty=False)
    scene = bpy.context.scene
    settings(scene, traits)
    bpy.data.lights[0].type = "AREA"
    bpy.data.lights[0].energy, bpy.data.lights[0].size = 3000, 5
    bpy.ops.mesh.primitive_plane_add(size=20, location=(0, 0, -1))
    if "c" in traits:
        compositor(scene)
    if "v" in traits:
        world = bpy.data.worlds[0]
        world.use_nodes = True
        scatter = world.node_tree.nodes.new("ShaderNodeVolumeScatter")
        scatter.inputs["Density"].default_value = 0.03
        world.node_tree.links.new(scatter.outputs[0], world.node_tree.nodes["World Output"].inputs["Volume"])
    if "t" in traits.lower():
        texture(path, "T" in traits)
    if "m" in traits:
        cube = bpy.data.objects["Cube"]
        for frame, height in ((1, 0.0), (9, 2.0)):
            cube.location = (0, 0, height)
            cube.keyframe_insert("location", frame=frame)
    if "n" in traits:
        bpy.data.objects.remove(bpy.data.objects["Camera"])
    bpy.data.objects["Cube"]["glow"] = 1.0
    if "l" in traits:
        library = path.parent / "lib" / "lib.blend"
        library.parent.mkdir(exist_ok=True)
        bpy.data.libraries.write(str(library), {bpy.data.materials["Material"]}, fake_user=True)
        bpy.ops.wm.save_as_mainfile(filepath=str(path))
        with bpy.data.libraries.load(str(library), link=True) as (_, wanted):
            wanted.materials = ["Material"]
        bpy.data.objects["Cube"].data.materials[0] = wanted.materials[0]
    bpy.ops.wm.save_as_mainfile(filepath=str(path), compress="z" in traits, relative_remap=True)
    if "l" in traits:
        bpy.ops.file.make_paths_relative()
        bpy.ops.wm.save_as_mainfile(filepath=str(path), compress="z" in traits)
    if "g" in traits:
        path.write_bytes(gzip.compress(path.read_bytes()))


def settings(scene, traits: str) -> None:
    scene.render.resolution_x, scene.render.resolution_y, scene.render.resolution_percentage = 64, 48, 100
    scene.render.engine = "BLENDER_WORKBENCH" if "w" in traits else "CYCLES"
    scene.cycles.samples = 32
    scene.cycles.use_denoising = "d" in traits
    scene.cycles.use_adaptive_sampling = "a" in traits
    scene.cycles.adaptive_threshold = 0.05
    scene.cycles.seed = 7
    if "0" in traits:
        scene.render.dither_intensity = 0
    if "p" in traits:
        layer = scene.view_layers[0]
        layer.use_pass_z = layer.use_pass_normal = layer.use_pass_diffuse_color = True


def compositor(scene) -> None:
    """Render layers through a blur to the output; where its nodes live changed in 5.0."""
    if hasattr(scene, "compositing_node_group"):
        tree = bpy.data.node_groups.new("comp", "CompositorNodeTree")
        tree.interface.new_socket(name="Image", in_out="OUTPUT", socket_type="NodeSocketColor")
        scene.compositing_node_group = tree
        output = tree.nodes.new("NodeGroupOutput")
    else:
        scene.use_nodes = True
        tree = scene.node_tree
        tree.nodes.clear()
        output = tree.nodes.new("CompositorNodeComposite")
    layers, blur = tree.nodes.new("CompositorNodeRLayers"), tree.nodes.new("CompositorNodeBlur")
    if "Size" in blur.inputs and hasattr(blur.inputs["Size"].default_value, "__len__"):
        blur.inputs["Size"].default_value = (4, 4)
    else:
        blur.size_x = blur.size_y = 4
    tree.links.new(layers.outputs["Image"], blur.inputs["Image"])
    tree.links.new(blur.outputs[0], output.inputs[0])


def texture(path: Path, packed: bool) -> None:
    image = bpy.data.images.new("Wood", 8, 8)
    image.filepath_raw = str(path.parent / "tex" / "wood.png")
    image.file_format = "PNG"
    image.save()
    image.source = "FILE"
    image.filepath = "//tex/wood.png"
    image.use_fake_user = True
    if packed:
        bpy.ops.wm.save_as_mainfile(filepath=str(path))
        image.pack()


if __name__ == "__main__":
    words = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else sys.argv[1:]
    for word in words[1:]:
        name, _, letters = word.partition("=")
        build(Path(words[0]) / name, letters)
