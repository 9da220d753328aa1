"""A folder becomes a task, or one sentence that says what is wrong, where, and what was probably meant."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from clusterray.common.errors import TaskFileError
from clusterray.common.kinds import registry
from clusterray.common.kinds.povray import Povray
from clusterray.common.model import Limits
from clusterray.common.paramsfile import read_params
from clusterray.common.taskfile import read_task, toml_lines

SCENE = "sphere { 0, 1 }\n"
BISCUIT = """\
kind = "povray"
name = "biscuit"
[options]                      # the kind's own
scene = "biscuit.pov"
width = 317
height = 211
tiles = [3, 2]                 # columns, rows; or "auto"
args = ["+AM2", "+A0.1"]
[limits]
attempts = 3                   # per job
timeout = "2h"                 # per attempt
[needs]
memory = "2GB"
program = "povray>=3.7"
"""


def folder(tmp_path: Path, files: dict[str, str | bytes]) -> Path:
    place = tmp_path / "scene"
    place.mkdir()
    for name, text in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return place


def wrong(tmp_path: Path, files: dict[str, str | bytes], *overrides: str, **more: Any) -> str:
    """The one sentence, with paths from the folder's parent on."""
    place = folder(tmp_path, files)
    with pytest.raises(TaskFileError) as caught:
        read_task(place, overrides, **more)
    sentence = str(caught.value)
    assert "\n" not in sentence and sentence.endswith((".", "?")), sentence
    return sentence.replace(f"{tmp_path}/", "")


def test_the_form_of_the_manual(tmp_path: Path) -> None:
    """task.toml as README and manual show it."""
    spec, warnings = read_task(folder(tmp_path, {"task.toml": BISCUIT, "biscuit.pov": SCENE}), priority=4)
    assert (spec.kind, spec.name, spec.priority) == ("povray", "biscuit", 4)
    assert (spec.options["width"], spec.options["height"], spec.options["tiles"]) == (317, 211, [3, 2])
    assert (spec.options["antialias"], spec.options["antialias_method"], spec.options["args"]) == (0.1, 2, [])
    assert spec.limits == Limits(attempts=3, timeout=7200.0)
    assert (spec.needs.memory, spec.needs.program) == (2_000_000_000, "povray>=3.7")
    assert not warnings


def test_nothing_but_a_scene(tmp_path: Path) -> None:
    """The folder gives the name; CRLF and a byte order mark in a task.toml do no harm."""
    spec, _ = read_task(folder(tmp_path, {"a.pov": SCENE}))
    assert (spec.kind, spec.name, spec.options["scene"]) == ("povray", "scene", "a.pov")
    (tmp_path / "scene" / "task.toml").write_bytes(b"\xef\xbb\xbf" + BISCUIT.replace("biscuit.pov", "a.pov").replace("\n", "\r\n").encode())
    assert read_task(tmp_path / "scene")[0].name == "biscuit"
    assert read_task(tmp_path / "scene", name="other")[0].name == "other"


def test_params_of_2010(tmp_path: Path) -> None:
    """Read as meant: colons in values, blank lines, CRLF, parameters split as a shell would."""
    params = (
        "inputFile:a:b.pov\r\n\r\noutputFile:night:1.png\r\njobNumber:4\r\nrenderType:picture\r\n"
        "imageHeight: 100\r\nimageWidth:200\r\notherParams:+A0.3 'Declare=T=1' +Q8\r\nmail:me@x:y\r\n"
    )
    spec, warnings = read_task(folder(tmp_path, {"params.cfg": params, "a:b.pov": SCENE}))
    assert (spec.name, spec.options["scene"], spec.options["tiles"]) == ("night:1", "a:b.pov", [4, 1])
    assert (spec.options["width"], spec.options["height"], spec.options["quality"], spec.options["antialias"]) == (200, 100, 8, 0.3)
    assert spec.options["args"] == ["Declare=T=1"]
    assert len(warnings) == 1 and "params.cfg:9" in warnings[0] and '"mail"' in warnings[0]


