"""How far a reconstruction of a made survey is from the truth.

.venv/bin/clusterray submit --local /tmp/truth/task
.venv/bin/python misc/examples/survey-truth/compare.py /tmp/truth /tmp/truth/task-result
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # a script of a checkout: its package lies beside it

from survey_truth import measure, place

SHOTS = "odm_report/shots.geojson"


def report(folder: Path, result: Path) -> list[str]:
    """Sentences, one for each thing that is compared."""
    truth = place.load(folder)
    lines = []
    centres = measure.read_places(result / SHOTS)
    places = measure.measure_places(truth, centres)
    lines.append(f"photos placed:        {places.placed} of {places.of}")
    lines.append(f"camera positions:     {places.rmse * 100:.2f} cm RMSE after the best similarity (scale {places.scale:+.3%})")
    lines.append(f"  as they are:        {places.absolute * 100:.1f} cm; the GPS's noise alone: {places.expected * 100:.1f} cm")
    focal = measure.read_focal(result / SHOTS)
    lines.append(f"focal length:         {focal:.2f} px, {focal / truth.cameras[0].focal - 1:+.3%}")
    surface = result / "odm_dem/dsm.tif"
    raw = measure.measure_heights(truth, surface)
    lines.append(f"heights:              mean {raw.mean * 100:+.1f} cm as they are; laid upon the truth by the cameras:")
    move = measure.onto_truth(truth, centres)
    heights = measure.measure_heights(truth, surface, move)
    lines.append(f"  mean, median:       {heights.mean * 100:+.1f} cm, {heights.median * 100:+.1f} cm; less the median:")
    lines.append(
        f"  NMAD:               {heights.nmad * 100:.1f} cm ({heights.nmad / truth.gsd:.2f} GSD); RMSE {heights.rmse * 100:.0f} cm"
    )
    lines.append(f"  90 %:               within {heights.p90 * 100:.1f} cm")
    near = f"within {measure.NEAR * truth.gsd * 100:.0f} cm:"
    lines.append(f"  {near:<20}{heights.near:.2%}; half a metre and more from walls {heights.near_open:.2%}")
    lines.append(f"  covered:            {heights.covered:.2%} of the area between the cameras")
    shift = measure.measure_ortho(truth, result / "odm_orthophoto/odm_orthophoto.tif", folder / "ortho_truth.tif", move)
    lines.append(
        f"orthophoto's shift:   {shift.absolute[0]:+.2f}, {shift.absolute[1]:+.2f} px in all (the GPS); laid upon the truth by the cameras:"
    )
    lines.append(f"  median, 90 %:       {shift.median:.2f}, {shift.p90:.2f} px of {shift.patches} patches; covered {shift.covered:.2%}")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("truth", type=Path, help="the folder that make.py made")
    parser.add_argument("result", type=Path, help="the folder with the results of its task")
    asked = parser.parse_args()
    print("\n".join(report(asked.truth, asked.result)))


if __name__ == "__main__":
    main()
