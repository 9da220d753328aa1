"""Films, by a kind whose frames are drawn by a real program (Python and pillow), one per run of frames."""

from __future__ import annotations

import math
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from clusterray.common.errors import OutputRejected, SplitFailed, StitchFailed, TaskFileError
from clusterray.common.kinds.animation import ANIMATION, Frames, Sample, automatic, film_of, film_stages, frame_file, settle_film
from clusterray.common.kinds.frame_regions import frames_of
from clusterray.common.kinds.keyframes import KEYFRAMES
from clusterray.common.kinds.kind import Examined, Folder, Kind, Option, Piece, Place, Recipe, Stage
from clusterray.common.kinds.options import normalise
from clusterray.common.kinds.preview_sheet import Sheet
from clusterray.common.kinds.rasters import check_picture
from clusterray.common.kinds.sample import Measured, estimate, spread
from clusterray.common.model import FarmShape, Needs, Region, TaskSpec
from clusterray.common.testing_kinds import PlainFiles, Rehearsal, check_kind, rehearse, whole_task
from PIL import Image

WIDTH, HEIGHT = 64, 48
DRAW = """
import sys
from PIL import Image
for word in sys.argv[1:]:
    number, red = word.split("=")
    picture = Image.new("RGB", (64, 48), (int(red), 40, 200))
    picture.paste((int(number) % 256, 255, 0), (0, 0, 16, 16))
    picture.save(f"out/{int(number):06d}.png")
"""


class Drawn(Frames):
    """A colour per frame; with keyframes the variable ``red``."""

    def suffix(self, task: TaskSpec) -> str:
        return "png"

    def render(self, task: TaskSpec, frames: tuple[int, ...], region: Region, place: Place) -> Recipe:
        from clusterray.common.kinds.animation import variables

        reds = [round(variables(task.options, frame).get("red", frame * 10 % 256)) for frame in frames]
        return Recipe(argv=(sys.executable, "-c", DRAW, *(f"{frame}={red}" for frame, red in zip(frames, reds, strict=True))))

    def check(self, task: TaskSpec, path: Path) -> None:
        check_picture(path, width=WIDTH, height=HEIGHT, format="png", bits=8, channels=3)


class Painter(Kind):
    name = "painter"
    version = 1
    allow = "render"
    options = (Option(name="brush", type="str", default="round"), ANIMATION, KEYFRAMES)

    def recognise(self, files: Folder) -> bool:
        return False

    def examine(self, spec: TaskSpec, files: Folder) -> Examined:
        options = normalise(self.name, self.options, spec.options)
        warnings = settle_film(options, files)
        return Examined(spec=TaskSpec(kind=spec.kind, name=spec.name, options=options), warnings=tuple(warnings))

    def needs(self, spec: TaskSpec) -> Needs:
        return spec.needs

    def stages(self, task: TaskSpec) -> tuple[Stage, ...]:
        return film_stages(Drawn(), task)


def task(frames: object = "1-12", keyframes: dict[str, Any] | None = None, **animation: Any) -> TaskSpec:
    options: dict[str, Any] = {"animation": {"frames": frames, **animation}}
    if keyframes is not None:
        options["keyframes"] = keyframes
    return TaskSpec(kind="painter", name="film", options=options)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "task"
    made.mkdir()
    (made / "scene.txt").write_text("a scene")
    return made


def film_colours(data: bytes, to: Path) -> list[tuple[int, ...]]:
    """The middle colour of each frame of a film."""
    to.write_bytes(data)
    with av.open(str(to)) as file:
        shown = [frame.reformat(format="rgb24", src_colorspace=1, dst_color_range=2).to_ndarray() for frame in file.decode(video=0)]
    return [tuple(int(value) for value in pixels[36:44, 40:56].mean(axis=(0, 1))) for pixels in shown]