def test_an_ini_gives_defaults(tmp_path: Path) -> None:
    """Options win over it, and its warnings come along."""
    files: dict[str, str | bytes] = {"a.pov": SCENE, "a.ini": "Width=33\nHeight=44\nDisplay=On\n"}
    spec, warnings = read_task(folder(tmp_path, files), ["height=55"])
    assert (spec.options["width"], spec.options["height"]) == (33, 55)
    assert warnings == ("a.ini:3: Display=On: a node has no display, so this is left out.",)


def test_overrides(tmp_path: Path) -> None:
    """Values are TOML where they are TOML, text where they are not; limits and needs can be said too."""
    place = folder(tmp_path, {"task.toml": BISCUIT, "biscuit.pov": "#version 3.7;" + SCENE})
    words = [
        "width=1920",
        "tiles=auto",
        "antialias=0.2",
        "args=+MB3 Declare=X=1",
        "file_gamma=2.2",
        "limits.timeout=3h",
        "needs.memory=4GB",
        "limits.attempts=5",
    ]
    spec, _ = read_task(place, words)
    assert (spec.options["width"], spec.options["tiles"], spec.options["file_gamma"]) == (1920, "auto", "2.2")
    assert spec.options["args"] == ["Bounding=on", "Bounding_Threshold=3", "Declare=X=1"]
    assert (spec.limits.timeout, spec.limits.attempts, spec.needs.memory) == (10800.0, 5, 4_000_000_000)


@pytest.mark.parametrize(
    ("right", "mistake", "where", "words"),
    [
        ("width = 317", "widht = 317", "5", 'no option "widht"; did you mean "width"?'),
        ("width = 317", "width = 0", "5", "from 1 to 100,000, not 0"),
        ("width = 317", "width = 1000000000", "5", "not 1000000000"),
        ("width = 317", 'width = "317"', "5", "whole number"),
        ("width = 317", "width 317", "5", "no TOML"),
        ("width = 317\nheight = 211", "width = 100000\nheight = 100000", "5", "more pixels than POV-Ray can count"),
        ("[3, 2]", "[0, 2]", "7", "at least one column"),
        ("[3, 2]", "[-3, 2]", "7", "at least one column"),
        ("[3, 2]", "[400, 1]", "7", "317 pixels cannot be cut into 400 columns"),
        ("[3, 2]", '"many"', "7", '"auto" or [columns, rows]'),
        ('"+AM2"', '"+W640"', "8", "the option width says 317"),
        ('"+AM2"', '"+L/etc"', "8", "outside of the task's folder"),
        ("biscuit.pov", "biscut.pov", "4", 'did you mean "biscuit.pov"'),
        ("attempts = 3", "atempts = 3", "10", '[limits] has no key "atempts"; did you mean "attempts"?'),
        ("attempts = 3", "attempts = 0", "10", "from 1 to 100, not 0"),
        ('"2h"', '"2 hours"', "11", "no span of time"),
        ('"2GB"', '"lots"', "13", "no size"),
        ("povray>=3.7", "blender", "14", 'runs povray, not "blender"'),
        ("povray>=3.7", "povray is fine", "14", 'such as "povray>=3.7"'),
        ("[limits]", "[limit]", "9", 'did you mean "limits"?'),
        ('kind = "povray"', 'kind = "povrai"', "1", 'did you mean "povray"?'),
        ('kind = "povray"', "wdith = 3", "1", 'did you mean "width" under [options]?'),
        ('kind = "povray"', 'memory = "1GB"', "1", "belongs under [needs]"),
        ('kind = "povray"', "options = 3", "1", "there"),
        ('name = "biscuit"', 'name = "../x"', "2", "not fit for a file"),
        ('name = "biscuit"', "name = 3", "2", "must be a text in quotes"),
    ],
)
def test_one_sentence_with_file_and_line(right: str, mistake: str, where: str, words: str, tmp_path: Path) -> None:
    """Every mistake in a task.toml, before anything is uploaded."""
    if mistake == "options = 3":
        text, words = "options = 3\n", "[options] on a line of its own"
    else:
        text = BISCUIT.replace(right, mistake, 1)
    sentence = wrong(tmp_path, {"task.toml": text, "biscuit.pov": SCENE})
    assert sentence.startswith(f"scene/task.toml:{where}: ") and words in sentence, sentence


