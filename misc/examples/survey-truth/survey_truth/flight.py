"""Where the photos are taken from: strips, there and back, each photo a little off."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Camera:
    """A pinhole without distortion: pixel = focal * (x, y) / z + size / 2, the first pixel's centre at 0.5."""

    name: str
    centre: Array
    rotation: Array
    """(3, 3) world -> camera: x to the right of the picture, y down, z where it looks."""
    width: int
    height: int
    focal: float
    """Pixels"""

    def project(self, points: Array) -> tuple[Array, Array]:
        """(n, 3) -> (n, 2) pixels, (n,) depth."""
        at = (points - self.centre) @ self.rotation.T
        return self.focal * at[:, :2] / at[:, 2:] + np.array([self.width, self.height]) / 2, at[:, 2]

    def rays(self, pixels: Array) -> Array:
        """(n, 2) pixels -> (n, 3) directions of depth 1."""
        flat = (pixels - np.array([self.width, self.height]) / 2) / self.focal
        return np.column_stack([flat, np.ones(len(flat))]) @ self.rotation

    def words(self) -> dict[str, Any]:
        return {**vars(self), "centre": self.centre.tolist(), "rotation": self.rotation.tolist()}

    @classmethod
    def of(cls, words: dict[str, Any]) -> Camera:
        return cls(**{**words, "centre": np.array(words["centre"]), "rotation": np.array(words["rotation"])})


@dataclass(frozen=True, kw_only=True)
class Plan:
    strips: int
    photos: int
    """In each strip."""
    width: int
    height: int
    focal: float
    gsd: float = 0.1
    """Metres a pixel on level ground, from which the flying height follows."""
    forward: float = 0.8
    """Overlap"""
    side: float = 0.7
    tilt: float = 3.0
    """Standard deviation of pitch, roll and heading, degrees."""
    wander: float = 0.4
    """Standard deviation of the place, metres."""
    cross: int = 0
    """Strips more, across the others and 15 % higher: with them the focal length can be calibrated."""
    seed: int = 4

    @property
    def altitude(self) -> float:
        return self.gsd * self.focal


def turned(angles: Array) -> Array:
    """The rotation by an axis times an angle in radians (Rodrigues)."""
    angle = float(np.linalg.norm(angles))
    if angle == 0:
        return np.eye(3)
    x, y, z = angles / angle
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    turn: Array = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    return turn


def fly(plan: Plan, ground: float) -> tuple[Camera, ...]:
    """``ground``: z of level ground. The long side of the pictures lies across the strips."""
    random = np.random.default_rng(plan.seed)
    step, apart = (1 - plan.forward) * plan.height * plan.gsd, (1 - plan.side) * plan.width * plan.gsd
    along, across = (plan.photos - 1) * step, (plan.strips - 1) * apart
    stations = []
    for strip in range(plan.strips):
        places = np.linspace(-along / 2, along / 2, plan.photos)
        y, heading = strip * apart - across / 2, 90.0 if strip % 2 == 0 else 270.0
        stations += [(x, y, plan.altitude, heading) for x in (places if strip % 2 == 0 else places[::-1])]
    for strip in range(plan.cross):
        places = np.linspace(-across / 2, across / 2, int(across / step) + 2)
        x, heading = (strip + 0.5) * along / plan.cross - along / 2, 0.0 if strip % 2 == 0 else 180.0
        stations += [(x, y, 1.15 * plan.altitude, heading) for y in (places if strip % 2 == 0 else places[::-1])]
    cameras = []
    for number, (x, y, up, heading) in enumerate(stations, 1):
        angle = np.radians(heading)
        forward, right = np.array([np.sin(angle), np.cos(angle), 0]), np.array([np.cos(angle), -np.sin(angle), 0])
        level = np.stack([right, -forward, [0, 0, -1]])
        centre = np.array([x, y, ground + up]) + random.normal(0, plan.wander, 3)
        rotation = turned(random.normal(0, np.radians(plan.tilt), 3)) @ level
        cameras.append(
            Camera(name=f"photo_{number:04d}.jpg", centre=centre, rotation=rotation, width=plan.width, height=plan.height, focal=plan.focal)
        )
    return tuple(cameras)
