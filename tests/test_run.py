"""The script ``run``, with a Python, an apt-get and a sudo that only write down what they are asked.

Really installing is the business of whoever types ./run test on a fresh machine: that is how this very test came to run.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

TOOLS = ("sh", "dirname", "cat", "cksum", "sed", "ls", "mkdir", "rm", "ln", "readlink", "basename", "env", "cp", "chmod", "true")

PYTHON = """#!/bin/sh
echo "${0##*/} $*" >>"$LOG"
case "$*" in
  -V) echo "Python ${FAKE_VERSION:-3.12.7}" ;;
  *version_info*) exit ${FAKE_UNFIT:-0} ;;
  *ensurepip*) [ ! -e "$FAKE_NO_VENV" ] ;;
  "-m venv --clear "*) rm -rf "$4"; mkdir -p "$4/bin"; cp "$0" "$4/bin/python"
    printf '#!/bin/sh\\necho "clusterray $*, in $(pwd)"\\n' >"$4/bin/clusterray"; chmod +x "$4/bin/clusterray" ;;
  "-m pip install"*) exit ${FAKE_PIP:-0} ;;
esac
"""
LOADER = """#!/bin/sh
for name in atomic X11 Xi Xxf86vm Xfixes Xrender Xext SM ICE xkbcommon GL EGL gomp usb-1.0 OpenGL; do
  case " $FAKE_LACKS " in *" $name "*) ;; *) printf '\\tlib%s.so.%s (libc6,x86-64) => /lib\\n' $name "$(case $name in
    X11|Xi|Xext|SM|ICE) echo 6 ;; Xfixes) echo 3 ;; xkbcommon|usb-1.0|OpenGL) echo 0 ;; *) echo 1 ;; esac)" ;; esac
done
"""
APT = """#!/bin/sh
echo "apt-get $*" >>"$LOG"
case "$*" in *install*) rm -f "$FAKE_NO_VENV" ;; esac
"""


class Bench:
    """A checkout with nothing but the script and what it reads, and a PATH with nothing but what it needs."""

    def __init__(self, folder: Path, checkout: Path) -> None:
        self.folder = folder / "check out"
        self.bin = folder / "bin"
        self.log = folder / "log"
        self.home = folder / "home"
        self.no_venv = folder / "no-venv"
        for path in (self.folder / "misc", self.bin, self.home):
            path.mkdir(parents=True)
        for name in ("run", "setup.cfg", "pyproject.toml", "misc/constraints.txt", "misc/blender.txt"):
            shutil.copy(checkout / name, self.folder / name)
        self.tool(self.folder / "misc" / "check", '#!/bin/sh\necho "checks $*"\n')
        for name in TOOLS:
            found = shutil.which(name)
            assert found, f"{name} is missing on this machine"
            (self.bin / name).symlink_to(found)
        self.tool(self.bin / "python3", PYTHON)
        self.tool(self.bin / "apt-get", APT)
        self.tool(self.bin / "ldconfig", LOADER)
        for name in ("povray", "blender", "bwrap", "gdalinfo", "ip", "ps"):
            self.tool(self.bin / name, "#!/bin/sh\n")
        self.be("root")

    def tool(self, path: Path, text: str) -> None:
        path.write_text(text)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def be(self, who: str) -> None:
        """Root; a person who may sudo; or one who may not."""
        self.tool(self.bin / "id", f"#!/bin/sh\necho {0 if who == 'root' else 1000}\n")
        self.tool(self.bin / "sudo", '#!/bin/sh\nshift\nexec "$@"\n' if who == "sudo" else "#!/bin/sh\nexit 1\n")

    def __call__(self, *words: str, code: int = 0, cwd: Path | None = None, **fakes: str) -> str:
        """What was printed, out and err; ``asked`` has what the fakes wrote down."""
        self.log.write_text("")
        env = {"PATH": str(self.bin), "HOME": str(self.home), "LOG": str(self.log), "FAKE_NO_VENV": str(self.no_venv), **fakes}
        run = [str(self.folder / "run"), *words]
        done = subprocess.run(run, env=env, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        assert done.returncode == code, done.stdout
        return done.stdout

    @property
    def asked(self) -> list[str]:
        return self.log.read_text().splitlines()

    @property
    def pip(self) -> list[str]:
        """What pip was asked to install."""
        return [line.split("misc/constraints.txt ")[1] for line in self.asked if " -m pip install" in line and "constraints" in line]

    @property
    def wheel(self) -> list[str]:
        """What pip was asked to install for Blender."""
        return [line for line in self.asked if " -m pip install" in line and "misc/blender.txt" in line]


@pytest.fixture
def bench(tmp_path: Path, checkout: Path) -> Bench:
    return Bench(tmp_path, checkout)


def test_the_first_time_sets_up_and_the_second_time_does_not(bench: Bench) -> None:
    """One environment, one call of pip with the pinned versions, one check; after that neither pip nor apt-get."""
    said = bench("clusterray", "tasks", "a b")
    assert "clusterray tasks a b, in" in said
    assert "making the environment .venv with Python 3.12.7" in said
    assert bench.pip == ["-e .[images]"]
    assert [line for line in bench.asked if "pip check" in line]
    again = bench("clusterray", "tasks")
    assert bench.asked == ["python -V"]
    assert "run:" not in again


def test_the_command_runs_where_it_was_typed(bench: Bench, tmp_path: Path) -> None:
    """``clusterray submit scene/`` means the folder beside the person, not beside the checkout."""
    bench("clusterray")
    assert f"in {tmp_path / 'home'}\n" in bench("clusterray", cwd=tmp_path / "home")


def test_the_tests_bring_their_extra_and_keep_it(bench: Bench) -> None:
    """test after demo adds the extra; demo after test changes nothing; pytest's words are handed on."""
    bench("demo")
    assert "checks -k wire" in bench("test", "-k", "wire")
    assert bench.pip == ["-e .[test]"]
    bench("demo")
    assert bench.pip == []
    bench("test")
    assert bench.pip == []


