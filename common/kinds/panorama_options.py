"""The options of a panorama."""

from __future__ import annotations

from .kind import Option

OPTIONS = (
    Option(name="mode", type="choice", choices=("auto", "panorama", "scans"), default="auto",
           help="panorama: the camera was turned on the spot; scans: something flat was moved along; auto: whatever explains the pictures"),
    Option(name="projection", type="choice", choices=("spherical", "cylindrical", "plane"), default="spherical",
           help="upon what a panorama is laid; plane keeps lines straight and serves up to about 90 degrees"),
    Option(name="match-megapixels", type="float", default=0.6, minimum=0.0, maximum=1000.0,
           help="size at which pictures are compared with each other; 0: all there is"),
    Option(name="min-num-features", type="int", default=4000, minimum=100, maximum=100_000,
           help="how many features are looked for in a picture"),
    Option(name="confidence", type="float", default=1.0, minimum=0.1, maximum=3.0,
           help="how sure a pair must be to count; lower it where pictures that belong together are left out"),
    Option(name="wave-correction", type="bool", default=True, help="make a panorama's horizon level"),
    Option(name="exposure", type="choice", choices=("blocks", "channels", "gain", "none"), default="blocks",
           help="how brightness is evened out: in blocks, also each colour by itself, one factor for each picture, not at all"),
    Option(name="seam", type="choice", choices=("graph-cut", "dynamic", "voronoi", "none"), default="graph-cut",
           help="how the line between pictures is found; none: they are blended wherever they overlap"),
    Option(name="seam-megapixels", type="float", default=0.1, minimum=0.01, maximum=1000.0, help="size at which seams are looked for"),
    Option(name="blend", type="choice", choices=("multi-band", "feather", "none"), default="multi-band",
           help="how pictures go over into each other"),
    Option(name="blend-width", type="float", default=5.0, minimum=0.0, maximum=100.0,
           help="over how much, in percent of the panorama's side"),
    Option(name="compose-megapixels", type="float", default=0.0, minimum=0.0, maximum=1000.0,
           help="size of the pictures in the result; 0: as they are"),
    Option(name="crop", type="choice", choices=("none", "inner"), default="none",
           help="inner: the largest rectangle without a hole; else the rim is empty (transparent where the format can say so, or black)"),
    Option(name="unplaced", type="choice", choices=("leave-out", "fail"), default="leave-out",
           help="what happens where pictures, or those of a whole folder, do not fit together: they are named in both cases"),
    Option(name="format", type="choice", choices=("jpg", "png", "tif"), default="jpg", help="of the result"),
    Option(name="quality", type="int", default=92, minimum=1, maximum=100, help="of a JPEG"),
)  # fmt: skip
