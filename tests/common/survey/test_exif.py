"""What a photo says of itself is read as it was meant, and what cannot be is passed over."""

from __future__ import annotations

import piexif
import pytest
from clusterray.common.survey.exif import Facts, facts_of
from clusterray.common.survey.photofile import Photofile, open_photo
from hypothesis import given, settings
from hypothesis import strategies as st

from .shots import dji, exif_of, jpeg, png, textured

PICTURE = textured(1, 160, 120)


def facts(exif: bytes = b"", xmp: str = "", size: tuple[int, int] = (0, 0)) -> Facts:
    photo = open_photo(jpeg(PICTURE, exif, xmp))
    if size != (0, 0):
        photo = Photofile(
            data=b"", format="JPEG", width=size[0], height=size[1], tags=photo.tags, exif=photo.exif, gps=photo.gps, xmp=photo.xmp
        )
    return facts_of(photo)


@pytest.mark.parametrize(
    ("words", "size", "focal"),
    [
        ({"maker": "DJI", "model": "FC6310", "millimetres": 8.8, "equivalent": 24}, (5472, 3648), 3648.0),
        ({"maker": "DJI", "model": "FC6310", "millimetres": 8.8, "equivalent": 24}, (4864, 3648), 3648.0),
        ({"maker": "DJI", "model": "FC300S", "millimetres": 3.61, "equivalent": 20}, (2000, 1125), 1142.9),
        ({"maker": "Canon", "model": "Canon PowerShot SX260 HS", "millimetres": 4.5}, (1600, 1200), 1167.0),
        ({"maker": "Phone", "model": "X", "millimetres": 4.0, "equivalent": 26}, (4000, 3000), 3004.6),
        ({"maker": "Phone", "model": "X", "millimetres": 4.0, "equivalent": 26}, (3000, 4000), 3004.6),
        ({"maker": "Phone", "model": "X", "millimetres": 4.0, "equivalent": 26}, (4000, 2250), 3004.6),
        ({"maker": "Camera", "model": "Full", "equivalent": 36}, (6000, 4000), 6000.0),
    ],
)
def test_focal_length_in_pixels(words, size, focal):
    """Also of formats that the camera cut out of its sensor: 16:9 has the same angle across as 4:3."""
    found = facts(exif_of(**words), size=size)
    assert found.focal_known and found.focal == pytest.approx(focal, rel=1e-3)


def test_focal_plane_resolution_counts_where_nothing_better_is_known():
    def of(pixels: int, size: tuple[int, int]) -> Facts:
        more = {piexif.ExifIFD.FocalPlaneXResolution: (4000 * 10, 236), piexif.ExifIFD.FocalPlaneResolutionUnit: 4}
        return facts(
            exif_of(maker="A", model="B", millimetres=35, more={"Exif": more | {piexif.ExifIFD.PixelXDimension: pixels}}), size=size
        )

    assert of(4000, (4000, 2667)).focal == pytest.approx(35 / 23.6 * 4000, rel=1e-3)
    assert of(4000, (1000, 667)).focal == pytest.approx(35 / 23.6 * 1000, rel=1e-3), "scaled since, and the camera's size is still told"
    assert not of(400, (400, 267)).focal_known, "a sensor of 2 mm: the picture was scaled and nobody said so"


@pytest.mark.parametrize(("equivalent", "focal"), [(33, 616.0), (28, 517.7)])
def test_focal_plane_resolution_counts_where_the_equivalent_is_but_rounded(equivalent: int, focal: float):
    """33 mm may be 32.5 to 33.5: the focal plane tells which. Where the two contradict each other, the equivalent counts."""
    more = {piexif.ExifIFD.FocalPlaneXResolution: (1000, 1), piexif.ExifIFD.FocalPlaneResolutionUnit: 3}
    exif = exif_of(maker="A", model="B", millimetres=6.16, equivalent=equivalent, more={"Exif": more})
    assert facts(exif, size=(640, 480)).focal == pytest.approx(focal, abs=0.1)