@pytest.mark.parametrize(
    ("line", "where", "words"),
    [
        ("imageWitdh:3", 2, 'did you mean "imageWidth"?'),
        ("imageWidth:zero", 2, 'whole number, not "zero"'),
        ("\nimageWidth:0", 3, "from 1 to 100,000, not 0"),
        ("renderType:Movie", 2, "a film needs a seqFile.txt beside this file, or [animation] in a task.toml"),
        ("renderType:musical", 2, 'must be picture or movie, not "musical"'),
        ('otherParams:"open', 2, "not closed"),
        ("jobNumber:0", 2, "at least one column"),
        ("imageWidth", 2, "key:value"),
        ("imageWidth:", 2, "has no value"),
    ],
)
def test_mistakes_in_params(line: str, where: int, words: str, tmp_path: Path) -> None:
    """As in a task.toml."""
    sentence = wrong(tmp_path, {"params.cfg": f"inputFile:a.pov\n{line}\n", "a.pov": SCENE})
    assert sentence.startswith(f"scene/params.cfg:{where}: ") and words in sentence, sentence


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"x.txt": "x"}, "scene: there is no task.toml, no params.cfg and no "),
        ({}, "holds no file"),
        ({"a.pov": ""}, "scene/a.pov: The scene is empty"),
        ({"a.pov": SCENE, "b.pov": SCENE}, "name one with"),
        ({"Task.toml": BISCUIT, "biscuit.pov": SCENE}, '"Task.toml" must be called task.toml'),
        ({"task.toml": b"#\n\xff\n", "a.pov": SCENE}, "scene/task.toml:2: this line is not UTF-8"),
        ({"task.toml": "[options]\nwidth = 3\n", "x.txt": ""}, "the kind is not said"),
        ({"task.toml": 'kind = "povray"\n', "x.txt": ""}, "scene/task.toml: The folder holds no .pov file"),
        ({"a.pov": '\n#include "nope.inc"'}, 'scene/a.pov:2: #include "nope.inc": this file is neither'),
        ({"a.pov": SCENE, "a.ini": "\nOutput_File_Type=T"}, "scene/a.ini:2: Output_File_Type=T: "),
        (
            {"a.pov": SCENE, "a.ini": "\nWidht=3"},
            'scene/a.ini:2: Widht=3: this is none of the POV-Ray variables that ClusterRay takes; did you mean "width"?',
        ),
    ],
)
def test_other_folders(files: dict[str, str | bytes], words: str, tmp_path: Path) -> None:
    """Empty, without a scene, with two, with an empty one, badly named."""
    assert words in wrong(tmp_path, files)


@pytest.mark.parametrize(
    ("word", "words"),
    [
        ("widht=3", '-o widht=3: The kind povray has no option "widht"; did you mean "width"?'),
        ("width=0", "-o width=0: width must be from 1"),
        ("width", "-o width: write it as key=value"),
        ("foo.width=3", "-o foo.width=3: write it as key=value"),
        ("limits.attempts=x", "-o limits.attempts=x: attempts must be"),
        ('args="+A', '-o args="+A: a quote is not closed'),
    ],
)
def test_mistakes_on_the_command_line(word: str, words: str, tmp_path: Path) -> None:
    """They are named as they were typed."""
    assert words in wrong(tmp_path, {"a.pov": SCENE}, word)


