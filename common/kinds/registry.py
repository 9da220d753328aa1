"""Which kinds there are: entry points of the group ``clusterray.kinds``, ours included.

``CLUSTERRAY_EXTRA_KINDS="module:ATTR,module:ATTR"`` adds kinds that are not installed as entry points: the bench and the tests
use it for ``clusterray.common.kinds.echo:ECHO``. A node, a server and a client each need it to know such a kind.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import cast

from ..errors import KindError, UsageError
from .kind import Kind
from .options import nearest

GROUP = "clusterray.kinds"
EXTRA = "CLUSTERRAY_EXTRA_KINDS"


def kinds() -> dict[str, Kind]:
    """Every kind by name, sorted. Raises KindError for one that cannot be loaded, naming where it comes from."""
    return dict(_kinds(os.environ.get(EXTRA, "")))


def kind(name: str) -> Kind:
    """The kind of this name; UsageError with the nearest name where there is none."""
    known = kinds()
    if name not in known:
        raise UsageError(f'There is no kind "{name}"; {nearest(name, known)}')
    return known[name]


@cache
def _kinds(extra: str) -> Mapping[str, Kind]:
    found: dict[str, Kind] = {}
    for point in entry_points(group=GROUP):
        _add(found, point.value)
    for where in filter(None, (word.strip() for word in extra.split(","))):
        _add(found, where)
    return dict(sorted(found.items()))


def _add(found: dict[str, Kind], where: str) -> None:
    module, _, attribute = where.partition(":")
    try:
        loaded = cast(Kind, getattr(import_module(module), attribute))
        found[loaded.name] = loaded
    except (ImportError, AttributeError, ValueError) as error:
        raise KindError(f"The kind at {where} cannot be loaded ({error}); mend or remove the package that brings it.") from error