def test_changed_requirements_are_installed_with_all_extras_at_once(bench: Bench) -> None:
    """A later call never downgrades what an earlier one brought."""
    bench("test")
    with (bench.folder / "setup.cfg").open("a") as file:
        file.write("# changed\n")
    bench("demo")
    assert bench.pip == ["-e .[test]"]
    assert not [line for line in bench.asked if "venv" in line]


def test_another_python_makes_the_environment_anew(bench: Bench) -> None:
    """After an upgrade of the system the old environment's libraries are for another Python."""
    bench("test")
    said = bench("demo", FAKE_VERSION="3.13.1")
    assert "making the environment .venv with Python 3.13.1" in said
    assert bench.pip == ["-e .[test]"]


def test_a_checkout_that_was_moved_is_set_up_again(bench: Bench) -> None:
    """An environment knows its own path by heart."""
    bench("demo")
    bench.folder = bench.folder.rename(bench.folder.with_name("elsewhere"))
    assert "making the environment" in bench("demo")


def test_a_failed_installation_is_tried_again(bench: Bench) -> None:
    """The stamp is written last; the failure names a way out."""
    assert "pip could not install" in bench("demo", code=1, FAKE_PIP="1")
    bench("demo")
    assert bench.pip == ["-e ."]


def test_root_gets_the_missing_packages_and_hears_which(bench: Bench) -> None:
    """Only those that are missing, without recommended ones, after one sentence."""
    (bench.bin / "povray").unlink()
    (bench.bin / "bwrap").unlink()
    assert "run: installing system packages by apt-get: povray bubblewrap" in bench("demo")
    assert [line for line in bench.asked if line.endswith("install --yes --no-install-recommends povray bubblewrap")]


def test_who_may_use_sudo_gets_them_as_well(bench: Bench) -> None:
    """Without being asked for a password; whoever would be asked types the command."""
    (bench.bin / "povray").unlink()
    bench.be("sudo")
    bench("demo")
    assert [line for line in bench.asked if line.endswith("--no-install-recommends povray")]


def test_who_may_not_gets_the_command_to_type(bench: Bench) -> None:
    """Exactly, and nothing was done before."""
    (bench.bin / "povray").unlink()
    bench.be("guest")
    assert "please type: sudo apt-get install --no-install-recommends povray #" in bench("test", code=1)
    assert bench.asked == []


def test_the_demo_takes_mitsuba_where_pov_ray_cannot_be_had(bench: Bench) -> None:
    """Who may not install it, or has no apt-get, sees a picture all the same, as pip brings a renderer; the better way is said too."""
    (bench.bin / "povray").unlink()
    bench.be("guest")
    said = bench("demo")
    assert "please type: sudo apt-get install --no-install-recommends povray #" in said
    assert "POV-Ray cannot be had here, so the demo renders its scene by Mitsuba instead" in said
    assert bench.pip == ["-e .[mitsuba]"]
    assert "clusterray demo, in" in said
    bench("demo")
    assert bench.pip == []
    (bench.bin / "apt-get").unlink()
    assert "clusterray demo, in" in bench("demo")


def test_mitsubas_one_system_library_is_named(bench: Bench) -> None:
    """Without it the wheel installs and fails with words that hide the reason."""
    (bench.bin / "povray").unlink()
    bench.be("guest")
    said = bench("demo", code=1, FAKE_LACKS="atomic")
    assert "please type: sudo apt-get install --no-install-recommends libatomic1 #" in said
    assert bench.pip == []


def test_pov_ray_is_enough_for_the_demo(bench: Bench) -> None:
    """Its base only: none of the larger libraries."""
    bench("demo", FAKE_LACKS="atomic X11")
    assert bench.pip == ["-e ."]
    assert not [line for line in bench.asked if "apt-get" in line or "blender" in line]