def test_calibration_of_the_drone_counts_most_and_follows_the_size():
    xmp = dji(CalibratedFocalLength="3666.666504", CalibratedOpticalCenterX="2736.000000")
    exif = exif_of(maker="DJI", model="FC6310R", millimetres=8.8)
    assert facts(exif, xmp, (5472, 3648)).focal == pytest.approx(3666.67, abs=0.01)
    assert facts(exif, xmp, (1368, 912)).focal == pytest.approx(3666.67 / 4, abs=0.01)


def test_without_a_focal_length_it_is_a_guess_and_says_so():
    found = facts(size=(1600, 1063))
    assert (found.focal, found.focal_known) == (1920.0, False)
    assert not facts(exif_of(equivalent=0, millimetres=4.0)).focal_known
    assert not facts(exif_of(equivalent=1), size=(1000, 800)).focal_known, "1 mm is no lens of a survey"


def test_cameras_have_keys_of_their_own():
    """Maker, model, size and focal length: each of them needs a calibration of its own."""
    key = facts(exif_of(maker="DJI", model="FC6310", millimetres=8.8)).camera
    assert key == "dji fc6310 160x120 8.80 mm"
    others = [
        facts(exif_of(maker="DJI", model="FC6310", millimetres=24)),
        facts(exif_of(maker="DJI", model="FC330", millimetres=8.8)),
        facts(exif_of(maker="DJI", model="FC6310", millimetres=8.8), size=(120, 160)),
        facts(),
    ]
    assert len({key, *(other.camera for other in others)}) == 5
    assert facts(exif_of(maker="Canon", model="Canon EOS 6D")).camera == "canon eos 6d 160x120"


def test_gps_to_a_fraction_of_a_second():
    found = facts(exif_of(at=(46.84260708, -91.99455989, 198.309)))
    assert (found.latitude, found.longitude) == pytest.approx((46.84260708, -91.99455989), abs=1e-9)
    assert found.altitude == pytest.approx(198.309)
    south = facts(exif_of(at=(-33.5, 151.25, 12.0), below=True))
    assert (south.latitude, south.longitude, south.altitude) == pytest.approx((-33.5, 151.25, -12.0))


def test_gps_as_decimal_degrees_or_minutes():
    """Some programs write no seconds, some no minutes."""
    ref = {piexif.GPSIFD.GPSLatitudeRef: "N", piexif.GPSIFD.GPSLongitudeRef: "W"}
    for latitude in (((465, 10), (0, 1), (0, 1)), ((46, 1), (30, 1), (0, 1)), ((46, 1), (300, 10), (0, 0))):
        gps = ref | {piexif.GPSIFD.GPSLatitude: latitude, piexif.GPSIFD.GPSLongitude: ((8, 1), (0, 1), (0, 1))}
        found = facts(exif_of(more={"GPS": gps}))
        assert (found.latitude, found.longitude, found.altitude) == (46.5, -8.0, None)


@pytest.mark.parametrize(("at", "why"), [((0.0, 0.0, 0.0), "0, 0"), ((123.0, 20.0, 5.0), "no place"), ((40.0, 200.0, 5.0), "no place")])
def test_gps_that_cannot_be_is_no_gps(at, why):
    found = facts(exif_of(at=at))
    assert found.latitude is None and found.longitude is None and found.altitude is None and why in found.gps_fault


def test_gps_that_is_no_number_is_no_gps():
    gps = {piexif.GPSIFD.GPSLatitude: ((0, 0), (0, 0), (0, 0)), piexif.GPSIFD.GPSLongitude: ((0, 0), (0, 0), (0, 0))}
    assert facts(exif_of(more={"GPS": gps})).gps_fault == "cannot be read"
    assert facts().gps_fault == ""