def same_film(one: dict[str, bytes], other: dict[str, bytes], place: Path) -> bool:
    """All assets byte for byte, and the film by what it shows."""
    films = [film_colours(assets["film.mp4"], place / "shown.mp4") for assets in (one, other)]
    return films[0] == films[1] and one | {"film.mp4": b""} == other | {"film.mp4": b""}


def setting_out(spec: TaskSpec, folder: Path, work: Path) -> Rehearsal:
    return rehearse(Painter(), spec, folder, work)


def split(spec: TaskSpec, folder: Path, work: Path, slots: int = 2) -> list[tuple[tuple[int, ...], int]]:
    return [(frames_of(region), region.turn) for region in setting_out(spec, folder, work).split(FarmShape(slots=slots))]


def complaint(spec: TaskSpec, folder: Path) -> TaskFileError:
    with pytest.raises(TaskFileError) as caught:
        Painter().examine(spec, PlainFiles(folder))
    return caught.value


def covers(spec: TaskSpec, regions: Sequence[Region]) -> str:
    film = film_of(spec.options)
    assert film is not None
    there = sorted(frame for region in regions for frame in frames_of(region))
    return "" if tuple(there) == film.frames else f"{there} are not the film's frames"


def test_a_film_passes_the_exam_of_kinds(folder: Path, tmp_path: Path) -> None:
    """Split into runs, any order of acceptance gives the same bytes, damaged and lost outputs are noticed and named."""
    # x264 gives other bytes for the same pixels once in a while (docs/films.md), so the exam is of the frames
    assets = check_kind(Painter(), task(chunk=4, first_pass=0, codec="none"), folder, tmp_path / "work", covers)
    numbers = [f"frames/film_{number:04d}.png" for number in range(1, 13)]
    assert sorted(assets) == sorted([*numbers, "film-poster.jpg", "film-contact.jpg"])


def test_the_film_shows_the_frames_in_order(folder: Path, tmp_path: Path) -> None:
    """Every frame is there once, in its colour, as the renderer wrote it, and in the film."""
    assets = whole_task(Painter(), task("1-9x2,10", chunk=2, first_pass=3), folder, tmp_path / "work")
    numbers = (1, 3, 5, 7, 9, 10)
    assert [name for name in sorted(assets) if name.startswith("frames/")] == [f"frames/film_{number:04d}.png" for number in numbers]
    colours = film_colours(assets["film.mp4"], tmp_path / "film.mp4")
    assert len(colours) == len(numbers)
    for colour, number in zip(colours, numbers, strict=True):
        assert np.abs(np.subtract(colour, (number * 10, 40, 200))).max() <= 4


def test_a_long_film_is_measured_first_and_no_frame_is_rendered_twice(folder: Path, tmp_path: Path) -> None:
    """With chunk = "auto" some frames come from the sample, the others from jobs for all slots, and the film has each once, in order."""
    spec = task("1-30")
    assets = whole_task(Painter(), spec, folder, tmp_path / "work", farm=FarmShape(slots=2))
    sampled = {path.stem for path in (tmp_path / "work" / "inputs" / "stages" / "sample").glob("*.png")}
    assert len(sampled) == 4
    rendered = {path.stem for path in (tmp_path / "work" / "1").rglob("0*.png") if "out" in path.parts}
    assert not sampled & rendered and len(sampled | rendered) == 30
    colours = film_colours(assets["film.mp4"], tmp_path / "film.mp4")
    assert len(colours) == 30
    assert all(abs(colour[0] - number * 10 % 256) <= 4 for number, colour in enumerate(colours, 1))


def test_chunks_are_a_minute_long_but_leave_no_slot_idle() -> None:
    """Costly frames make short jobs; cheap ones make long jobs, though three for each slot at least; unmeasured ones stay short."""
    assert automatic(1000, 2, seconds=6.0) == 10
    assert automatic(1000, 2, seconds=600.0) == 1
    assert automatic(240, 2, seconds=0.3) == 40
    assert automatic(5, 8, seconds=0.3) == 1
    assert automatic(24, 1, seconds=0.0) == 4


