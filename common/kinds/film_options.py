"""What a submitter says of a film, ``[animation]`` in task.toml: its option, and the checked values as a frozen Film.

Every fault is one TaskFileError with the key of the table (``animation.fps``), so that taskfile.py finds the line.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

from ..errors import TaskFileError
from .film import CODECS
from .keyframes import Curves, parse_keyframes
from .kind import Folder, Option
from .options import nearest, shown
from .sequence import parse_frames, shown_frames

FPS = 25
_SAME = {"mp4": "h264", "x264": "h264", "avc": "h264", "webm": "vp9", "mov": "prores"}
"""Words that people use for a codec."""
_NUMBER = re.compile(r"(\d{1,9})\.[A-Za-z]+$")
_SOUNDS = (".wav", ".mp3", ".flac", ".ogg", ".opus", ".m4a", ".aac", ".aiff")

ANIMATION = Option(
    name="animation",
    type="table",
    help="the film: its frames, how they are cut into jobs and what is made of them (docs/films.md)",
    options=(
        Option(name="frames", type="value", required=True, help='which frames: "1-240", "1-100x5", "1,5,9-12", [1, 2, 3]'),
        Option(name="fps", type="value", default=FPS, help='frames per second: 25, 23.976, "24000/1001"'),
        Option(name="chunk", type="value", default="auto", help='frames per job; "auto" measures a few and aims at a minute per job'),
        Option(name="first_pass", type="value", default="auto", help='every so many frames first, for an early look; 0: none; "auto"'),
        Option(name="existing", type="str", default="", help="a folder of the task with frames that are not rendered again"),
        Option(name="codec", type="str", default="h264", help="h264 (.mp4), vp9 (.webm), prores (.mov), none (frames alone)"),
        Option(name="crf", type="value", help="quality of h264 (0 to 51, 18) and vp9 (0 to 63, 24); lower is better and larger"),
        Option(name="preset", type="str", default="", help="h264: ultrafast to veryslow; vp9: 0 (slow) to 5; prores: proxy to hq"),
        Option(name="audio", type="str", default="", help="a sound file of the task"),
        Option(name="audio_offset", type="float", default=0.0, help="seconds of film before it starts; negative: it starts inside"),
        Option(name="poster", type="value", help="number of the frame that becomes the poster; the middle one where it is not given"),
    ),
)


@dataclass(frozen=True, kw_only=True)
class Film:
    """``[animation]``, checked."""

    frames: tuple[int, ...]
    """Ascending, at least one."""
    fps: Fraction
    chunk: str | int
    """"auto", or frames per job."""
    first_pass: str | int
    """"auto", 0 for none, or every so many frames."""
    existing: str
    codec: str
    """A key of film.CODECS, or "none"."""
    crf: int | None
    """None: the codec's own, or it has none."""
    preset: str
    audio: str
    audio_offset: float
    poster: int

    @property
    def digits(self) -> int:
        """Of a frame's number in the names of assets."""
        return max(4, len(str(self.frames[-1])))


def film_of(options: Mapping[str, Any]) -> Film | None:
    """The film of a task's options, None for a still. Raises TaskFileError."""
    table = options.get("animation")
    if table is None:
        return None
    return _film(table)


def settle_film(options: dict[str, Any], files: Folder) -> list[str]:
    """Check ``options["animation"]`` and ``options["keyframes"]`` against the task's files, put the first into its usual words, in place.

    Both must have been through normalise(). Returns warnings. Raises TaskFileError.
    """
    table = options.get("animation")
    if table is None:
        if options.get("keyframes") is not None:
            raise TaskFileError('[keyframes] needs [animation] with frames = "1-240" or the like.', key="keyframes")
        return []
    film = _film(table)
    options["animation"] = table | {
        "frames": shown_frames(film.frames),
        "fps": str(film.fps),
        "existing": film.existing,
        "codec": film.codec,
        "crf": film.crf,
        "preset": film.preset,
        "audio": film.audio,
    }
    warnings: list[str] = []
    if film.existing:
        found, others = numbered(film.existing, files)
        if not found:
            sentence = f'The folder holds no numbered frames under "{film.existing}", such as frame_0001.png.'
            raise TaskFileError(sentence, key=_key("existing"))
        inside = set(film.frames)
        strange = [number for number in found if number not in inside]
        if strange:
            warnings.append(f"{film.existing} holds frames that are not of this film, such as {found[strange[0]]}; they are left out.")
        if others:
            warnings.append(f"{film.existing} holds files without a frame number, such as {others[0]}; they are left out.")
    if film.audio:
        _check_audio(film, files)
    curves_of(options)
    return warnings


