"""Ends badly: crash.py CODE (negative: by that signal), after telling why on stderr."""

import os
import sys

code = int(sys.argv[1])
print("about to fail", file=sys.stderr, flush=True)
if code < 0:
    os.kill(os.getpid(), -code)
sys.exit(code)
