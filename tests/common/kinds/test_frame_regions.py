"""Regions of films."""

from __future__ import annotations

from clusterray.common.kinds.frame_regions import frames_of, regions_of
from clusterray.common.kinds.sequence import chunks


def test_a_job_weighs_as_much_as_it_has_frames() -> None:
    """So that a first pass of single frames does not promise that the rest is done in no time."""
    regions = regions_of(chunks(range(1, 21), 8, 10, True), ())
    assert [region.weight for region in regions] == [len(frames_of(region)) for region in regions]
    assert sum(region.weight for region in regions) == 20 and {region.turn for region in regions if region.weight == 1} >= {0}