def variables(options: Mapping[str, Any], frame: int) -> dict[str, float]:
    """The values of the keyframed variables at a frame; {} without keyframes. For many frames take curves_of()."""
    curves = curves_of(options)
    return curves.at(frame) if curves else {}


def curves_of(options: Mapping[str, Any]) -> Curves | None:
    """The curves of ``[keyframes]``, None where there are none. Raises TaskFileError."""
    table, film = options.get("keyframes"), film_of(options)
    return None if table is None or film is None else parse_keyframes(table, float(film.fps))


def frame_file(frame: int, suffix: str) -> str:
    """What a job calls a frame, below ``out``: ``000017.png``."""
    return f"{frame:06d}.{suffix}"


def numbered(folder: str, files: Folder) -> tuple[dict[int, str], list[str]]:
    """Files right below a folder of the task by the number that ends their name, ascending, and those without one.

    Raises TaskFileError where two have the same number.
    """
    found: dict[int, str] = {}
    others = []
    for name in files.names():
        if posixpath.dirname(name) != folder:
            continue
        match = _NUMBER.search(name)
        if match is None:
            others.append(name)
        elif int(match[1]) in found:
            raise TaskFileError(f"{found[int(match[1])]} and {name} are both frame {int(match[1])}; keep one.", key=_key("existing"))
        else:
            found[int(match[1])] = name
    return dict(sorted(found.items())), others


