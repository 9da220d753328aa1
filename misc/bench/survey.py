#!/usr/bin/env python3
"""A survey on a farm of this machine: what comes out of it, how long each stage takes, and how much memory.

    python misc/bench/survey.py FOLDER [--truth TRUTH] [--split 10] [--runs 1,2,1s,2s] [--keep RESULTS] [-o KEY=VALUE …]

FOLDER holds photos. TRUTH is a folder that misc/examples/survey-truth/make.py made, FOLDER then its task/. A run is a number of slots
(nodes of one slot and one core each), with ``s``: cut into submodels of --split photos. Times and memory are those of the jobs' own
processes, looked at ten times a second: ``wall`` is from a stage's first job to the next stage's first job, so the server's part is in it;
``core`` the processor time of its jobs; ``memory`` the largest resident size of one job.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "examples" / "survey-truth"))

import numpy as np
import psutil
from clusterray.common.model import Role
from farm import BenchFarm  # beside this file
from survey_truth import measure, place

NEVER = 10_000_000
"""Photos of a submodel: all."""
WORK = "clusterray.common.survey.work"
REPORT, SHOTS, DSM = "odm_report/report.json", "odm_report/shots.geojson", "odm_dem/dsm.tif"


@dataclass
class Stage:
    began: float
    ended: float
    jobs: int = 0
    core: float = 0.0
    memory: int = 0


@dataclass
class Watcher:
    """Looks at the processes of jobs while they are there."""

    stages: dict[str, Stage] = field(default_factory=dict)
    _seen: dict[int, tuple[str, float]] = field(default_factory=dict)
    _over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Watcher:
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        for name, core in self._seen.values():
            self.stages[name].core += core

    def _watch(self) -> None:
        known: dict[int, str] = {}
        first: dict[int, float] = {}
        while not self._over.wait(0.1):
            for number in psutil.pids():
                # a young process may be on its way to become the job
                if number not in known or (not known[number] and time.monotonic() - first[number] < 2):
                    known[number] = self._job(number)
                    first.setdefault(number, time.monotonic())
                if known[number]:
                    self._look(number, known[number])

    @staticmethod
    def _job(number: int) -> str:
        """The job that a process does; empty for all others. The confinement has the same words on its command line."""
        try:
            words = psutil.Process(number).cmdline()
        except psutil.Error:
            return ""
        python = bool(words) and Path(words[0]).name.startswith("python")
        return words[words.index(WORK) + 1] if python and WORK in words[:-1] else ""

    def _look(self, number: int, name: str) -> None:
        try:
            process = psutil.Process(number)
            times, memory = process.cpu_times(), process.memory_info().rss
        except psutil.Error:
            return
        now = time.monotonic()
        stage = self.stages.setdefault(name, Stage(now, now))
        stage.jobs += number not in self._seen
        stage.ended, stage.memory = now, max(stage.memory, memory)
        self._seen[number] = (name, times.user + times.system + times.children_user + times.children_system)


@dataclass(frozen=True)
class Run:
    name: str
    result: Path
    seconds: float
    stages: Mapping[str, Stage]


def run(name: str, folder: Path, results: Path, split: int, options: list[str]) -> Run:
    """One farm, one task."""
    farm = BenchFarm(int(name.rstrip("s")))
    try:
        home = Path(tempfile.mkdtemp(dir=farm.folder))
        env = {**farm.env, "HOME": str(home), "CLUSTERRAY_DATA": str(home)}
        program = Path(sys.executable).with_name("clusterray")
        subprocess.run([program, "login", farm.codes[Role.SUBMIT].encode()], env=env, check=True, stdout=subprocess.DEVNULL)
        said = [word for option in [f"split={split if name.endswith('s') else NEVER}", *options] for word in ("-o", option)]
        shutil.rmtree(results / name, ignore_errors=True)
        began = time.monotonic()
        with Watcher() as watcher:
            argv = [program, "submit", folder, "--kind", "survey", "--results", results / name, "--progress", "plain", *said]
            done = subprocess.run(argv, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if done.returncode:
            raise SystemExit(f"{name}: {done.stdout[-3000:]}")
        seconds = time.monotonic() - began
    finally:
        farm.close()
    found = next(path.parents[1] for path in (results / name).rglob("report.json") if path.parent.name == "odm_report")
    return Run(name, found, seconds, watcher.stages)


def facts(one: Run, truth: Path | None) -> dict[str, str]:
    """Rows of the table."""
    report = json.loads((one.result / REPORT).read_text())
    rows = {"seconds": f"{one.seconds:.0f}", **told(report)}
    if truth is None:
        return rows
    known = place.load(truth)
    centres = measure.read_places(one.result / SHOTS)
    places = measure.measure_places(known, centres)
    move = measure.onto_truth(known, centres)
    raw, heights = (measure.measure_heights(known, one.result / DSM, each) for each in (None, move))
    shift = measure.measure_ortho(known, one.result / "odm_orthophoto/odm_orthophoto.tif", truth / "ortho_truth.tif", move)
    focal = measure.read_focal(one.result / SHOTS) / known.cameras[0].focal - 1
    return rows | {
        "cameras, cm (after Sim3)": f"{places.rmse * 100:.2f}",
        "cameras, cm (absolute; GPS alone)": f"{places.absolute * 100:.1f}; {places.expected * 100:.1f}",
        "focal length": f"{focal:+.3%}",
        "heights, mean, cm": f"{raw.mean * 100:+.1f}",
        "heights, mean, cm (laid upon the truth by the cameras, as all below)": f"{heights.mean * 100:+.1f}",
        "heights, NMAD, cm (GSD)": f"{heights.nmad * 100:.1f} ({heights.nmad / known.gsd:.2f})",
        "heights, 90 %, cm": f"{heights.p90 * 100:.1f}",
        "heights within 3 GSD (away from walls)": f"{heights.near:.1%} ({heights.near_open:.1%})",
        "covered": f"{heights.covered:.2%}",
        "orthophoto, px, median, 90 %": f"{shift.median:.2f}, {shift.p90:.2f}",
    }


def told(report: Mapping[str, Any]) -> dict[str, str]:
    """What the survey says of itself."""
    summary = report["summary"]
    rows = {
        "photos placed": f"{summary['photos_used']} of {summary['photos_given']}",
        "reprojection error, px": number(summary["reprojection"], 2),
        "photos a point": number(summary["track"], 1),
        "GSD, cm": number(summary["gsd"], 2, 100),
    }
    if "dem_resolution" in summary:
        rows["surface, m²"] = number(summary["area"], 0)
    return rows


def number(value: float | None, digits: int, times: float = 1.0) -> str:
    return "-" if value is None else f"{value * times:.{digits}f}"


def difference(one: Run, other: Run) -> str:
    """Of two results of the same photos: cameras after the best similarity, and surfaces where both have one."""
    here, there = (measure.read_places(each.result / SHOTS) for each in (one, other))
    both = sorted(set(here) & set(there))
    a, b = np.array([here[name] for name in both]), np.array([there[name] for name in both])
    words = [f"cameras {measure.rms(measure.moved(a - b.mean(0), b - b.mean(0)) - (b - b.mean(0))) * 100:.2f} cm ({len(both)})"]
    if all((each.result / DSM).exists() for each in (one, other)):
        off = surfaces(one.result / DSM, other.result / DSM)
        median = float(np.median(off))
        words.append(f"heights median {median * 100:+.1f} cm, NMAD {1.4826 * float(np.median(np.abs(off - median))) * 100:.1f} cm")
    return f"{one.name} against {other.name}: {'; '.join(words)}"


def surfaces(one: Path, other: Path) -> Any:
    """Differences of height in the cells of the first, metres."""
    import rasterio
    from rasterio.warp import Resampling, reproject

    with rasterio.open(one) as first, rasterio.open(other) as second:
        here = first.read(1, masked=True).filled(np.nan)
        there = np.full_like(here, np.nan)
        reproject(
            second.read(1, masked=True).filled(np.nan), there, src_transform=second.transform, src_crs=second.crs, src_nodata=np.nan,
            dst_transform=first.transform, dst_crs=first.crs, dst_nodata=np.nan, resampling=Resampling.bilinear,
        )  # fmt: skip
    off = here - there
    return off[np.isfinite(off)]


def show(runs: list[Run], truth: Path | None) -> None:
    columns = [facts(one, truth) for one in runs]
    print("| |", " | ".join(f"{one.name.rstrip('s')} slots{', split' if one.name.endswith('s') else ''}" for one in runs), "|")
    print("|---|" + "---|" * len(runs))
    for key in dict.fromkeys(key for column in columns for key in column):
        print(f"| {key} |", " | ".join(column.get(key, "") for column in columns), "|")
    print("\n| stage: jobs, wall s, core s, memory MB |", " | ".join(one.name for one in runs), "|")
    print("|---|" + "---|" * len(runs))
    for name in dict.fromkeys(name for one in runs for name in one.stages):
        print(f"| {name} |", " | ".join(stage_cell(one.stages, name) for one in runs), "|")
    print()
    for one in runs[1:]:
        print(difference(one, runs[0]))


def stage_cell(stages: Mapping[str, Stage], name: str) -> str:
    if name not in stages:
        return ""
    one = stages[name]
    after = [other.began for other in stages.values() if other.began > one.began]
    return f"{one.jobs}, {min(after, default=one.ended) - one.began:.1f}, {one.core:.1f}, {one.memory / 1e6:.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--truth", type=Path)
    parser.add_argument("--split", type=int, default=10)
    parser.add_argument("--runs", default="1,2,1s,2s")
    parser.add_argument("--keep", type=Path, help="keep the results below this folder")
    parser.add_argument("-o", dest="options", action="append", default=[], metavar="KEY=VALUE", help="an option of the survey")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = (asked.keep or Path(folder)).resolve()
        runs = [run(name, asked.folder.resolve(), results, asked.split, asked.options) for name in asked.runs.split(",")]
        show(runs, asked.truth)


if __name__ == "__main__":
    main()
