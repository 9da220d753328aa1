"""Inside of Blender: what the open file is, as data, for those who cut the work and never see Blender. Beside blender_driver.py."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .blender_scene import Mistake, compositor_of, layers_of

OWN = "/datafiles/assets/"
"""Where Blender keeps brushes of its own; a saved file may name them by the path of the machine that it was saved on."""
UNMIXABLE = ("z", "object_index", "material_index", "cryptomatte_object", "cryptomatte_material", "cryptomatte_asset")
"""Passes (use_pass_…) that hold no light: Cycles writes them from the first sample, or they are numbers of things."""


def look(bpy: Any, scene: Any, settings: dict[str, Any]) -> dict[str, Any]:
    """See blender_plan.Look. Raises Mistake."""
    render = scene.render
    if scene.camera is None and not _sequenced(scene):
        raise Mistake(f"The scene {scene.name!r} has no camera; set one in Blender, or name one with the option camera.")
    lost = sorted(set(_lost(bpy)))
    if lost and settings["missing"] == "error":
        listed = ", ".join(lost[:5]) + (", …" if len(lost) > 5 else "")
        raise Mistake(f"{listed}: the scene uses this and it is not in the task; pack it with File > External Data > Pack Resources.")
    cycles = render.engine == "CYCLES"
    layers = layers_of(scene)
    denoised = [layer.name for layer in layers if scene.cycles.use_denoising and layer.cycles.use_denoising] if cycles else []
    return {
        "blender": bpy.app.version_string,
        "scene": scene.name,
        "engine": render.engine,
        "width": render.resolution_x * render.resolution_percentage // 100,
        "height": render.resolution_y * render.resolution_percentage // 100,
        "samples": scene.cycles.samples if cycles else 0,
        "adaptive": bool(cycles and scene.cycles.use_adaptive_sampling),
        "guided": bool(cycles and _guided(bpy, scene)),
        "layers": [layer.name for layer in layers],
        "denoise": denoised,
        "stored": [layer.name for layer in layers if cycles and layer.cycles.denoising_store_passes],
        "dither": render.dither_intensity,
        "stamp": bool(render.use_stamp),
        "compositor": composites(scene),
        "unmixable": sorted({name for layer in layers for name in UNMIXABLE if getattr(layer, f"use_pass_{name}", False)}),
        "never": list(_never(scene)),
        "better_not": list(_better_not(scene)),
        "frame": scene.frame_current,
        "start": scene.frame_start,
        "end": scene.frame_end,
        "fps": render.fps / render.fps_base,
        "notes": list(_notes(bpy, scene, lost)),
    }


def composites(scene: Any) -> bool:
    """Whether the compositor would change the picture: more than render layers straight to the output."""
    tree = compositor_of(scene)
    if tree is None:
        return False
    outputs = [node for node in tree.nodes if node.type in ("COMPOSITE", "GROUP_OUTPUT") and not node.mute]
    for node in outputs:
        links = node.inputs[0].links if len(node.inputs) else ()
        for link in links:
            source = link.from_node
            if source.type != "R_LAYERS" or link.from_socket.name not in ("Image", "Combined") or source.scene not in (None, scene):
                return True
    return False


def _never(scene: Any) -> Iterator[str]:
    """What a picture of parts cannot be right with; half-sentences."""
    render = scene.render
    if render.use_multiview:
        yield "it renders several views (stereo)"
    if _sequenced(scene):
        yield "its picture comes out of the video sequencer"
    if render.use_border:
        yield "it has a render region of its own"
    tree = compositor_of(scene)
    if tree is not None and composites(scene):
        if any(node.type == "GROUP" and node.node_tree and _reads_layers(node.node_tree, 0) for node in tree.nodes):
            yield "a group of its compositor reads render layers"
        if any(node.type == "R_LAYERS" and node.scene not in (None, scene) for node in tree.nodes):
            yield "its compositor reads another scene's layers"
        if any(node.type.startswith("CRYPTOMATTE") for node in tree.nodes):
            yield "its compositor reads Cryptomatte"


def _better_not(scene: Any) -> Iterator[str]:
    """Why parts may show; half-sentences."""
    render = scene.render
    if render.use_freestyle:
        yield "Freestyle draws its lines anew in each part"
    if render.engine != "CYCLES":
        yield "effects in screen space end where a part ends"
    elif getattr(scene.cycles, "use_guiding", False):
        yield "path guiding learns anew in each part"


def _guided(bpy: Any, scene: Any) -> bool:
    """Whether volumes are sampled as 5.0 does it: where to scatter is learnt from the pixels around, by their earlier samples."""
    if getattr(scene.cycles, "volume_biased", True):
        return False
    trees = [one.node_tree for one in (*bpy.data.materials, *bpy.data.worlds) if one.node_tree] + list(bpy.data.node_groups)
    nodes = any(node.bl_idname.startswith("ShaderNodeVolume") for tree in trees for node in tree.nodes)
    return nodes or any(one.type == "VOLUME" for one in scene.objects)


def _notes(bpy: Any, scene: Any, lost: list[str]) -> Iterator[str]:
    if lost:
        yield f"Not in the task, so rendered without: {', '.join(lost)}."
    if getattr(bpy.app, "autoexec_fail", False):
        yield f"Python in the file was not run ({bpy.app.autoexec_fail_message}); drivers that need it stand still."
    tree = compositor_of(scene)
    if tree is not None and any(node.type == "OUTPUT_FILE" for node in tree.nodes):
        yield 'File Output nodes write nothing on a farm; ask for format = "multilayer" to get passes.'


def _sequenced(scene: Any) -> bool:
    editor = scene.sequence_editor
    if editor is None or not scene.render.use_sequencer:
        return False
    return any(not strip.mute for strip in (editor.strips if hasattr(editor, "strips") else editor.sequences))


def _reads_layers(tree: Any, depth: int) -> bool:
    for node in tree.nodes:
        if node.type == "R_LAYERS" or (node.type == "GROUP" and node.node_tree and depth < 8 and _reads_layers(node.node_tree, depth + 1)):
            return True
    return False


def _lost(bpy: Any) -> Iterator[str]:
    """External files that are not there. Sequences and UDIM tiles are named by a pattern, which proves nothing."""
    for path in bpy.utils.blend_paths(absolute=True, packed=False, local=False):
        if "<" in path or "#" in path or not path or OWN in path.replace("\\", "/"):
            continue
        if not Path(path).exists():
            yield Path(path.replace("\\", "/")).name or path