def test_start_up_and_frame_are_told_apart() -> None:
    """A job of two frames beside jobs of one says what a further frame costs."""
    found = estimate([(1, 0.9), (2, 1.15), (1, 0.9)])
    assert found.frame == pytest.approx(0.25) and found.start == pytest.approx(0.65)
    assert estimate([(1, 600.0), (2, 1200.0), (1, 600.0)]) == Measured(start=0.0, frame=600.0)
    assert estimate([(1, 0.0), (2, 0.0)]) == Measured()
    assert estimate([(2, 3.0)]) == Measured(frame=1.5)


def test_samples_are_spread_over_the_film() -> None:
    """They come from the middles of its parts, one of them of two frames that a renderer can do in one go."""
    assert spread(range(1, 101), 4, True) == [(13, 14), (38,), (63,), (88,)]
    assert spread(range(0, 100, 5), 3, True) == [(15,), (50,), (80,)]
    assert spread(range(0, 100, 5), 3, False) == [(15, 20), (50,), (80,)]
    assert spread((7,), 4, False) == [(7,)]


def test_an_early_look_comes_before_the_rest(folder: Path, tmp_path: Path) -> None:
    """first_pass = 5: every fifth frame is leased before all others, and still stands in its place."""
    jobs = split(task("1-12", chunk=3, first_pass=5), folder, tmp_path)
    assert jobs == [((1,), 0), ((2, 3, 4), 1), ((5,), 1), ((6,), 0), ((7, 8, 9), 1), ((10,), 1), ((11,), 0), ((12,), 1)]


def test_slow_frames_get_an_early_look_by_themselves(folder: Path, tmp_path: Path) -> None:
    """Frames of many seconds: every 16th first. Fast ones: no, as further starts of the program would cost more than they show."""
    for seconds, turns in ((10.0, {0, 1}), (0.5, {0})):
        place = tmp_path / f"{seconds}" / "stages" / "sample"
        place.mkdir(parents=True)
        (place / "measured.json").write_text(f'{{"start": 0.5, "frame": {seconds}}}')
        spec = Painter().examine(task("1-60"), PlainFiles(folder)).spec
        regions = list(Drawn().split(spec, PlainFiles(tmp_path / f"{seconds}"), FarmShape(slots=2)))
        assert {region.turn for region in regions} == turns
        assert max(len(frames_of(region)) for region in regions) == (6 if seconds == 10 else 10)


def test_frames_that_exist_are_not_rendered_but_shown(folder: Path, tmp_path: Path) -> None:
    """existing = "frames": they go into the film bit for bit, others are rendered, and jobs do not fetch them."""
    first = whole_task(Painter(), task("1-12", chunk=12), folder, tmp_path / "first")
    made = folder / "done"
    made.mkdir()
    for number in (1, 5, 6, 12):
        (made / f"old_{number:03d}.png").write_bytes(first[f"frames/film_{number:04d}.png"])
    spec = task("1-12", chunk=4, existing="done/")
    rehearsal = setting_out(spec, folder, tmp_path / "again")
    regions = rehearsal.split()
    assert [frames_of(region) for region in regions] == [(2, 3, 4, 7), (8, 9, 10, 11)]
    assert all("!done" in region.needs for region in regions)
    assert same_film(whole_task(Painter(), spec, folder, tmp_path / "second"), first, tmp_path)


