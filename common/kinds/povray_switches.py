"""POV-Ray's switches and .ini variables, read by one whitelist: nothing that is not listed here reaches a command line.

Command-line switches are translated into the variables of .ini files first (``+A0.3`` is ``Antialias=on`` and
``Antialias_Threshold=0.3``), so that there is one table of what each variable means to us: an option of our own, a word that
is passed on, something without a meaning on a farm (left out, with a warning), or something that is refused.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass

from ..errors import TaskFileError
from .options import nearest

_N = r"([0-9]*\.?[0-9]+)"


@dataclass(frozen=True, kw_only=True)
class Said:
    """One variable with its value, and where somebody said so."""

    variable: str
    value: str
    words: str
    """As it was written."""
    path: str | None = None
    line: int | None = None
    key: str = ""

    def fault(self, sentence: str) -> TaskFileError:
        return TaskFileError(f"{self.words}: {sentence}", path=self.path, line=self.line, key=self.key)

    def note(self, sentence: str) -> str:
        where = f"{self.path}:{self.line}: " if self.path else "args: "
        return f"{where}{self.words}: {sentence}"


_SWITCHES: tuple[tuple[str, str, str], ...] = (
    # pattern after the sign, the variable that the sign turns on or off, the variable that takes the value
    (rf"AG{_N}", "", "antialias_gamma"),
    (r"AM(\d+)", "", "sampling_method"),
    (rf"A{_N}?", "antialias", "antialias_threshold"),
    (r"BM(\d+)", "", "bounding_method"),
    (r"BS(\d+)", "", "render_block_size"),
    (r"B(\d*)", "buffer_output", ""),
    (r"C", "continue_trace", ""),
    (r"D(.*)", "display", ""),
    (rf"EC{_N}", "", "end_column"),
    (rf"ER{_N}", "", "end_row"),
    (rf"E{_N}", "", "end_row"),
    (r"EF(\d*\.?\d+)", "", "subset_end_frame"),
    (r"EP(\d+)", "", "preview_end_size"),
    (r"F(.*)", "output_to_file", "output_file_type"),
    (r"G[ADFRSW](.*)", "all_console", ""),
    (r"GI(.*)", "", "create_ini"),
    (r"HI(.+)", "", "include_header"),
    (r"HR", "high_reproducibility", ""),
    (r"H[NT](.+)", "", "histogram_name"),
    (r"H(\d+)", "", "height"),
    (r"I(.+)", "", "input_file_name"),
    (rf"J{_N}?", "jitter", "jitter_amount"),
    (r"KFI(\d+)", "", "initial_frame"),
    (r"KFF(\d+)", "", "final_frame"),
    (rf"KI([+-]?{_N[1:]}", "", "initial_clock"),
    (rf"KF([+-]?{_N[1:]}", "", "final_clock"),
    (r"KC", "cyclic_animation", ""),
    (r"K([+-]?[0-9.]+)", "", "clock"),
    (r"L(.+)", "", "library_path"),
    (r"MB(\d*)", "bounding", "bounding_threshold"),
    (r"MI(\d+)", "", "max_image_buffer_memory"),
    (rf"MV{_N}", "", "version"),
    (r"O(.+)", "", "output_file_name"),
    (r"P", "pause_when_done", ""),
    (r"Q(\d+)", "", "quality"),
    (r"RFI", "radiosity_from_file", ""),
    (r"RFO", "radiosity_to_file", ""),
    (r"RF(.+)", "", "radiosity_file_name"),
    (r"R(\d+)", "", "antialias_depth"),
    (rf"SC{_N}", "", "start_column"),
    (r"SF(\d*\.?\d+)", "", "subset_start_frame"),
    (r"SP(\d+)", "", "preview_start_size"),
    (rf"SR{_N}", "", "start_row"),
    (r"SU", "split_unions", ""),
    (rf"S{_N}", "", "start_row"),
    (r"TH(.*)", "dither", "dither_method"),
    (r"UA", "output_alpha", ""),
    (r"UF", "field_render", ""),
    (r"UO", "odd_field", ""),
    (r"UL", "light_buffer", ""),
    (r"UR", "remove_bounds", ""),
    (r"UV", "vista_buffer", ""),
    (r"UD", "draw_vistas", ""),
    (r"V", "verbose", ""),
    (r"WL(\d+)", "", "warning_level"),
    (r"WT(\d+)", "", "work_threads"),
    (r"W(\d+)", "", "width"),
    (r"X(\d*)", "test_abort", ""),
)
_COMPILED = tuple((re.compile(pattern, re.I | re.ASCII), flag, variable) for pattern, flag, variable in _SWITCHES)


def _names(*texts: str) -> frozenset[str]:
    return frozenset(name for text in texts for name in text.split())


OURS = _names(
    "width height quality antialias antialias_threshold sampling_method antialias_depth jitter jitter_amount output_alpha",
    "output_to_file output_file_type output_file_name bits_per_color grayscale_output input_file_name library_path file_gamma",
    "initial_frame final_frame subset_start_frame subset_end_frame initial_clock final_clock cyclic_animation",
)
"""Variables that povray_options.py turns into options of ours."""

FRAME_WORDS = _names("initial_frame final_frame subset_start_frame subset_end_frame")
"""Of these, those that say which frames of a film are rendered."""

BOOL, NUMBER, WHOLE, METHOD, DITHER, FILE, DECLARE = "on or off", "a number", "a whole number", "1 or 2", "FS, B2, B3 or B4", "", ""
PASSED = {
    "antialias_gamma": (NUMBER, _N),
    "bounding": (BOOL, ""),
    "bounding_method": (METHOD, r"[12]"),
    "bounding_threshold": (WHOLE, r"\d+"),
    "clock": (NUMBER, r"[+-]?" + _N),
    "dither": (BOOL, ""),
    "dither_method": (DITHER, r"(?i:fs|b[234])"),
    "high_reproducibility": (BOOL, ""),
    "radiosity_from_file": (BOOL, ""),
    "radiosity_vain_pretrace": (BOOL, ""),
    "remove_bounds": (BOOL, ""),
    "split_unions": (BOOL, ""),
    "version": (NUMBER, _N),
}
"""Passed on as ``Variable=value`` after a look at the value."""
PASSED_FILES = frozenset({"include_header", "radiosity_file_name"})
"""Passed on when the file lies in the task's folder."""

