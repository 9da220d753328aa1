"""The report as one HTML page that stands alone: numbers, pictures, warnings, for a customer to read on a desk, a phone or paper.

All words that come from the task (names of files, options, sentences of libraries) are escaped.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from .picture import OVERLAP
from .report_style import STYLE

AXES = ("east", "north", "height")


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """What the page shows beside numbers."""

    jpegs: Mapping[str, bytes] = field(default_factory=dict)
    """orthophoto, dsm, map, object0 …"""
    heights: tuple[float, float] | None = None
    """Of the lowest and the highest colour of ``dsm``, metres"""


def page(data: Mapping[str, Any], pictures: Pictures) -> str:
    """``data``: of ``report_data.gather``."""
    summary, stages = data["summary"], data["stages"]
    adjusted = stages.get("adjustment", {})
    parts = [
        _head(str(data["title"]), summary),
        _notes(data["notes"]),
        _numbers(summary, stages),
        _shown(pictures),
        _map(pictures, summary),
        _gps(adjusted.get("gps")),
        _control(adjusted.get("control")),
        _cameras(adjusted.get("cameras") or {}),
        _blocks(adjusted.get("blocks") or {}),
        _seams(stages.get("ortho", {})),
        _left_out(summary),
        _details("What each stage measured", "".join(_stage(name, report) for name, report in stages.items())),
        _details("Options", _table(("option", "value"), ((name, _value(value)) for name, value in data["options"].items()))),
        _details("Libraries", _table(("library", "version"), data["libraries"].items())),
    ]
    title = escape(str(data["title"]))
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}: survey report</title><style>{STYLE}</style></head>\n<body><main>\n{''.join(part for part in parts if part)}"
        "<footer>Made by ClusterRay.</footer>\n</main></body></html>\n"
    )


def _head(title: str, summary: Mapping[str, Any]) -> str:
    where = f"Coordinates: {summary['crs']}" if summary["georeferenced"] else "Without GPS: scale and place are not known"
    by = {"gps": "placed by the photos' GPS", "gcp": "placed by ground control points", "level": "levelled, as the GPS is too coarse"}
    words = [f"{summary['photos_used']} of {summary['photos_given']} photos", where, by.get(summary["placed_by"], "")]
    return f"<header><p>Survey report</p><h1>{escape(title)}</h1><p>{escape(' · '.join(word for word in words if word))}</p></header>\n"


def _notes(notes: Sequence[str]) -> str:
    if not notes:
        return '<section class="good"><p>All photos and stages went through without anything to report.</p></section>\n'
    items = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return f'<section class="notes"><h2>To know before you use the results</h2><ul>{items}</ul></section>\n'


def _numbers(summary: Mapping[str, Any], stages: Mapping[str, Any]) -> str:
    ortho, surface = stages.get("ortho", {}), stages.get("surface", {})
    known = summary["georeferenced"]
    gps, control = (stages.get("adjustment", {}).get(name) or {} for name in ("gps", "control"))
    checks = (control.get("checkpoints") or {}).get("rmse")
    tiles = [
        ("photos used", f"{summary['photos_used']} of {summary['photos_given']}"),
        ("area", _area(summary.get("area"))),
        ("ground sampling distance", _centimetres(summary["gsd"]) if known else ""),
        ("orthophoto", _centimetres(ortho.get("resolution"), "per pixel")),
        ("surface model", _centimetres(summary.get("dem_resolution"), "per cell")),
        ("flying height", _metres(summary.get("flying_height"), 0)),
        ("reprojection error", _unit(summary["reprojection"], "px", 2)),
        ("photos per point", _unit(summary["track"], "", 1)),
        ("GPS, RMSE east / north / height", _triple(gps.get("rmse"))),
        ("checkpoints, RMSE east / north / height", _triple(checks)),
        ("points of the cloud", _count(surface.get("points"))),
    ]
    cells = "".join(f"<div><b>{escape(value)}</b><span>{escape(name)}</span></div>" for name, value in tiles if value)
    return f'<section><div class="numbers">{cells}</div></section>\n'


def _shown(pictures: Pictures) -> str:
    found = []
    if "orthophoto" in pictures.jpegs:
        found.append(_figure(pictures.jpegs["orthophoto"], "Orthophoto"))
    if "dsm" in pictures.jpegs:
        low, high = pictures.heights or (0.0, 0.0)
        bar = f'<span class="bar"><i>{low:.1f} m</i><em></em><i>{high:.1f} m</i></span>'
        found.append(_figure(pictures.jpegs["dsm"], "Surface model, lit from the north-west", bar))
    objects = [name for name in sorted(pictures.jpegs) if name.startswith("object")]
    found += [_figure(pictures.jpegs[name], "Points, seen from one of the photos") for name in objects]
    return f'<section class="pictures">{"".join(found)}</section>\n' if found else ""


def _map(pictures: Pictures, summary: Mapping[str, Any]) -> str:
    if "map" not in pictures.jpegs:
        return ""
    words = ("1 photo", "2", "3", "4", "5 and more")
    keys = "".join(
        f'<li><i style="background:rgb({red},{green},{blue})"></i>{word}</li>'
        for (red, green, blue), word in zip(OVERLAP, words, strict=True)
    )
    caption = "Where the photos were taken, and how many of them show a place"
    figure = _figure(pictures.jpegs["map"], caption, f'<ul class="key">{keys}</ul>')
    return f"<section><h2>Photos and overlap</h2>{figure}</section>\n"


def _gps(gps: Mapping[str, Any] | None) -> str:
    if not gps or not gps.get("rmse"):
        return ""
    accuracy = gps.get("accuracy") or (None, None)
    rows = [
        (axis, _metres(error, 3), _metres(accuracy[0] if axis != "height" else accuracy[1], 3))
        for axis, error in zip(AXES, gps["rmse"], strict=False)
    ]
    wrong = "".join(f"<li>{escape(str(one['photo']))}: {_metres(one['distance'], 1)} away</li>" for one in gps.get("wrong", ()))
    more = f"<p>GPS in the wrong place, not used:</p><ul>{wrong}</ul>" if wrong else ""
    text = f"<p>How far the cameras of the adjusted model are from what {gps['photos']} photos say of themselves.</p>"
    return f"<section><h2>GPS</h2>{text}{_table(('axis', 'RMSE', 'what the GPS itself claims'), rows)}{more}</section>\n"


def _control(control: Mapping[str, Any] | None) -> str:
    if not control:
        return ""
    parts = []
    for key, words in (("used", "Control points (used)"), ("checkpoints", "Checkpoints (measured only)")):
        told = control.get(key) or {}
        points = told.get("points") or ()
        if not points:
            continue
        rows = [
            (str(one["name"]), *(f"{value:+.3f}" for value in one["error"]), str(one["marks"]), f"{one['pixels']:.2f}") for one in points
        ]
        if told.get("rmse"):
            rows.append(("RMSE", *(f"{value:.3f}" for value in told["rmse"]), "", ""))
        parts.append(f"<h3>{words}</h3>{_table(('point', *(f'{axis}, m' for axis in AXES), 'photos', 'worst, px'), rows)}")
    out = "".join(f"<li>{escape(str(one['name']))}: {escape(str(one['why']))}</li>" for one in control.get("left_out", ()))
    parts.append(f"<h3>Left out</h3><ul>{out}</ul>" if out else "")
    return f"<section><h2>Ground control, {escape(str(control.get('file', '')))}</h2>{''.join(parts)}</section>\n"


def _cameras(cameras: Mapping[str, Mapping[str, Any]]) -> str:
    rows = [
        (name, _unit(one.get("focal"), "px", 1), _unit(one.get("prior") or None, "px", 1), "" if one.get("change") is None else
         f"{one['change']:+.2f} %", "kept as it was" if one.get("held") else "calibrated")
        for name, one in cameras.items()
    ]  # fmt: skip
    head = ("camera", "focal length", "by EXIF", "difference", "")
    return f"<section><h2>Cameras</h2>{_table(head, rows)}</section>\n" if rows else ""


def _blocks(blocks: Mapping[str, Any]) -> str:
    neighbours = blocks.get("neighbours") or ()
    if len(blocks.get("submodels") or ()) < 2:
        return ""
    models = _table(
        ("submodel", "photos", "placed", "points"),
        [(str(one["name"]), *(_count(one[key]) for key in ("photos", "registered", "points"))) for one in blocks["submodels"]],
    )
    rows = []
    for one in neighbours:
        before, after = one["before"]["ground"], one["after"]["ground"]
        rows.append((" – ".join(str(name) for name in one["blocks"]), str(one["photos"]), _spread(before), _spread(after)))
    head = ("neighbours", "shared photos", "ground before, median / NMAD", "after")
    text = "<p>How far the ground differs between neighbouring submodels, before and after all were adjusted as one.</p>"
    return f"<section><h2>Submodels</h2>{models}{text}{_table(head, rows) if rows else ''}</section>\n"


def _seams(ortho: Mapping[str, Any]) -> str:
    rows = []
    for key, words in (("seams", "all seams"), ("borders", "where submodels meet")):
        told = ortho.get(key)
        if told:
            rows.append(
                (words, str(told["places"]), f"{told['shift_median']:.2f} / {told['shift_p90']:.2f} px",
                 f"{told['step_median']:.1f} / {told['step_p90']:.1f} of 255")
            )  # fmt: skip
    if not rows:
        return ""
    text = "<p>Where one photo ends and the next begins: how far what they show is shifted, and how different their brightness is.</p>"
    head = ("", "places compared", "shift, median / 90 %", "brightness, median / 90 %")
    return f"<section><h2>Seams of the orthophoto</h2>{text}{_table(head, rows)}</section>\n"


def _left_out(summary: Mapping[str, Any]) -> str:
    rows = [(str(one["name"]), str(one["why"])) for one in summary["left_out"]]
    rows += [(str(name), "It could not be placed: too little of it is found in other photos.") for name in summary["not_placed"]]
    return f"<section><h2>Photos that were not used</h2>{_table(('file', 'why'), rows)}</section>\n" if rows else ""


def _stage(name: str, report: Mapping[str, Any]) -> str:
    rows = [(key.replace("_", " "), _value(value)) for key, value in report.items() if isinstance(value, int | float | str)]
    return f"<h3>{escape(name)}</h3>{_table(('', ''), rows)}" if rows else ""


def _details(title: str, inside: str) -> str:
    return f"<details><summary>{escape(title)}</summary>{inside}</details>\n" if inside else ""


def _figure(data: bytes, caption: str, more: str = "") -> str:
    source = base64.b64encode(data).decode()
    words = escape(caption)
    return f'<figure><img alt="{words}" src="data:image/jpeg;base64,{source}"><figcaption>{words}{more}</figcaption></figure>'


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Cells are escaped."""
    top = f"<tr>{''.join(f'<th>{escape(cell)}</th>' for cell in head)}</tr>" if any(head) else ""
    body = "".join(f"<tr>{''.join(f'<td>{escape(str(cell))}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="wide"><table>{top}{body}</table></div>'


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1e5 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _unit(value: Any, unit: str, digits: int) -> str:
    return "" if value is None else f"{float(value):.{digits}f} {unit}".strip()


def _metres(value: Any, digits: int) -> str:
    return _unit(value, "m", digits)


def _centimetres(value: Any, more: str = "") -> str:
    return "" if not value else f"{100 * float(value):.2f} cm {more}".strip()


def _triple(values: Sequence[float] | None) -> str:
    return "" if not values else " / ".join(f"{value:.2f}" for value in values) + " m"


def _area(square: Any) -> str:
    return "" if not square else f"{square / 1e4:.2f} ha" if square < 1e6 else f"{square / 1e6:.2f} km²"


def _count(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else ""


def _spread(told: Mapping[str, Any]) -> str:
    return "–" if told.get("median") is None else f"{told['median']:+.3f} / {told['nmad']:.3f} m"
