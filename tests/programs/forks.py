"""Leaves descendants behind that try to get away: forks.py FILE [stay]. Writes their pids into FILE, one a line.

One child stays in the group; one grandchild has a session of its own and has lost its parent. Both ignore SIGTERM.
"""

import os
import signal
import sys
import time


def live(path: str) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with open(path, "a") as file:  # noqa: PTH123
        file.write(f"{os.getpid()}\n")
    time.sleep(60)
    os._exit(0)


path = sys.argv[1]
if os.fork() == 0:
    live(path)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        live(path)
    os._exit(0)
while not os.path.exists(path) or len(open(path).read().split("\n")) < 3:  # noqa: PTH110, PTH123, SIM115
    time.sleep(0.01)
print("forked", flush=True)
if sys.argv[2:] == ["stay"]:
    time.sleep(60)