def test_the_preview_of_a_film_has_no_hole_at_its_end(folder: Path, tmp_path: Path) -> None:
    """Frames that the task brought along and those of the sample stand among the rendered ones, from the first piece on."""
    first = whole_task(Painter(), task("1-4", chunk=4), folder, tmp_path / "first")
    (folder / "done").mkdir()
    for number in (1, 4):
        (folder / "done" / f"{number}.png").write_bytes(first[f"frames/film_{number:04d}.png"])
    made = setting_out(task("1-30", existing="done"), folder, tmp_path / "work")
    sample, rest = made.kind.stages(made.spec)
    made.stitch(list(made.pieces(made.split())), "measured")
    inputs = tmp_path / "inputs"
    shutil.copytree(folder, inputs)
    shutil.copytree(tmp_path / "work" / "measured", inputs / "stages" / sample.name)
    made = replace(made, stage=rest, files=PlainFiles(inputs), inputs=inputs, work=tmp_path / "rest")
    regions = made.split()
    pieces = list(made.pieces(regions))
    known = sorted(set(range(1, 31)) - {frame for region in regions for frame in frames_of(region)})
    assert {1, 4} < set(known) and len(known) == 6
    out = tmp_path / "out"
    out.mkdir()

    def seen() -> list[int]:
        """The frames that are no hole: the lower right of each is its colour, and of a hole grey."""
        with Image.open(out / "preview.png") as image:
            picture = image.convert("RGB")
        sheet = Sheet.of([(frame, 0) for frame in range(1, 31)], (WIDTH, HEIGHT), 512)
        assert sheet.frames == tuple(range(1, 31))
        corners = [(n % sheet.columns * sheet.wide + sheet.wide - 12, n // sheet.columns * sheet.high + sheet.high - 12) for n in range(30)]
        return [n + 1 for n, place in enumerate(corners) if picture.getpixel(place) == ((n + 1) * 10 % 256, 40, 200)]

    assert rest.preview(made.spec, made.files, regions, pieces[:1], out, 512)
    assert seen() == sorted({*known, *frames_of(regions[0])})
    assert rest.preview(made.spec, made.files, regions, pieces, out, 512)
    assert seen() == list(range(1, 31))


def test_a_film_whose_frames_all_exist_is_only_encoded(folder: Path, tmp_path: Path) -> None:
    """Nothing is rendered; the film is made, long or short."""
    first = whole_task(Painter(), task("1-30", chunk=30), folder, tmp_path / "first")
    (folder / "done").mkdir()
    for number in range(1, 31):
        (folder / "done" / f"{number}.png").write_bytes(first[f"frames/film_{number:04d}.png"])
    assert same_film(whole_task(Painter(), task("1-30", existing="done"), folder, tmp_path / "second"), first, tmp_path)


def test_an_existing_frame_of_another_form_is_named(folder: Path, tmp_path: Path) -> None:
    """A wrong size, another format, or a number that is there twice is found before anything is rendered."""
    (folder / "done").mkdir()
    Image.new("RGB", (32, 24)).save(folder / "done" / "3.png")
    with pytest.raises(SplitFailed, match=r"done/3.png cannot be a frame of this film: .*32"):
        setting_out(task(existing="done"), folder, tmp_path).split()
    (folder / "done" / "3.png").rename(folder / "done" / "3.exr")
    with pytest.raises(SplitFailed, match=r"done/3.exr cannot be frame 3 of this film, whose frames are .png files"):
        setting_out(task(existing="done"), folder, tmp_path).split()
    (folder / "done" / "a03.exr").write_bytes(b"x")
    assert "are both frame 3" in complaint(task(existing="done"), folder).sentence
    assert complaint(task(existing="nowhere"), folder).key == "animation.existing"


def test_frames_outside_of_the_film_are_left_out_with_a_word(folder: Path, tmp_path: Path) -> None:
    """A folder may hold more than is asked for."""
    (folder / "done").mkdir()
    for name in ("3.png", "99.png", "notes.txt"):
        Image.new("RGB", (WIDTH, HEIGHT)).save(folder / "done" / name, format="png")
    warnings = setting_out(task(existing="done"), folder, tmp_path).warnings
    assert any("done/99.png" in warning for warning in warnings) and any("done/notes.txt" in warning for warning in warnings)


def test_an_unchanged_frame_is_the_same_job(folder: Path, tmp_path: Path) -> None:
    """fps, codec, crf, sound and a longer film leave a job's key as it was; the variables' values and other options do not."""
    curve = {"red": {"points": [[1, 10], [12, 120]]}}

    def keys(spec: TaskSpec) -> list[Any]:
        rehearsal = setting_out(spec, folder, tmp_path)
        return [rehearsal.stage.reads(rehearsal.spec, region) for region in rehearsal.split()]

    base = keys(task("1-12", curve, chunk=4, first_pass=0))
    assert keys(task("1-12", curve, chunk=4, first_pass=0, fps=50, codec="vp9", crf=40, poster=3)) == base
    assert keys(task("1-16", curve, chunk=4, first_pass=0))[:3] == base
    other = keys(task("1-12", {"red": {"points": [[1, 10], [4, 40, "step"], [12, 200]]}}, chunk=4, first_pass=0))
    assert other[0] == base[0] and other[2] != base[2]
    seconds = {"red": {"points": [["0s", 10], ["1s", 120]]}}
    assert keys(task("1-12", seconds, chunk=4, fps=25)) != keys(task("1-12", seconds, chunk=4, fps=50))
    brushed = TaskSpec(kind="painter", name="film", options={**task("1-12", curve, chunk=4, first_pass=0).options, "brush": "flat"})
    assert keys(brushed)[0] != base[0]


def test_keyframes_reach_the_frames_and_are_plotted(folder: Path, tmp_path: Path) -> None:
    """The value at each frame is rendered, and the curves come with the film."""
    spec = task("1-5", {"red": {"points": [[1, 50], [5, 250]]}}, codec="none")
    assets = whole_task(Painter(), spec, folder, tmp_path / "work")
    for number, red in enumerate((50, 100, 150, 200, 250), 1):
        (tmp_path / "frame.png").write_bytes(assets[f"frames/film_{number:04d}.png"])
        with Image.open(tmp_path / "frame.png") as picture:
            assert picture.getpixel((50, 40)) == (red, 40, 200)
    assert assets["film-curves.png"].startswith(b"\x89PNG")
    assert not any(name.endswith(".mp4") for name in assets)


def test_frames_come_one_by_one(folder: Path, tmp_path: Path) -> None:
    """The stitch takes each piece as it comes and says how far it is, so that encoding goes on beside the rendering."""
    rehearsal = setting_out(task("1-12", chunk=4, first_pass=0), folder, tmp_path)
    told: list[float] = []
    at: list[float] = []

    def pieces() -> Iterator[Piece]:
        for piece in rehearsal.pieces(rehearsal.split()):
            at.append(told[-1] if told else 0.0)
            yield piece

    (tmp_path / "out").mkdir()
    rehearsal.stage.stitch(rehearsal.spec, rehearsal.files, pieces(), tmp_path / "out", told.append)
    assert at == pytest.approx([0, 0.33, 0.66]) and told[-1] == 1.0
    assert rehearsal.stage.streams


def test_a_job_that_forgets_or_adds_a_frame_is_refused(folder: Path, tmp_path: Path) -> None:
    """Exactly the frames that were asked for."""
    rehearsal = setting_out(task("1-12", chunk=4, first_pass=0), folder, tmp_path)
    region = rehearsal.split()[0]
    outputs = rehearsal.process(region)
    rehearsal.stage.verify(rehearsal.spec, region, outputs)
    made = tmp_path / region.name / "out"
    (made / "000005.png").write_bytes((made / "000004.png").read_bytes())
    with pytest.raises(OutputRejected, match=r"000005.png came, which was not asked for"):
        rehearsal.stage.verify(rehearsal.spec, region, outputs)
    (made / "000005.png").unlink()
    (made / "000002.png").unlink()
    with pytest.raises(OutputRejected, match=r"000002.png is missing"):
        rehearsal.stage.verify(rehearsal.spec, region, outputs)


def test_a_frame_that_broke_on_its_way_is_named(folder: Path, tmp_path: Path) -> None:
    """The stitch says which frame it could not read, or which is of another size."""
    rehearsal = setting_out(task("1-12", chunk=4, first_pass=0), folder, tmp_path)
    pieces = list(rehearsal.pieces(rehearsal.split()))
    broken = tmp_path / "f000005-000008" / "out" / "000006.png"
    Image.new("RGB", (32, 24)).save(broken)
    with pytest.raises(StitchFailed, match="Frame 6 cannot go into the film: it is 32 x 24 pixels"):
        rehearsal.stitch(pieces, "size")
    broken.write_bytes(b"\x89PNG")
    with pytest.raises(StitchFailed, match="Frame 6 cannot go into the film"):
        rehearsal.stitch(pieces, "cut")
    broken.unlink()
    with pytest.raises(StitchFailed, match="Frame 6 is missing in the output of job f000005-000008"):
        rehearsal.stitch(pieces, "gone")


def test_frames_of_sixteen_bits_become_a_film(folder: Path, tmp_path: Path) -> None:
    """Deep frames are kept as they are; the film shows them as a screen would."""
    from clusterray.common.kinds.film_join import FilmJoin

    options = Painter().examine(task("1-2"), PlainFiles(folder)).spec.options
    film = film_of(options)
    assert film is not None
    deep = Image.fromarray(np.full((HEIGHT, WIDTH), 0x8080, np.uint16))
    deep.save(tmp_path / "a.png")
    (tmp_path / "out").mkdir()
    with FilmJoin(film, "film", "png", tmp_path / "out", PlainFiles(folder), None) as join:
        join.add(1, tmp_path / "a.png")
        join.add(2, tmp_path / "a.png")
        join.finish()
    assert (tmp_path / "out" / "frames" / "film_0001.png").read_bytes() == (tmp_path / "a.png").read_bytes()
    colours = film_colours((tmp_path / "out" / "film.mp4").read_bytes(), tmp_path / "b.mp4")
    assert all(np.abs(np.subtract(colour, 128)).max() <= 2 for colour in colours)


def test_sound_reaches_the_film(folder: Path, tmp_path: Path) -> None:
    """audio = "track.wav" is muxed, jobs do not fetch it, and its faults are found before anything is sent."""
    with av.open(str(folder / "track.wav"), "w") as file:
        stream: Any = file.add_stream("pcm_s16le", rate=48000, layout="stereo")
        frame = av.AudioFrame.from_ndarray(np.full((1, 96000), 9000, np.int16), format="s16", layout="stereo")
        frame.sample_rate = 48000
        file.mux(stream.encode(frame))
    spec = task("1-12", chunk=12, audio="track.wav", audio_offset=0.1)
    assert "!track.wav" in setting_out(spec, folder, tmp_path).split()[0].needs
    (tmp_path / "film.mp4").write_bytes(whole_task(Painter(), spec, folder, tmp_path / "work")["film.mp4"])
    with av.open(str(tmp_path / "film.mp4")) as file:
        assert file.streams.audio[0].codec_context.name == "aac" and len(list(file.decode(video=0))) == 12
    assert 'did you mean "track.wav"' in complaint(task(audio="trak.wav"), folder).sentence
    assert "The film is over after 0.48 s" in complaint(task(audio="track.wav", audio_offset=3.0), folder).sentence
    assert "track.wav is over after 1.00 s" in complaint(task(audio="track.wav", audio_offset=-1.5), folder).sentence
    assert "scene.txt cannot be used as audio" in complaint(task(audio="scene.txt"), folder).sentence


@pytest.mark.parametrize(
    ("wrong", "key", "said"),
    [
        ({"frames": "9-1"}, "frames", "must count upwards"),
        ({"fps": "fast"}, "fps", "must be frames per second"),
        ({"fps": 0}, "fps", "from 0.1 to 1000"),
        ({"fps": "1/0"}, "fps", "must be frames per second"),
        ({"chunk": 0}, "chunk", 'must be "auto" or a whole number from 1, not 0'),
        ({"first_pass": "yes"}, "first_pass", 'must be "auto" or a whole number from 0'),
        ({"codec": "h265"}, "codec", 'did you mean "h264"'),
        ({"crf": 60}, "crf", "from 0 to 51 with h264"),
        ({"codec": "prores", "crf": 10}, "crf", 'crf does not go with codec = "prores"'),
        ({"codec": "none", "crf": 10}, "crf", "there is no film to encode"),
        ({"codec": "vp9", "preset": "slow"}, "preset", 'cannot be "slow" with codec = "vp9"; known are 0, 1, 2'),
        ({"codec": "none", "audio": "a.wav"}, "audio", "audio needs a film"),
        ({"audio_offset": 2.0}, "audio_offset", "audio_offset needs audio"),
        ({"audio": "nope.wav"}, "audio", 'no file "nope.wav" in the folder; there is no sound file in it.'),
        ({"frames": ""}, "frames", 'frames must name frames, such as "1-240", not "".'),
        ({"poster": 99}, "poster", "must be the number of a frame of the film"),
        ({"frame": 3}, "frame", 'did you mean "frames"'),
    ],
)
def test_a_mistake_is_one_sentence_at_its_key(wrong: dict[str, Any], key: str, said: str, folder: Path) -> None:
    """What cannot be is said before anything is sent, with the key that stands in task.toml."""
    error = complaint(task(**{"frames": "1-12", **wrong}), folder)
    assert error.key == f"animation.{key}"
    assert said in error.sentence


def test_the_sound_files_that_there_are_are_named(folder: Path) -> None:
    """All of them, or the one that was meant."""
    (folder / "track.wav").write_bytes(b"")
    assert complaint(task(audio="nope.mp3"), folder).sentence.endswith('"nope.mp3" in the folder; its sound files are: track.wav.')
    assert complaint(task(audio="trck.wav"), folder).sentence.endswith('did you mean "track.wav"?')


def test_a_keyframe_that_is_no_number_is_named_alone(folder: Path) -> None:
    """Which point of which variable, and not the whole table."""
    for last in (math.nan, math.inf):
        points = [[1, 0.0], [6, last], *([frame, 1.0] for frame in range(7, 40))]
        for said in (points, {"curve": "step", "points": points}):
            error = complaint(task(keyframes={"red": said}), folder)
            where = "entry 2 of points" if isinstance(said, dict) else "entry 2"
            assert error.sentence == f"keyframes.red: {where} cannot be [6, {last}]: a number must be finite."
            assert error.key == "keyframes.red"


@pytest.mark.parametrize(
    ("said", "meant"), [(25, "25"), (23.976, "24000/1001"), (29.97, "30000/1001"), ("24000/1001", "24000/1001"), (12.5, "25/2")]
)
def test_a_rate_is_the_exact_fraction(said: Any, meant: str, folder: Path) -> None:
    """23.976 is 24000/1001, as everywhere in film and television."""
    spec = Painter().examine(task(fps=said), PlainFiles(folder)).spec
    assert spec.options["animation"]["fps"] == meant
    assert Painter().examine(spec, PlainFiles(folder)).spec == spec


def test_a_short_film_or_a_given_chunk_is_not_measured(folder: Path) -> None:
    """A sample is for films that are long enough to gain by it."""
    for spec, stages in ((task("1-24"), 1), (task("1-25"), 2), (task("1-1000", chunk=8), 1)):
        assert len(film_stages(Drawn(), spec)) == stages
    assert isinstance(film_stages(Drawn(), task("1-25"))[0], Sample)


def test_a_still_has_no_film(folder: Path) -> None:
    """Without [animation] nothing changes; [keyframes] alone is a mistake."""
    bare = TaskSpec(kind="painter", name="still", options={})
    assert film_of(Painter().examine(bare, PlainFiles(folder)).spec.options) is None
    lonely = TaskSpec(kind="painter", name="still", options={"keyframes": {"red": {"points": [[1, 2]]}}})
    assert "needs [animation]" in complaint(lonely, folder).sentence


def test_frame_files_sort_as_frames_do() -> None:
    """Six digits."""
    assert frame_file(17, "png") == "000017.png"
