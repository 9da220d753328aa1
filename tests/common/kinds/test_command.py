"""Any program over files, frames, tiles and numbers: real programs, and what they write is what arrives."""

from __future__ import annotations

import io
import json
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clusterray.common.errors import FileError, KindError, OutputRejected, SplitFailed, StitchFailed, TaskFileError
from clusterray.common.kinds.command import COMMAND
from clusterray.common.kinds.command_run import last_call, recipe
from clusterray.common.kinds.kind import Piece, Place
from clusterray.common.model import Cause, FarmShape, Region, TaskSpec
from clusterray.common.process import run, start
from clusterray.common.testing_kinds import PlainFiles, Rehearsal, check_kind, rehearse, whole_task
from PIL import Image

PICTURE = """\
#!/usr/bin/env python3
# a PNG by hand: tile.py OUT LEFT TOP RIGHT BOTTOM [VALUE]; each pixel says where it is
import struct, sys, zlib
out, left, top, right, bottom = sys.argv[1], *map(int, sys.argv[2:6])
value = round(float(sys.argv[6])) if len(sys.argv) > 6 else 9
rows = b"".join(b"\\0" + b"".join(bytes((x % 256, y % 256, value)) for x in range(left, right)) for y in range(top, bottom))
def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
head = struct.pack(">IIBBBBB", right - left, bottom - top, 8, 2, 0, 0, 0)
open(out, "wb").write(b"\\x89PNG\\r\\n\\x1a\\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
"""


def folder(tmp_path: Path, files: Mapping[str, str | bytes]) -> Path:
    place = tmp_path / "in"
    for name, text in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(text if isinstance(text, bytes) else text.encode())
        if str(text).startswith("#!"):
            (place / name).chmod(0o755)
    place.mkdir(exist_ok=True)
    return place


def spec(**options: Any) -> TaskSpec:
    return TaskSpec(kind="command", name="made", options=options)


def task(tmp_path: Path, content: Mapping[str, str | bytes], **options: Any) -> Rehearsal:
    return rehearse(COMMAND, spec(**options), folder(tmp_path, content), tmp_path / "work")


def covers(spec: TaskSpec, regions: Sequence[Region]) -> str:
    """Every item once, in order; the exam's tasks have five."""
    found = sum(len(region.data["items"]) for region in regions)
    return "" if found == 5 else f"{found} items of 5"


LETTERS = {f"{letter}.txt": f"{letter} and more of it\n" for letter in "abcde"}
OVER_FILES = {"command": ["tr", "a-z", "A-Z"], "files": "*.txt", "stdin": "{input}", "stdout": "{output}", "outputs": ["{stem}.up"]}


# --- the exam, over each of the four


def test_the_exam_over_files(tmp_path: Path) -> None:
    """tr reads its standard input and writes its standard output; all outputs lie side by side."""
    assets = check_kind(COMMAND, spec(**OVER_FILES), folder(tmp_path, LETTERS), tmp_path / "work", covers)
    assert assets == {f"{letter}.up": f"{letter} and more of it\n".upper().encode() for letter in "abcde"}


def test_the_exam_over_a_range_in_one_file(tmp_path: Path) -> None:
    """Several items a job, joined in order whatever the order of the jobs."""
    options = {"command": ["printf", "%s,", "{index:03d}"], "range": [8, 0, -2], "stdout": "{output}", "outputs": ["{index}.csv"]}
    assets = check_kind(COMMAND, spec(**options, chunk=2, join="concatenate"), folder(tmp_path, {}), tmp_path / "work", covers)
    assert assets == {"made.csv": b"008,006,004,002,000,"}


