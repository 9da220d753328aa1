"""Which frames there are and what clock they have: POV-Ray's own words mean what they mean in POV-Ray, and agree with [animation]."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from clusterray.common.errors import TaskFileError
from clusterray.common.kinds.povray import POVRAY
from clusterray.common.kinds.povray_clock import clock_of
from clusterray.common.kinds.sequence import parse_frames
from clusterray.common.model import TaskSpec
from clusterray.common.process import run
from clusterray.common.testing_kinds import PlainFiles

from .povray_house import ENV, folder

TELLS = """\
#version 3.7; global_settings { assumed_gamma 1 }
camera { location -4*z look_at 0 }
#macro Tell(Value) #debug concat("=~", str(Value, 0, 17), "~=\n") #end
Tell(frame_number) Tell(clock) Tell(clock_delta) Tell(initial_frame) Tell(final_frame) Tell(initial_clock) Tell(final_clock)
"""


def examined(inputs: Path, **options: Any) -> tuple[dict[str, Any], str]:
    """All options, and the warnings."""
    done = POVRAY.examine(TaskSpec(kind="povray", name="film", options=options), PlainFiles(inputs))
    assert POVRAY.examine(done.spec, PlainFiles(inputs)).spec == done.spec, "examining twice changes the film"
    return done.spec.options, " ".join(done.warnings)


def told(place: Path, *words: str) -> list[str]:
    """What a scene is told of each frame by one povray with these switches."""
    done = run(
        ["povray", "+Iscene.pov", "+O/dev/null", "-D", "-F", "-GR", "-GS", "-GW", "-V", "+W2", "+H2", *words],
        timeout=60,
        cwd=place,
        env=ENV,
    )
    assert done.code == 0, done.stderr
    values = re.findall("=~([^~]*)~=", done.stderr)
    return [" ".join(values[at : at + 7]) for at in range(0, len(values), 7)]


@pytest.mark.parametrize(
    "words",
    [
        ["+KFF3"],
        ["+KFI2", "+KFF5", "+KI-1.25", "+KF0.7"],
        ["+KFF10", "+KC", "+SF9"],
        ["+KFI0", "+KFF4", "+SF0", "+EF1"],
        ["+KFF12", "+SF0.5", "+EF0.75"],
        ["+KFI5", "+KFF12", "+SF0.5", "+EF6.9"],
        ["+KFF9", "+SF8", "+EF10"],
        ["Final_Frame=5", "Cyclic_Animation=yes", "Subset_End_Frame=0.4", "Final_Clock=360", "+K0.3"],
    ],
    ids=" ".join,
)
def test_the_scene_is_told_what_one_run_tells_it(words: list[str], tmp_path: Path) -> None:
    """frame_number, clock, clock_delta, initial and final frame and clock, to the last digit, though a job renders some frames only."""
    inputs = folder(tmp_path, **{"scene.pov": TELLS})
    options, _ = examined(inputs, args=words, width=2, height=2)
    clock = clock_of(options)
    first, *others = parse_frames(options["animation"]["frames"])
    runs = [clock.words(first, first), *[clock.words(others[0], others[-1])] * bool(others), words]
    with ThreadPoolExecutor(3) as pool:
        *ours, theirs = pool.map(lambda run: told(inputs, *run), runs)
    assert len(theirs) == 1 + len(others) and [line for one in ours for line in one] == theirs
    assert not [word for word in options["args"] if not word.startswith("Declare=")], "nothing of it is left in args"


def test_an_ini_alone_makes_a_film(tmp_path: Path) -> None:
    """With [animation] beside it, that says which of its frames are rendered, and the clock stays the .ini's."""
    inputs = folder(tmp_path, **{"scene.pov": TELLS, "scene.ini": "Final_Frame=240\nFinal_Clock=2\nCyclic_Animation=On"})
    options, warnings = examined(inputs)
    assert (options["animation"]["frames"], options["clock_frames"], options["cyclic"], warnings) == ("1-240", "1-240", True, "")
    options, _ = examined(inputs, animation={"fps": 30})
    assert (options["animation"]["frames"], options["animation"]["fps"]) == ("1-240", "30")
    options, _ = examined(inputs, animation={"frames": "6-100x5"})
    assert clock_of(options).words(6, 6) == ["+KFI1", "+KFF240", "Initial_Clock=0", "Final_Clock=2", "+KC", "+SF6", "+EF6"]
    options, _ = examined(inputs, ini="none")
    assert options["animation"] is None


