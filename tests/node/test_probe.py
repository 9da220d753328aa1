"""What a node says of its machine."""

from __future__ import annotations

from pathlib import Path

from clusterray.node import probe


def test_the_machine_is_described(tmp_path: Path) -> None:
    """Cores, memory and disk are numbers that make sense."""
    assert probe.cores() >= 1
    assert probe.memory() > 64 << 20
    assert probe.free_disk(tmp_path) > 0