FILM = """\
kind = "command"
name = "film"
[options]
command = ["true", "{var:glow}"]
outputs = ["{frame}.png"]
[animation]
frames = "1-10"
chunk = 5
codec = "none"
[keyframes]
bpm = 155
[keyframes.glow]
points = [
  ["0.0.0", 1],
  ["1.0.0", 2],
]
"""


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kind that has tables, whether or not it is installed as an entry point."""
    monkeypatch.setenv("CLUSTERRAY_EXTRA_KINDS", "clusterray.common.kinds.command:COMMAND,clusterray.common.kinds.echo:ECHO")


@pytest.mark.usefixtures("tables")
def test_tables_of_a_kind(tmp_path: Path) -> None:
    """[animation] and [keyframes.NAME] stand beside [options], and -o reaches into them."""
    place = folder(tmp_path, {"task.toml": FILM})
    spec, _ = read_task(place)
    assert (spec.options["animation"]["frames"], spec.options["animation"]["chunk"]) == ("1-10", 5)
    assert spec.options["keyframes"] == {"bpm": 155, "glow": {"points": [["0.0.0", 1], ["1.0.0", 2]]}}
    words = ["animation.frames=1,5,9", "keyframes.glow.curve=smooth", "keyframes.bpm=120", "options.chunk=1", "env.LEVEL=3x"]
    spec, _ = read_task(place, words)
    assert spec.options["animation"]["frames"] == "1-9x4"
    assert (spec.options["keyframes"]["glow"]["curve"], spec.options["keyframes"]["bpm"]) == ("smooth", 120)
    assert spec.options["env"] == {"LEVEL": "3x"}
    spec, _ = read_task(place, ['animation={frames="2-3", chunk=1}'])
    assert (spec.options["animation"]["frames"], spec.options["animation"]["codec"]) == ("2-3", "h264")


@pytest.mark.usefixtures("tables")
@pytest.mark.parametrize(
    ("right", "mistake", "where", "words"),
    [
        ('frames = "1-10"', 'frames = "10-1"', ":7", "must count upwards"),
        ('frames = "1-10"', 'farmes = "1-10"', ":7", 'The table [animation] has no key "farmes"; did you mean "frames"?'),
        ('frames = "1-10"\n', "", ":6", "[animation] needs frames"),
        ('codec = "none"', 'codec = "nine"', ":9", 'did you mean "none"?'),
        ("bpm = 155", "bpm = 0", ":11", "bpm must be a number from 1"),
        ('["1.0.0", 2]', '["0.0.0", 2]', ":12", "point 2 of glow (frame 1) must come after point 1"),
        ("[keyframes.glow]", "[keyframes.glow-in]", ":12", "cannot be a variable"),
        ("[animation]", "[animations]", ":6", 'there is no table [animations] for the kind command; did you mean "animation"?'),
        ('kind = "command"', 'kind = "echo"', ":6", "the kind echo makes no films, so it has no [animation]"),
        ('kind = "command"', 'kind = "command"\nfps = 25', ":2", "it belongs under [animation]"),
        ('kind = "command"', 'kind = "command"\nkeyframes = 3', ":2", "keyframes is a table: write [keyframes] on a line of its own"),
        ('"{frame}.png"]', '"{frame}.png"]\nanimation = {frames = 1}', ":7", "[animation] is said twice, also under [options]"),
    ],
)
def test_mistakes_in_the_tables_of_a_kind(right: str, mistake: str, where: str, words: str, tmp_path: Path) -> None:
    """One sentence with the line, also of a table within a table."""
    text = FILM.replace(right, mistake, 1)
    if mistake.endswith("keyframes = 3"):
        text = text.partition("[keyframes]")[0]
    sentence = wrong(tmp_path, {"task.toml": text})
    assert sentence.startswith(f"scene/task.toml{where}: ") and words in sentence, sentence


@pytest.mark.usefixtures("tables")
@pytest.mark.parametrize(
    ("kind", "word", "words"),
    [
        ("command", "animation.frames=9-1", "-o animation.frames=9-1: frames must count upwards"),
        ("command", "animation.fsp=3", '-o animation.fsp=3: The table [animation] has no key "fsp"'),
        ("command", "keyframes.glow.points.x=3", "-o keyframes.glow.points.x=3: keyframes.glow.points is no table, so it has no x."),
        ("command", "animation=3", "-o animation=3: animation is a table"),
        ("command", "limits.timeout.x=3", "write it as key=value"),
        ("command", "command.x=3", "write it as key=value"),
        ("echo", "animation.frames=1-3", "-o animation.frames=1-3: the kind echo makes no films"),
        ("echo", "env.A=1", "-o env.A=1: there is no table [env] for the kind echo"),
    ],
)
def test_mistakes_on_the_command_line_in_tables(kind: str, word: str, words: str, tmp_path: Path) -> None:
    """They are named as they were typed."""
    text = FILM if kind == "command" else 'kind = "echo"\n'
    assert words in wrong(tmp_path, {"task.toml": text}, word)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (
            {"task.toml": 'kind = "povray"\n', "a.pov": "sphere { 0, 1 }"},
            "SeqFile.txt is not used, because there is a task.toml: write its variables as",
        ),
        ({"a.pov": "sphere { 0, 1 }\n"}, "SeqFile.txt is not used: it goes with a params.cfg that says renderType:movie"),
    ],
)
def test_a_seqfile_that_is_not_read_is_named(tmp_path: Path, files: dict[str, str], words: str) -> None:
    """Else a film of 2010 would come back as a still, or without its variables, and nothing would say why."""
    for name, text in {**files, "SeqFile.txt": "bpm:155\n"}.items():
        (tmp_path / name).write_text(text)
    _, warnings = read_task(tmp_path)
    assert [words in warning for warning in warnings].count(True) == 1


PARAMS_OF_A_FILM = "inputFile:a.pov\noutputFile:night\njobNumber:10\nrenderType:Movie\nimageHeight:48\nimageWidth:64\n"


def test_a_movie_of_2010() -> None:
    """params.cfg and seqFile.txt together: frames from the length, the rate, the variables, and as many jobs as were asked for."""
    sequence = "bpm:155\nfrm:30\nlen:24.0.0\nvarseq:(v, ((3, 1, '0.0.0'), (1, 1, '4.0.0')))\n"
    params = read_params(PARAMS_OF_A_FILM, "f/params.cfg", sequence=sequence, sequence_path="f/seqFile.txt")
    assert params.options["animation"] == {"frames": "1-1115", "fps": 30, "chunk": 112}
    assert params.options["keyframes"]["v"] == {"points": [["0.0.0", 3.0, 1.0], ["4.0.0", 1.0, 1.0]]}
    assert "tiles" not in params.options and params.places == {"keyframes.v": "f/seqFile.txt:4"} and not params.warnings
    still = read_params(PARAMS_OF_A_FILM.replace("Movie", "picture"), "f/params.cfg", sequence=sequence, sequence_path="f/seqFile.txt")
    assert still.options["tiles"] == [10, 1] and "animation" not in still.options
    assert still.warnings == ["f/seqFile.txt is not used, as f/params.cfg does not say renderType:movie."]
    with pytest.raises(TaskFileError, match=r"^f/params.cfg:3: jobNumber must be at least 1"):
        read_params(PARAMS_OF_A_FILM.replace("10", "0"), "f/params.cfg", sequence=sequence)


def test_a_mistake_in_a_seqfile_is_found_there(tmp_path: Path) -> None:
    """By its own line, whether it is seen at once or only as a keyframe."""
    sequence = "bpm:155\nfrm:30\nlen:1.0.0\n\n('v', ((3, '0.0.0'), (1, '0.0.0')))\n"
    files: dict[str, str | bytes] = {"params.cfg": PARAMS_OF_A_FILM, "SeqFile.txt": sequence, "a.pov": SCENE}
    assert wrong(tmp_path, files).startswith("scene/SeqFile.txt:5: point 2 of v (frame 1) must come after point 1")
    (tmp_path / "scene" / "SeqFile.txt").write_text(sequence.replace("len", "lenght"))
    with pytest.raises(TaskFileError, match=r'SeqFile.txt:3: there is no key "lenght"; did you mean "len"'):
        read_task(tmp_path / "scene")


def test_the_shipped_films_are_tasks() -> None:
    """One by keyframes in task.toml, one as it was written in 2010; both without a warning."""
    examples = Path(__file__).parents[2] / "misc" / "examples"
    film, warnings = read_task(examples / "bounce")
    assert (film.options["animation"]["frames"], set(film.options["keyframes"]) - {"bpm", "start"}) == ("1-96", {"height", "squash"})
    old, more = read_task(examples / "bounce-2010")
    # 1 bar at 155 bpm: 16 * 2.9032 = 46.45 frames
    assert (old.options["animation"]["frames"], old.options["animation"]["chunk"]) == ("1-47", 12)
    assert not warnings and not more


def test_a_folder_that_fits_several_kinds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not for us to choose; and a folder that fits none is told what would fit."""

    class Other(Povray):
        name = "other"
        scenes = (".blend",)

    known = {"other": Other(), "povray": Povray()}
    monkeypatch.setattr(registry, "kinds", lambda: known)
    place = folder(tmp_path, {"a.pov": SCENE})
    with pytest.raises(TaskFileError, match=r'this folder fits several kinds; write kind = "other" or kind = "povray" into a task.toml'):
        read_task(place)
    (place / "task.toml").write_text("name = 'x'\n")
    with pytest.raises(TaskFileError, match=r'the folder fits several; write kind = "other" or kind = "povray" at the top'):
        read_task(place)
    (place / "task.toml").unlink()
    (place / "a.pov").rename(place / "a.txt")
    with pytest.raises(TaskFileError, match=r"there is no task.toml, no params.cfg and no .blend or .pov scene in this folder"):
        read_task(place)


