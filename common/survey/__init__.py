"""The reconstruction itself: photos -> features -> matches -> poses -> one adjusted model -> depth -> surface -> orthophoto, cloud, mesh.

Each stage of the kind ``survey`` has a job here: a module with ``run(job)``, which the node starts as a child process (``work.py``), since
the libraries that do the mathematics are free to abort. Stages hand each other the files that ``records.py`` and ``scene.py`` describe.
Nothing here knows of kinds, leases or nodes.

Coordinates. Pixels: x to the right, y down, the centre of the first pixel is at (0.5, 0.5), as COLMAP has it; OpenCV's functions count
from 0, so take 0.5 off before and add it after. World: metres, x east, y north, z up, from ``Frame.origin``, which is in the projected CRS;
without GPS: some unit, some direction.
"""
