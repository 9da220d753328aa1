"""Libraries that are not in the base: imported where they are used, and named with the way to get them where they are missing."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from .errors import KindError

SYSTEM = {
    "mitsuba": "libatomic1",
    "open3d": "libegl1 libgl1 libx11-6 libusb-1.0-0 libgomp1",
    "bpy": "libx11-6 libxi6 libxxf86vm1 libxfixes3 libxrender1 libxext6 libsm6 libice6 libxkbcommon0 libgl1 libegl1",
}
"""Library -> the Debian packages that its wheel needs and does not bring."""


def library(name: str, *, extra: str) -> Any:
    """The module ``name`` (``av``, ``OpenEXR``). Raises KindError, which names the extra of ClusterRay that brings it, where it is missing.

    A wheel whose system library is missing fails by ImportError, OSError or (drjit, below mitsuba) by NameError.
    """
    top = name.partition(".")[0]
    try:
        return import_module(name)
    except (ImportError, OSError, NameError) as error:
        if isinstance(error, ModuleNotFoundError) and error.name == top:
            raise KindError(f"The library {top} is not on this machine: pip install 'clusterray[{extra}]' brings it.") from error
        raise KindError(f"The library {top} does not work on this machine ({error}): {remedy(top)}.") from error


def remedy(wheel: str) -> str:
    """What helps where a wheel is there and does not load."""
    return f"it needs what Debian calls {SYSTEM[wheel]}" if wheel in SYSTEM else f"pip install --force-reinstall {wheel} may mend it"
