"""A library that is missing, or does not load, is told with the way out."""

from __future__ import annotations

from pathlib import Path

import pytest
from clusterray.common.errors import KindError
from clusterray.common.libraries import library, remedy


def test_a_library_that_is_there_is_given() -> None:
    """The module itself."""
    assert library("os.path", extra="images").join("a", "b") == "a/b"


def test_a_missing_library_names_its_extra() -> None:
    """One sentence, with the words to type."""
    with pytest.raises(KindError, match=r"^The library nowhere is not on this machine: pip install 'clusterray\[images\]' brings it\.$"):
        library("nowhere.part", extra="images")


@pytest.mark.parametrize("fault", ["raise OSError('libvips.so.42: cannot open')", "_ext", "import another_missing_one"])
def test_a_library_that_does_not_load_is_not_called_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    """Wheels whose system libraries are missing fail in many ways; the words of the library are kept."""
    (tmp_path / "broken_wheel.py").write_text(fault)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(KindError, match=r"broken_wheel does not work on this machine \(.*(libvips|_ext|another).*\): pip install"):
        library("broken_wheel", extra="images")


def test_the_system_library_of_a_wheel_is_named() -> None:
    """Mitsuba itself hides it behind a NameError."""
    assert "libatomic1" in remedy("mitsuba")
