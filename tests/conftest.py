"""For all tests: a home and settings of their own, and skipping counts as failing."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

settings.register_profile("clusterray", deadline=None, print_blob=True)  # the machine is shared: time says nothing
settings.load_profile("clusterray")


@pytest.fixture(scope="session", autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory) -> Generator[None]:
    """No test reads the settings, or touches the state, of whoever runs it."""
    patch = pytest.MonkeyPatch()
    home = tmp_path_factory.mktemp("home")
    for name in [name for name in os.environ if name.startswith(("CLUSTERRAY_", "XDG_"))]:
        patch.delenv(name)
    patch.setenv("HOME", str(home))
    patch.setenv("XDG_RUNTIME_DIR", str(home / "run"))
    yield
    patch.undo()


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The folder with setup.cfg."""
    return Path(__file__).parents[1]


def _fail_if_skipped(report: Any) -> Any:
    if report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{reason}\nNothing may be skipped: a machine that lacks something fails (./run test installs it)."
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, Any, Any]:
    return _fail_if_skipped((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, Any, Any]:
    return _fail_if_skipped((yield))