def test_the_exam_over_frames(tmp_path: Path) -> None:
    """Pictures in one picture, row by row; damage of any byte is seen."""
    options = {"command": ["./tile.py", "{output}", "0", "0", "8", "6", "{frame}"], "frames": "1-9x2", "outputs": ["{frame:04d}.png"]}
    place = folder(tmp_path, {"tile.py": PICTURE})
    assets = check_kind(COMMAND, spec(**options, join="montage", columns=2), place, tmp_path / "work", covers)
    with Image.open(io.BytesIO(assets["made.png"])) as image:
        assert image.size == (16, 18)
        assert [image.getpixel((x, y)) for y in (1, 7, 13) for x in (2, 10)] == [
            (2, 1, 1), (2, 1, 3), (2, 1, 5), (2, 1, 7), (2, 1, 9), (0, 0, 0),
        ]  # fmt: skip


@pytest.mark.parametrize("chunk", [1, 2])
def test_tiles_are_joined_pixel_by_pixel(chunk: int, tmp_path: Path) -> None:
    """Equal to the picture that one call makes; a tile of another size is refused."""
    words = ["./tile.py", "{output}", "{left}", "{top}", "{right}", "{bottom}"]
    shape = {"tiles": [3, 2], "width": 47, "height": 31}
    made = task(tmp_path, {"tile.py": PICTURE}, command=words, **shape, outputs=["r{row}c{column}.png"], join="montage", chunk=chunk)
    (asset,) = made.whole().values()
    run([str(made.inputs / "tile.py"), str(tmp_path / "whole.png"), "0", "0", "47", "31"], timeout=30)
    with Image.open(io.BytesIO(asset)) as image, Image.open(tmp_path / "whole.png") as whole:
        assert np.array_equal(np.asarray(image), np.asarray(whole))
    first, second = made.split()[:2]
    with pytest.raises(OutputRejected, match="r0c0"):
        made.stage.verify(made.spec, first, made.process(msg(second, first)))


def msg(region: Region, like: Region) -> Region:
    """The region with other items under the same output names."""
    items = [[*one[:2], *other[2:4], other[4] + 1, other[5]] for one, other in zip(like.data["items"], region.data["items"], strict=False)]
    return Region(name=f"{like.name}-again", data={**like.data, "items": items})


def test_automatic_tiles(tmp_path: Path) -> None:
    """The farm decides, and the tiles cover the picture."""
    made = task(tmp_path, {}, command=["true"], tiles="auto", width=640, height=480, outputs=["{column}-{row}"])
    regions = made.split(FarmShape(slots=4))
    assert len(regions) > 4 and sum((r - x) * (b - y) for x, y, r, b in (region.data["rect"] for region in regions)) == 640 * 480


# --- words, places, environment


def test_every_placeholder(tmp_path: Path) -> None:
    """What each stands for, with a task's own program that prints its words."""
    script = '#!/bin/sh\nfor word in "$@" "$LEVEL" "$WHERE"; do echo "$word"; done\npwd\n'
    words = ["./say.sh", "{input}", "{input.name}", "{input.stem}", "{name}", "{stem}", "{path}", "{output}", "{outputs}", "{inputs}",
             "{cores}", "{scratch}", "{{}}", "$HOME `id` a b"]  # fmt: skip
    made = task(
        tmp_path, {"say.sh": script, "sub/x y.t": "1"}, command=words, files="**/*.t", stdout="{output}", outputs=["{path}.log"],
        env={"LEVEL": "{{3}}", "WHERE": "{inputs}/z"},
    )  # fmt: skip
    (region,) = made.split()
    said = made.process(region).read("sub/x y.log").decode().splitlines()
    scratch = tmp_path / "work" / region.name
    assert said == [
        str(made.inputs / "sub/x y.t"), "x y.t", "x y", "x y.t", "x y", "sub/x y", str(scratch / "out/sub/x y.log"), str(scratch / "out"),
        str(made.inputs), "1", str(scratch), "{}", "$HOME `id` a b", "{3}", f"{made.inputs}/z", str(scratch / "out"),
    ]  # fmt: skip


def test_the_placeholders_of_a_tile(tmp_path: Path) -> None:
    """Edges count from 0, right and bottom are the first outside; the whole picture's size is there too."""
    names = ("left", "top", "right", "bottom", "w", "h", "column", "row", "width", "height")
    words = ["printf", " ".join(f"{name}={{{name}}}" for name in names)]
    made = task(tmp_path, {}, command=words, tiles=[2, 2], width=30, height=21, stdout="{output}", outputs=["{row}{column}"])
    assert made.process(made.split()[3]).read("11") == b"left=15 top=10 right=30 bottom=21 w=15 h=11 column=1 row=1 width=30 height=21"


