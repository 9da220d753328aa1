"""What Blender prints becomes one sentence, with the cause that decides whether another try makes sense."""

from __future__ import annotations

import pytest
from clusterray.common.kinds.blender_output import diagnose, picture_progress, progress
from clusterray.common.model import Cause


@pytest.mark.parametrize(
    ("code", "lines", "cause", "said"),
    [
        (3, ["Read blend", "clusterray: input: The scene has no camera."], Cause.INPUT, "The scene has no camera."),
        (4, ["clusterray: node: Blender finds no OPTIX device on this node."], Cause.ERROR, "no OPTIX device"),
        (134, ["Warning: No OpenGL vendor detected.", "epoxy: Assertion failed."], Cause.ERROR, "libegl1"),
        (-9, ["Fra:1"], Cause.MEMORY, "killed"),
        (137, [], Cause.MEMORY, "killed"),
        (-11, ["Writing: /tmp/x.crash.txt"], Cause.ERROR, "crashed (signal 11)"),
        (1, ["System is out of GPU memory"], Cause.MEMORY, "needs.memory"),
        (1, ["ImportError: libSM.so.6: cannot open shared object file"], Cause.ERROR, "cannot start on this node: libSM.so.6"),
        (1, ["Traceback (most recent call last):", "RuntimeError: Error: Render error, cannot write"], Cause.ERROR, "Render error"),
        (7, [], Cause.ERROR, "exited with 7 without a word"),
    ],
)
def test_an_end_is_understood(code, lines, cause, said):
    failure = diagnose(code, lines)
    assert failure.cause == cause
    assert said in failure.sentence


def test_progress_is_our_script_s_word_alone():
    assert progress("clusterray: progress 0.25") == 0.25
    assert progress("Fra:1 Mem:9.17M | Sample 16/64") is None
    assert picture_progress("Fra:1 Mem:9.17M | Sample 16/64") == 0.25
    assert picture_progress("clusterray: progress 0.5") == 0.5
    assert progress("clusterray: progress soon") is None