def test_gimbal_of_a_drone():
    """-90 degrees of a DJI gimbal look straight down, which is 0 here."""
    assert facts(xmp=dji(GimbalYawDegree="+12.30", GimbalPitchDegree="-90.00", GimbalRollDegree="+0.00")).angles == (12.3, 0.0, 0.0)
    assert facts(xmp=dji(GimbalYawDegree="-170", GimbalPitchDegree="-45.5", GimbalRollDegree="1")).angles == (-170.0, 44.5, 1.0)
    element = "<a:Description><Camera:Yaw>10.5</Camera:Yaw><Camera:Pitch>-2</Camera:Pitch><Camera:Roll>3e0</Camera:Roll></a:Description>"
    assert facts(xmp=element).angles == (10.5, -2.0, 3.0)
    assert facts(exif_of(maker="senseFly", model="S.O.D.A."), element).angles == (10.5, -2.0, -3.0)
    assert facts(xmp=dji(FlightYawDegree="3")).angles is None
    assert facts_of(open_photo(png(PICTURE, dji(GimbalYawDegree="1", GimbalPitchDegree="-90")))).angles == (1.0, 0.0, 0.0)


def test_accuracy_of_rtk_counts_only_with_a_solution():
    deviations = {"RtkStdLon": "0.01188", "RtkStdLat": "0.01272", "RtkStdHgt": "0.02531"}
    assert facts(xmp=dji(RtkFlag="50", **deviations)).accuracy == (0.01272, 0.02531)
    assert facts(xmp=dji(**deviations)).accuracy == (0.01272, 0.02531)
    assert facts(xmp=dji(RtkFlag="16", **deviations)).accuracy is None, "a single solution: the numbers mean nothing"
    assert facts(xmp=dji(RtkFlag="50", RtkStdLon="0.0", RtkStdLat="0.0", RtkStdHgt="0.0")).accuracy is None
    assert facts(xmp='<d Camera:GPSXYAccuracy="0.05" Camera:GPSZAccuracy="0.1"/>').accuracy == (0.05, 0.1)


def test_place_from_the_drone_s_xmp_where_exif_has_none():
    found = facts(xmp=dji(GpsLatitude="46.5", GpsLongtitude="-8.25", AbsoluteAltitude="+1234.50"))
    assert (found.latitude, found.longitude, found.altitude) == (46.5, -8.25, 1234.5)


def test_time_with_its_fraction():
    more = {"Exif": {piexif.ExifIFD.SubSecTimeOriginal: b"25"}}
    assert facts(exif_of(taken="2016:06:23 16:31:59", more=more)).taken == 1466699519.25
    assert facts(exif_of(taken="0000:00:00 00:00:00")).taken is None
    assert facts().taken is None


_VALUES = st.recursive(
    st.none() | st.integers() | st.floats() | st.text(max_size=8) | st.binary(max_size=8),
    lambda inner: st.tuples(inner, inner, inner),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None)
@given(
    exif=st.dictionaries(st.sampled_from([0x920A, 0xA405, 0xA404, 0xA002, 0xA20E, 0xA210, 0x9003, 0x9291]), _VALUES),
    gps=st.dictionaries(st.integers(0, 8), _VALUES),
    tags=st.dictionaries(st.sampled_from([0x010F, 0x0110, 0x0132]), _VALUES),
    xmp=st.text(alphabet='drone-ji:RtkFlagGimbalYawDegree="+-0123456789.eE ', max_size=60),
)
def test_whatever_a_camera_writes_there_are_facts(exif, gps, tags, xmp):
    """Firmware writes anything: no photo is lost for it, and no fact is a number that cannot be."""
    found = facts_of(Photofile(data=b"", format="JPEG", width=4000, height=3000, tags=tags, exif=exif, gps=gps, xmp=xmp))
    assert 800 < found.focal < 80_000
    assert (found.latitude is None) == (found.longitude is None)
    assert found.latitude is None or (abs(found.latitude) <= 90 and abs(found.longitude or 0) <= 180)


def test_a_note_of_nothing_but_dashes_is_read_at_once():
    """A searched word must not be looked for from each of its beginnings to the end: 64 kB took minutes."""
    assert facts(xmp="a-" * 30_000 + dji(GimbalYawDegree="1", GimbalPitchDegree="-90", GimbalRollDegree="0")).angles == (1.0, 0.0, 0.0)


def test_numbers_beyond_all_bounds_count_as_not_there():
    """1e999 is infinite, and no angle."""
    assert facts(xmp=dji(GimbalYawDegree="1e999", GimbalPitchDegree="-90", GimbalRollDegree="0")).angles is None