def test_damage_on_the_way_is_seen(tmp_path: Path) -> None:
    """Of any file of a job, whatever it holds: changed, cut, longer, lost, or one too many; the rest being as it was."""
    made = task(tmp_path, LETTERS, **OVER_FILES, chunk=2)
    (region, *_) = made.split()
    good = made.process(region)
    whole = {name: good.read(name) for name in good.names()}
    made.stage.verify(made.spec, region, good)
    assert sorted(whole) == ["a.up", "b.up", "clusterray-outputs.json"]
    for name, data in whole.items():
        for number, bad in enumerate((None, b"", data[:-1], data + b"x", bytes([data[0] ^ 1]) + data[1:])):
            rest = {other: content for other, content in whole.items() if other != name}
            place = folder(tmp_path / f"{name}-{number}", rest if bad is None else {**rest, name: bad})
            with pytest.raises(OutputRejected):
                made.stage.verify(made.spec, region, PlainFiles(place))
    with pytest.raises(OutputRejected, match="z came, which the job did not make"):
        made.stage.verify(made.spec, region, PlainFiles(folder(tmp_path / "more", {**whole, "z": b"z"})))


def test_a_job_reads_its_own_files_only(tmp_path: Path) -> None:
    """Unless the command asks for the folder, or is a program of the task: then all but the task file."""
    regions = task(tmp_path, LETTERS, **OVER_FILES, chunk=3).split()
    assert [region.needs for region in regions] == [("a.txt", "b.txt", "c.txt"), ("d.txt", "e.txt")]
    whole = COMMAND.examine(spec(**OVER_FILES, env={"X": "{inputs}"}), PlainFiles(tmp_path / "in")).spec
    assert next(iter(COMMAND.stages(whole)[0].split(whole, PlainFiles(tmp_path / "in"), FarmShape()))).needs == ("!task.toml",)


def test_patterns_of_outputs(tmp_path: Path) -> None:
    """A pattern takes what there is, also where a name has brackets; what was not asked for is not sent."""
    script = "#!/bin/sh\nfor n in 1 2 3; do echo $n > $1_$n.part; done; echo x > scrap\n"
    made = task(tmp_path, {"cut.sh": script, "a[1].t": "1"}, command=["./cut.sh", "{stem}"], files="*.t", outputs=["{stem}_*.part"])
    assert made.whole() == {f"a[1]_{n}.part": f"{n}\n".encode() for n in (1, 2, 3)}


def test_an_output_that_is_not_made_or_empty_is_named(tmp_path: Path) -> None:
    """Though the program ended well: with the item, so that its submitter can look."""
    made = task(tmp_path, LETTERS, command=["true"], files="*.txt", outputs=["{stem}.up"])
    with pytest.raises(OutputRejected, match=r"'a\.up' of a\.txt was not made"):
        made.process(made.split()[0])
    silent = spec(command=["true"], files="*.txt", stdout="{output}", outputs=["{stem}.up"])
    made = rehearse(COMMAND, silent, tmp_path / "in", tmp_path / "w2")
    with pytest.raises(OutputRejected, match=r"'a\.up' of a\.txt is empty"):
        made.process(made.split()[0])


def test_a_picture_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    """A program may end well after half a picture; its job does not count as done."""
    place = folder(tmp_path, {"tile.py": PICTURE})
    run([str(place / "tile.py"), str(place / "good.png"), "0", "0", "40", "40"], timeout=30)
    head = spec(command=["head", "-c", "200", "{input}"], files="good.png", stdout="{output}", outputs=["o.png"])
    made = rehearse(COMMAND, head, place, tmp_path / "w")
    (region,) = made.split()
    with pytest.raises(OutputRejected, match=r"o\.png: "):
        made.stage.verify(made.spec, region, made.process(region))


