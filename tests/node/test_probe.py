"""What a node says of its machine."""

from __future__ import annotations

import shutil
from pathlib import Path

from clusterray.node import probe


def test_the_machine_is_described(tmp_path: Path) -> None:
    """Cores, memory and disk are numbers that make sense."""
    assert probe.cores() >= 1
    assert probe.memory() > 64 << 20
    assert probe.free_disk(tmp_path) > 0
    assert isinstance(probe.gpus(), tuple)


def test_renderers_are_found_with_their_versions(tmp_path: Path) -> None:
    """Several versions may be named; what is none is left out with a sentence, and the same version counts once."""
    other = tmp_path / "povray"
    other.write_text("#!/bin/sh\necho 'POV-Ray 3.8.0-beta' >&2\n")
    other.chmod(0o755)
    found, sentences = probe.programs({"povray": f"{other}:{tmp_path}/none:{other}"})
    assert [(one.name, one.version, one.path) for one in found] == [("povray", "3.8.0", str(other))]
    assert len(sentences) == 1
    assert f"{tmp_path}/none" in sentences[0]


def test_the_povray_of_the_path_is_found() -> None:
    """A node without one joins all the same, and says so by an empty list."""
    found, sentences = probe.programs({})
    assert [one.path for one in found] == list(filter(None, [shutil.which("povray")]))
    assert all(one.version.startswith("3.") for one in found)
    assert sentences == ()
