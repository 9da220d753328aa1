"""The kind ``survey``: photos in; orthophoto, surface model, point cloud and mesh out. One file for each stage; the mathematics is in
common/survey."""
