"""A kind whose server-side code misbehaves on request: slow, hanging or crashing in split, verify or stitch, all or of stage ``at``."""

from __future__ import annotations

import os
import time
from pathlib import Path

import msgspec
from clusterray.common.errors import SplitFailed
from clusterray.common.kinds.echo import OPTIONS, AgainStage, Echo, EchoStage
from clusterray.common.kinds.kind import Option
from clusterray.common.kinds.options import normalise
from clusterray.common.model import TaskSpec


def misbehave(task, where, stage=""):
    how = task.options["how"] if task.options["where"] == where and task.options.get("at", "") in ("", stage) else ""
    if how == "once":  # the first time, as far as a file remembers
        marker = Path(task.options["marker"])
        how = "" if marker.exists() else "crash"
        marker.touch()
    if how == "slow":
        time.sleep(2.0)
    if how == "hang":
        time.sleep(3600)
    if how == "crash":
        os.abort()
    if how == "raise":
        raise RuntimeError("this kind was told to raise")
    if how == "blame":
        raise SplitFailed("The photos do not overlap.")


class Misbehaving:
    def split(self, task, files, farm):
        misbehave(task, "split", self.name)
        return super().split(task, files, farm)

    def verify(self, task, region, outputs):
        misbehave(task, "verify", self.name)
        super().verify(task, region, outputs)

    def stitch(self, task, files, pieces, out, progress):
        misbehave(task, "stitch", self.name)
        super().stitch(task, files, self.watched(task, pieces), out, progress)

    def watched(self, task, pieces):
        for number, piece in enumerate(pieces):
            yield piece
            if number == 0:
                misbehave(task, "piece", self.name)


class SlowStage(Misbehaving, EchoStage):
    pass


class SlowAgain(Misbehaving, AgainStage):
    pass


class Slow(Echo):
    name = "slow"
    options = (
        *OPTIONS,
        Option(name="where", type="str", default="stitch"),
        Option(name="how", type="str", default="slow"),
        Option(name="at", type="str", default=""),
        Option(name="marker", type="str", default=""),
        Option(name="slots", type="int", default=0),
    )

    def examine(self, spec, files):
        examined = super().examine(TaskSpec(kind="slow", name=spec.name, options={}, limits=spec.limits), files)
        options = normalise(self.name, self.options, spec.options)
        return type(examined)(spec=TaskSpec(kind="slow", name=spec.name, options=options, limits=spec.limits, priority=spec.priority))

    def settle(self, spec, farm):
        return msgspec.structs.replace(spec, options={**spec.options, "slots": farm.slots})

    def stages(self, task):
        streams = task.options.get("streams", False)
        return (SlowStage(streams), SlowAgain(streams))[: task.options.get("stages", 1)]


SLOW = Slow()
