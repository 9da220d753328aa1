"""Job ``depth``: the depth of some pairs of photos. Each pair for itself, so that it does not matter with which others it is done."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from ..libraries import library
from .depth_index import PairEntry
from .errors import BadSurvey
from .footprint import sight
from .photofile import BadPhoto
from .records import save
from .scene import Scene, View, load_scene
from .seal import seal
from .stereo import Stereo, match
from .stereo_file import points_of, save_stereo
from .stereo_pairs import pair_name
from .work import Job

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ENTRIES = "entries.json"
"""The job's list of PairEntry, also of pairs without a file."""
MOST = 2
"""Pairs at a time: each needs up to 1 GB, and a job asks for 2 GB."""
QUALITY = {"ultra": 1.0, "high": 0.5, "medium": 0.25, "low": 0.125, "lowest": 0.0625}


def run(job: Job) -> None:
    """``data``: {"pairs": [[first, second, angle, block], …]}. Writes ``<pair>.npz`` for each that gave points, and ``entries.json``."""
    library("cv2", extra="survey").setNumThreads(1)  # sums over parts of a picture round differently; pairs side by side do not
    scene = load_scene(job.inputs)
    views = {view.number: view for view in scene.views}

    def one(pair: tuple[int, int, float, str]) -> PairEntry:
        first, second, angle, block = pair
        name = pair_name(first, second)
        try:
            found = match(views[first], views[second], scene, job.inputs, QUALITY[job.options["pc-quality"]])
        except BadPhoto as error:
            raise BadSurvey(f"A photo of the pair {views[first].photo.name}, {views[second].photo.name} {error}.") from error
        entry = _entry(name, views[first], views[second], found, angle, block)
        if found is not None and entry.points:
            save_stereo(found, job.out / f"{name}.npz")
        return entry

    entries = []
    with ThreadPoolExecutor(min(job.cores, MOST)) as pool:
        for entry in pool.map(one, job.data["pairs"]):
            job.say(f"{entry.name}: {entry.points} points")
            entries.append(entry)
            job.progress(len(entries) / len(job.data["pairs"]))
    save(entries, job.out / ENTRIES)
    seal(job.out)


def _entry(name: str, first: View, second: View, found: Stereo | None, angle: float, block: str) -> PairEntry:
    import numpy as np

    nothing = PairEntry(
        name=name, first=first.number, second=second.number, block=block, points=0, gsd=0.0, photo_gsd=0.0, low=(0.0, 0.0, 0.0),
        high=(0.0, 0.0, 0.0), angle=angle,
    )  # fmt: skip
    if found is None:
        return nothing
    places = points_of(found).places
    if places.shape[1] == 0:
        return nothing
    rig = found.rig
    depth = float(np.median(_depth(found, places)))
    low, middle, high = np.quantile(places, (0.001, 0.5, 0.999), axis=1)
    sights = tuple(sight(view, float(middle[2])) for view in (first, second))
    return PairEntry(
        name=name, first=first.number, second=second.number, block=block, points=places.shape[1], gsd=depth / rig.focal,
        photo_gsd=depth / min(first.lens.fx, second.lens.fx), low=(float(low[0]), float(low[1]), float(low[2])),
        high=(float(high[0]), float(high[1]), float(high[2])), angle=angle, sights=sights,
    )  # fmt: skip


def _depth(found: Stereo, places: NDArray[np.float64]) -> NDArray[np.float64]:
    rig = found.rig
    along: NDArray[np.float64] = sum(rig.rotation[2, i] * (places[i] - rig.centre[i]) for i in range(3))
    return along


def subject(scene: Scene) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Where the subject lies, by the sparse points: their bounds without the outermost hundredths, and a third more on each side."""
    import numpy as np

    if not len(scene.points):
        return (0.0, 0.0, 0.0), (0.0, 0.0, 0.0)
    good = scene.points[[len(track) >= 3 for track in scene.tracks]]
    points = good if len(good) >= 50 else scene.points
    low, high = np.quantile(points, (0.01, 0.99), axis=0)
    more = (high - low) / 3
    low, high = low - more, high + more
    return (float(low[0]), float(low[1]), float(low[2])), (float(high[0]), float(high[1]), float(high[2]))
