"""A POV-Ray .ini file as variables: comments, quotes, sections and switch lines as POV-Ray 3.7 reads them.

Only what stands before the first ``[section]`` counts, as POV-Ray does it where no section is asked for.
"""

from __future__ import annotations

import re

from ..errors import TaskFileError
from .povray_switches import Said, from_variable, from_words, split_words

_ASSIGNMENT = re.compile(r"([A-Za-z_]+)\s*=(.*)", re.S)


def parse_ini(name: str, data: bytes) -> tuple[list[Said], list[str]]:
    """The variables in order, and warnings. Raises TaskFileError with ``name`` and the line."""
    said: list[Said] = []
    for number, raw in enumerate(data.decode("utf-8-sig", "replace").splitlines(), 1):
        line = _uncommented(raw).strip()
        if not line:
            continue
        if line.startswith("["):
            return said, [f"{name}:{number}: only what stands before the first section is used; {line} and what follows is left out."]
        match = _ASSIGNMENT.fullmatch(line)
        if match:
            said.append(from_variable(match[1], _unquoted(match[2].strip()), words=line, path=name, line=number))
        elif line[0] in "+-":
            try:
                words = split_words(line)
            except ValueError:
                raise TaskFileError(f"{line}: a quote is not closed.", path=name, line=number) from None
            said += from_words(words, path=name, line=number)
        else:
            raise TaskFileError(f'"{line}" is neither Variable=value nor a switch.', path=name, line=number)
    return said, []


def _uncommented(line: str) -> str:
    """Up to the first ; or # that stands outside of quotes."""
    quote = ""
    for index, letter in enumerate(line):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        elif letter in ";#":
            return line[:index]
    return line


def _unquoted(value: str) -> str:
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
        return value[1:-1]
    return value
