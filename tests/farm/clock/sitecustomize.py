"""Python imports this at its start where this folder is on PYTHONPATH: a wall clock that is CR_TEST_CLOCK seconds off.

Only time that people read is moved, as on a machine whose clock was set wrong; monotonic time is as it is.
"""

import os
import time

_right, _off = time.time, float(os.environ.get("CR_TEST_CLOCK", "0"))
_right_ns, _right_gmtime, _right_localtime = time.time_ns, time.gmtime, time.localtime
time.time = lambda: _right() + _off
time.time_ns = lambda: _right_ns() + int(_off * 1e9)
time.gmtime = lambda seconds=None: _right_gmtime(time.time() if seconds is None else seconds)
time.localtime = lambda seconds=None: _right_localtime(time.time() if seconds is None else seconds)
