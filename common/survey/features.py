"""Job ``features``: a batch of photos becomes keypoints and descriptors, and what the photos say of themselves.

SIFT of COLMAP on the CPU, with its settings and its L1-root descriptors in bytes, since COLMAP's matcher has its thresholds for these.
For each photo: ``<digest of its name>.npz`` (records.Features), nothing for one that cannot be used; ``photos.json``: a ``Seen`` for
each, with a sum over all, as JSON has none.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..libraries import library
from .exif import Facts, facts_of
from .photofile import BadPhoto, check_whole, open_photo, pixels
from .records import Features, Record, encoded, save, save_features
from .work import Job

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PHOTOS = "photos.json"
LEAST_SIDE = 1600
"""Pixels of the longer side: below it every step of feature-quality loses more matches than it saves time (spec: 1600 px was measured)."""
FEW = 1000
"""Where fewer features are found, the photo shows sand, snow, fields, or is dark: it is looked at again for fainter ones."""
FAINTER = 1 / 3
"""Times COLMAP's threshold of contrast, the second time."""
ROOM = 8_000_000
"""Pixels that are looked at at once: COLMAP takes about 300 bytes for each (12 megapixels: 3.6 GB, measured)."""
THUMBNAIL = 16
"""Pixels a side, for finding pictures that were saved twice."""


class Seen(Record, frozen=True, kw_only=True):
    """A photo of the batch."""

    name: str
    fault: str = ""
    """Why it cannot be used; goes on after its name ("is a text file and not a picture"). Then all below is empty."""
    facts: Facts | None = None
    features: int = 0
    file: str = ""
    """sha256 of its bytes"""
    picture: str = ""
    """sha256 of its pixels: the same picture may have got other EXIF."""
    thumbnail: str = ""
    """Base64 of THUMBNAIL x THUMBNAIL grey bytes"""


class Batch(Record, frozen=True, kw_only=True):
    photos: tuple[Seen, ...]
    sum: str
    """``check_sum(photos)``"""


def check_sum(photos: Sequence[Seen]) -> str:
    return hashlib.sha256(encoded(photos)).hexdigest()


def file_of(name: str) -> str:
    """What the features of a photo are called in a batch."""
    return f"{hashlib.sha256(name.encode('utf-8', 'surrogateescape')).hexdigest()[:20]}.npz"


def working_size(width: int, height: int, scale: float) -> tuple[int, int]:
    """The size at which features are looked for: ``scale`` times the photo's, but not below LEAST_SIDE, nor above its own."""
    longer = max(width, height)
    part = min(1.0, max(scale, LEAST_SIDE / longer))
    return max(1, int(width * part)), max(1, int(height * part))


def run(job: Job) -> None:
    """``data``: ``photos``, their names, and ``scale`` of feature-quality."""
    names: list[str] = job.data["photos"]
    seen: dict[str, Seen] = {}
    for start in range(0, len(names), max(1, job.cores)):
        some = names[start : start + max(1, job.cores)]
        for found in _look(job, some):
            seen[found.name] = found
        job.progress((start + len(some)) / len(names))
    photos = tuple(seen[name] for name in names)
    save(Batch(photos=photos, sum=check_sum(photos)), job.out / PHOTOS)


def _look(job: Job, names: Sequence[str]) -> list[Seen]:
    """As many photos as there are cores: COLMAP has a thread for each."""
    opened: dict[str, tuple[Seen, NDArray[np.uint8]]] = {}
    broken = []
    for name in names:
        try:
            opened[name] = _open(job.inputs / name, name)
        except BadPhoto as fault:
            job.say(f"{name} {fault}.")
            broken.append(Seen(name=name, fault=str(fault)))
    pictures = {name: picture for name, (_, picture) in opened.items()}
    scale, wanted = job.data["scale"], int(job.options["min-num-features"])
    extracted = extract(pictures, scale, wanted, job.cores, job.scratch / "first")
    poor = {name: pictures[name] for name, found in extracted.items() if len(found.points) < min(FEW, wanted)}
    if poor:
        extracted |= extract(poor, scale, wanted, job.cores, job.scratch / "second", FAINTER)
    done = list(broken)
    for name, features in extracted.items():
        save_features(features, job.out / file_of(name))
        done.append(_with(opened[name][0], len(features.points)))
    return done


def _open(path: Path, name: str) -> tuple[Seen, NDArray[np.uint8]]:
    """All of it decoded. Raises BadPhoto."""
    import numpy as np
    from PIL import Image

    photo = open_photo(path)
    check_whole(photo)
    picture = pixels(photo)
    small = np.asarray(Image.fromarray(picture).convert("L").resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX))
    seen = Seen(
        name=name,
        facts=facts_of(photo),
        file=hashlib.sha256(photo.data).hexdigest(),
        picture=hashlib.sha256(np.ascontiguousarray(picture).data).hexdigest(),
        thumbnail=b64encode(small.tobytes()).decode(),
    )
    return seen, picture


