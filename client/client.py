"""The script ``client.py FOLDER…``: a chain of folders, as ``clusterray submit FOLDER…``.

Installed, it is on the PATH. From a checkout it may be run as it lies there, by any python3: it then goes on with the
environment that ``./run`` made. So this file, alone of the package, imports absolutely, and nothing before that is sure.
"""

from __future__ import annotations

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120  (nothing imported that the old python3 of a machine may lack)
PYTHON = os.path.join(os.path.dirname(HERE), ".venv", "bin", "python")  # noqa: PTH118, PTH120


def main() -> None:
    """Entry point ``client.py``."""
    from clusterray.client.cli import run

    arguments = sys.argv[1:]
    if not arguments:
        arguments = ["--help"]
    sys.exit(run(arguments if arguments == ["--version"] else ["submit", *arguments], name="client.py"))


def from_checkout() -> None:
    """Run as a plain file: this folder must not shadow anything, and the package must be there or be found."""
    sys.path[:] = [path for path in sys.path if os.path.abspath(path or os.curdir) != HERE]  # noqa: PTH100
    try:
        import clusterray.client.cli  # noqa: F401
    except ImportError:
        if os.access(PYTHON, os.X_OK) and os.environ.get("CLUSTERRAY_REEXEC") != PYTHON:
            os.environ["CLUSTERRAY_REEXEC"] = PYTHON
            os.execv(PYTHON, [PYTHON, os.path.join(HERE, "client.py"), *sys.argv[1:]])  # noqa: PTH118
        sys.exit("client.py: ClusterRay is not set up here: type ./run install in the folder of the checkout first.")
    main()


if __name__ == "__main__":
    from_checkout()
