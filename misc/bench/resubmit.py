#!/usr/bin/env python3
"""Bytes that a second submit sends after one small file of a 200 MB folder was changed.

    python misc/bench/resubmit.py [MEGABYTES]

The folder has what a scene has: a few large meshes and pictures, many textures of some 100 KB, and thousands of small text files. What is
counted are the packs that the server would miss, as they travel: encoded where that pays, the manifest among them.
"""

from __future__ import annotations

import random
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from clusterray.common.bundle import Prepared, make_bundle
from clusterray.common.encoding import encode
from clusterray.common.model import PackRef

RUNS = 5


def fill(folder: Path, size: int, chance: random.Random) -> list[Path]:
    """A folder of about ``size`` bytes: half in large files, a third in textures, the rest in text. Returns the text files."""
    texts: list[Path] = []
    left = {"mesh": size // 2, "tex": size // 3, "inc": size - size // 2 - size // 3}
    for kind, low, high in (("mesh", 4 << 20, 24 << 20), ("tex", 20_000, 600_000), ("inc", 200, 40_000)):
        number = 0
        while left[kind] > 0:
            length = min(left[kind], chance.randrange(low, high))
            path = folder / kind / f"{number % 40:02}" / f"{kind}-{number}"
            path.parent.mkdir(parents=True, exist_ok=True)
            if kind == "inc":
                lines = [b"sphere { <%d, %d, 0>, 1 }\n" % (chance.randrange(10**6), line) for line in range(length // 30 + 1)]
                path.write_bytes(b"".join(lines))
                texts.append(path)
            else:
                path.write_bytes(chance.randbytes(length))
            left[kind] -= length
            number += 1
    return texts


def wire_bytes(prepared: Prepared, packs: set[PackRef]) -> int:
    """What these packs weigh on the way."""
    total = 0
    for pack in packs:
        with prepared.open(pack.digest) as source:
            total += sum(map(len, encode(source))) if prepared.pays(pack.digest) else pack.size
    return total


def main(megabytes: int) -> None:
    root = Path(tempfile.mkdtemp(prefix="clusterray-bench-"))
    try:
        chance = random.Random(2010)
        texts = fill(root / "scene", megabytes * 1_000_000, chance)
        before = make_bundle(root / "scene", root / "work")
        sent, packs, seconds = [], [], []
        for _ in range(RUNS):
            changed = chance.choice(texts)
            with changed.open("ab") as file:
                file.write(b"// changed\n")
            start = time.perf_counter()
            after = make_bundle(root / "scene", root / "work")
            seconds.append(time.perf_counter() - start)
            missing = set(after.packs) - set(before.packs)
            packs.append(len(missing))
            sent.append(wire_bytes(after, missing))
            before = after
        print(f"resubmit: {before.files} files, {before.size / 1e6:.0f} MB in {len(before.packs)} packs; one small file changed")
        print(f"  packs sent      {statistics.median(packs):.0f} (the manifest among them)")
        print(f"  bytes sent      {statistics.median(sent):,.0f} (median of {RUNS}; least {min(sent):,}, most {max(sent):,})")
        print(f"  seconds to tell {statistics.median(seconds):.2f} (the folder is read whole)")
    finally:
        shutil.rmtree(root)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