# --- failures


@pytest.mark.parametrize("redirected", [False, True])
@pytest.mark.parametrize(("words", "code", "sentence"), [
    (["sh", "-c", "echo wrong colour >&2; exit 7"], 7, "sh exited with 7 on frame 1: wrong colour"),
    (["sh", "-c", "kill -9 $$"], -9, "sh ended by signal 9 on frame 1."),
])  # fmt: skip
def test_a_failure_names_program_and_item(redirected: bool, words: list[str], code: int, sentence: str, tmp_path: Path) -> None:
    """The exit code and the last line come through, with the driver between or without."""
    more = {"stdout": "{output}"} if redirected else {}
    made = task(tmp_path, {}, command=words, frames=1, outputs=["{frame}.x"], **more)
    recipe = made.recipe(made.split()[0])
    done = run(recipe.argv, timeout=30, cwd=recipe.cwd or "/")
    failure = recipe.diagnose(done.code, done.stderr.splitlines())
    assert (done.code, failure.cause, failure.exit_code, failure.sentence) == (code, Cause.ERROR, code, sentence)


def test_a_chunk_stops_at_the_item_that_fails(tmp_path: Path) -> None:
    """The sentence names it, later items are not begun, and the driver says how far it is."""
    words = ["sh", "-c", "echo {index}; exit $(({index} == 2))"]
    made = task(tmp_path, {}, command=words, range="0-4", chunk=5, stdout="{output}", outputs=["{index}.x"])
    recipe = made.recipe(made.split()[0])
    done = run(recipe.argv, timeout=30, cwd=recipe.cwd or "/")
    lines = done.stderr.splitlines()
    assert recipe.diagnose(done.code, lines).sentence == "sh exited with 1 on number 2."
    assert recipe.progress is not None
    assert [recipe.progress(line) for line in lines if line.startswith("clusterray: item")] == [0.0, 0.2, 0.4]
    assert recipe.progress("clusterray: item x of y") is None
    assert sorted(path.name for path in Path(recipe.cwd or "/").iterdir()) == ["0.x", "1.x", "2.x"]


def test_a_stop_ends_the_driver_and_its_program(tmp_path: Path) -> None:
    """Nothing of a job outlives it."""
    made = task(tmp_path, {}, command=["sh", "-c", "echo begun >&2; exec sleep 100"], range="0-1", chunk=2, outputs=["{index}.x"])
    recipe = made.recipe(made.split()[0])
    import threading

    begun = threading.Event()
    running = start(recipe.argv, cwd=recipe.cwd or "/", on_line=lambda line: begun.set() if line == "begun" else None)
    assert begun.wait(30)
    family = running.family()
    running.stop(grace=0.2)
    assert len(family) >= 2 and not running.family() and running.poll() not in (None, 0)


def test_what_a_node_lacks(tmp_path: Path) -> None:
    """A program that is not there costs the task no attempt (FileError: given back); one that may not be run is the task's fault."""
    made = task(tmp_path, {"tool": "x"}, command=["no-such-tool"], frames=1, outputs=["x"])
    with pytest.raises(FileError, match="'no-such-tool' is not on this node"):
        made.recipe(made.split()[0])
    other = rehearse(COMMAND, spec(command=["./tool"], frames=1, outputs=["x"]), made.inputs, tmp_path / "w2")
    with pytest.raises(KindError, match=r"\./tool is not executable: chmod \+x"):
        other.recipe(other.split()[0])
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "special").write_text("#!/bin/sh\n")
    (tmp_path / "bin" / "special").chmod(stat.S_IRWXU)
    third = rehearse(COMMAND, spec(command=["special"], frames=1, stdout="{output}", outputs=["x"]), made.inputs, tmp_path / "w3")
    place = Place(inputs=made.inputs, scratch=tmp_path / "w3", programs={"special": str(tmp_path / "bin" / "special")})
    (tmp_path / "w3" / "out").mkdir(parents=True)
    recipe = third.stage.process(third.spec, third.split()[0], place)
    assert json.loads((tmp_path / "w3" / "clusterray-run.json").read_text())[0]["argv"] == [str(tmp_path / "bin" / "special")]
    assert recipe.see == (tmp_path / "bin",), "where a program outside of /usr keeps itself is seen by the confined driver"
    beside = Place(inputs=made.inputs, scratch=tmp_path / "bin" / "s", programs=place.programs)
    (beside.scratch / "out").mkdir(parents=True)
    recipe = third.stage.process(third.spec, third.split()[0], beside)
    assert recipe.see == (tmp_path / "bin" / "special",), "where our own data lies beside it, it is shown alone"


