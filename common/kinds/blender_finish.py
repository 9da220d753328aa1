"""Inside of Blender: what must see the whole picture is done once on the joined one. Runs beside blender_driver.py.

Denoising, the compositor, the view transform with its dithering, the stamp and JPEG. The joined picture, a multi-layer OpenEXR with all
passes, takes the place of the render layers in a tree of compositor nodes; a tree without render layers makes Blender skip the
rendering. Cycles denoises before the compositor; so does this, by the compositor's node of the same library (OpenImageDenoise).
"""

from __future__ import annotations

from typing import Any

from .blender_look import composites
from .blender_save import save
from .blender_scene import Mistake, compositor_of, layers_of

PREFILTER = {"NONE": "None", "FAST": "Fast", "ACCURATE": "Accurate"}
QUALITY = {"HIGH": "High", "BALANCED": "Balanced", "FAST": "Fast"}


def finish(bpy: Any, scene: Any, request: dict[str, Any]) -> None:
    """Write ``request["pictures"]``: [file name, what, format] each, where what is "picture" or the name of a layer."""
    if request["frame"] is not None:
        scene.frame_set(request["frame"])
    joined = bpy.data.images.load(request["joined"])
    scene.render.use_border = False
    used = composites(scene)
    own = compositor_of(scene) if used else None
    scene.render.use_compositing = True
    # the scene's own tree first: before 5.0 there is no other place for ours
    for name, what, form in sorted(request["pictures"], key=lambda one: one[1] != "picture"):
        tree = own if own is not None and what == "picture" else _new_tree(bpy, scene)
        _use(scene, tree)
        if own is not None and what == "picture":
            _replace_layers(scene, tree, joined, request)
        else:
            layer = layers_of(scene)[0].name if what == "picture" else what
            _connect(tree, _source(scene, tree, joined, layer, request), _output(tree))
        save(bpy, scene, request["out"], name, form)


def _new_tree(bpy: Any, scene: Any) -> Any:
    if hasattr(scene, "compositing_node_group"):
        tree = bpy.data.node_groups.new("joined", "CompositorNodeTree")
        tree.interface.new_socket(name="Image", in_out="OUTPUT", socket_type="NodeSocketColor")
        return tree
    scene.use_nodes = True
    scene.node_tree.nodes.clear()
    return scene.node_tree


def _use(scene: Any, tree: Any) -> None:
    if hasattr(scene, "compositing_node_group"):
        scene.compositing_node_group = tree
    if hasattr(scene.render, "compositor_device"):  # since 4.2
        scene.render.compositor_device = "CPU"


def _output(tree: Any) -> Any:
    node = tree.nodes.new("NodeGroupOutput" if hasattr(tree, "interface") and tree.interface.items_tree else "CompositorNodeComposite")
    return node.inputs[0]


def _connect(tree: Any, source: Any, target: Any) -> None:
    tree.links.new(source, target)


def _image(tree: Any, joined: Any, layer: str) -> Any:
    node = tree.nodes.new("CompositorNodeImage")
    node.image = joined
    if joined.type == "MULTILAYER" or getattr(node, "has_layers", False):
        node.layer = layer
    return node


def _combined(node: Any) -> Any:
    return node.outputs["Combined"] if "Combined" in node.outputs else node.outputs["Image"]


def _source(scene: Any, tree: Any, joined: Any, layer: str, request: dict[str, Any]) -> Any:
    """The socket with a layer's picture, denoised where that was asked for."""
    node = _image(tree, joined, layer)
    return _denoised(scene, tree, node) if layer in request["denoise"] else _combined(node)


def _denoised(scene: Any, tree: Any, image: Any) -> Any:
    """As Cycles would have done it: with the same guides, prefilter and quality."""
    node = tree.nodes.new("CompositorNodeDenoise")
    guides = scene.cycles.denoising_input_passes
    prefilter, quality = scene.cycles.denoising_prefilter, getattr(scene.cycles, "denoising_quality", "HIGH")
    if "Prefilter" in node.inputs:  # since 5.0
        node.inputs["Prefilter"].default_value = PREFILTER[prefilter]
        node.inputs["Quality"].default_value = QUALITY[quality]
        node.inputs["HDR"].default_value = True
    else:
        node.prefilter, node.use_hdr = prefilter, True
        if hasattr(node, "quality"):
            node.quality = quality
    tree.links.new(_combined(image), node.inputs["Image"])
    for guide in ("Albedo", "Normal"):
        if guide.upper() in guides.split("_"):
            if f"Denoising {guide}" not in image.outputs:
                raise RuntimeError(f"The joined picture has no pass Denoising {guide}.")
            tree.links.new(image.outputs[f"Denoising {guide}"], node.inputs[guide])
    return node.outputs[0]


def _replace_layers(scene: Any, tree: Any, joined: Any, request: dict[str, Any]) -> None:
    """The scene's own compositor, with the joined picture for each node of render layers."""
    for node in [one for one in tree.nodes if one.type == "R_LAYERS"]:
        image = _image(tree, joined, node.layer)
        for output in node.outputs:
            for link in list(output.links):
                source = _passed(scene, tree, image, node.layer, output.name, request)
                if source is None:
                    raise Mistake(f"The compositor uses the pass {output.name!r} of {node.layer!r}, which is not in the joined picture.")
                tree.links.new(source, link.to_socket)
        tree.nodes.remove(node)


def _passed(scene: Any, tree: Any, image: Any, layer: str, name: str, request: dict[str, Any]) -> Any:
    if name in ("Image", "Combined"):
        return _denoised(scene, tree, image) if layer in request["denoise"] else _combined(image)
    if name == "Noisy Image":
        return _combined(image)
    return image.outputs.get(name)