def test_not_a_folder(tmp_path: Path) -> None:
    """A file, or nothing at all, is no task."""
    (tmp_path / "x").write_text("")
    for path in (tmp_path / "x", tmp_path / "y"):
        with pytest.raises(TaskFileError, match=path.name):
            read_task(path)


def test_odd_names(tmp_path: Path) -> None:
    """Blanks, quotes and other alphabets in the names of folder and scene."""
    place = tmp_path / 'Ünser "Bild" № 1'
    place.mkdir()
    (place / "été 'x'.pov").write_text(SCENE)
    spec, _ = read_task(place)
    assert (spec.name, spec.options["scene"]) == ('Ünser "Bild" № 1', "été 'x'.pov")


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    """A special file cannot travel, and says so before anything is sent."""
    place = folder(tmp_path, {"a.pov": SCENE})
    os.mkfifo(place / "pipe")
    with pytest.raises(TaskFileError, match="pipe"):
        read_task(place)


def test_where_keys_stand() -> None:
    """Headers, dotted and quoted keys; comments and values do not count."""
    text = '# a = 1\nkind = "x"\n[ options ]\n  "width" = 3\nlimits.timeout = 4\n[needs]  # [x]\nmemory="a = b"\n'
    assert toml_lines(text) == {"kind": 2, "options": 3, "options.width": 4, "options.limits.timeout": 5, "needs": 6, "needs.memory": 7}


def test_the_shipped_scenes_are_tasks() -> None:
    """The demo by its task.toml, the quick one by its .ini, both without a warning."""
    scenes = Path(__file__).parents[2] / "misc" / "scenes"
    demo, warnings = read_task(scenes / "demo")
    assert (demo.name, demo.options["width"]) == ("demo", 960) and not warnings
    quick, warnings = read_task(scenes / "quick")
    assert (quick.name, quick.options["width"], quick.options["antialias"]) == ("quick", 320, 0.2) and not warnings
