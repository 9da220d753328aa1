"""Switches and .ini files: a whitelist, read as POV-Ray reads them."""

from __future__ import annotations

from typing import Any

import pytest
from clusterray.common.errors import TaskFileError
from clusterray.common.kinds.povray_ini import parse_ini
from clusterray.common.kinds.povray_options import Settled, absorb, settle
from clusterray.common.kinds.povray_switches import from_words
from hypothesis import given
from hypothesis import strategies as st


def said(*words: str) -> Settled:
    return settle(from_words(words, key="options.args"))


@pytest.mark.parametrize(
    ("words", "options"),
    [
        (["+A0.3"], {"antialias": 0.3}),
        (["+A"], {"antialias": 0.3}),
        (["-A"], {"antialias": None}),
        (["Antialias_Threshold=0.1"], {}),
        (["Antialias=on", "Antialias_Threshold=0.1"], {"antialias": 0.1}),
        (["+AM2", "+A.1", "+R4", "-J"], {"antialias_method": 2, "antialias": 0.1, "antialias_depth": 4, "jitter": 0.0}),
        (["+J0.5"], {"jitter": 0.5}),
        (["+w640", "+H480", "+q8"], {"width": 640, "height": 480, "quality": 8}),
        (["+FN16", "+UA"], {"bits": 16, "alpha": True}),
        (["+FN", "-UA"], {"bits": 8, "alpha": False}),
        (["Grayscale_Output=On"], {"grey": True}),
        (["+Iscene.pov", "+Linc", "+Lmore/inc"], {"scene": "scene.pov", "library": ["inc", "more/inc"]}),
        (["+L/usr/share/povray-3.7/include"], {}),
        (["File_Gamma=2.2"], {"file_gamma": "2.2"}),
        (["+FE"], {"format": "exr"}),
        (["+KI-1.5", "+KF.5", "+KC"], {"initial_clock": -1.5, "final_clock": 0.5, "cyclic": True}),
        (["Cyclic_Animation=off"], {"cyclic": False}),
    ],
)
def test_switches_become_options(words: list[str], options: dict[str, Any]) -> None:
    """What has an option of its own ends there, in whatever form it was said."""
    found = said(*words)
    assert found.options == options and not found.args


def test_what_is_passed_on() -> None:
    """The rest of the whitelist goes on in one canonical form; a later word wins over an earlier one."""
    found = said("+MB25", "-SU", "+AG2.2", "Declare=X=1", "Declare=Y=a", "+K0.5", "+MV3.7", "+SU")
    assert found.args == [
        "Bounding=on", "Bounding_Threshold=25", "Antialias_Gamma=2.2", "Declare=X=1", "Declare=Y=a",
        "Clock=0.5", "Version=3.7", "Split_Unions=on",
    ]  # fmt: skip
    assert settle(from_words(found.args)).args == found.args, "what was passed on once reads the same again"


def test_what_means_nothing_on_a_farm() -> None:
    """Left out, with a warning where somebody may have counted on it."""
    found = said("+D", "+P", "+WT4", "+BS16", "+C", "-V", "+GA", "-D", "Output_File_Name=x.png")
    assert not found.args and not found.options and len(found.warnings) == 6


@pytest.mark.parametrize(
    ("word", "words"),
    [
        ("+SC10", "cuts the picture by itself"),
        ("+ER0.5", "cuts the picture by itself"),
        ("+UF", "whole frames"),
        ("Odd_Field=On", "whole frames"),
        ("Frame_Step=2", '"1-100x5"'),
        ("+KFFx", "not among those"),
        ("Final_Clock=late", "takes a number"),
        ("Pre_Scene_Command=rm", "programs cannot be started"),
        ("Post_Frame_Return=-S", "programs"),
        ("+L/etc", "outside of the task's folder"),
        ("+L../x", "outside of the task's folder"),
        ("+O/tmp/x", "beside the task's folder"),
        ("-F", "no picture"),
        ("+FT", "PNG of 8 or 16 bits"),
        ("+FJ", "JPEG would blur"),
        ("+FH", "OpenEXR holds all that"),
        ("+FN12", "PNG of 8 or 16 bits"),
        ("+RFO", "stay on the node"),
        ("+HTC", "histograms"),
        ("+ZZ9", "not among those"),
        ("Foo=1", "none of the POV-Ray variables"),
        ("Widht=3", 'did you mean "width"'),
        ("other.ini", "use the options scene and ini"),
        ("hello", "begin with + or -"),
        ("Declare=X", "Declare=Name=number"),
        ('Declare=X="a b"', "Declare=Name=number"),
        ("Declare=X=1;+O/x", "Declare=Name=number"),
        ("Clock=a", "takes a number"),
        ("Bounding=perhaps", "on or off"),
        ("Bounding_Method=7", "1 or 2"),
    ],
)
def test_what_is_refused(word: str, words: str) -> None:
    """By name, with the reason."""
    with pytest.raises(TaskFileError) as caught:
        said(word)
    assert word in str(caught.value) and words in str(caught.value)


@given(st.lists(st.text(st.characters(codec="ascii"), max_size=12), max_size=4))
def test_nothing_slips_through(words: list[str]) -> None:
    """Any text is refused, dropped, or comes out as Name=value of harmless letters."""
    try:
        found = settle(from_words(words))
    except TaskFileError:
        return
    for word in found.args:
        name, _, value = word.partition("=")
        assert name.replace("_", "").isalpha() and not set(value) & set("\n\0;[]")


def test_options_and_args_must_agree() -> None:
    """Said twice alike is fine; a contradiction is a mistake; an .ini gives way to both."""
    ini = settle(parse_ini("a.ini", b"Width=10\nHeight=20\n+MB9\nDeclare=A=1")[0])
    merged, _ = absorb({"width": 30, "args": ["+W30", "+A0.2", "+MB3"]}, ini)
    assert merged == {"width": 30, "height": 20, "antialias": 0.2, "args": ["Declare=A=1", "Bounding=on", "Bounding_Threshold=3"]}
    with pytest.raises(TaskFileError, match=r"\+W31: the option width says 30"):
        absorb({"width": 30, "args": ["+W31"]}, ini)


INI = b"""\xef\xbb\xbf; a comment
Width = 320  ; another
height="200"\r
Antialias=On
Declare=Name='x;y'
+Q8 -J +FN16

[high]
Width=10000
"""


def test_an_ini_as_povray_reads_it() -> None:
    """Comments, quotes, switches, CRLF; sections are left out, and that is said."""
    words, warnings = parse_ini("a.ini", INI.replace(b"'x;y'", b"2"))
    found = settle(words)
    assert found.options == {"width": 320, "height": 200, "quality": 8, "bits": 16, "antialias": 0.3, "jitter": 0.0}
    assert found.args == ["Declare=Name=2"]
    assert warnings == ["a.ini:8: only what stands before the first section is used; [high] and what follows is left out."]


@pytest.mark.parametrize(
    ("text", "line"), [("\nWidth\n", 2), ("; x\n\n+ZZ", 3), ('Width=3\n+L"abc', 2), ("Output_File_Type=T", 1), ("\n\n\nField_Render=On", 4)]
)
def test_a_mistake_in_an_ini_has_its_line(text: str, line: int) -> None:
    """Refused switches too."""
    with pytest.raises(TaskFileError) as caught:
        settle(parse_ini("a.ini", text.encode())[0])
    assert (caught.value.path, caught.value.line) == ("a.ini", line)
