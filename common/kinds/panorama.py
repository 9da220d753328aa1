"""The kind ``panorama``: overlapping pictures become one, by OpenCV. Each folder with pictures makes one, and each is a job of its own.

Stages: ``pictures`` decodes all of them, a few in each job, so that a broken one is found before the long work; ``panoramas`` joins
those of a folder (common/survey/panorama.py); ``publish`` hands on what came and what there is to say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from ..errors import OutputRejected, StitchFailed, TaskFileError
from ..model import FarmShape, Needs, Region, TaskSpec
from ..survey.panorama import REPORT
from ..survey.panorama_read import LOOKS, Look
from ..survey.seal import NAME as MADE
from ..survey.seal import listing
from .kind import Examined, Folder, Kind, Piece, Stage
from .options import normalise
from .panorama_options import OPTIONS
from .survey.notes import notes_of, report_of
from .survey.stage import PROGRAM, SurveyStage, complete, expect

PICTURES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp")
MOST = 500
"""Pictures of one panorama: each is compared with each."""
PER_JOB = 16


def groups(files: Folder, name: str) -> dict[str, tuple[str, ...]]:
    """Panorama -> its pictures, sorted: those at the top make one that is called ``name``, those of a folder one that is called like it."""
    found: dict[str, list[str]] = {}
    for path in files.names():
        if path.lower().endswith(PICTURES) and not path.startswith("stages/"):
            folder = PurePosixPath(path).parent.as_posix()
            found.setdefault(name if folder == "." else folder, []).append(path)
    return {group: tuple(sorted(paths)) for group, paths in sorted(found.items())}


class Pictures(SurveyStage):
    name = "pictures"
    job = "panorama_read"

    def split(self, task: TaskSpec, files: Folder, farm: FarmShape) -> Iterable[Region]:
        names = sorted(path for paths in groups(files, task.name).values() for path in paths)
        each = max(1, min(PER_JOB, len(names) // (4 * farm.slots)))
        for number, start in enumerate(range(0, len(names), each)):
            part = names[start : start + each]
            yield Region(name=f"look{number:05d}", data={"pictures": part}, needs=tuple(part))

    def verify(self, task: TaskSpec, region: Region, outputs: Folder) -> None:
        expect(outputs, (LOOKS, MADE), region)
        check_whole(region, outputs)
        if [look.name for look in _looks(region, outputs)] != region.data["pictures"]:
            raise OutputRejected(f"Job {region.name}: it looked at other pictures.")

    def stitch(self, task: TaskSpec, files: Folder, pieces: Iterator[Piece], out: Path, progress: Callable[[float], None]) -> None:
        looks, came = [], []
        for piece in pieces:
            came.append(piece.region.name)
            looks += _looks(piece.region, piece.files)
        wanted = sorted(path for paths in groups(files, task.name).values() for path in paths)
        if [look.name for look in looks] != wanted:
            complete([f"look{number:05d}" for number in range(len(came) + 1)], came)
        use, notes = usable(groups(files, task.name), {look.name: look for look in looks}, task.options["unplaced"])
        (out / "report.json").write_bytes(msgspec.json.encode({"groups": use, "notes": notes}))


def usable(found: Mapping[str, tuple[str, ...]], looks: Mapping[str, Look], unplaced: str) -> tuple[dict[str, list[str]], list[str]]:
    """The pictures of each panorama that can be used, and a sentence for each that cannot. Raises StitchFailed where they are too few."""
    use: dict[str, list[str]] = {}
    notes = []
    for group, names in found.items():
        seen: dict[str, str] = {}
        for name in names:
            look = looks[name]
            if look.wrong:
                notes.append(f"{name} is left out: {look.wrong}.")
            elif look.digest in seen:
                notes.append(f"{name} is left out: it is the same picture as {seen[look.digest]}.")
            else:
                seen[look.digest] = name
        if len(seen) < 2:
            sentence = f"{group} has {len(seen) or 'no'} picture{'' if len(seen) == 1 else 's'} of use; a panorama needs 2"
            if unplaced == "fail" or len(found) == 1:
                raise StitchFailed(f"{sentence}. {' '.join(notes)}")
            notes.append(f"{sentence}, so that it is not made.")
        else:
            use[group] = list(seen.values())
    if not use:
        raise StitchFailed(f"No panorama can be made. {' '.join(notes)}")
    return use, notes


class Panoramas(SurveyStage):
    name = "panoramas"
    job = "panorama"
    options = tuple(option.name for option in OPTIONS)

    def split(self, task: TaskSpec, files: Folder, farm: FarmShape) -> Iterable[Region]:
        found = report_of(files, "pictures")["groups"]
        for number, (group, names) in enumerate(found.items()):
            data = {
                "panorama": group, "pictures": names, "file": f"{group}.{task.options['format']}", "alone": len(found) == 1,
            }  # fmt: skip
            yield Region(name=f"panorama{number:04d}", data=data, needs=tuple(names), weight=float(len(names)))

    def notes(self, task: TaskSpec, files: Folder) -> tuple[str, ...]:
        return notes_of(files, "pictures")

    def verify(self, task: TaskSpec, region: Region, outputs: Folder) -> None:
        report = _report(region, outputs)
        expect(outputs, [REPORT, MADE, *([region.data["file"]] if "file" in report else [])], region)
        check_whole(region, outputs)
        if "file" not in report:
            if "failed" not in report:
                raise OutputRejected(f"Job {region.name}: neither a panorama nor a reason came.")
            return
        _check_picture(region, outputs.path(region.data["file"]), report)

    def stitch(self, task: TaskSpec, files: Folder, pieces: Iterator[Piece], out: Path, progress: Callable[[float], None]) -> None:
        reports, notes, came = [], list(notes_of(files, "pictures")), []
        for piece in pieces:
            came.append(piece.region.name)
            report = _report(piece.region, piece.files)
            reports.append(report)
            if "file" in report:
                to = out / "assets" / report["file"]
                to.parent.mkdir(parents=True, exist_ok=True)
                to.write_bytes(piece.files.read(report["file"]))
            notes += sentences(report)
        complete([f"panorama{number:04d}" for number in range(len(report_of(files, "pictures")["groups"]))], came)
        if not any("file" in report for report in reports):
            raise StitchFailed(f"No panorama could be made. {' '.join(notes)}")
        (out / "report.json").write_bytes(msgspec.json.encode({"panoramas": reports, "notes": notes}))


class Publish(SurveyStage):
    name = "publish"
    job = ""

    def split(self, task: TaskSpec, files: Folder, farm: FarmShape) -> Iterable[Region]:
        return ()

    def notes(self, task: TaskSpec, files: Folder) -> tuple[str, ...]:
        return tuple(note for note in notes_of(files, "panoramas") if note not in notes_of(files, "pictures"))

    def verify(self, task: TaskSpec, region: Region, outputs: Folder) -> None:
        raise OutputRejected(f"There is no job {region.name}.")

    def stitch(self, task: TaskSpec, files: Folder, pieces: Iterator[Piece], out: Path, progress: Callable[[float], None]) -> None:
        report = report_of(files, "panoramas")
        for one in report["panoramas"]:
            if "file" in one:
                to = out / one["file"]
                to.parent.mkdir(parents=True, exist_ok=True)
                to.write_bytes(files.read(f"stages/panoramas/assets/{one['file']}"))
        (out / "report.json").write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")


class Panorama(Kind):
    """See the head of this file."""

    name = "panorama"
    version = 1
    allow = "render"
    options = OPTIONS

    def recognise(self, files: Folder) -> bool:
        return False

    def examine(self, spec: TaskSpec, files: Folder) -> Examined:
        options = normalise("panorama", OPTIONS, spec.options)
        found = groups(files, spec.name)
        if not found:
            raise TaskFileError(f"There is no picture ({', '.join(PICTURES)}) in the folder.", key="kind")
        for group, names in found.items():
            if len(names) < 2:
                raise TaskFileError(f"{names[0]} is alone in its folder; a panorama needs 2 pictures and more.", key="kind")
            if len(names) > MOST:
                raise TaskFileError(f"{group} has {len(names)} pictures; a panorama can have {MOST}. Put parts into folders.", key="kind")
        return Examined(spec=msgspec.structs.replace(spec, options=options))

    def needs(self, spec: TaskSpec) -> Needs:
        return msgspec.structs.replace(spec.needs, program=spec.needs.program or PROGRAM)

    def stages(self, task: TaskSpec) -> tuple[Stage, ...]:
        return (Pictures(), Panoramas(), Publish())


def sentences(report: Mapping[str, Any]) -> list[str]:
    """What is to be told of a panorama."""
    if "failed" in report:
        return [f"{report['failed']} It is not made."]
    left = report["left_out"]
    if not left:
        return []
    named = ", ".join(left[:5]) + (" …" if len(left) > 5 else "")
    many = "fits" if len(left) == 1 else "fit"
    return [f"{report['file']}: {named} {many} to none of the others and {'is' if len(left) == 1 else 'are'} left out."]


def check_whole(region: Region, outputs: Folder) -> None:
    """Raise OutputRejected where the outputs are not those of which the job made a list."""
    made = listing((name, outputs.path(name)) for name in sorted(outputs.names()) if name != MADE)
    if made != outputs.read(MADE):
        raise OutputRejected(f"Job {region.name}: what came is not what was made; it was damaged on its way.")


def _looks(region: Region, outputs: Folder) -> list[Look]:
    try:
        return msgspec.json.decode(outputs.read(LOOKS), type=list[Look])
    except msgspec.DecodeError as error:
        raise OutputRejected(f"Job {region.name}: {LOOKS}: {error}.") from error


def _report(region: Region, outputs: Folder) -> dict[str, Any]:
    if REPORT not in outputs.names():
        raise OutputRejected(f"Job {region.name}: {REPORT} is missing.")
    try:
        report: dict[str, Any] = msgspec.json.decode(outputs.read(REPORT), type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise OutputRejected(f"Job {region.name}: {REPORT}: {error}.") from error
    if report.get("pictures") != region.data["pictures"]:
        raise OutputRejected(f"Job {region.name}: {REPORT} is of other pictures.")
    return report


def _check_picture(region: Region, path: Path, report: Mapping[str, Any]) -> None:
    """Its head alone: its bytes are those of the digest, and a panorama may be too large for the memory here."""
    from PIL import Image, UnidentifiedImageError

    Image.MAX_IMAGE_PIXELS = None
    try:
        with Image.open(path) as picture:
            size = picture.size
    except (OSError, UnidentifiedImageError) as error:
        raise OutputRejected(f"Job {region.name}: {report['file']} is no picture ({error}).") from error
    if size != (report["width"], report["height"]):
        raise OutputRejected(f"Job {region.name}: {report['file']} has {size[0]} x {size[1]} pixels.")


PANORAMA = Panorama()