def _with(seen: Seen, count: int) -> Seen:
    import msgspec

    return msgspec.structs.replace(seen, features=count)


def extract(
    pictures: dict[str, NDArray[np.uint8]], scale: float, wanted: int, cores: int, scratch: Path, contrast: float = 1.0
) -> dict[str, Features]:
    """The features of each picture (height, width, 3), the largest ``wanted`` of it. ``contrast``: times COLMAP's threshold.

    COLMAP holds Python's lock while it looks at one picture, so pictures go through its pipeline for files, which has threads.
    """
    if not pictures:
        return {}
    pycolmap = library("pycolmap", extra="survey")
    pycolmap.logging.minloglevel = pycolmap.logging.Level.WARNING.value
    pycolmap.set_random_seed(0)
    scratch.mkdir(parents=True, exist_ok=True)
    files = {f"{number}.png": name for number, name in enumerate(pictures)}
    for file, name in files.items():
        grey(pictures[name], scale).write(str(scratch / file))
    settings = pycolmap.FeatureExtractionOptions()
    pixels_each = max(width * height for width, height in (working_size(one.shape[1], one.shape[0], scale) for one in pictures.values()))
    settings.use_gpu, settings.num_threads = False, max(1, min(cores, ROOM // pixels_each))
    settings.max_image_size = max(max(picture.shape[:2]) for picture in pictures.values())
    settings.sift.max_num_features = wanted
    settings.sift.peak_threshold *= contrast
    database = scratch / "features.db"
    database.unlink(missing_ok=True)
    pycolmap.extract_features(str(database), str(scratch), image_names=list(files), extraction_options=settings, device=pycolmap.Device.cpu)
    found = {}
    opened = pycolmap.Database.open(str(database))
    try:
        for image in opened.read_all_images():
            name = files[image.name]
            keypoints, descriptors = opened.read_keypoints(image.image_id), opened.read_descriptors(image.image_id).data
            found[name] = _features(keypoints, descriptors, pictures[name], scale, wanted)
    finally:
        opened.close()
    missing = [name for name in pictures if name not in found]
    if missing:
        raise RuntimeError(f"COLMAP made no features of {missing[0]}")
    return {name: found[name] for name in pictures}


def grey(picture: NDArray[np.uint8], scale: float) -> Any:
    """A pycolmap.Bitmap of the size that is worked on; the weights of red, green and blue are those of BT.709, as COLMAP's."""
    import numpy as np

    pycolmap = library("pycolmap", extra="survey")
    height, width = picture.shape[:2]
    light = np.empty((height, width), np.uint8)
    for top in range(0, height, 512):  # by bands: floating point of all of it would be 4 times the photo
        band = picture[top : top + 512].astype(np.float32) @ np.array([0.2126, 0.7152, 0.0722], np.float32)
        light[top : top + 512] = np.clip(np.floor(band + 0.5), 0, 255)
    bitmap = pycolmap.Bitmap.from_array(light)
    size = working_size(width, height, scale)
    if size != (width, height):
        bitmap.rescale(*size)
    return bitmap


def _features(keypoints: Any, descriptors: Any, picture: NDArray[np.uint8], scale: float, wanted: int) -> Features:
    """What COLMAP wrote ((n, 6): x, y and the affine shape), in pixels of the whole photo, the largest scale first.

    COLMAP looks for all directions of the ``wanted`` places, so it finds up to half as many more: the smallest are left out.
    """
    import numpy as np

    height, width = picture.shape[:2]
    small = working_size(width, height, scale)
    table = np.asarray(keypoints, np.float32).reshape(-1, 6)
    factors = np.array([width / small[0], height / small[1]])
    scales = np.sqrt(np.abs(table[:, 2].astype(np.float64) * table[:, 5] - table[:, 3].astype(np.float64) * table[:, 4]))
    scales *= np.sqrt(factors.prod())
    points = table[:, :2].astype(np.float64) * factors
    points = np.clip(points, 0, [np.nextafter(np.float32(width), np.float32(0)), np.nextafter(np.float32(height), np.float32(0))])
    order = np.argsort(-scales, kind="stable")[:wanted]
    at = points[order].astype(np.int64)
    return Features(
        points=points[order].astype(np.float32),
        scales=scales[order].astype(np.float32),
        descriptors=np.ascontiguousarray(np.asarray(descriptors, np.uint8).reshape(-1, 128)[order]),
        colors=np.ascontiguousarray(picture[at[:, 1], at[:, 0]]),
    )
