"""The clock of a POV-Ray film: which frames there are, what ``clock`` each has, and POV-Ray's own words for both.

Every job is given the same first and last frame and the same clocks as one run of the whole film, and only other subset frames
(``+SF``, ``+EF``), so that ``clock``, ``clock_delta``, ``initial_frame`` and ``final_frame`` are those of that run to the last bit.
POV-Ray keeps the clock in single precision, and with ``+KC`` a scene reads a final_frame one higher than was asked for: both come
out right only if POV-Ray itself does the arithmetic.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import TaskFileError
from .film_options import film_of
from .keyframes import number
from .povray_options import Settled
from .povray_switches import Said
from .sequence import HIGHEST, parse_frames, shown_frames


@dataclass(frozen=True, kw_only=True)
class Clock:
    """``initial`` at frame ``first``, ``final`` at frame ``last``; ``cyclic``: one frame after it."""

    first: int
    last: int
    initial: float
    final: float
    cyclic: bool

    def words(self, start: int, end: int) -> list[str]:
        """Switches for the frames from ``start`` to ``end`` of this film."""
        # of a film of one frame POV-Ray divides by 0, and clock is not a number; with a second one it is initial
        last = self.last + 1 if self.last == self.first and not self.cyclic else self.last
        words = [f"+KFI{self.first}", f"+KFF{last}", f"Initial_Clock={number(self.initial)}", f"Final_Clock={number(self.final)}"]
        return [*words, *["+KC"] * self.cyclic, f"+SF{start}", f"+EF{end}"]


def clock_of(options: Mapping[str, Any]) -> Clock:
    """The clock of an examined film."""
    film = film_of(options)
    assert film is not None
    frames = parse_frames(options["clock_frames"]) if options["clock_frames"] else film.frames
    return Clock(first=frames[0], last=frames[-1], initial=options["initial_clock"], final=options["final_clock"], cyclic=options["cyclic"])


def read_film(merged: dict[str, Any], settled: Settled) -> None:
    """Frames that were named in POV-Ray's words become ``animation`` and ``clock_frames``, in place. Raises TaskFileError."""
    said = settled.film
    last_word = said.get("final_frame") or said.get("initial_frame")
    if last_word is None:
        settled.warnings += [word.note("without Final_Frame there is no film, so this is left out.") for word in said.values()]
        _stepped(merged)
        return
    first = _whole(said["initial_frame"]) if "initial_frame" in said else 1
    last = max(first, _whole(said["final_frame"]) if "final_frame" in said else 1)
    start = _subset(said.get("subset_start_frame"), first, last, first)
    end = _subset(said.get("subset_end_frame"), first, last, last)
    if end < start:
        raise said.get("subset_end_frame", last_word).fault(f"the frames end with {end}, before they begin with {start}.")
    table = merged.get("animation")
    if table is not None and not isinstance(table, Mapping):
        return  # normalise() says what is wrong with it
    given = (table or {}).get("frames")
    if given is None:
        merged["animation"] = {**(table or {}), "frames": shown_frames(range(start, end + 1))}
    else:
        _agree(given, range(start, end + 1), said, last_word)
    if merged.get("clock_frames"):
        if _span(merged["clock_frames"]) != (first, last):
            raise last_word.fault(f'the option clock_frames says "{merged["clock_frames"]}"; keep one of the two.')
    else:
        merged["clock_frames"] = f"{first}-{last}" if last > first else f"{first}"


def settle_clock(options: dict[str, Any]) -> list[str]:
    """Check what a film's clock needs, after settle_film(); returns warnings. Raises TaskFileError."""
    film = film_of(options)
    if film is None:
        named = [name for name in ("initial_clock", "final_clock", "cyclic", "clock_frames") if options[name] != _PLAIN[name]]
        return [f"{', '.join(named)} mean something in a film only; a still takes +K, and a film [animation]."] if named else []
    try:
        first, last = _span(options["clock_frames"]) if options["clock_frames"] else (film.frames[0], film.frames[-1])
    except ValueError as error:
        raise TaskFileError(f"clock_frames {error}.", key="options.clock_frames") from None
    if film.frames[0] < first:
        sentence = f"clock_frames begins with frame {first}, and frame {film.frames[0]} comes before it, which POV-Ray cannot render."
        raise TaskFileError(sentence, key="options.clock_frames")
    warnings = []
    if film.frames[-1] > last:
        warnings.append(f"Frames after {last}, where clock_frames ends, have a clock beyond final_clock, as in POV-Ray.")
    if first == last and not options["cyclic"]:
        warnings.append(
            f"A film of one frame has no clock in POV-Ray; frame {first} gets {number(options['initial_clock'])}. "
            'clock_frames = "1-240" gives it the clock that it has in a longer film.'
        )
    if any(word.startswith("Clock=") for word in options["args"]):
        options["args"] = [word for word in options["args"] if not word.startswith("Clock=")]
        warnings.append("Clock (+K) is left out: POV-Ray gives a film's frames their clock from initial_clock and final_clock.")
    return warnings


_PLAIN = {"initial_clock": 0.0, "final_clock": 1.0, "cyclic": False, "clock_frames": ""}


def _span(text: Any) -> tuple[int, int]:
    """Raises ValueError with a half-sentence."""
    frames = parse_frames(text)
    return frames[0], frames[-1]


def _stepped(merged: dict[str, Any]) -> None:
    """``frames = "1-100x5"`` ends with frame 96, and its clock with frame 100: frame 6 has the clock that it has among all of 1 to 100."""
    table = merged.get("animation")
    given = table.get("frames") if isinstance(table, Mapping) else None
    words = given if isinstance(given, list | tuple) else [given]
    ends = [int(end) for word in words if isinstance(word, str) for end in re.findall(r"-\s*([0-9]{1,6})\s*x", word)]
    try:
        frames = parse_frames(given)
    except ValueError:
        return  # settle_film() says what is wrong with it
    if ends and max(ends) > frames[-1] and not merged.get("clock_frames"):
        merged["clock_frames"] = f"{frames[0]}-{max(ends)}"


def _agree(given: object, words: Sequence[int], said: Mapping[str, Said], last_word: Said) -> None:
    """``frames`` of [animation] may pick some of the film that POV-Ray's words describe. Raises TaskFileError."""
    try:
        frames = parse_frames(given)
    except ValueError:
        return  # settle_film() says what is wrong with it
    subset = said.get("subset_start_frame") or said.get("subset_end_frame")
    if subset is not None and frames != tuple(words):
        raise subset.fault(f"[animation] says frames = {shown_frames(frames)}, and this {shown_frames(words)}; keep one of the two.")
    if frames[0] < words[0] or frames[-1] > words[-1]:
        raise last_word.fault(f"[animation] says frames = {shown_frames(frames)}, and this {shown_frames(words)}; keep one of the two.")


def _whole(said: Said) -> int:
    try:
        found = int(said.value)
    except ValueError:
        found = -1
    if not 0 <= found <= HIGHEST or not said.value.isascii():
        raise said.fault(f"this takes a whole number from 0 to {HIGHEST}.")
    return found


def _subset(said: Said | None, first: int, last: int, default: int) -> int:
    """As POV-Ray has it: a number between 0 and 1 is a part of the film, decimals are cut off, nothing comes before the first frame."""
    if said is None:
        return default
    try:
        value = float(said.value)
    except ValueError:
        value = -1.0
    if not 0 <= value <= HIGHEST:
        raise said.fault(f"this takes a frame, or a part of the film between 0 and 1, up to {HIGHEST}.")
    return max(first, int((last - first + 1) * value if 0 < value < 1 else value))
