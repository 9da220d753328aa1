"""Whether a still is cut and what its tiles share: the scene and the farm decide, or the submitter, and either way it is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from clusterray.common.errors import TaskFileError
from clusterray.common.kinds.povray import POVRAY
from clusterray.common.model import FarmShape, TaskSpec
from clusterray.common.testing_kinds import PlainFiles

from .povray_house import BALLS, SKY, folder

RADIOSITY = "global_settings { radiosity { count 20 } }"
PHOTONS = "global_settings { photons { count 2000 } }"
LOADED = 'global_settings { photons { count 2000 load_file "p.ph" } }'


def decided(inputs: Path, slots: int, **options: Any) -> tuple[list[str], int, str]:
    """Names of the stages, number of tiles, warnings."""
    files = PlainFiles(inputs)
    examined = POVRAY.examine(TaskSpec(kind="povray", name="picture", options=options), files)
    assert POVRAY.examine(examined.spec, files).spec == examined.spec
    farm = FarmShape(slots=slots)
    spec = POVRAY.settle(examined.spec, farm)
    stages = POVRAY.stages(spec)
    return [stage.name for stage in stages], len(list(stages[-1].split(spec, files, farm))), " ".join(examined.warnings)


@pytest.mark.parametrize(
    ("extra", "options", "slots", "stages", "tiles", "words"),
    [
        (RADIOSITY, {}, 2, ["tiles"], 1, "rendered whole"),
        (RADIOSITY, {}, 4, ["radiosity", "tiles"], 16, "3 slots or more"),
        (RADIOSITY, {"tiles": [3, 2]}, 1, ["radiosity", "tiles"], 6, "gathered first"),
        (RADIOSITY, {"tiles": [3, 2], "radiosity": "tiles"}, 4, ["tiles"], 6, "tiles may show"),
        (RADIOSITY, {"radiosity": "tiles"}, 2, ["tiles"], 8, "tiles may show"),
        (RADIOSITY, {"radiosity": "whole"}, 9, ["tiles"], 1, "rendered whole"),
        (RADIOSITY, {"radiosity": "prepass"}, 2, ["radiosity", "tiles"], 8, "gathered first"),
        (RADIOSITY, {"width": 60, "height": 40}, 9, ["tiles"], 1, "rendered whole"),
        (RADIOSITY, {"quality": 8}, 2, ["tiles"], 8, ""),
        (RADIOSITY, {"args": ["+RFI", "+RFscene.pov"]}, 4, ["tiles"], 16, "always_sample off"),
        (RADIOSITY, {"args": ["+TH"]}, 4, ["tiles"], 1, "dithering"),
        (PHOTONS, {}, 2, ["photons", "tiles"], 8, "once for all tiles"),
        (PHOTONS, {"photons": "each"}, 2, ["tiles"], 8, "anew in each tile"),
        (PHOTONS, {"width": 60, "height": 40}, 2, ["tiles"], 1, "WT1"),
        ('#include "parts.inc"', {}, 2, ["tiles"], 8, "anew in each tile"),
        (LOADED, {}, 2, ["tiles"], 8, "anew in each tile"),
        (RADIOSITY + PHOTONS, {}, 4, ["photons", "radiosity", "tiles"], 16, "3 slots or more"),
    ],
)
def test_what_is_decided(
    extra: str, options: dict[str, Any], slots: int, stages: list[str], tiles: int, words: str, tmp_path: Path
) -> None:
    """Samples are shared where that pays; nothing is turned on that the scene has not."""
    found = decided(folder(tmp_path, **{"scene.pov": BALLS + SKY + extra, "parts.inc": PHOTONS}), slots, **options)
    assert found[:2] == (stages, tiles) and words in found[2] and bool(found[2]) == bool(words)


@pytest.mark.parametrize(
    ("extra", "options", "words"),
    [
        ("", {"radiosity": "prepass"}, "nothing to gather: the scene has no radiosity"),
        (RADIOSITY, {"radiosity": "prepass", "quality": 7}, "has none below quality 9"),
        (RADIOSITY, {"radiosity": "prepass", "args": ["+RFI", "+RFscene.pov"]}, "loads a file of samples"),
        (RADIOSITY, {"radiosity": "whole", "tiles": [2, 2]}, "contradict each other"),
        (RADIOSITY, {"radiosity": "gather"}, "radiosity cannot be"),
        ('#include "parts.inc"', {"photons": "shared"}, "stand in the scene file itself"),
        ("", {"photons": "shared"}, "settings of photons"),
    ],
)
def test_what_cannot_be(extra: str, options: dict[str, Any], words: str, tmp_path: Path) -> None:
    """In one sentence."""
    with pytest.raises(TaskFileError, match=words):
        decided(folder(tmp_path, **{"scene.pov": BALLS + extra, "parts.inc": PHOTONS}), 4, **options)