@pytest.mark.parametrize(("pieces", "letters"), [(1, 140_000), (100_000, 10)])
def test_words_that_no_program_can_be_started_with(pieces: int, letters: int, tmp_path: Path) -> None:
    """The task is told, instead of the job being given back for ever."""
    options = {"command": ["true"], "frames": 1, "outputs": ["x"], "last": ["cat", "{pieces}"], "last_outputs": ["y"]}
    place = Place(inputs=tmp_path, scratch=tmp_path)
    with pytest.raises(KindError, match=r"too many to start a program with; \{list\} has \{pieces\} in a file"):
        recipe(options, [last_call(options, [Path("/" + "x" * letters)] * pieces, tmp_path, place)], place, ["y"], lambda: None)


# --- two stages, films


def test_the_last_command(tmp_path: Path) -> None:
    """A second stage of one job gets every output of the first, in order, and the task's folder; only its own outputs are assets."""
    script = '#!/bin/sh\nlist="$1"; out="$2"; shift 2\ncat "$INPUTS/head.txt" "$@" > "$out"\nwc -l < "$list" >> "$out"\n'
    files = {f"{n}.txt": f"file {n}\n" for n in range(12)} | {"join.sh": script, "head.txt": "head\n"}
    options = OVER_FILES | {"files": ["?.txt", "??.txt"], "chunk": 5}
    words = ["./join.sh", "{list}", "{output}", "{pieces}"]
    made = spec(**options, last=words, last_outputs=["all.txt"], env={"INPUTS": "{inputs}"})
    assets = whole_task(COMMAND, made, folder(tmp_path, files), tmp_path / "work")
    order = sorted(f"{n}.txt" for n in range(12))
    body = "".join(f"FILE {name.removesuffix('.txt')}\n" for name in order)
    assert assets == {"all.txt": f"head\n{body}12\n".encode()}
    examined = COMMAND.examine(made, PlainFiles(tmp_path / "in")).spec
    assert [stage.name for stage in COMMAND.stages(examined)] == ["items", "last"]
    assert examined.needs.command == "tr ./join.sh", "a node must allow both"


def test_a_film(tmp_path: Path) -> None:
    """Frames by any program with the keyframes' values in its words; the frames, the film and the curves come out."""
    words = ["./tile.py", "{output}", "0", "0", "32", "24", "{var:glow:.1f}"]
    made = spec(
        command=words,
        outputs=["{frame:02d}.png"],
        animation={"frames": "1-6", "fps": 25, "chunk": 2},
        keyframes={"glow": [[1, 0], [6, 100]]},
    )
    assets = whole_task(COMMAND, made, folder(tmp_path, {"tile.py": PICTURE}), tmp_path / "work")
    assert sorted(assets) == [
        *(f"frames/made_{n:04d}.png" for n in range(1, 7)), "made-contact.jpg", "made-curves.png", "made-poster.jpg", "made.mp4",
    ]  # fmt: skip
    for n in range(1, 7):
        with Image.open(io.BytesIO(assets[f"frames/made_{n:04d}.png"])) as image:
            assert image.size == (32, 24) and image.getpixel((3, 4)) == (3, 4, (n - 1) * 20)


# --- what is wrong is said before it is sent


