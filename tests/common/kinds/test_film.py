"""The encoder of films: what it wrote is opened again and decoded, as a player would."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from clusterray.common.kinds.contact import chosen, columns_for, contact_sheet, poster, thumbnail
from clusterray.common.kinds.film import CODECS, FilmWriter
from clusterray.common.kinds.film_audio import length_of
from PIL import Image

RED, GREEN, BROWN, WHITE, BLACK, GREY = (255, 0, 0), (0, 255, 0), (200, 120, 40), (255, 255, 255), (0, 0, 0), (128, 128, 128)
COLOURS = (RED, GREEN, BROWN, WHITE, BLACK, GREY)
BLUE = (0, 0, 255)


def picture(width: int, height: int, colour: tuple[int, int, int]) -> Any:
    """A colour, with a blue quarter at the upper left."""
    drawn = np.empty((height, width, 3), np.uint8)
    drawn[:] = colour
    drawn[: height // 2, : width // 2] = BLUE
    return drawn


def film(path: Path, *, codec: str = "h264", fps: Fraction = Fraction(25), size: tuple[int, int] = (64, 48), **more: Any) -> Path:
    """Twelve frames: each colour twice."""
    with FilmWriter(path, codec=codec, fps=fps, **more) as writer:
        for number in range(12):
            writer.add(picture(*size, COLOURS[number // 2]))
        writer.finish()
    return path


def decoded(path: Path) -> list[tuple[float, Any]]:
    """(seconds, pixels as a player shows them) of each frame."""
    with av.open(str(path)) as file:
        found = []
        for frame in file.decode(video=0):
            shown = frame.reformat(format="rgb24", src_colorspace=frame.colorspace, src_color_range=frame.color_range, dst_color_range=2)
            assert frame.pts is not None and frame.time_base is not None
            found.append((float(frame.pts * frame.time_base), shown.to_ndarray()))
        return found


def boxes(path: Path) -> Iterator[bytes]:
    """The kinds of the boxes of an MP4, in file order."""
    data = path.read_bytes()
    at = 0
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at : at + 8])
        yield kind
        at += size if size > 1 else struct.unpack(">Q", data[at + 8 : at + 16])[0]


def wav(path: Path, seconds: float, tone_at: float) -> Path:
    """A mono track at 44,100 Hz: silence, then a tone from ``tone_at`` on."""
    rate = 44_100
    times = np.arange(round(seconds * rate)) / rate
    sound = np.where(times >= tone_at, 0.5 * np.sin(2 * np.pi * 880 * times), 0)
    with av.open(str(path), "w") as file:
        stream: Any = file.add_stream("pcm_s16le", rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray((sound * 32767).astype(np.int16).reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate = rate
        file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return path


def tone_begins(path: Path) -> tuple[float, float]:
    """When the sound of a film is first heard, and when its stream ends, in seconds of the film."""
    first = -1.0
    end = 0.0
    with av.open(str(path)) as file:
        for frame in file.decode(audio=0):
            samples = np.abs(frame.to_ndarray()).max(axis=0)
            assert frame.pts is not None and frame.time_base is not None
            begin = float(frame.pts * frame.time_base)
            if first < 0 and samples.max() > 0.1:
                first = begin + float(np.argmax(samples > 0.1)) / frame.sample_rate
            end = begin + len(samples) / frame.sample_rate
    return first, end


@pytest.mark.parametrize("codec", CODECS)
def test_every_codec_shows_the_rendered_colours_in_time(codec: str, tmp_path: Path) -> None:
    """Each film has all frames, at the exact rate, in even size, in the colours that went in, tagged so that players show them."""
    path = film(tmp_path / f"a.{CODECS[codec].suffix}", codec=codec, fps=Fraction(24000, 1001), size=(65, 49))
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        context = stream.codec_context
        assert stream.average_rate == Fraction(24000, 1001)
        assert (context.width, context.height) == (66, 50)
        assert file.duration is not None
        assert abs(file.duration / av.time_base - 12 * 1001 / 24000) < 0.001
        assert (context.color_primaries, context.color_trc, context.colorspace, context.color_range) == (1, 1, 1, 1)
        assert context.pix_fmt == CODECS[codec].pixels
    frames = decoded(path)
    assert len(frames) == 12
    for number, (seconds, pixels) in enumerate(frames):
        assert abs(seconds - number * 1001 / 24000) < 0.001
        assert np.abs(pixels[32:, 44:].astype(int) - COLOURS[number // 2]).max() <= 4
        assert np.abs(pixels[:14, :20].astype(int) - BLUE).max() <= 4


def test_mp4_is_what_browsers_play_at_once(tmp_path: Path) -> None:
    """H.264 in 4:2:0, with the index before the pictures: a page can play it while it loads."""
    path = film(tmp_path / "a.mp4")
    kinds = list(boxes(path))
    assert kinds[0] == b"ftyp" and kinds.index(b"moov") < kinds.index(b"mdat")
    with av.open(str(path)) as file:
        assert file.streams.video[0].codec_context.name == "h264"
        assert file.streams.video[0].codec_context.profile == "High"


def test_odd_sides_repeat_the_last_row_and_column(tmp_path: Path) -> None:
    """Nothing is cut off and no black line comes in: the further row and column look like their neighbours."""
    pixels = decoded(film(tmp_path / "a.mp4", size=(33, 25), crf=0))[0][1]
    assert pixels.shape == (26, 34, 3)
    assert np.abs(pixels[25].astype(int) - pixels[24]).max() <= 2
    assert np.abs(pixels[:, 33].astype(int) - pixels[:, 32]).max() <= 2


def test_crf_and_preset_reach_the_encoder(tmp_path: Path) -> None:
    """A better quality makes a larger file."""
    noise = np.random.default_rng(1).integers(0, 255, (12, 48, 64, 3), np.uint8)
    sizes = []
    for crf, preset in ((10, ""), (40, ""), (40, "ultrafast")):
        path = tmp_path / f"{crf}{preset}.mp4"
        with FilmWriter(path, codec="h264", fps=Fraction(25), crf=crf, preset=preset) as writer:
            for frame in noise:
                writer.add(frame)
            writer.finish()
        sizes.append(path.stat().st_size)
    assert sizes[0] > 2 * sizes[1]
    assert sizes[1] != sizes[2]


def test_a_frame_of_another_size_is_refused(tmp_path: Path) -> None:
    """The sentence says both sizes."""
    with FilmWriter(tmp_path / "a.mp4", codec="h264", fps=Fraction(25)) as writer:
        writer.add(picture(64, 48, RED))
        with pytest.raises(ValueError, match="32 x 48 pixels, and the frames before are 64 x 48"):
            writer.add(picture(32, 48, RED))


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize(("offset", "heard"), [(0.0, 0.25), (0.1, 0.35), (-0.15, 0.1)])
def test_sound_is_heard_at_its_offset(codec: str, offset: float, heard: float, tmp_path: Path) -> None:
    """A track begins at audio_offset of the film, or inside of itself, to within a frame, and ends with the film."""
    track = wav(tmp_path / "track.wav", 3.0, 0.25)
    assert length_of(track) == pytest.approx(3.0)
    path = film(tmp_path / f"a.{CODECS[codec].suffix}", codec=codec, audio=track, audio_offset=offset)
    with av.open(str(path)) as file:
        assert file.streams.audio[0].codec_context.name == {"h264": "aac", "prores": "aac", "vp9": "opus"}[codec]
    began, ended = tone_begins(path)
    assert abs(began - heard) < 0.04
    assert abs(ended - 12 / 25) < 0.04
    assert len(decoded(path)) == 12


def test_a_short_track_ends_before_the_film(tmp_path: Path) -> None:
    """The film goes on in silence; no frame is lost."""
    path = film(tmp_path / "a.mp4", audio=wav(tmp_path / "track.wav", 0.2, 0.0))
    assert abs(tone_begins(path)[1] - 0.2) < 0.05
    assert len(decoded(path)) == 12


def test_a_file_without_sound_is_no_track(tmp_path: Path) -> None:
    """A picture film or a text given as audio is named for what it is."""
    with pytest.raises(ValueError, match="there is no sound in it"):
        length_of(film(tmp_path / "a.mp4"))
    (tmp_path / "a.wav").write_text("hello")
    with pytest.raises(ValueError, match="it cannot be read"):
        length_of(tmp_path / "a.wav")


def test_a_contact_sheet_shows_frames_evenly(tmp_path: Path) -> None:
    """Of a long film some frames are chosen, the first and last among them; each stands in its place."""
    assert chosen(range(1, 6)) == (1, 2, 3, 4, 5)
    some = chosen(range(1, 1001), 10)
    assert some == (1, 112, 223, 334, 445, 556, 667, 778, 889, 1000)
    columns = columns_for(6, 64 / 48)
    small = [(number, thumbnail(picture(64, 48, colour), columns)) for number, colour in enumerate(COLOURS, 1)]
    contact_sheet(small, columns, tmp_path / "sheet.jpg")
    wide, high = small[0][1].size
    with Image.open(tmp_path / "sheet.jpg") as sheet:
        for at, colour in enumerate(COLOURS):
            place = (8 + at % columns * (wide + 8) + wide * 3 // 4, 8 + at // columns * (high + 24 + 8) + high * 3 // 4)
            assert np.abs(np.array(sheet.getpixel(place)) - colour).max() < 12


def test_columns_leave_few_places_empty() -> None:
    """A sheet is about as wide as a screen, and never a single strip."""
    for count in (1, 5, 12, 24, 47, 48):
        for ratio in (0.5, 4 / 3, 16 / 9, 2.4):
            columns = columns_for(count, ratio)
            rows = -(-count // columns)
            assert columns * rows - count < columns
            assert 0.4 < columns * ratio / rows < 4.5 or count < 6


def test_a_poster_is_the_frame_in_full(tmp_path: Path) -> None:
    """Same size, same colours."""
    poster(picture(65, 49, BROWN), tmp_path / "poster.jpg")
    with Image.open(tmp_path / "poster.jpg") as shown:
        assert shown.size == (65, 49)
        assert np.abs(np.array(shown.getpixel((50, 40))) - BROWN).max() < 8
