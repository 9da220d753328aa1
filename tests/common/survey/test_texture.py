"""Each face has its colours from a photo that really shows it."""

from __future__ import annotations

import numpy as np
import pytest
from clusterray.common.survey.atlas import Atlas, make_atlas
from clusterray.common.survey.mesh_object import Rays
from clusterray.common.survey.scene import View
from clusterray.common.survey.texture import Choice, choose, patches
from clusterray.common.survey.texture_levels import corrections
from clusterray.common.survey.triangles import Triangles
from numpy.typing import NDArray

from . import painted

Painting = tuple[Triangles, NDArray[np.bool_], tuple[View, ...], dict[int, NDArray[np.uint8]]]


@pytest.fixture(scope="module")
def painting() -> Painting:
    mesh, box = painted.box_mesh()
    views = painted.ring()
    return mesh, box, views, {view.number: painted.photograph(view) for view in views}


def texture(
    painting: Painting, side: int = 1024, most: int = 1, pictures: dict[int, NDArray[np.uint8]] | None = None
) -> tuple[Choice, Atlas]:
    mesh, _, views, photos = painting
    shown = pictures or photos

    def read(view: View) -> NDArray[np.uint8]:
        return shown[view.number]

    choice = choose(mesh, views, Rays(mesh).in_sight, read, lambda _: None)
    levels = corrections(mesh.faces, choice, 300)
    plain = np.full((int((choice.labels < 0).sum()), 3), 128, np.uint8)
    return choice, make_atlas(mesh, views, choice, levels, plain, read, side=side, most=most, progress=lambda _: None)


def at_middle(mesh: Triangles, atlas: Atlas) -> NDArray[np.float64]:
    """What a viewer shows in the middle of each face: bilinear between texels, whose middles are at halves."""
    uv = atlas.uv[atlas.uv_faces].astype(float).mean(axis=1)
    found = np.zeros((len(uv), 3))
    for page, picture in enumerate(atlas.pictures):
        mine = atlas.pages == page
        place = uv[mine] * (picture.shape[1], picture.shape[0]) - 0.5
        low = np.floor(place).astype(int)
        part = place - low
        for dx in (0, 1):
            for dy in (0, 1):
                weight = np.abs(1 - dx - part[:, 0]) * np.abs(1 - dy - part[:, 1])
                found[mine] += weight[:, None] * picture[low[:, 1] + dy, low[:, 0] + dx]
    return found


def wrong(painting: Painting, choice: Choice, atlas: Atlas) -> NDArray[np.float64]:
    """How many grey levels the colour in the middle of each face that a photo sees is off."""
    mesh, box, _, _ = painting
    seen = choice.labels >= 0
    truth = painted.paint(mesh.vertices[mesh.faces].mean(axis=1), box)
    difference: NDArray[np.float64] = np.abs(at_middle(mesh, atlas) - truth).max(axis=1)[seen]
    return difference


def test_colours_are_true(painting: Painting) -> None:
    """The texture shows on each face what is there, to a few grey levels, through lens distortion, atlas and scale."""
    choice, atlas = texture(painting)
    off = wrong(painting, choice, atlas)
    assert (choice.labels >= 0).mean() > 0.97
    assert atlas.scale == 1.0
    assert np.median(off) < 1.5
    assert np.percentile(off, 99) < 6
    assert off.max() < 16


def test_what_stands_in_front_is_not_painted_on_what_is_behind(painting: Painting) -> None:
    """No face of the plain has the colours of the box that hides it in a photo, nor the other way round."""
    mesh, box, _, _ = painting
    choice, atlas = texture(painting)
    seen = choice.labels >= 0
    blue = at_middle(mesh, atlas)[:, 2]
    assert blue[seen & ~box].min() > 180
    assert blue[seen & box].max() < 60


def test_two_photos_are_enough_to_know_what_hides_what(painting: Painting) -> None:
    """What is hidden is known from the surface, not only from photos that agree: two that see the plain from either side suffice."""
    mesh, box, views, photos = painting
    choice, atlas = texture((mesh, box, (views[0], views[5]), photos))
    seen = choice.labels >= 0
    blue = at_middle(mesh, atlas)[:, 2]
    assert seen.mean() > 0.6
    assert blue[seen & ~box].min() > 150
    assert blue[seen & box].max() < 90


def test_less_room_means_less_resolution_not_other_colours(painting: Painting) -> None:
    """Where the textures do not fit, all is scaled down evenly, and the colours stay."""
    choice, atlas = texture(painting, side=256, most=1)
    assert len(atlas.pictures) == 1
    assert max(atlas.pictures[0].shape) <= 256
    assert 0.2 < atlas.scale < 0.9
    off = wrong(painting, choice, atlas)
    assert np.median(off) < 2
    assert np.percentile(off, 90) < 10


def test_several_pages(painting: Painting) -> None:
    """Small textures: several, and each face finds its own."""
    choice, atlas = texture(painting, side=256, most=16)
    assert 2 <= len(atlas.pictures) <= 16
    assert atlas.scale == 1.0
    assert np.percentile(wrong(painting, choice, atlas), 99) < 6


def test_patches_are_large(painting: Painting) -> None:
    """A photo is used for a region, not for single faces: few seams."""
    mesh, _, _, _ = painting
    choice, _ = texture(painting)
    _, sizes = patches(choice.labels, choice.pairs)
    assert len(sizes) < len(mesh.faces) / 50


def test_a_passer_by_is_left_out(painting: Painting) -> None:
    """What is in one photo and not in the others, a person walking by, does not get into the texture."""
    mesh, _, _, photos = painting
    crossed = photos | {1: photos[1].copy()}
    crossed[1][90:180, 120:200] = 5
    choice, atlas = texture(painting, pictures=crossed)
    seen = choice.labels >= 0
    assert seen.mean() > 0.95
    dark = at_middle(mesh, atlas)[seen].max(axis=1) < 55
    assert dark.mean() < 0.001


def test_exposure_is_evened_out(painting: Painting) -> None:
    """Photos of unlike exposure leave no visible edge where they meet: what is left of the step is a fraction of it."""
    mesh, _, views, photos = painting
    lighter = {
        number: np.clip(picture.astype(int) + (20 if number % 2 else 0), 0, 255).astype(np.uint8) for number, picture in photos.items()
    }

    def read(view: View) -> NDArray[np.uint8]:
        return lighter[view.number]

    choice = choose(mesh, views, Rays(mesh).in_sight, read, lambda _: None)
    levels = corrections(mesh.faces, choice, 300)
    corner = choice.colors[choice.labels[:, None], mesh.faces].astype(float)
    first, second = choice.pairs.T
    seam = (choice.labels[first] != choice.labels[second]) & (choice.labels[choice.pairs] >= 0).all(axis=1)
    before, after = (np.abs(_middles(values, mesh, first[seam], second[seam])) for values in (corner, corner + levels))
    assert np.percentile(before, 75) > 15
    assert np.percentile(after, 90) < 5


def _middles(corners: NDArray[np.float64], mesh: Triangles, first: NDArray[np.int32], second: NDArray[np.int32]) -> NDArray[np.float64]:
    """Difference between two faces' colours at the vertices that they share, mean of both."""
    found = []
    for a, b in zip(first, second, strict=True):
        shared = [(i, j) for i in range(3) for j in range(3) if mesh.faces[a, i] == mesh.faces[b, j]]
        found.append(np.mean([corners[a, i] - corners[b, j] for i, j in shared], axis=0))
    return np.array(found)