MEANINGLESS = {
    "display": "a node has no display, so this is left out.",
    "display_gamma": "a node has no display, so this is left out (file_gamma sets the picture's own).",
    "pause_when_done": "nobody sits at a node, so this is left out.",
    "work_threads": "ClusterRay gives each job the cores of its slot, so this is left out.",
    "render_block_size": "ClusterRay counts on POV-Ray's own block size for exact tiles, so this is left out.",
    "continue_trace": "every attempt starts afresh, so this is left out.",
    "max_image_buffer_memory": "ClusterRay looks after memory, so this is left out.",
    "create_ini": "it would stay on the node, so this is left out.",
}
_SILENT = _names(
    "verbose video_mode palette all_console debug_console fatal_console render_console statistic_console warning_console",
    "all_file debug_file fatal_file render_file statistic_file warning_file append_file warning_level test_abort",
    "test_abort_count buffer_output buffer_size light_buffer vista_buffer draw_vistas preview_start_size preview_end_size",
    "compression real_time_raytracing",
)
"""Left out without a word: they change nothing in a picture that ClusterRay makes."""
_CUTS = _names("start_column end_column start_row end_row")
_COMMANDS = _names(
    "pre_scene_command post_scene_command pre_frame_command post_frame_command user_abort_command fatal_error_command",
    "pre_scene_return post_scene_return pre_frame_return post_frame_return user_abort_return fatal_error_return",
)
_FIELDS = _names("field_render odd_field")
_STEPS = _names("frame_step clock_on")
_HISTOGRAM = _names("create_histogram histogram_name histogram_type histogram_grid_size")
REFUSED = {
    **dict.fromkeys(_CUTS, "the farm cuts the picture by itself; take this out and ask for the whole picture."),
    **dict.fromkeys(_COMMANDS, "programs cannot be started from a scene's settings; take this out."),
    **dict.fromkeys(_FIELDS, "films have whole frames, as no screen of today shows half ones; take this out."),
    **dict.fromkeys(_STEPS, 'POV-Ray 3.7 has no such setting; frames = "1-100x5" under [animation] renders every fifth frame.'),
    **dict.fromkeys(_HISTOGRAM, "histograms are not made on a farm; take this out."),
    "radiosity_to_file": "the file would stay on the node; write it with povray at home, put it into the folder and read it with +RFI.",
}
VARIABLES = OURS | set(PASSED) | PASSED_FILES | set(MEANINGLESS) | _SILENT | set(REFUSED) | {"declare"}
_OFF_IS_FINE = _names("display pause_when_done continue_trace create_ini radiosity_to_file field_render odd_field create_histogram")


