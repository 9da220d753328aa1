"""Looks at pictures for a panorama: whether they decode whole, how large they are, which are the same."""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path

import msgspec

from .seal import seal
from .work import Job

LOOKS = "looks.json"
LEAST = 32
"""Pixels of a side; in less no feature is found."""


class Look(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was seen of a picture."""

    name: str
    width: int = 0
    height: int = 0
    digest: str = ""
    """Of its pixels."""
    wrong: str = ""
    """Why it is of no use; empty: it is."""


def run(job: Job) -> None:
    names = job.data["pictures"]
    looks = []
    for number, name in enumerate(names):
        looks.append(look_at(job.inputs, name))
        job.progress((number + 1) / len(names))
    (job.out / LOOKS).write_bytes(msgspec.json.encode(looks))
    seal(job.out)


def look_at(folder: Path, name: str) -> Look:
    """Decodes all of it."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of metadata that is not as it should be
            Image.MAX_IMAGE_PIXELS = None
            with Image.open(folder / name) as picture:
                picture.load()
                pixels = picture.convert("RGB")
                width, height = picture.size
    except Exception as error:  # Pillow's decoders raise what they like
        return Look(name=name, wrong=f"it cannot be read ({error})")
    digest = hashlib.sha256(f"{width} {height} ".encode() + pixels.tobytes()).hexdigest()
    if min(width, height) < LEAST:
        return Look(name=name, width=width, height=height, digest=digest, wrong=f"it has only {width} x {height} pixels")
    return Look(name=name, width=width, height=height, digest=digest)
