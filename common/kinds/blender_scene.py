"""Inside of Blender: a file is opened and set up as the task says. Runs beside blender_driver.py, standard library and bpy only."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .blender_rna import WrongPath, assign, near

ENGINES = {
    "cycles": ("CYCLES",),
    "eevee": ("BLENDER_EEVEE_NEXT", "BLENDER_EEVEE"),
    "workbench": ("BLENDER_WORKBENCH",),
}
"""Our word -> Blender's, which was BLENDER_EEVEE_NEXT from 4.2 to 4.5."""
CARDS = {"cuda": "CUDA", "optix": "OPTIX", "hip": "HIP", "oneapi": "ONEAPI"}


class Mistake(ValueError):
    """The scene cannot be what the task says; a sentence for its submitter."""


class CannotHere(RuntimeError):
    """Another node may be able to do it."""


def prepare(bpy: Any, blend: str, settings: dict[str, Any]) -> None:
    """Open ``blend`` and apply the task's settings. Raises Mistake, WrongPath, CannotHere."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    try:
        bpy.ops.wm.open_mainfile(filepath=blend, load_ui=False, use_scripts=False)
    except RuntimeError as error:
        said = " ".join(str(error).replace("Error:", "").split())
        raise Mistake(f"Blender {bpy.app.version_string} cannot open {Path(blend).name}: {said}") from None
    scene = scene_of(bpy, settings)
    _choose(bpy, scene, settings)
    _size(scene, settings)
    layer = layers_of(scene)[0]
    for path, value in settings["rna"]:
        try:
            assign(bpy, scene, layer, path, value)
        except WrongPath as error:
            raise WrongPath(f"[rna] {str(error).rstrip('.?')}{'?' if str(error).endswith('?') else '.'}") from None
    _mute_outputs(scene)
    scene.render.threads_mode = "FIXED"
    scene.render.threads = max(1, settings["threads"])
    if scene.render.engine == "CYCLES":
        _device(bpy, scene, settings["device"], settings["mixed"])


def scene_of(bpy: Any, settings: dict[str, Any]) -> Any:
    """The scene that is rendered: the one asked for, else the one that was open when the file was saved."""
    name = settings["scene"]
    if not name:
        return bpy.context.scene
    if name not in bpy.data.scenes:
        raise Mistake(f"The file has no scene {name!r}; {near(name, bpy.data.scenes.keys())}")
    return bpy.data.scenes[name]


def layers_of(scene: Any) -> list[Any]:
    """The view layers that are rendered."""
    return [layer for layer in scene.view_layers if layer.use] or [scene.view_layers[0]]


def compositor_of(scene: Any) -> Any:
    """The tree of nodes that Blender would run over the picture; None: there is none. It moved in 5.0."""
    if not scene.render.use_compositing:
        return None
    if hasattr(scene, "compositing_node_group"):
        return scene.compositing_node_group
    return scene.node_tree if scene.use_nodes else None


def _choose(bpy: Any, scene: Any, settings: dict[str, Any]) -> None:
    """Camera, view layers, engine, samples."""
    camera = settings["camera"]
    if camera:
        found = bpy.data.objects.get(camera)
        cameras = [one.name for one in scene.objects if one.type == "CAMERA"]
        if found is None or found.type != "CAMERA":
            raise Mistake(f"The scene {scene.name!r} has no camera {camera!r}; {near(camera, cameras)}")
        scene.camera = found
        for marker in scene.timeline_markers:
            marker.camera = None  # markers would switch to another camera
    wanted: Iterable[str] = settings["view_layers"]
    for name in wanted:
        if name not in scene.view_layers:
            raise Mistake(f"The scene {scene.name!r} has no view layer {name!r}; {near(name, scene.view_layers.keys())}")
    if wanted:
        for layer in scene.view_layers:
            layer.use = layer.name in wanted
    if settings["engine"]:
        _set_engine(scene, settings["engine"])
    if settings["samples"]:
        if scene.render.engine == "CYCLES":
            scene.cycles.samples = settings["samples"]
        elif "EEVEE" in scene.render.engine:
            scene.eevee.taa_render_samples = settings["samples"]
    if settings["transparent"] is not None:
        scene.render.film_transparent = settings["transparent"]
    if settings["denoise"] != "file" and hasattr(scene, "cycles"):
        scene.cycles.use_denoising = settings["denoise"] == "on"


def _set_engine(scene: Any, engine: str) -> None:
    for name in ENGINES[engine]:
        try:
            scene.render.engine = name
        except TypeError:
            continue
        return
    raise CannotHere(f"This Blender has no {engine}.")


def _size(scene: Any, settings: dict[str, Any]) -> None:
    render = scene.render
    if settings["width"]:
        render.resolution_x = settings["width"]
    if settings["height"]:
        render.resolution_y = settings["height"]
    if settings["percentage"]:
        render.resolution_percentage = settings["percentage"]


def _mute_outputs(scene: Any) -> None:
    """File Output nodes would write somewhere on the node's disk."""
    tree = compositor_of(scene)
    for node in tree.nodes if tree is not None else ():
        if node.type == "OUTPUT_FILE":
            node.mute = True


def _device(bpy: Any, scene: Any, device: str, mixed: bool) -> None:
    """Exactly the device that was asked for. ``mixed``: the processor where there is none."""
    scene.cycles.device = "CPU"
    if device == "cpu":
        return
    preferences = bpy.context.preferences.addons["cycles"].preferences
    kind = CARDS[device]
    try:
        preferences.compute_device_type = kind
        preferences.refresh_devices()
    except TypeError:
        if mixed:
            return
        raise CannotHere(f"This Blender ({bpy.app.version_string}) was built without {kind}.") from None
    cards = [one for one in preferences.devices if one.type == kind]
    if not cards and not mixed:
        known = ", ".join(sorted({f"{one.name} ({one.type})" for one in preferences.devices})) or "none"
        raise CannotHere(f"Blender finds no {kind} device on this node; it finds {known}.")
    for one in preferences.devices:
        one.use = one.type == kind
    if cards:
        scene.cycles.device = "GPU"
