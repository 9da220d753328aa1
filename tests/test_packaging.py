"""What an installed ClusterRay holds: the checkout is the package, so a slip here shows only on other machines."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
import sys
import zipfile
from fnmatch import fnmatch
from importlib.metadata import entry_points
from pathlib import Path

import clusterray
import pytest

PARTS = ("client", "common", "node", "server")


@pytest.fixture(scope="module")
def config(checkout: Path) -> configparser.ConfigParser:
    config = configparser.ConfigParser()
    config.read(checkout / "setup.cfg")
    return config


@pytest.fixture(scope="module")
def wheel(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The names in a wheel that was built from a copy of the checkout, as ``./run wheel`` does it, but offline."""
    copy, out = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("out")
    aside = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for part in (*PARTS, "tests", "misc"):
        shutil.copytree(checkout / part, copy / part, ignore=aside)
    for file in checkout.iterdir():
        if file.is_file():
            shutil.copy(file, copy)
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    built = subprocess.run([*pip, "-w", str(out), str(copy)], capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    (path,) = out.glob("clusterray-*.whl")
    with zipfile.ZipFile(path) as archive:
        return [name for name in archive.namelist() if ".dist-info/" not in name]


def packages(checkout: Path) -> set[str]:
    """All package folders on disk, by their import names."""
    found = {path.parent for part in PARTS for path in (checkout / part).rglob("__init__.py")}
    return {"clusterray"} | {".".join(("clusterray", *folder.relative_to(checkout).parts)) for folder in found}


def test_every_package_on_disk_is_listed_and_every_listed_one_exists(checkout: Path, config: configparser.ConfigParser) -> None:
    """A package that is missing from setup.cfg works in the checkout and is missing from the wheel."""
    listed = config["options"]["packages"].split()
    assert listed == sorted(listed)
    assert set(listed) == packages(checkout)


def test_every_folder_with_code_is_a_package(checkout: Path) -> None:
    """A folder without __init__.py imports from a checkout as a namespace, and is missing from the wheel."""
    folders = {path.parent for part in PARTS for path in (checkout / part).rglob("*.py")}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").is_file()] == []


def test_the_wheel_holds_the_whole_package_and_nothing_else(checkout: Path, config: configparser.ConfigParser, wheel: list[str]) -> None:
    """Every module and all package data, each once; no tests, no scripts of the root, no left-over."""
    patterns = {package.replace(".", "/"): globs.replace(",", " ").split() for package, globs in config["options.package_data"].items()}
    expected = {"clusterray/__init__.py"}
    for glob in patterns["clusterray"]:
        expected.update(f"clusterray/{path.relative_to(checkout).as_posix()}" for path in checkout.glob(glob.rstrip(",")))
    for part in PARTS:
        for path in (checkout / part).rglob("*"):
            name = f"clusterray/{path.relative_to(checkout).as_posix()}"
            if path.suffix == ".py" or any(fnmatch(path.name, glob) for glob in patterns.get(str(Path(name).parent), ())):
                expected.add(name)
    assert sorted(wheel) == sorted(expected)


def test_sql_files_are_in_the_wheel(wheel: list[str]) -> None:
    """A server that was installed by pip finds its schema, its queries and its migrations."""
    assert {"clusterray/server/sql/schema.sql", "clusterray/server/sql/queries.sql"} <= set(wheel)
    assert any(name.startswith("clusterray/server/sql/migrations/") and name.endswith(".sql") for name in wheel)


def test_data_files_beside_code_are_named_in_setup_cfg(checkout: Path, config: configparser.ConfigParser) -> None:
    """Package data is named, never swept up; what is neither code nor named nor a README does not belong there."""
    patterns = {package: globs.replace(",", " ").split() for package, globs in config["options.package_data"].items()}
    stray = [
        path.relative_to(checkout).as_posix()
        for part in PARTS
        for path in (checkout / part).rglob("*")
        if path.is_file()
        and path.suffix not in (".py", ".pyc")
        and path.name != "README.md"
        and not any(
            fnmatch(path.name, glob) for glob in patterns.get(".".join(("clusterray", *path.parent.relative_to(checkout).parts)), ())
        )
    ]
    assert stray == []


def test_the_root_holds_no_module(checkout: Path) -> None:
    """Any *.py beside __init__.py would ship inside the package."""
    assert [path.name for path in checkout.glob("*.py")] == ["__init__.py"]


@pytest.mark.parametrize("part", PARTS)
def test_parts_are_only_importable_under_the_package_name(part: str, tmp_path: Path) -> None:
    """``import common`` would be a second copy of every class."""
    done = subprocess.run([sys.executable, "-c", f"import {part}"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert f"No module named '{part}'" in done.stderr
    assert part not in sys.modules


def test_there_is_one_version(config: configparser.ConfigParser) -> None:
    """setup.cfg and the package agree."""
    assert clusterray.__version__ == config["metadata"]["version"]


def test_entry_points_lead_somewhere(config: configparser.ConfigParser) -> None:
    """The commands and the kinds named in setup.cfg can be imported."""
    points = config["options.entry_points"]
    lines = [line.split("=")[1].strip() for group in points.values() for line in group.strip().splitlines()]
    assert lines
    for line in lines:
        module, _, name = line.partition(":")
        code = f"import {module} as m; m.{name}"
        done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_the_tests_ran_with_what_is_pinned(checkout: Path, config: configparser.ConfigParser) -> None:
    """misc/constraints.txt pins each library that setup.cfg asks for, so that a release elsewhere breaks nothing overnight."""


    def pinned(file: str) -> set[str]:
        return {name(line) for line in (checkout / "misc" / file).read_text().splitlines() if "==" in line}

    def asked(*texts: str) -> set[str]:
        return {name(line) for text in texts for line in text.strip().splitlines()} - {"clusterray"}

    def name(line: str) -> str:
        return re.split(r"[\[<>=; ]", line)[0].lower().replace("_", "-")

    extras = dict(config["options.extras_require"])
    assert asked(extras.pop("blender")) <= pinned("blender.txt")
    assert asked(config["options"]["install_requires"], *extras.values()) <= pinned("constraints.txt")


def test_the_extras_hold_what_they_are_named_for(config: configparser.ConfigParser) -> None:
    """`all` is every library that goes into one environment; Blender's wheel pins another numpy and is never among them."""
    extras = {name: text.split() for name, text in config["options.extras_require"].items()}
    assert "clusterray[images,mitsuba,survey]" in extras["all"]
    assert "clusterray[images,mitsuba,survey]" in extras["test"]
    assert not [line for name in extras if name != "blender" for line in extras[name] if line.startswith("bpy")]


def test_every_kind_of_the_house_is_an_entry_point(checkout: Path) -> None:
    """As installed: what is missing here is missing from `clusterray kinds`."""
    ours = {"blender", "command", "mitsuba", "panorama", "pointcloud", "povray", "survey"}
    assert {point.name for point in entry_points(group="clusterray.kinds")} >= ours
