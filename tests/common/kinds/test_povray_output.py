"""What POV-Ray printed (copied from version 3.7.0.10), read: progress, and whose fault it is."""

from __future__ import annotations

import pytest
from clusterray.common.kinds.povray_output import diagnose, progress, unwrapped
from clusterray.common.model import Cause

SYNTAX = """\
==== [Parsing...] ==========================================================
File 'sub/x.inc' line 2: Parse Error: Expected 'object or directive', undeclared
 identifier 'foo' found instead
Fatal error in parser: Cannot parse input.
Render failed""".splitlines()
PICTURE = """\
Possible Parse Error: assumed_gamma not specified in this POV-Ray 3.7 or later
 scene. Future versions of POV-Ray may consider this a fatal error.
File 'img.pov' line 2: Possible Parse Error: Cannot find file 'nope.png', even
 after trying to append file type extension.
File 'img.pov' line 2: Possible Parse Error: Cannot find image file.
Fatal error in parser: Cannot open file.
Render failed""".splitlines()


def test_progress() -> None:
    """A fraction of the region; POV-Ray's total turns negative beyond 2**31 pixels."""
    assert progress("Rendered 1024 of 10000 pixels (10%)") == 0.1024
    assert progress("Rendered 1024 of -694967296 pixels (0%)") == pytest.approx(1024 / 3600000000)
    assert progress("==== [Rendering...] ====") is None


def test_messages_are_whole_again() -> None:
    """POV-Ray wraps at 80 columns."""
    assert unwrapped(SYNTAX)[1].endswith("undeclared identifier 'foo' found instead")


def test_a_mistake_in_the_scene() -> None:
    """POV-Ray's own message with file and line; no other node would do better."""
    failure = diagnose({}, "")(1, SYNTAX)
    assert failure.cause is Cause.INPUT
    assert (
        failure.sentence
        == "File 'sub/x.inc' line 2: Parse Error: Expected 'object or directive', undeclared identifier 'foo' found instead"
    )


def test_a_missing_picture() -> None:
    """The line that names the file, though POV-Ray calls it a possible error only."""
    failure = diagnose({}, "")(1, PICTURE)
    assert failure.cause is Cause.INPUT and failure.sentence == "File 'img.pov' line 2: Possible Parse Error: Cannot find image file."
    assert any("nope.png" in line for line in failure.tail)


def test_names_are_those_of_the_task() -> None:
    """Our aliases never reach the submitter, and paths are relative to the task's folder."""
    rename = diagnose({"clusterray-scene.pov": "szene/é.pov", "clusterray-lib0": "inc", "clusterray-lib1": ""}, "szene")
    for printed, named in [
        ("clusterray-scene.pov", "szene/é.pov"),
        ("clusterray-lib0/a.inc", "inc/a.inc"),
        ("b.inc", "szene/b.inc"),
        ("/usr/share/povray-3.7/include/colors.inc", "/usr/share/povray-3.7/include/colors.inc"),
    ]:
        failure = rename(1, [f"File '{printed}' line 2: Parse Error: No.", "Fatal error in parser: Cannot parse input."])
        assert failure.sentence == f"File '{named}' line 2: Parse Error: No."


@pytest.mark.parametrize(
    ("code", "lines", "cause", "words"),
    [
        (2, ["Fatal error in renderer: Frontend halted render."], Cause.ERROR, "told to stop"),
        (
            1,
            ["File 'mem.pov' line 2: Parse Error: std::bad_alloc", "Fatal error in parser: Cannot parse input."],
            Cause.MEMORY,
            "out of memory",
        ),
        (1, ["Fatal error in renderer: Out of memory."], Cause.MEMORY, "out of memory"),
        (-9, [], Cause.MEMORY, "killed"),
        (137, [], Cause.MEMORY, "killed"),
        (-24, [], Cause.TIMEOUT, "processor time"),
        (153, [], Cause.ERROR, "limit for one file"),
        (134, ["povray: x.cpp:5: Assertion `a' failed."], Cause.ERROR, "Assertion `a' failed"),
        (139, [], Cause.ERROR, "SIGSEGV"),
        (1, ["Fatal error in renderer: Invalid end column or row"], Cause.ERROR, "Invalid end column"),
        (1, ["Cannot create render state output file.", "Render failed"], Cause.ERROR, "Cannot create"),
        (1, ["Problem with option setting", "Failed to parse command-line option"], Cause.INPUT, "Failed to parse"),
        (1, [], Cause.ERROR, "without a word"),
    ],
)
def test_other_ends(code: int, lines: list[str], cause: Cause, words: str) -> None:
    """Signals arrive bare or, from bubblewrap, as 128 + n."""
    failure = diagnose({}, "")(code, lines)
    assert failure.cause is cause and words in failure.sentence and failure.exit_code == code


def test_progress_lines_are_no_evidence() -> None:
    """The tail holds messages, not hundreds of "Rendered", nor POV-Ray's page of credits."""
    assert diagnose({}, "")(1, ["Copyright 1991-2013 …", *SYNTAX]).tail[0].startswith("==== [Parsing")
    assert diagnose({}, "")(1, ["Rendered 1 of 2 pixels (50%)"] * 50 + ["Render failed"]).tail == ("Render failed",)