def test_picked_frames_keep_the_clock_of_the_film(tmp_path: Path) -> None:
    """The clock runs from the first to the last frame of ``frames``; ``clock_frames`` says another film for a shot of it."""
    inputs = folder(tmp_path, **{"scene.pov": TELLS})
    options, _ = examined(inputs, animation={"frames": "1-101x7"}, final_clock=100.0)
    assert told(inputs, *clock_of(options).words(8, 8))[0].split()[:2] == [f"{8:.17f}", f"{7:.17f}"]
    options, _ = examined(inputs, animation={"frames": "3-4"}, clock_frames="1-5")
    assert [line.split()[1] for line in told(inputs, *clock_of(options).words(3, 4))] == [f"{0.5:.17f}", f"{0.75:.17f}"]


def test_a_film_of_one_frame_has_a_clock(tmp_path: Path) -> None:
    """POV-Ray's own is not a number there, so it is said what the frame gets."""
    inputs = folder(tmp_path, **{"scene.pov": TELLS})
    options, warnings = examined(inputs, animation={"frames": 7}, initial_clock=0.25)
    assert told(inputs, *clock_of(options).words(7, 7))[0].split()[:2] == [f"{7:.17f}", f"{0.25:.17f}"]
    assert "frame 7 gets 0.25" in warnings and "clock_frames" in warnings


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"args": ["+KFF9"], "animation": {"frames": "1-10"}}, r"\+KFF9: \[animation\] says frames = 1-10, and this 1-9"),
        ({"args": ["+KFF9", "+SF3"], "animation": {"frames": "1-9"}}, r"\+SF3: \[animation\] says frames = 1-9, and this 3-9"),
        ({"args": ["+KFF9"], "clock_frames": "1-20"}, r'\+KFF9: the option clock_frames says "1-20"'),
        ({"args": ["+KFF9", "+SF5", "+EF4"]}, r"\+EF4: the frames end with 4, before they begin with 5"),
        ({"args": ["+KF2"], "final_clock": 3.0, "animation": {"frames": "1-9"}}, r"\+KF2: the option final_clock says 3.0"),
        ({"args": ["+KFF9999999"]}, r"\+KFF9999999: this takes a whole number from 0 to 999999"),
        ({"animation": {"frames": "1-9"}, "clock_frames": "5-9"}, "frame 1 comes before it"),
        ({"animation": {"frames": "1-9"}, "clock_frames": "5-"}, "clock_frames must be frames"),
    ],
)
def test_contradictions_are_one_sentence(options: dict[str, Any], words: str, tmp_path: Path) -> None:
    """That names both sides."""
    with pytest.raises(TaskFileError, match=words):
        examined(folder(tmp_path), **options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"args": ["+SF3"]}, "without Final_Frame there is no film"),
        ({"args": ["+KC"]}, "cyclic mean something in a film only"),
        ({"args": ["+KFF4", "+K0.5"]}, "Clock (+K) is left out"),
        ({"args": ["+KFF4"], "tiles": [2, 2]}, "not cut into tiles"),
        ({"args": ["+KFF4", "+EF6"]}, "have a clock beyond final_clock"),
    ],
)
def test_what_does_nothing_is_said(options: dict[str, Any], words: str, tmp_path: Path) -> None:
    """Nothing is left out in silence."""
    assert words in examined(folder(tmp_path), **options)[1]
