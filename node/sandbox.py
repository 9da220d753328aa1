"""What confines the programs that a node runs: bubblewrap where a test run shows that it works.

Inside, a program sees the system and its renderer read-only, the task's files read-only, and its own scratch folder to
write into, all under the same paths as outside, so that a recipe need not know. No network, no other processes, no home.
POV-Ray's own file restrictions protect nothing on Debian, hence this. Killing bwrap kills everything inside (a pid namespace
and --die-with-parent); mind that it dies with the thread that started it.

Without a working bwrap a node runs the built-in render kinds only, unless its owner has set ``sandbox = "off"``.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..common import process
from ..common.errors import FileError
from .cards import devices

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64")
CONFIGURATION = ("/etc/povray", "/etc/fonts", "/etc/alternatives", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d")
NETWORK = ("/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/ssl", "/etc/ca-certificates")
DRIVERS = ("/etc/OpenCL", "/etc/vulkan", "/etc/glvnd", "/opt/rocm")
"""Where drivers of graphics cards are named."""
TRIAL_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True)
class Confinement:
    """How programs are confined here. ``bwrap`` empty: they are not, for ``reason`` or by the owner's choice (reason empty)."""

    bwrap: str = ""
    reason: str = ""

    @property
    def words(self) -> str:
        """As ``clusterray nodes`` shows it."""
        return "bubblewrap" if self.bwrap else f"no: {self.reason}" if self.reason else "off"

    def objection(self, *, built_in_render: bool) -> str:
        """Why a kind may not run here; empty: it may."""
        if self.bwrap or not self.reason or built_in_render:
            return ""
        return f"programs are not confined on this node ({self.reason}), so that it runs the built-in render kinds only."

    def wrap(
        self,
        argv: Sequence[str],
        *,
        inputs: Path,
        scratch: Path,
        cwd: Path,
        env: Mapping[str, str],
        see: Iterable[Path] = (),
        network: bool = False,
        cards: bool = False,
    ) -> tuple[str, ...]:
        """The argv that runs ``argv`` confined; unconfined, ``argv`` itself (its environment is then for the caller to pass).

        Raises FileError where its program is not there.
        """
        program = process.find_program(argv[0], env.get("PATH"))
        if not program:
            raise FileError(f"The program {argv[0]!r} is not on this machine, or may not be run.")
        argv = (str(Path(program).absolute()), *argv[1:])
        if not self.bwrap:
            return argv
        words = [self.bwrap, "--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL"]
        if network:
            words.append("--share-net")
        words += ["--proc", "/proc", "--dev", "/dev"]
        if cards:
            for path in devices():
                words += ["--dev-bind-try", path, path]
            words += ["--ro-bind-try", "/sys", "/sys"]  # where the drivers of AMD and Intel look up their cards
        words += ["--bind", str(scratch / "tmp"), "/tmp"] if (scratch / "tmp").is_dir() else ["--tmpfs", "/tmp"]
        words += _system()
        for path in CONFIGURATION + (NETWORK if network else ()) + (DRIVERS if cards else ()):
            words += ["--ro-bind-try", path, path]
        for shown in dict.fromkeys((*_home_of(argv[0], scratch), *_our_environment(), *(str(path.absolute()) for path in see))):
            if not scratch.is_relative_to(shown):  # never a folder that holds our own data
                words += ["--ro-bind-try", shown, shown]
        words += ["--ro-bind", str(inputs), str(inputs)]
        words += ["--bind", str(scratch), str(scratch), "--chdir", str(cwd), "--clearenv"]
        for name, value in env.items():
            words += ["--setenv", name, value]
        return (*words, "--", *argv)


def try_out(folder: Path, setting: str, bwrap: str | None = None) -> Confinement:
    """Find out by a real run whether bubblewrap works here. ``setting``: ``auto`` or ``off``; ``folder``: of ours, to try in."""
    if setting == "off":
        return Confinement()
    program = process.find_program("bwrap") if bwrap is None else bwrap
    if not program:
        return Confinement(reason="bubblewrap is not installed (apt install bubblewrap)")
    trial = folder / "sandbox-trial"
    shutil.rmtree(trial, ignore_errors=True)
    inputs, scratch = trial / "inputs", trial / "scratch"
    try:
        inputs.mkdir(parents=True)
        scratch.mkdir()
        return _judge(Confinement(bwrap=program), inputs, scratch)
    except (FileError, OSError) as error:
        return Confinement(reason=str(error))
    finally:
        shutil.rmtree(trial, ignore_errors=True)


def _judge(confinement: Confinement, inputs: Path, scratch: Path) -> Confinement:
    touch = process.find_program("touch") or "/usr/bin/touch"
    env = process.plain_env(scratch)

    def attempt(target: Path) -> process.Completed:
        words = confinement.wrap((touch, str(target)), inputs=inputs, scratch=scratch, cwd=scratch, env=env)
        return process.run(words, timeout=TRIAL_SECONDS, cwd=scratch, env=env)

    good = attempt(scratch / "written")
    if good.timed_out:
        return Confinement(reason="bubblewrap did not answer within 10 s")
    if good.code != 0 or not (scratch / "written").exists():
        why = good.stderr.strip().splitlines()
        return Confinement(reason=f"bubblewrap does not work here: {why[-1] if why else f'it exited with {good.code}'}")
    if attempt(inputs / "written").code == 0 or (inputs / "written").exists():
        return Confinement(reason="bubblewrap lets programs write into read-only folders here")
    return confinement


def _system() -> list[str]:
    """The system's own folders: bound, or made as the same link where they are links (/bin -> usr/bin)."""
    words: list[str] = []
    for name in SYSTEM:
        path = Path(name)
        if path.is_symlink():
            words += ["--symlink", str(path.readlink()), name]
        elif path.is_dir():
            words += ["--ro-bind", name, name]
    return words


def _home_of(program: str, scratch: Path) -> tuple[str, ...]:
    """Where a renderer outside of /usr keeps itself: its folder; of ``X/bin/program`` also X/lib, X/share, X/etc; an environment X whole.

    A program that lies in a folder that also holds our data (someone's home) is shown alone.
    """
    if scratch.is_relative_to(Path(program).parent):
        return (program,)
    folders: list[Path] = []
    for folder in dict.fromkeys((Path(program).parent, Path(program).resolve().parent)):
        folders.append(folder)
        if folder.name == "bin" and (folder.parent / "pyvenv.cfg").is_file() and not scratch.is_relative_to(folder.parent):
            folders.append(folder.parent)  # an environment of Python's is found by this file
        elif folder.name == "bin":
            folders += [folder.parent / name for name in ("lib", "lib64", "share", "etc")]
    return tuple(str(folder) for folder in folders if folder.is_dir() and not _shown(folder))


def _our_environment() -> tuple[str, ...]:
    return tuple(prefix for prefix in dict.fromkeys((sys.prefix, sys.base_prefix)) if not _shown(Path(prefix)))


def _shown(folder: Path) -> bool:
    """Whether the system's folders hold it already; the root itself is never shown."""
    return folder == Path("/") or any(folder.is_relative_to(name) for name in SYSTEM)
