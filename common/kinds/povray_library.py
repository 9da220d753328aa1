"""POV-Ray's own include files, fonts and maps: what any installation brings, so that a scene may count on it.

The names ship with us because the submitter's machine need not have POV-Ray; where it has one, its files count too.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

_NAMES = (
    "Mount1.png Mount2.png arrays.inc ash.map benediti.map bubinga.map bumpmap_.png cedar.map chars.inc colors.inc consts.inc "
    "crystal.ttf cyrvetic.ttf debug.inc finish.inc fract003.png functions.inc glass.inc glass_old.inc golds.inc ior.inc "
    "logo.inc makegrass.inc marbteal.map math.inc meshmaker.inc metals.inc mtmand.pot mtmandj.png orngwood.map pinkmarb.map "
    "plasma2.png plasma3.png povlogo.ttf povmap.png rad_def.inc rand.inc rdgranit.map screen.inc shapes.inc shapes2.inc "
    "shapes3.inc shapes_old.inc shapesq.inc skies.inc spiral.df3 stage1.inc stars.inc stdcam.inc stdinc.inc stoneold.inc "
    "stones.inc stones1.inc stones2.inc strings.inc sunpos.inc teak.map test.png textures.inc timrom.ttf transforms.inc "
    "ttffonts.cat whiteash.map woodmaps.inc woods.inc "
)
STANDARD = frozenset(_NAMES.split())
"""Names in the include folder of POV-Ray 3.7 (case matters)."""

_SETTINGS = tuple(f"{etc}/povray/{version}/povray.ini" for version in ("3.7", "3.8") for etc in ("/etc", "/usr/local/etc"))
_LIBRARY_LINE = re.compile(r"\s*Library_Path\s*=\s*\"?([^\";]+)", re.I)


def is_standard(name: str) -> bool:
    """Whether POV-Ray's own libraries have a file of this name."""
    return name in STANDARD or any((folder / name).is_file() for folder in library_folders("/usr/bin/povray"))


@cache
def library_folders(program: str) -> tuple[Path, ...]:
    """The include folders of an installed povray, as its own system-wide .ini names them and as its prefix suggests."""
    return tuple(dict.fromkeys(path for path in _candidates(program) if path.is_dir()))


def _candidates(program: str) -> Iterator[Path]:
    prefix = Path(os.path.realpath(program)).parent.parent
    for share in (prefix / "share", Path("/usr/share"), Path("/usr/local/share")):
        for home in sorted(share.glob("povray-3.*")):
            yield from (home / "include", home, home / "ini")
    for settings in _SETTINGS:
        try:
            lines = Path(settings).read_text("utf-8", "replace").splitlines()
        except OSError:
            continue
        yield from (Path(match[1].strip()) for match in map(_LIBRARY_LINE.match, lines) if match)
