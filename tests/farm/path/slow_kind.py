"""A kind whose server-side code misbehaves on request: slow, hanging or crashing in split, verify or stitch."""

from __future__ import annotations

import os
import time

from clusterray.common.kinds.echo import OPTIONS, Echo, EchoStage
from clusterray.common.kinds.kind import Option
from clusterray.common.kinds.options import normalise
from clusterray.common.model import TaskSpec


def misbehave(task, where):
    how = task.options["how"] if task.options["where"] == where else ""
    if how == "slow":
        time.sleep(2.0)
    if how == "hang":
        time.sleep(3600)
    if how == "crash":
        os.abort()
    if how == "raise":
        raise RuntimeError("this kind was told to raise")


class SlowStage(EchoStage):
    def split(self, task, files, farm):
        misbehave(task, "split")
        return super().split(task, files, farm)

    def verify(self, task, region, outputs):
        misbehave(task, "verify")
        super().verify(task, region, outputs)

    def stitch(self, task, files, pieces, out, progress):
        misbehave(task, "stitch")
        super().stitch(task, files, pieces, out, progress)


class Slow(Echo):
    name = "slow"
    options = (*OPTIONS, Option(name="where", type="str", default="stitch"), Option(name="how", type="str", default="slow"))

    def examine(self, spec, files):
        examined = super().examine(TaskSpec(kind="slow", name=spec.name, options={}, limits=spec.limits), files)
        options = normalise(self.name, self.options, spec.options)
        return type(examined)(spec=TaskSpec(kind="slow", name=spec.name, options=options, limits=spec.limits, priority=spec.priority))

    def stages(self, task):
        return (SlowStage(),)


SLOW = Slow()
