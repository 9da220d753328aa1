"""Job ``mesh``: a textured part of the mesh.

``data["tile"]``: the name of a tile of the surface model, with ``cells`` (a vertex for so many cells squared) and ``reach`` (how many such
blocks away something may hide what is behind it; the same for all tiles). Without a tile: the object,
from its points. ``photos``: the numbers of those that may see it; ``pages``: how many textures it may have.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..libraries import library
from .atlas import Atlas, encode, make_atlas
from .errors import BadSurvey
from .mesh_object import Rays, object_mesh
from .mesh_piece import PIECE, About, MeshPiece, save_piece
from .mesh_surface import Blocks, Window, grid_mesh, in_sight, read_blocks, window_of
from .photofile import BadPhoto, pixels
from .records import Frame, load, load_arrays
from .scene import FRAME, Scene, View, load_scene
from .seams import Tone, tone
from .surface_index import DSM, OBJECT, SURFACE, Surface
from .texture import REACH, Choice, Read, Sight, choose
from .texture_levels import corrections
from .triangles import Triangles, compact
from .work import Job

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MARGIN = -(-REACH // 2)
"""Blocks around a tile: a step from face to face crosses half a block."""
FADE = MARGIN / 2
FADE_OBJECT = 300.0
STEP = 4
SOFTENINGS = 20


def run(job: Job) -> None:
    library("cv2", extra="survey").setNumThreads(job.cores)
    wanted = set(job.data["photos"])
    scene = load_scene(job.inputs)
    views = tuple(view for view in scene.views if view.number in wanted)
    read = reader(job, scene)
    mesh, sight, guess = _tile(job) if "tile" in job.data else _object(job)
    if not mesh.core.any():
        save_piece(empty(), job.out / PIECE)
        return
    choice = choose(mesh, views, sight, read, lambda part: job.progress(0.4 + 0.3 * part))
    levels = corrections(mesh.faces, choice, FADE if "tile" in job.data else FADE_OBJECT)
    job.progress(0.75)
    plain = guess(choice)
    atlas = make_atlas(
        mesh, views, choice, levels, plain, read, side=job.options["texture-size"], most=job.data["pages"],
        progress=lambda part: job.progress(0.75 + 0.2 * part),
    )  # fmt: skip
    piece = assemble(mesh, choice, atlas)
    save_piece(piece, job.out / PIECE)
    job.say(f"{piece.about.faces} faces, {piece.about.textured} from {piece.about.photos} photos, {len(piece.textures)} textures")
    job.progress(1.0)


def reader(job: Job, scene: Scene) -> Read:
    """Photos, evened out against their neighbours as in the orthophoto: by the colours of the sparse points, the same in each job."""
    import numpy as np

    photos = np.concatenate([np.zeros(0, np.int32), *scene.tracks])
    point = np.repeat(np.arange(len(scene.tracks)), np.array([len(track) for track in scene.tracks], np.int64))

    def read(view: View) -> NDArray[np.uint8]:
        try:
            picture = pixels(job.inputs / view.photo.name)
        except BadPhoto as error:
            raise BadSurvey(f"{view.photo.name} {error}.") from error
        even = tone(scene, point[photos == view.number], view, picture)
        if even == Tone():
            return picture
        across, down = (np.arange(count, dtype=np.float64) + 0.5 for count in (picture.shape[1], picture.shape[0]))
        factor = even.factor(view.lens, across[None, :], down[:, None]).astype(np.float32)
        made = np.empty_like(picture)
        for channel in range(3):
            made[..., channel] = np.clip(picture[..., channel] * (factor * np.float32(even.gain[channel])) + 0.5, 0, 255)
        return made

    return read


Guess = Callable[[Choice], "NDArray[np.uint8]"]
"""-> (u, 3) colours of the core faces that no photo sees."""


def _tile(job: Job) -> tuple[Triangles, Sight, Guess]:
    surface = load(job.inputs / SURFACE, Surface)
    tile = next(tile for tile in surface.tiles if tile.name == job.data["tile"])
    cells = job.data["cells"]
    core = window_of(tile.grid, surface.grid, cells)
    reach = job.data["reach"]
    origin = load(job.inputs / FRAME, Frame).origin
    wide = read_blocks(job.inputs / DSM, _grown(core, MARGIN + reach), cells, origin)
    mesh = grid_mesh(_cut(wide, _grown(core, MARGIN)), core)

    def sight(view: View, faces: NDArray[np.int64]) -> NDArray[np.bool_]:
        return in_sight(wide, view, mesh.vertices[mesh.faces[faces]].mean(axis=1), reach)

    return mesh, sight, lambda choice: from_around(mesh, choice, None)


def _grown(window: Window, margin: int) -> Window:
    return window[0] - margin, window[1] - margin, window[2] + margin, window[3] + margin


def _cut(blocks: Blocks, window: Window) -> Blocks:
    left, top = max(window[0], blocks.left), max(window[1], blocks.top)
    heights = blocks.heights[top - blocks.top : max(0, window[3] - blocks.top), left - blocks.left : max(0, window[2] - blocks.left)]
    return Blocks(heights=heights, left=left, top=top, west=blocks.west, north=blocks.north, size=blocks.size)


def _object(job: Job) -> tuple[Triangles, Sight, Guess]:
    cloud = load_arrays(job.inputs / OBJECT)
    job.progress(0.02)
    mesh = object_mesh(cloud["points"], cloud["normals"], depth=job.options["mesh-octree-depth"], limit=job.options["mesh-size"])
    job.progress(0.4)
    if not len(mesh.faces):
        raise BadSurvey("The points of the object make no surface; take more photos, each showing half of what the one before shows.")
    rays = Rays(mesh, job.cores)
    return mesh, rays.in_sight, lambda choice: from_around(mesh, choice, (cloud["points"], cloud["colors"]))


def from_around(mesh: Triangles, choice: Choice, cloud: tuple[NDArray[Any], NDArray[Any]] | None) -> NDArray[np.uint8]:
    """Colours for the core faces that no photo sees: of the 4 nearest points, or where there are none of the 4 nearest faces, softened."""
    import numpy as np

    unseen = choice.labels < 0
    if not unseen.any():
        return np.zeros((0, 3), np.uint8)
    middle = mesh.vertices[mesh.faces].mean(axis=1)
    if cloud is None:
        cloud = middle[~unseen], choice.colors[choice.labels[~unseen, None], mesh.faces[~unseen]].mean(axis=1)
    places, colors = cloud
    found = np.full((int(unseen.sum()), 3), 128.0)
    if len(places):
        many = min(4, len(places))
        _, near = library("scipy.spatial", extra="survey").cKDTree(places).query(middle[unseen], k=many)
        found = soften(colors[near.reshape(-1, many)].mean(axis=1), unseen, choice.pairs)
    few = np.clip(np.rint(found / STEP) * STEP, 0, 255).astype(np.uint8)  # few colours: few squares in the texture
    kept: NDArray[np.uint8] = few[mesh.core[unseen]]
    return kept


def soften(colors: NDArray[np.float64], unseen: NDArray[np.bool_], pairs: NDArray[np.int32]) -> NDArray[np.float64]:
    """Average the colours (u, 3) of the faces ``unseen`` (f,) again and again with those of their neighbours among them."""
    import numpy as np

    number = np.cumsum(unseen) - 1
    ends = number[pairs[unseen[pairs].all(axis=1)]]
    many = 1 + np.bincount(ends.ravel(), minlength=len(colors))
    for _ in range(SOFTENINGS):
        total = colors.copy()
        for channel in range(3):
            total[:, channel] += np.bincount(ends[:, 0], colors[ends[:, 1], channel], len(colors))
            total[:, channel] += np.bincount(ends[:, 1], colors[ends[:, 0], channel], len(colors))
        colors = total / many[:, None]
    return colors


def assemble(mesh: Triangles, choice: Choice, atlas: Atlas) -> MeshPiece:
    """The core of the mesh with its textures, the faces in the order of their pages."""
    import numpy as np

    labels = choice.labels[mesh.core]
    core = compact(mesh, mesh.core)
    order = np.argsort(atlas.pages, kind="stable")
    faces = core.faces[order]
    about = About(
        faces=len(faces), textured=int((labels >= 0).sum()), photos=len(np.unique(labels[labels >= 0])), charts=atlas.charts,
        scale=round(atlas.scale, 6), watertight=closed(faces),
    )  # fmt: skip
    return MeshPiece(
        vertices=core.vertices, normals=core.normals, faces=faces, uv=atlas.uv, uv_faces=atlas.uv_faces[order], pages=atlas.pages[order],
        textures=tuple(encode(picture) for picture in atlas.pictures), about=about,
    )  # fmt: skip


def empty() -> MeshPiece:
    """Of a tile in which nothing is known."""
    import numpy as np

    return MeshPiece(
        vertices=np.zeros((0, 3)), normals=np.zeros((0, 3), np.float32), faces=np.zeros((0, 3), np.int32),
        uv=np.zeros((0, 2), np.float32), uv_faces=np.zeros((0, 3), np.int32), pages=np.zeros(0, np.int32), textures=(),
        about=About(faces=0, textured=0, photos=0, charts=0, scale=1.0),
    )  # fmt: skip


def closed(faces: NDArray[np.int32]) -> bool:
    """Whether each edge belongs to two faces."""
    import numpy as np

    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    return bool(len(edges)) and bool((np.unique(edges, axis=0, return_counts=True)[1] == 2).all())