@pytest.mark.parametrize(
    ("options", "key", "words"),
    [
        ({"files": None}, "command", "one of files, frames, tiles and range, and none of them is said"),
        ({"frames": "1-3"}, "frames", "one of files, frames, tiles and range, not over files and frames"),
        ({"files": None, "tiles": [2, 2]}, "tiles", "tiles need width and height"),
        ({"files": None, "tiles": [9, 1], "width": 4, "height": 4, "outputs": ["{column}"]}, "tiles", "4 pixels cannot be cut into 9"),
        ({"files": "*.jpg"}, "files", 'no file of the folder matches "*.jpg"'),
        ({"files": "*.toml"}, "files", 'but task.toml matches "*.toml"'),
        ({"files": 3}, "files", "must be a pattern"),
        ({"files": None, "frames": "9-1", "outputs": ["{frame}"]}, "frames", "must count upwards"),
        ({"files": None, "range": "9-1", "outputs": ["{index}"]}, "range", 'must count upwards, which "9-1" does not.'),
        (
            {"files": None, "range": "1-9999", "stdin": "", "outputs": ["{index}", "b{index}"], "chunk": 1000},
            "chunk",
            "can send 1999; 999 is the most.",
        ),
        (
            {"files": None, "range": "1-100001", "stdin": "", "outputs": ["{index}"]},
            "outputs",
            "100001 items make 100001 files, but a task can",
        ),
        ({"files": None, "range": [0, 9, -1], "outputs": ["{index}"]}, "range", "never gets from 0 to 9"),
        ({"files": None, "range": [0, 1e9], "outputs": ["{index}"]}, "range", 'must be "0-99"'),
        ({"files": None, "range": [0, 10**9], "outputs": ["{index}"]}, "range", "more than 1000000"),
        ({"outputs": []}, "outputs", 'Say what the command writes: outputs = ["{stem}.png"]'),
        ({"outputs": ["same.txt"]}, "outputs", '"same.txt" would be written for a.txt and for b.txt; tell outputs apart by {name}'),
        ({"outputs": ["{stem}.x", "{stem}.x"]}, "outputs", '"a.x" would be written twice'),
        ({"outputs": ["../{stem}"]}, "outputs", '"../a" is no path of a file that a job may write'),
        ({"outputs": ["/tmp/{stem}"]}, "outputs", "is no path of a file"),
        ({"outputs": ["clusterray-{stem}"]}, "outputs", "is no path of a file"),
        ({"outputs": ["{frame}.x"]}, "outputs", '"{frame}" is no placeholder here'),
        ({"command": ["tr", "{inpt}"]}, "command", '"{inpt}" is no placeholder here; did you mean "input"?'),
        ({"command": ["tr", "{input"]}, "command", "a brace without its other half"),
        ({"command": ["/usr/bin/tr"]}, "command", 'name it alone, such as "ffmpeg"'),
        ({"command": ["{input}"]}, "command", "is no program that a node can look up"),
        ({"command": ["./x.sh"]}, "command", "there is no ./x.sh in the folder"),
        ({"command": ["./../x.sh"]}, "command", "is no program in the task's folder"),
        ({"command": []}, "command", '"" is no program'),
        ({"command": ["cp", "{output}"], "outputs": ["{stem}*"]}, "command", 'first of outputs, which is the pattern "{stem}*"'),
        ({"stdout": "x.txt"}, "stdout", 'stdout must be "{output}"'),
        ({"stdin": "{nput}"}, "stdin", "is no placeholder here"),
        ({"env": {"LD_PRELOAD": "x.so"}}, "env.LD_PRELOAD", "cannot be set for a job"),
        ({"env": {"PATH": "{inputs}"}}, "env.PATH", "cannot be set for a job"),
        ({"env": {"A": 3}}, "env.A", 'must be a text in quotes, such as "3", not 3'),
        ({"env": {"A": "{input}"}}, "env.A", "is no placeholder here"),
        ({"see": ["/"]}, "see", 'no option "see"'),
        ({"join": "film"}, "join", 'join = "film" needs [animation]'),
        ({"join": "montage"}, "outputs", "needs pictures"),
        ({"join": "concatenate", "outputs": ["{stem}*"], "stdout": "", "command": ["true"]}, "outputs", "needs one output for each item"),
        ({"last": ["cat", "{pieces}"], "join": "concatenate"}, "last", "it gets all outputs"),
        ({"last": ["cat", "-{pieces}"]}, "last", "has to be a word of its own"),
        ({"last": ["cat", "{input}"]}, "last", '"{input}" is no placeholder here; did you mean "inputs"'),
        ({"last_outputs": ["x"]}, "last_outputs", "belongs to last, which is not there"),
        ({"animation": {"frames": "1-3"}}, "files", "[animation] says the frames, so that files has to go"),
        ({"keyframes": {"x": [[1, 1]]}}, "keyframes", "[keyframes] needs [animation]"),
    ],
)
def test_one_sentence_for_each_mistake(options: dict[str, Any], key: str, words: str, tmp_path: Path) -> None:
    """With the option that is wrong, by which the line is found."""
    files = PlainFiles(folder(tmp_path, LETTERS | {"task.toml": ""}))
    given = {name: value for name, value in (OVER_FILES | options).items() if value is not None}
    with pytest.raises(TaskFileError) as caught:
        COMMAND.examine(spec(**given), files)
    assert words in str(caught.value), caught.value
    assert caught.value.key.removeprefix("options.") == key


