"""Shared storage with real servers, nodes and clients that see the same folder under different paths: nothing is copied or guessed."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from .box import until
from .sayings import scene
from .test_stages import ask

COMMAND = "clusterray.common.kinds.command:COMMAND"


class Site:
    """A disk that several machines see, each under its own path, and a farm on it."""

    def __init__(self, make_box, **more):
        kinds = f"clusterray.common.kinds.echo:ECHO,{COMMAND}"
        self.box = make_box(CLUSTERRAY_EXTRA_KINDS=kinds, CLUSTERRAY_NODE_COMMANDS="any", **more)
        self.disk = self.box.folder / "disk"
        self.out = self.box.folder / "out"
        for folder in (self.disk, self.out):
            folder.mkdir()
        self.box.env |= self.seen("server")
        self.box.server().login()

    def seen(self, machine):
        """The setting of a machine that sees disk and results under paths of its own."""
        at = self.box.folder / f"mnt-{machine}"
        at.mkdir(exist_ok=True)
        for name, real in (("photos", self.disk), ("results", self.out)):
            if not (at / name).exists():
                (at / name).symlink_to(real)
        return {"CLUSTERRAY_SHARED_PHOTOS": f"path={at / 'photos'},results={at / 'results'},also=Z:\\photos|\\\\nas\\photos"}

    def node(self, name, slots=1, **more):
        return self.box.node(name, slots, **{**self.seen(name), **more})

    def letters(self, name="site7", count=3, more=""):
        """A folder on the disk: upper-case each of some files."""
        folder = self.disk / name
        folder.mkdir()
        for number in range(count):
            (folder / f"p{number}.txt").write_text(f"photo {number}\n")
        (folder / "task.toml").write_text(
            f'kind = "command"\nname = "{name}"\n[options]\ncommand = ["tr", "a-z", "A-Z"]\nfiles = "*.txt"\n'
            f'stdin = "{{input}}"\nstdout = "{{output}}"\noutputs = ["{{stem}}.up"]\n{more}'
        )
        return folder

    def submit(self, folder, *arguments, **more):
        """As a client that sees the disk under a path of its own."""
        return self.box.run("submit", "--shared", folder, *arguments, **{**self.seen("client"), **more})

    def result(self, name):
        """The one folder of results of this name."""
        (found,) = self.out.glob(f"{name}-*")
        return {path.name: path.read_text() for path in found.iterdir()}


@pytest.fixture
def site(make_box):
    return Site(make_box)


def test_nothing_is_copied_and_results_appear_beside(site):
    """Two nodes under two paths, a client under a third, and a task of two stages with large and small outputs: the photos stay where they
    are, each attempt's files are taken from the results and removed there, and the result is there, under the client's path."""
    site.node("one")
    site.node("two")
    folder = site.letters()
    (folder / "join.sh").write_text('#!/bin/sh\nout="$1"; shift; cat "$INPUTS/p1.txt" "$@" > "$out"\nseq 20000 > "$out.more"\n')
    (folder / "join.sh").chmod(0o755)
    with (folder / "task.toml").open("a") as file:
        file.write('last = ["./join.sh", "{output}", "{pieces}"]\nlast_outputs = ["all.out", "all.out.more"]\n[env]\nINPUTS = "{inputs}"\n')
    done = site.submit(site.box.folder / "mnt-client" / "photos" / "site7")
    assert "sending" not in done.stderr or "kB" not in done.stderr.split("sending")[1].splitlines()[0]
    shown = Path(done.stdout.split()[-1])
    assert shown.parent == site.box.folder / "mnt-client" / "results"
    made = site.result("site7")
    assert made["all.out"] == "photo 1\nPHOTO 0\nPHOTO 1\nPHOTO 2\n" and len(made["all.out.more"].splitlines()) == 20000
    until(lambda: not list((site.out / ".clusterray").iterdir()))
    for folder in ("one", "two", "farm"):
        for path in (site.box.folder / folder).rglob("*"):
            assert path.name != "p0.txt" or path.is_symlink(), path
    assert {path.name for path in site.out.iterdir()} - {".clusterray"} == {shown.name}


def test_a_scene_renders_from_shared_storage(site):
    """POV-Ray in its confinement reads the scene and what it includes through links, and the picture is the same as without. A client that
    does not see the results of the root fetches them, as ever."""
    site.node("one", slots=2)
    text = '#include "colour.inc"\n' + "camera { location -5*z }\nlight_source { -9 1 }\nsphere { 0, 1 pigment { Mine } }\n"
    shared = scene(site.disk / "ball", text, colour_inc="#declare Mine = color rgb <1, 0.5, 0>;\n")
    plain = scene(site.box.folder / "plain" / "ball", text, colour_inc="#declare Mine = color rgb <1, 0.5, 0>;\n")
    size = ("-o", "width=64", "-o", "height=48", "-o", "tiles=[2, 2]")
    (site.box.folder / "hidden").mkdir()
    done = site.submit(shared, *size, CLUSTERRAY_SHARED_PHOTOS=f"path={site.disk},results={site.box.folder / 'hidden'}")
    assert "this machine does not see it there, so that it is fetched" in done.stderr
    site.box.run("submit", plain, *size)
    (result,) = site.out.glob("ball-*")
    assert (site.disk / "ball-result" / "ball.png").read_bytes() == (result / "ball.png").read_bytes()
    assert (result / "ball.png").read_bytes() == (plain.parent / "ball-result" / "ball.png").read_bytes()


def test_nodes_that_cannot_serve_are_named_and_the_task_waits_for_one_that_can(site):
    """One has no such root; one has another disk there, with the same files in it. The task says so, and a third node does all of it."""
    folder, other = site.letters(), site.box.folder / "other"
    (other / "site7").mkdir(parents=True)
    for path in folder.iterdir():
        (other / "site7" / path.name).write_bytes(path.read_bytes())
        os.utime(other / "site7" / path.name, ns=(path.stat().st_mtime_ns,) * 2)
    site.box.node("bare", CLUSTERRAY_SHARED_PHOTOS="")
    site.box.node("wrong", CLUSTERRAY_SHARED_PHOTOS=f"path={other},results={site.out}")
    ident = json.loads(site.submit(folder, "--detach", "--json").stdout)[0]["id"]

    def waits():
        """the task names the setting and the disk"""
        said = " ".join(site.box.task(ident)["notes"])
        bare = "node bare has no shared root photos (its owner's setting [shared.photos])"
        return bare in said and "node wrong sees another disk" in said

    until(waits)
    assert "sees another disk than the server" in {node["name"]: node for node in site.box.json("nodes")}["wrong"]["note"]
    site.node("right")
    site.box.run("watch", ident)
    assert {a["node"] for job in site.box.task(ident)["job_list"] for a in job["attempts"]} == {"right"}
    site.box.kill("bare", signal.SIGINT)
    checked = site.box.run("shared", "check", ok=False)
    rows = {line.split()[0]: line for line in checked.stdout.splitlines()}
    assert "FAILED" in rows["wrong"] and "another disk" in rows["wrong"] and checked.returncode == 1
    assert " ok " in rows["right"] and " ok " in rows["(server)"]
    site.box.kill("wrong", signal.SIGINT)
    assert site.box.run("shared", "check").returncode == 0


@pytest.mark.skipif(os.geteuid() != 0 or os.system("unshare -m true 2>/dev/null") != 0, reason="needs mount namespaces")
def test_machines_with_the_same_path_and_different_mounts(site):
    """Three nodes with the same setting, as drives with the same letter: one right, one with the wrong share, one that may not write."""
    site.letters(count=6)
    at, wrong = site.box.folder / "Z", site.box.folder / "wrong"
    for folder in (at / "photos", at / "results", wrong):
        folder.mkdir(parents=True)
    setting = {"CLUSTERRAY_SHARED_PHOTOS": f"path={at}/photos,results={at}/results"}

    def mounted(disk, *more):
        words = [f"mount --bind {disk} {at}/photos", f"mount --bind {site.out} {at}/results", *more, 'exec "$@"']
        return ("unshare", "-m", "sh", "-c", " && ".join(words), "sh")

    site.box.node("right", before=mounted(site.disk), **setting)
    site.box.node("wrong", before=mounted(wrong), **setting)
    site.box.node("mute", before=mounted(site.disk, f"mount -o remount,bind,ro {at}/results"), **setting)
    found = {(row["machine"], row["root"]): row for row in json.loads(site.box.run("shared", "check", "--json", ok=False).stdout)}
    assert {machine: row["state"] for (machine, _), row in found.items()} == {"": "good", "right": "good", "wrong": "bad", "mute": "bad"}
    assert f"cannot write results into {at}/results: Read-only file system" in found["mute", "photos"]["why"]
    site.submit(site.disk / "site7")
    assert len(site.result("site7")) == 6
    (task,) = site.box.json("tasks")
    assert {a["node"] for job in site.box.task(task["id"])["job_list"] for a in job["attempts"]} == {"right"}


def test_a_file_that_changes_while_the_task_runs(site):
    r"""The task fails and names the file; a restart reads the folder anew and does that file's job alone. It was named as on Windows:
    ``\\NAS\photos\SITE7``."""
    site.node("one", slots=3)
    folder = site.letters()
    script = 'if grep -q 2 "$0"; then sleep 4; fi; tr a-z A-Z < "$0" > "$1"'
    (folder / "task.toml").write_text(
        f'kind = "command"\nname = "site7"\n[options]\ncommand = ["sh", "-c", {json.dumps(script)}, "{{input}}", "{{output}}"]\n'
        'files = "*.txt"\noutputs = ["{stem}.up"]\n'
    )
    ident = json.loads(site.submit("\\\\NAS\\photos\\SITE7", "--detach", "--json").stdout)[0]["id"]
    until(lambda: site.box.task(ident)["jobs"]["done"] == 2)
    (folder / "p2.txt").write_text("quite another one\n")
    until(lambda: site.box.task(ident)["state"] == "failed")
    assert site.box.task(ident)["error"] == "p2.txt changed while the task ran; restart it."
    site.box.run("restart", ident, "-o", "chunk=1")  # looks at the files as they are now
    until(lambda: site.box.task(ident)["state"] == "completed")
    (result,) = site.out.glob("site7-*-run2")
    assert (result / "p2.up").read_text() == "QUITE ANOTHER ONE\n"
    assert ask(site.box, "SELECT count(*) FROM attempts") == [(4,)]


def test_what_leads_out_of_the_root_is_refused(site):
    """A folder elsewhere, a way through .., a link to a secret: one sentence each, and nothing is handed in."""
    site.letters()
    outside = site.box.folder / "outside"
    outside.mkdir()
    (outside / "secret.txt").write_text("secret\n")
    (outside / "task.toml").write_text((site.disk / "site7" / "task.toml").read_text())

    def refused(named):
        done = site.box.run("submit", "--shared", named, ok=False, **site.seen("client"))
        assert done.returncode == 2, done
        return done.stderr

    assert "does not lie in a shared root of this machine" in refused(outside)
    assert "does not lie in a shared root of this machine" in refused(site.disk / ".." / "outside")
    assert "goes through .." in refused("Z:\\photos\\..\\outside")
    (site.disk / "site7" / "p9.txt").symlink_to(outside / "secret.txt")
    assert "p9.txt is a link out of the folder" in refused(site.disk / "site7")
    (site.disk / "way").symlink_to(outside)
    assert "does not lie in a shared root of this machine" in refused(site.disk / "way")
    assert site.box.json("tasks") == []


def test_a_link_that_appears_later_is_not_followed(site):
    """A file that becomes a link out of the folder after the submission: no node reads what it leads to."""
    folder = site.letters()
    ident = json.loads(site.submit(folder, "--detach", "--json").stdout)[0]["id"]
    secret = site.box.folder / "secret"
    secret.write_text("photo 1\n")
    before = (folder / "p1.txt").stat()
    (folder / "p1.txt").unlink()
    (folder / "p1.txt").symlink_to(secret)
    os.utime(secret, ns=(before.st_mtime_ns,) * 2)
    site.node("one")
    until(lambda: site.box.task(ident)["state"] == "failed" or "link out of the shared folder" in json.dumps(site.box.task(ident)))
    assert "p1.up" not in {path.name for path in site.out.rglob("*")}


def test_a_server_without_the_root_says_so(make_box):
    """The client has the setting and the server has not."""
    box = make_box().server().login()
    folder = box.echo("work", jobs=1)
    done = box.run("submit", "--shared", folder, ok=False, CLUSTERRAY_SHARED_WORK=str(box.folder))
    assert "The server has no shared root 'work' ([shared.NAME] in its settings): it has none." in done.stderr
    assert "This server has no shared root" in box.run("shared", "check", ok=False).stderr