def exact_fps(value: Any) -> Fraction:
    """``25``, ``"24000/1001"``, and 23.976 or 29.97 as the fraction that they stand for. Raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError
    try:
        fps = Fraction(str(value).replace(" ", ""))
    except ZeroDivisionError:
        raise ValueError from None
    if not Fraction(1, 10) <= fps <= 1000:
        raise ValueError
    whole = round(fps * 1001 / 1000)
    broadcast = Fraction(whole * 1000, 1001)
    # 23.98 and 23.976 are 24000/1001, 29.97 is 30000/1001; 23.9 is itself
    if fps.denominator not in (1, 1001) and whole % 6 == 0 and abs(fps - broadcast) < Fraction(5, 1000):
        return broadcast
    return fps


def _film(table: Mapping[str, Any]) -> Film:
    codec = _codec(table)
    frames = _frames(table)
    audio = _path(table.get("audio") or "")
    if audio and codec == "none":
        raise TaskFileError('audio needs a film to go into, and codec = "none" makes none; take one of the two out.', key=_key("audio"))
    if not audio and table.get("audio_offset"):
        raise TaskFileError("audio_offset needs audio, the sound file that it shifts; give that, or take it out.", key=_key("audio_offset"))
    return Film(
        frames=frames,
        fps=_fps(table),
        chunk=_count(table, "chunk", "auto", 1),
        first_pass=_count(table, "first_pass", "auto", 0),
        existing=_path(table.get("existing") or ""),
        codec=codec,
        crf=_crf(table, codec),
        preset=_preset(table, codec),
        audio=audio,
        audio_offset=float(table.get("audio_offset") or 0.0),
        poster=_poster(table, frames),
    )


def _frames(table: Mapping[str, Any]) -> tuple[int, ...]:
    said = table.get("frames")
    try:
        return _parsed(said) if isinstance(said, str) else parse_frames(said)
    except ValueError as error:
        raise TaskFileError(f"frames {error}.", key=_key("frames")) from None


_parsed = lru_cache(16)(parse_frames)
"""A task of 100,000 frames is asked for them at every job."""


def _fps(table: Mapping[str, Any]) -> Fraction:
    value = table.get("fps", FPS)
    try:
        return exact_fps(value)
    except ValueError:
        sentence = f'fps must be frames per second from 0.1 to 1000, such as 25, 23.976 or "24000/1001", not {shown(value)}.'
        raise TaskFileError(sentence, key=_key("fps")) from None


def _count(table: Mapping[str, Any], name: str, default: str, least: int) -> str | int:
    value = table.get(name, default)
    if value == "auto":
        return "auto"
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise TaskFileError(f'{name} must be "auto" or a whole number from {least}, not {shown(value)}.', key=_key(name))
    return value


def _codec(table: Mapping[str, Any]) -> str:
    said = table.get("codec") or "h264"
    codec = _SAME.get(said.lower(), said.lower())
    if codec not in CODECS and codec != "none":
        raise TaskFileError(f"codec cannot be {shown(said)}; {nearest(said, (*CODECS, 'none'))}", key=_key("codec"))
    return codec


def _crf(table: Mapping[str, Any], codec: str) -> int | None:
    value = table.get("crf")
    if value is None:
        return None
    most = CODECS[codec].most_crf if codec in CODECS else 0
    if not most:
        way = 'its preset says how good it is ("proxy" to "hq")' if codec in CODECS else "there is no film to encode"
        raise TaskFileError(f'crf does not go with codec = "{codec}": {way}; take crf out.', key=_key("crf"))
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise TaskFileError(f"crf must be a whole number from 0 to {most} with {codec}, not {shown(value)}.", key=_key("crf"))
    return value


def _preset(table: Mapping[str, Any], codec: str) -> str:
    said = str(table.get("preset") or "")
    known = CODECS[codec].presets if codec in CODECS else ()
    if said and said not in known:
        way = f"known are {', '.join(known)}." if known else "there is no film to encode; take it out."
        raise TaskFileError(f'preset cannot be {shown(said)} with codec = "{codec}"; {way}', key=_key("preset"))
    return said


def _poster(table: Mapping[str, Any], frames: tuple[int, ...]) -> int:
    value = table.get("poster")
    if value is None:
        return frames[len(frames) // 2]
    if isinstance(value, bool) or not isinstance(value, int) or value not in frames:
        raise TaskFileError(f"poster must be the number of a frame of the film, not {shown(value)}.", key=_key("poster"))
    return value


def _check_audio(film: Film, files: Folder) -> None:
    """Raise TaskFileError where the track is not there, is no sound, or would not be heard."""
    from .film_audio import length_of

    if film.audio not in files.names():
        sounds = [name for name in files.names() if name.lower().endswith(_SOUNDS)]
        near = nearest(film.audio, sounds) if sounds else "there is no sound file in it."
        near = near.replace("known are", "its sound files are:", 1) if near.startswith("known") else near
        raise TaskFileError(f'There is no file "{film.audio}" in the folder; {near}', key=_key("audio"))
    if film.audio_offset >= len(film.frames) / film.fps:
        seconds = float(len(film.frames) / film.fps)
        sentence = f"The film is over after {seconds:.2f} s, before audio_offset = {film.audio_offset:g}."
        raise TaskFileError(sentence, key=_key("audio_offset"))
    try:
        length = length_of(files.path(film.audio))
    except ValueError as error:
        raise TaskFileError(f"{film.audio} cannot be used as audio: {error}.", key=_key("audio")) from None
    if length is not None and -film.audio_offset >= length:
        sentence = f"{film.audio} is over after {length:.2f} s, before audio_offset = {film.audio_offset:g} begins in it."
        raise TaskFileError(sentence, key=_key("audio_offset"))


def _path(said: str) -> str:
    return posixpath.normpath(said) if said else ""


def _key(name: str) -> str:
    return f"animation.{name}"
