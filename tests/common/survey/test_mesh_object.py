"""Points become the surface that they lie on, and nothing else."""

from __future__ import annotations

import numpy as np
from clusterray.common.survey.mesh_object import Rays, drop_islands, object_mesh
from clusterray.common.survey.triangles import Triangles, components, neighbours, vertex_normals
from numpy.typing import NDArray

from .painted import box_mesh, view


def ball(count: int = 6000, radius: float = 2.0) -> NDArray[np.float64]:
    """Points spread evenly over a ball, in the order of a spiral."""
    n = np.arange(count) + 0.5
    z = 1 - 2 * n / count
    turn = np.pi * (1 + 5**0.5) * n
    flat = np.sqrt(1 - z * z)
    return radius * np.stack([flat * np.cos(turn), flat * np.sin(turn), z], axis=1)


def meshed(points: NDArray[np.float64], limit: int = 3000) -> Triangles:
    normals = points / np.linalg.norm(points, axis=1, keepdims=True)
    return object_mesh(points.astype(np.float32), normals.astype(np.float32), depth=6, limit=limit)


def test_a_ball_comes_out_round_and_small_enough() -> None:
    """At most mesh-size triangles, on the surface, their fronts outside; the same again."""
    mesh = meshed(ball())
    assert 2500 < len(mesh.faces) <= 3000
    assert np.abs(np.linalg.norm(mesh.vertices, axis=1) - 2).max() < 0.05
    assert (mesh.normals * mesh.vertices).sum(axis=1).min() > 1.9
    again = meshed(ball())
    assert np.array_equal(again.vertices, mesh.vertices)
    assert np.array_equal(again.faces, mesh.faces)


def test_nothing_is_invented_where_no_points_are() -> None:
    """A large gap in the points is a gap in the mesh, and not a lid; a gap of a few points is closed."""
    points = ball()
    mesh = meshed(points[(points[:, 2] < 1.2)])
    assert mesh.vertices[:, 2].max() < 1.6
    nick = meshed(points[np.linalg.norm(points - (0, 2, 0), axis=1) > 0.1])
    assert len(components(len(nick.faces), neighbours(nick.faces))) == len(nick.faces)
    edges = np.sort(np.concatenate([nick.faces[:, [0, 1]], nick.faces[:, [1, 2]], nick.faces[:, [2, 0]]]), axis=1)
    assert (np.unique(edges, axis=0, return_counts=True)[1] == 2).all()


def test_islands_are_dropped() -> None:
    """Crumbs beside the object go, a part of some size stays."""
    points = ball()
    crumb = np.add(ball(60, 0.1), (0, 0, 4))
    part = np.add(ball(1500, 1.0), (6, 0, 0))
    normals = np.concatenate([points / 2, (crumb - (0, 0, 4)) / 0.1, part - (6, 0, 0)])
    mesh = object_mesh(np.concatenate([points, crumb, part]).astype(np.float32), normals.astype(np.float32), depth=7, limit=100_000)
    assert mesh.vertices[:, 2].max() < 2.2
    assert mesh.vertices[:, 0].max() > 6.8
    assert len(np.unique(components(len(mesh.faces), neighbours(mesh.faces)))) == 2


def test_an_empty_mesh_stays_empty() -> None:
    """Dropping islands of nothing is no error."""
    empty = Triangles(
        vertices=np.zeros((0, 3)), faces=np.zeros((0, 3), np.int32), normals=np.zeros((0, 3), np.float32), core=np.zeros(0, bool)
    )
    assert len(drop_islands(empty).faces) == 0


def test_rays_see_what_is_free() -> None:
    """A photo sees the top and the near side of a box and the plain before it, not its far side nor the plain behind it."""
    mesh, box = box_mesh(6, 32)
    camera = view(0, (6.0, 0.0, 4.0), (0, 0, 0.4))
    sees = Rays(mesh).in_sight(camera, np.arange(len(mesh.faces)))
    middle = mesh.vertices[mesh.faces].mean(axis=1)
    narrow = np.abs(middle[:, 1]) < 0.5
    assert sees[box & (middle[:, 2] > 1.49)].all()
    assert sees[box & (middle[:, 0] > 0.99)].all()
    assert not sees[box & (middle[:, 0] < -0.99)].any()
    assert not sees[~box & narrow & (middle[:, 0] < -1) & (middle[:, 0] > -2.5)].any()
    assert sees[~box & narrow & (middle[:, 0] > 1)].all()


def test_normals_point_away_from_the_ball() -> None:
    """Smooth normals are means of the faces around."""
    mesh = meshed(ball())
    normals = vertex_normals(mesh.vertices, mesh.faces)
    away = mesh.vertices / np.linalg.norm(mesh.vertices, axis=1, keepdims=True)
    assert (normals * away).sum(axis=1).min() > 0.99