def test_what_a_node_must_allow(tmp_path: Path) -> None:
    """The program's name, whatever the submitter says of it; a program of the task is named as its path."""
    files = PlainFiles(folder(tmp_path, LETTERS | {"t/x.sh": "#!/bin/sh\n"}))
    lying = TaskSpec(kind="command", name="x", options=OVER_FILES, needs=COMMAND.examine(spec(**OVER_FILES), files).spec.needs)
    assert COMMAND.examine(lying, files).spec.needs.command == "tr"
    own = COMMAND.examine(spec(**OVER_FILES | {"command": ["./t//x.sh"]}), files).spec
    assert own.needs.command == "./t/x.sh"
    assert COMMAND.allow == "commands"


def test_files_that_went_after_the_look(tmp_path: Path) -> None:
    """A split whose folder has changed says so."""
    made = task(tmp_path, LETTERS, **OVER_FILES)
    with pytest.raises(SplitFailed, match="no file of the folder matches"):
        made.stage.split(made.spec, PlainFiles(tmp_path / "work"), FarmShape())


def test_names_that_only_patterns_bring_together(tmp_path: Path) -> None:
    """Two jobs that made the same file are both named."""
    made = task(tmp_path, {"a.txt": "", "ab.txt": ""}, command=["true"], files="*.txt", outputs=["{stem}*"])
    files = folder(tmp_path / "more", {"abc": "1"})
    first, second = made.split()
    with pytest.raises(StitchFailed, match=f"abc was made by the jobs {first.name} and {second.name}"):
        made.stitch([Piece(region=region, files=PlainFiles(files)) for region in (first, second)])


def test_the_preview_shows_tiles_where_they_belong(tmp_path: Path) -> None:
    """Pictures of tiles in their place; of files one beside the other; of anything else there is nothing to see."""
    words = ["./tile.py", "{output}", "{left}", "{top}", "{right}", "{bottom}"]
    made = task(tmp_path, {"tile.py": PICTURE}, command=words, tiles=[2, 2], width=64, height=48, outputs=["{row}-{column}.png"])
    regions = made.split()
    (tmp_path / "seen").mkdir()
    assert made.stage.preview(made.spec, made.files, regions, list(made.pieces(regions[:2])), tmp_path / "seen", 64)
    with Image.open(tmp_path / "seen" / "preview.png") as image:
        assert image.size == (64, 48)
        assert (image.convert("RGB").getpixel((50, 10))) == (50, 10, 9)
    text = rehearse(COMMAND, spec(**OVER_FILES), folder(tmp_path / "t", LETTERS), tmp_path / "w2")
    assert not text.stage.preview(text.spec, text.files, text.split(), [], tmp_path / "seen", 64)
