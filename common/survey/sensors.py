"""Sizes of sensors, for photos whose EXIF tells the focal length in millimetres only, or rounds its 35 mm equivalent.

Nominal sizes, as commonly published and not looked up one by one: an entry may be a percent off. Calibration says how far it went from
what this gave.
"""

from __future__ import annotations

_SMALL = (6.317, 4.738)
"""1/2.3 inch of DJI, 1.58 micrometres a pixel"""
_COMPACT = (6.17, 4.55)
_ONE_INCH = (13.2, 8.8)
_FOUR_THIRDS = (17.3, 13.0)
_FULL = (35.9, 24.0)

SENSORS: dict[str, tuple[float, float]] = {
    **dict.fromkeys(
        ("dji fc300c", "dji fc300s", "dji fc300se", "dji fc300x", "dji fc300xw", "dji fc330", "dji fc350", "dji fc220"), _SMALL
    ),
    **dict.fromkeys(("dji fc6310", "dji fc6310s", "dji fc6310r", "dji fc6510", "hasselblad l1d-20c", "dji ep800"), _ONE_INCH),
    **dict.fromkeys(("dji fc550", "dji fc550raw", "dji fc6520"), _FOUR_THIRDS),
    **dict.fromkeys(("hasselblad l2d-20c", "dji m3e", "dji m3m"), (17.4, 13.0)),
    "dji fc3170": (6.4, 4.8),
    "dji zenmusep1": _FULL,
    "sensefly s.o.d.a.": (12.75, 8.5),
    **dict.fromkeys(("canon powershot sx260 hs", "canon powershot sx280 hs", "canon powershot sx230 hs"), _COMPACT),
    **dict.fromkeys(("canon powershot s100", "canon powershot s110"), (7.44, 5.58)),
    **dict.fromkeys(("canon eos 5d mark ii", "canon eos 5d mark iii", "canon eos 6d"), (36.0, 24.0)),
    **dict.fromkeys(("sony dsc-rx100", "sony dsc-rx100m2", "sony dsc-rx100m3"), _ONE_INCH),
    **dict.fromkeys(("sony ilce-5000", "sony ilce-5100", "sony ilce-6000", "sony ilce-6100"), (23.5, 15.6)),
    **dict.fromkeys(("sony ilce-7r", "sony ilce-7rm2", "sony ilce-7rm3", "sony ilce-7rm4", "sony dsc-rx1rm2"), _FULL),
    "sony ilce-qx1": (23.2, 15.4),
    "nikon d3200": (23.2, 15.4),
    "nikon d800": _FULL,
    "ricoh gr": (23.7, 15.7),
    "ricoh gr ii": (23.7, 15.7),
}
"""Maker and model as ``camera_name`` writes them -> width and height in millimetres of all of the sensor."""


def camera_name(maker: str, model: str) -> str:
    """``dji fc300s``: the maker's first word, once, then the model."""
    maker, model = (" ".join(word.split()).lower()[:60] for word in (maker, model))
    first = maker.split(" ")[0] if maker else ""
    if not model:
        return maker
    return model if not first or model.startswith(first) else f"{first} {model}"


def across(width: int, height: int, aspect: float) -> float:
    """How many of the photo's pixels all of the sensor would be wide, as cameras cut other formats out of its middle.

    A 16:9 photo of a 4:3 sensor has its whole width; a 4:3 photo of a 3:2 sensor its whole height, so that its width is cut. ``aspect``:
    of the sensor, wide to high. Photos that stand are turned first. Sizes of sensors are rounded, so 3 % is no other format.
    """
    longer, shorter = max(width, height), min(width, height)
    return float(longer) if longer / shorter >= aspect * 0.97 else shorter * aspect


def aspect_of(crop_factor: float) -> float:
    """Of a sensor by how much smaller than 35 mm film it is: 3:2 down to APS-C and for 1 inch, 4:3 for Micro Four Thirds and small ones."""
    return 1.5 if crop_factor < 1.8 or 2.55 <= crop_factor <= 2.85 else 4 / 3
