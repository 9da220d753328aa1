"""One panorama: its pictures are placed, warped, evened out in brightness, cut along seams and blended, by OpenCV."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from ..libraries import library
from .errors import BadSurvey
from .panorama_place import Placed, place, scale_for, shrunk
from .seal import seal
from .work import Job

REPORT = "report.json"
MOST_PIXELS = 400_000_000
"""Of the whole; blending takes about 30 bytes for each."""
CROP_SIDE = 600
"""Pixels of the longer side at which the largest rectangle is looked for."""
WARPERS = {"spherical": "spherical", "cylindrical": "cylindrical", "plane": "plane"}


def run(job: Job) -> None:
    cv2 = library("cv2", extra="survey")
    cv2.setNumThreads(job.cores)
    cv2.ocl.setUseOpenCL(False)
    names = job.data["pictures"]
    report: dict[str, Any] = {"panorama": job.data["panorama"], "pictures": names}
    try:
        picture, mask, found = stitch(job, names)
    except BadSurvey as error:
        report["failed"] = f"{job.data['panorama']}: {error}"
        if job.options["unplaced"] == "fail" or job.data["alone"]:
            raise BadSurvey(report["failed"]) from error
    else:
        (job.out / job.data["file"]).parent.mkdir(parents=True, exist_ok=True)
        (job.out / job.data["file"]).write_bytes(encoded(picture, mask, job.options))
        kept = [names[number] for number in found.kept]
        report |= {
            "file": job.data["file"], "width": int(picture.shape[1]),
            "height": int(picture.shape[0]), "mode": found.mode, "placed": kept, "left_out": [one for one in names if one not in kept],
            "pairs": [[names[one], names[other], count] for one, other, count in found.pairs],
        }  # fmt: skip
    (job.out / REPORT).write_bytes(msgspec.json.encode(report, order="deterministic"))
    seal(job.out)


def stitch(job: Job, names: Sequence[str]) -> tuple[Any, Any, Placed]:
    """(rows, columns, 3) uint8, (rows, columns) bool where there is something, how. Raises BadSurvey."""
    cv2 = library("cv2", extra="survey")
    pictures = []
    for number, name in enumerate(names):
        picture = cv2.imread(str(job.inputs / name), cv2.IMREAD_COLOR)
        if picture is None:
            raise BadSurvey(f"{name} cannot be read by OpenCV; save it as JPEG, PNG or TIFF of 8 bits.")
        pictures.append(picture)
        job.progress(0.1 * (number + 1) / len(names))
    try:
        found = place(pictures, job.options)
        left = [name for number, name in enumerate(names) if number not in found.kept]
        if left and job.options["unplaced"] == "fail":
            many = "fits" if len(left) == 1 else "fit"
            raise BadSurvey(
                f"{', '.join(left[:5])}{' …' if len(left) > 5 else ''} {many} to none of the others: take more pictures in between, "
                "take them out, or say unplaced = leave-out."
            )
        job.progress(0.3)
        picture, mask = join([pictures[number] for number in found.kept], found, job)
    except cv2.error as error:
        raise BadSurvey(f"OpenCV cannot join these pictures ({' '.join(str(error).split())[-200:]}).") from error
    if job.options["crop"] == "inner":
        left_edge, top, right, bottom = largest_rectangle(mask)
        picture, mask = picture[top:bottom, left_edge:right], mask[top:bottom, left_edge:right]
    return picture, mask, found


def join(pictures: Sequence[Any], found: Placed, job: Job) -> tuple[Any, Any]:
    """Warp and blend; as stitch()."""
    import numpy as np

    cv2 = library("cv2", extra="survey")
    options = job.options
    full = scale_for(pictures, options["compose-megapixels"])
    seam = min(full, scale_for(pictures, options["seam-megapixels"]))
    corners, sizes = _outline(pictures, found, full, options)
    wide, high = _extent(corners, sizes)
    if wide * high > MOST_PIXELS:
        raise BadSurvey(
            f"The panorama would have {wide} x {high} pixels: perhaps a picture is placed wrongly; try another mode or projection, "
            "leave pictures out, or say compose-megapixels."
        )
    small = [_warp(shrunk(picture, seam), number, found, seam, options) for number, picture in enumerate(pictures)]
    evened = _exposure(cv2, options["exposure"])
    starts = [start for start, _, _ in small]
    evened.feed(starts, [cv2.UMat(one) for _, one, _ in small], [cv2.UMat(mask) for _, _, mask in small])
    cuts = _seams(cv2, options["seam"], small)
    job.progress(0.5)
    blender = _blender(cv2, options, wide, high)
    blender.prepare(_box(corners, sizes))
    for number, picture in enumerate(pictures):
        start, warped, mask = _warp(shrunk(picture, full), number, found, full, options)
        evened.apply(number, start, warped, mask)
        cut = cv2.dilate(cuts[number], None)
        cut = cv2.resize(cut, (mask.shape[1], mask.shape[0]), interpolation=cv2.INTER_LINEAR_EXACT)
        blender.feed(cv2.UMat(warped.astype(np.int16)), cv2.bitwise_and(cut, mask), start)
        job.progress(0.5 + 0.4 * (number + 1) / len(pictures))
    joined, mask = blender.blend(None, None)
    mask = _array(mask) > 0
    picture = np.clip(_array(joined), 0, 255).astype(np.uint8)
    picture[~mask] = 0
    return picture, mask


def _array(value: Any) -> Any:
    return value.get() if hasattr(value, "get") else value


def _camera(number: int, found: Placed, scale: float) -> tuple[Any, Any]:
    """Matrix of the lens at ``scale``, and rotation (scans: the affine map at the scale of the matching)."""
    import numpy as np

    camera, times = found.cameras[number], scale / found.scale
    if found.mode == "scans":
        lens = np.diag([times, times, 1.0])
    else:
        lens = camera.K().copy()
        lens[:2] *= times
    return lens.astype(np.float32), camera.R.astype(np.float32)


def _warper(found: Placed, scale: float, options: dict[str, Any]) -> Any:
    import numpy as np

    cv2 = library("cv2", extra="survey")
    times = scale / found.scale
    if found.mode == "scans":
        return cv2.PyRotationWarper("affine", times)
    focal = float(np.median([camera.focal for camera in found.cameras]))
    return cv2.PyRotationWarper(WARPERS[options["projection"]], focal * times)


def _warp(picture: Any, number: int, found: Placed, scale: float, options: dict[str, Any]) -> tuple[Any, Any, Any]:
    """Corner, picture, mask."""
    import numpy as np

    cv2 = library("cv2", extra="survey")
    warper = _warper(found, scale, options)
    lens, rotation = _camera(number, found, scale)
    corner, warped = warper.warp(picture, lens, rotation, cv2.INTER_LINEAR, cv2.BORDER_REFLECT)
    whole = np.full(picture.shape[:2], 255, np.uint8)
    _, mask = warper.warp(whole, lens, rotation, cv2.INTER_NEAREST, cv2.BORDER_CONSTANT)
    return corner, warped, mask


def _outline(pictures: Sequence[Any], found: Placed, scale: float, options: dict[str, Any]) -> tuple[list[Any], list[Any]]:
    warper = _warper(found, scale, options)
    corners, sizes = [], []
    for number, picture in enumerate(pictures):
        rows, columns = picture.shape[:2]
        left, top, wide, high = warper.warpRoi((round(columns * scale), round(rows * scale)), *_camera(number, found, scale))
        corners.append((left, top))
        sizes.append((wide, high))
    return corners, sizes


def _box(corners: Sequence[Any], sizes: Sequence[Any]) -> tuple[int, int, int, int]:
    left, top = min(x for x, _ in corners), min(y for _, y in corners)
    wide, high = _extent(corners, sizes)
    return left, top, wide, high


def _extent(corners: Sequence[Any], sizes: Sequence[Any]) -> tuple[int, int]:
    right = max(x + wide for (x, _), (wide, _) in zip(corners, sizes, strict=True))
    bottom = max(y + high for (_, y), (_, high) in zip(corners, sizes, strict=True))
    return right - min(x for x, _ in corners), bottom - min(y for _, y in corners)


def _exposure(cv2: Any, which: str) -> Any:
    names = {"blocks": "GAIN_BLOCKS", "channels": "CHANNELS_BLOCKS", "gain": "GAIN", "none": "NO"}
    return cv2.detail.ExposureCompensator_createDefault(getattr(cv2.detail, f"EXPOSURE_COMPENSATOR_{names[which]}"))


def _seams(cv2: Any, which: str, small: Sequence[tuple[Any, Any, Any]]) -> list[Any]:
    """A mask for each picture: what of it is shown."""
    import numpy as np

    finders = {
        "graph-cut": lambda: cv2.detail_GraphCutSeamFinder("COST_COLOR"),
        "dynamic": lambda: cv2.detail_DpSeamFinder("COLOR"),
        "voronoi": lambda: cv2.detail.SeamFinder_createDefault(cv2.detail.SEAM_FINDER_VORONOI_SEAM),
        "none": lambda: cv2.detail.SeamFinder_createDefault(cv2.detail.SEAM_FINDER_NO),
    }
    pictures = [cv2.UMat(warped.astype(np.float32)) for _, warped, _ in small]
    masks = [cv2.UMat(mask) for _, _, mask in small]
    return [_array(mask) for mask in finders[which]().find(pictures, [start for start, _, _ in small], masks) or masks]


def _blender(cv2: Any, options: dict[str, Any], wide: int, high: int) -> Any:
    import numpy as np

    width = float(np.sqrt(wide * high)) * options["blend-width"] / 100
    if options["blend"] == "none" or width < 1:
        return cv2.detail.Blender_createDefault(cv2.detail.Blender_NO)
    if options["blend"] == "feather":
        blender = cv2.detail_FeatherBlender()
        blender.setSharpness(1.0 / width)
        return blender
    blender = cv2.detail_MultiBandBlender()
    blender.setNumBands(max(1, int(np.ceil(np.log2(width)) - 1)))
    return blender


def largest_rectangle(mask: Any) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the largest upright rectangle without a hole, but for CROP_SIDE's rounding."""
    import numpy as np

    step = max(1, -(-max(mask.shape) // CROP_SIDE))
    rows, columns = mask.shape[0] // step, mask.shape[1] // step
    cells = mask[: rows * step, : columns * step].reshape(rows, step, columns, step).all(axis=(1, 3))
    best, found = 0, (0, 0, mask.shape[1], mask.shape[0])
    tall = np.zeros(columns, int)
    for bottom in range(rows):
        tall = np.where(cells[bottom], tall + 1, 0)
        open_at: list[tuple[int, int]] = []  # left edge, height: heights rise
        for right, height in enumerate([*tall.tolist(), 0]):
            left = right
            while open_at and open_at[-1][1] >= height:
                left, high = open_at.pop()
                if high * (right - left) > best:
                    best = high * (right - left)
                    found = (left * step, (bottom + 1 - high) * step, right * step, (bottom + 1) * step)
            open_at.append((left, height))
    return found


def encoded(picture: Any, mask: Any, options: dict[str, Any]) -> bytes:
    """The file's bytes; PNG and TIFF have what is empty transparent."""
    import numpy as np

    cv2 = library("cv2", extra="survey")
    how: list[int] = []
    if options["format"] == "jpg":
        how = [cv2.IMWRITE_JPEG_QUALITY, options["quality"]]
    elif not mask.all():
        picture = np.dstack([picture, np.where(mask, 255, 0).astype(np.uint8)])
    if options["format"] == "tif":
        how = [cv2.IMWRITE_TIFF_COMPRESSION, 8]  # deflate
    good, data = cv2.imencode(f".{options['format']}", np.ascontiguousarray(picture), how)
    if not good:
        raise BadSurvey(f"A picture of {picture.shape[1]} x {picture.shape[0]} pixels cannot be written as {options['format']}.")
    return bytes(data)
