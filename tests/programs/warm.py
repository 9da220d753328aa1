"""A warm program: does what its requests say, one line of JSON each. With an argument it does one job alone: warm.py OUT.

Each job leaves its process id in OUT/pid, so that a test sees who did it.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

NAME = Path("name")


def answer(line: str) -> None:
    print(line, flush=True)


def work(out: Path) -> None:
    (out / "deep").mkdir()
    (out / "deep" / "name").write_text(NAME.read_text() if NAME.exists() else "alone")
    (out / "pid").write_text(str(os.getpid()))


def serve(request: dict) -> None:
    out = Path(request["out"])
    match request.get("do", "work"):
        case "work":
            print("a line", flush=True)
            print("half", flush=True)
            work(out)
        case "die":
            print("segmentation fault, say", flush=True)
            os._exit(3)
        case "fail":
            answer("clusterray: failed: the scene would not load")
            return
        case "hang":
            time.sleep(60)
        case "hang and be deaf":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            time.sleep(60)
        case "lie":
            pass
        case "twice":
            work(out)
            answer("clusterray: done")
        case "link":  # the folder is exchanged for a link to one that only the node may read
            out.rmdir()
            out.symlink_to(request["to"])
        case "first":  # the next job's folder is there before the node makes it
            work(out)
            for number in range(2, 5):
                (out.parent.parent / f"job-{number}").symlink_to(request["to"])
    answer("clusterray: done")


if len(sys.argv) > 1:
    work(Path(sys.argv[1]))
else:
    for line in sys.stdin:
        serve(json.loads(line))
