"""The options of a survey: by ODM's names wherever the meaning is the same, so that WebODM's form and people's notes fit."""

from __future__ import annotations

from ..kind import Option

QUALITY = ("ultra", "high", "medium", "low", "lowest")
SCALE = {"ultra": 1.0, "high": 0.5, "medium": 0.25, "low": 0.125, "lowest": 0.0625}
"""Part of a photo's side that is worked on, as in ODM; the stages do not go below a least size, as small photos have nothing to spare."""

OPTIONS = (
    Option(
        name="feature-quality",
        type="choice",
        choices=QUALITY,
        default="high",
        help="how much of the photos' size is looked at for features: ultra is all, each step down halves the side",
    ),
    Option(
        name="min-num-features", type="int", default=8000, minimum=100, maximum=100_000, help="how many features are looked for in a photo"
    ),
    Option(
        name="matcher-neighbors",
        type="int",
        default=0,
        minimum=0,
        maximum=1000,
        help="with how many of its nearest neighbours by GPS a photo is matched; 0: as many as are of use",
    ),
    Option(name="use-exif", type="bool", default=False, help="use the GPS of the photos although there are ground control points"),
    Option(name="force-gps", type="bool", default=False, help="the photos' GPS counts beside ground control points"),
    Option(
        name="gps-accuracy",
        type="float",
        default=3.0,
        minimum=0.001,
        maximum=1000.0,
        help="standard error of the photos' GPS in metres, where they do not say it themselves",
    ),
    Option(name="gcp", type="str", default="", help="file of ground control points; empty: gcp_list.txt, where there is one"),
    Option(
        name="gcp-checkpoints",
        type="strings",
        default=[],
        help="names of ground control points that are not used but measured, as are those whose names begin with CHK-",
    ),
    Option(name="geo", type="str", default="", help="file with positions of the photos; empty: geo.txt, where there is one"),
    Option(
        name="use-fixed-camera-params",
        type="bool",
        default=False,
        help="keep the focal lengths of the photos' EXIF and assume no distortion",
    ),
    Option(
        name="crs",
        type="str",
        default="",
        help="CRS of the results, as EPSG:32615 or, with a vertical one, EPSG:32615+5773; empty: the UTM zone, or that of the GCPs",
    ),
    Option(
        name="split",
        type="int",
        default=0,
        minimum=0,
        maximum=10_000_000,
        help="photos for each submodel; 0: as the number of photos and nodes asks for",
    ),
    Option(
        name="split-overlap",
        type="float",
        default=0.0,
        minimum=0.0,
        maximum=100_000.0,
        help="radius of overlap between submodels in metres; 0: about 30 % of the photos are shared",
    ),
    Option(
        name="split-failed",
        type="choice",
        choices=("fail", "leave-out"),
        default="fail",
        help="what happens where a submodel cannot be made or does not fit",
    ),
    Option(
        name="pc-quality",
        type="choice",
        choices=QUALITY,
        default="medium",
        help="how much of the photos' size the dense points come from: ultra is all, each step down halves the side",
    ),
    Option(
        name="pc-filter",
        type="float",
        default=5.0,
        minimum=0.0,
        maximum=100.0,
        help="leave out points that are so many standard deviations away from their neighbours; 0: none",
    ),
    Option(
        name="pc-sample",
        type="float",
        default=0.0,
        minimum=0.0,
        maximum=1000.0,
        help="least distance between points of the cloud in metres; 0: as the photos give",
    ),
    Option(name="dsm", type="bool", default=True, help="make the surface model as an asset"),
    Option(name="dtm", type="bool", default=False, help="make the terrain model, without buildings and trees"),
    Option(
        name="dem-resolution",
        type="float",
        default=5.0,
        minimum=0.01,
        maximum=10_000.0,
        help="resolution of surface and terrain model in cm per pixel; not finer than the photos give",
    ),
    Option(
        name="orthophoto-resolution",
        type="float",
        default=5.0,
        minimum=0.01,
        maximum=10_000.0,
        help="resolution of the orthophoto in cm per pixel; not finer than the photos give",
    ),
    Option(name="ignore-gsd", type="bool", default=False, help="make the resolutions as asked for, also where the photos do not give them"),
    Option(name="skip-orthophoto", type="bool", default=False, help="make no orthophoto"),
    Option(name="skip-3dmodel", type="bool", default=False, help="make no textured mesh"),
    Option(name="skip-report", type="bool", default=False, help="make no report"),
    Option(name="mesh-size", type="int", default=200_000, minimum=100, maximum=20_000_000, help="the most triangles of the mesh"),
    Option(
        name="mesh-octree-depth",
        type="int",
        default=9,
        minimum=4,
        maximum=14,
        help="depth of the octree of Poisson's reconstruction, for objects",
    ),
    Option(name="texture-size", type="int", default=4096, minimum=256, maximum=16_384, help="side of a texture in pixels"),
    Option(
        name="crop",
        type="float",
        default=3.0,
        minimum=0.0,
        maximum=1000.0,
        help="metres by which the rim of the results is cut back, where it is frayed; 0: not at all",
    ),
    Option(name="boundary", type="str", default="", help="GeoJSON polygon, or a file of the task with one: results are cut to it"),
    Option(name="auto-boundary", type="bool", default=False, help="cut the results to the area that the photos were taken above"),
    Option(name="tiles", type="tiles", default="auto", help="how surface and orthophoto are cut into jobs"),
)