def from_words(words: Iterable[str], *, key: str = "", path: str | None = None, line: int | None = None) -> list[Said]:
    """Switches (``+A0.3``) and ``Variable=value`` words as variables. Raises TaskFileError for what is neither."""
    said: list[Said] = []
    for word in words:
        where = Said(variable="", value="", words=word, path=path, line=line, key=key)
        if word[:1] in ("+", "-") or (word[:1] == "/" and "." not in word):
            said += _switch(word, where)
        elif "=" in word:
            said.append(from_variable(*word.split("=", 1), words=word, path=path, line=line, key=key))
        elif word.lower().endswith((".pov", ".ini")):
            raise where.fault("a file cannot be named here; use the options scene and ini.")
        else:
            raise where.fault("POV-Ray's switches begin with + or -, or have the form Variable=value.")
    return said


def from_variable(name: str, value: str, *, words: str, path: str | None = None, line: int | None = None, key: str = "") -> Said:
    """One ``Variable=value``. Raises TaskFileError for a variable that POV-Ray does not know."""
    variable = name.strip().lower()
    said = Said(variable=variable, value=value.strip(), words=words.strip(), path=path, line=line, key=key)
    if variable not in VARIABLES:
        near = nearest(variable, VARIABLES)
        known = near if near.startswith("did") else "`clusterray kinds povray` shows what there is."
        raise said.fault(f"this is none of the POV-Ray variables that ClusterRay takes; {known}")
    return said


def split_words(text: str) -> list[str]:
    """As a shell would split it. Raises ValueError for an open quote."""
    return shlex.split(text, comments=False, posix=True)


def is_on(said: Said) -> bool:
    """A POV-Ray truth value. Raises TaskFileError."""
    word = said.value.lower()
    if word in ("on", "true", "yes", "1"):
        return True
    if word in ("off", "false", "no", "0"):
        return False
    raise said.fault("this takes on or off.")


def judge(said: Said) -> tuple[str, str]:
    """What becomes of a variable that is none of OURS: (word to pass on, warning), each may be empty. Raises TaskFileError."""
    name = said.variable
    if name in _OFF_IS_FINE and said.value.lower() in ("off", "false", "no", "0"):
        return "", ""
    if name in REFUSED:
        raise said.fault(REFUSED[name])
    if name in _SILENT:
        return "", ""
    if name in MEANINGLESS:
        return "", said.note(MEANINGLESS[name])
    if name == "declare":
        return _declare(said), ""
    if name in PASSED_FILES:
        return f"{name.title()}={said.value.strip(chr(34))}", ""
    wanted, pattern = PASSED[name]
    if not pattern:
        return f"{name.title()}={'on' if is_on(said) else 'off'}", ""
    if not re.fullmatch(pattern, said.value, re.ASCII):
        raise said.fault(f"this takes {wanted}.")
    return f"{name.title()}={said.value}", ""


def _switch(word: str, where: Said) -> list[Said]:
    for pattern, flag, variable in _COMPILED:
        match = pattern.fullmatch(word[1:])
        if not match:
            continue
        value = match[1] if pattern.groups else None
        pairs = []
        if flag:
            pairs.append((flag, "off" if word[0] == "-" else "on"))
        if variable and value:
            pairs.append((variable, value.strip('"')))
        return [Said(variable=name, value=text, words=word, path=where.path, line=where.line, key=where.key) for name, text in pairs]
    raise where.fault("this switch is not among those that ClusterRay passes on to POV-Ray; take it out.")


def _declare(said: Said) -> str:
    match = re.fullmatch(r"\s*([A-Za-z][A-Za-z0-9_]*)\s*=\s*([A-Za-z0-9_.+-]+)\s*", said.value, re.ASCII)
    if not match:
        raise said.fault("write it as Declare=Name=number, without quotes or spaces: POV-Ray takes no others there.")
    return f"Declare={match[1]}={match[2]}"