@pytest.mark.parametrize("version", ["3.11.2", "3.13.5"])
def test_the_tests_get_blenders_wheel_in_an_environment_of_its_own(bench: Bench, version: str) -> None:
    """With the X libraries that it links; the second time neither pip nor apt-get, until the list of what goes in changes."""
    said = bench("test", FAKE_VERSION=version, FAKE_LACKS="X11 xkbcommon EGL")
    assert f"making the environment .venv-blender for Blender with Python {version}" in said
    assert len(bench.wheel) == 1
    assert bench.pip == ["-e .[test]"]
    assert [line for line in bench.asked if line.endswith("--no-install-recommends libx11-6 libxkbcommon0 libegl1")]
    bench("test", FAKE_VERSION=version)
    assert (bench.pip, bench.wheel, [line for line in bench.asked if "apt-get" in line]) == ([], [], [])
    with (bench.folder / "misc" / "blender.txt").open("a") as file:
        file.write("# changed\n")
    bench("test", FAKE_VERSION=version)
    assert len(bench.wheel) == 1
    assert not [line for line in bench.asked if "-m venv" in line]


def test_where_there_is_no_wheel_blender_comes_from_the_system(bench: Bench) -> None:
    """Debian's package, which brings its own libraries; one that is there already is taken as it is."""
    (bench.bin / "blender").unlink()
    said = bench("test", FAKE_VERSION="3.12.7")
    assert "Blender's wheel cannot be had here" in said
    assert [line for line in bench.asked if line.endswith("--no-install-recommends blender")]
    assert bench.wheel == []


def test_install_puts_blender_beside_its_environment(bench: Bench) -> None:
    """Where a node looks for it; pip never sees it among the other extras, since no environment can hold both."""
    bench.be("guest")
    said = bench("install", "images,blender,mitsuba", FAKE_VERSION="3.11.2", FAKE_LACKS="X11 atomic")
    assert bench.pip == [f"{bench.folder}[images,mitsuba]"]
    assert len(bench.wheel) == 1
    assert (bench.home / ".local/lib/clusterray-blender/bin/python").exists()
    assert "a node needs more; type: sudo apt-get install --no-install-recommends povray-includes" in said or "libatomic1 libx11-6" in said
    assert bench("install", "blender", FAKE_VERSION="3.11.2").count("installing Blender") == 0
    assert bench.pip == [str(bench.folder)]


def test_a_missing_bubblewrap_stops_nobody(bench: Bench) -> None:
    """Renderers then run unconfined, and that is said."""
    (bench.bin / "bwrap").unlink()
    bench.be("guest")
    said = bench("demo")
    assert "without bubblewrap renderers run unconfined" in said
    assert "clusterray demo, in" in said


def test_a_system_without_apt_is_told_what_is_missing(bench: Bench) -> None:
    """Other distributions have the same programs under names of their own."""
    (bench.bin / "povray").unlink()
    (bench.bin / "apt-get").unlink()
    assert "please install what Debian calls: povray" in bench("test", code=1)


def test_debians_python_gets_its_venv_package(bench: Bench) -> None:
    """A bare Debian's python3 cannot make an environment."""
    bench.no_venv.touch()
    assert "installing system packages by apt-get: python3-venv" in bench("demo")
    assert bench.pip == ["-e ."]


def test_a_python_that_is_too_old_is_refused(bench: Bench) -> None:
    """With the range and the way to name another."""
    assert "needs Python 3.11 to 3.14" in bench("demo", code=1, FAKE_UNFIT="1")


def test_install_puts_the_commands_into_the_home_of_a_person(bench: Bench) -> None:
    """In an environment outside of the checkout; a command that is not ours stays as it is."""
    bench.be("guest")
    commands = bench.home / ".local" / "bin"
    commands.mkdir(parents=True)
    (commands / "client.py").write_text("mine")
    said = bench("install", "web")
    assert bench.pip == [f"{bench.folder}[web]"]
    assert (commands / "clusterray").readlink() == bench.home / ".local/lib/clusterray/bin/clusterray"
    assert (commands / "client.py").read_text() == "mine"
    assert f"left alone, as it is not ours: {commands}/client.py" in said
    assert "is not on the PATH yet" in said


def test_help_and_an_unknown_command(bench: Bench) -> None:
    """Every command is listed; a word that is none of them is wrong usage."""
    for word in ("demo", "test", "install", "wheel", "clusterray"):
        assert f"  ./run {word}" in bench("help")
    assert "there is no ./run dmeo" in bench("dmeo", code=2)
    assert "./run demo" in bench()
    assert bench.asked == []


def test_this_machine_has_what_the_suite_needs() -> None:
    """A missing renderer fails the tests: nothing is skipped."""
    assert (Path(__file__).parents[1] / ".venv-blender").is_dir() or shutil.which("blender"), "./run test makes it"
    missing = [name for name in ("povray", "bwrap", "ip", "ps") if not shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")]
    assert missing == [], "./run test installs them, or says what to type"


@pytest.mark.parametrize(
    "script", ["run", "misc/check", "misc/link-types", ".ci/run", "init.d/clusterray-server", "init.d/clusterray-node", "init.d/install"]
)
def test_scripts_are_plain_posix_and_may_be_run(checkout: Path, script: str) -> None:
    """They run in any sh, as Debian's dash is one."""
    path = checkout / script
    assert path.read_text().startswith("#!/bin/sh\n")
    assert os.access(path, os.X_OK)
    done = subprocess.run(["sh", "-n", str(path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
