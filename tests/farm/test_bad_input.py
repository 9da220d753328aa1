"""Wrong words: each is refused before anything is sent, in one sentence that names the thing and the way out."""

from __future__ import annotations

import os
import subprocess

from clusterray.common.kinds.echo import content

from .box import BIN, until
from .sayings import SCENE, SMALL, one_sentence, scene


def test_a_wrong_folder_is_refused_before_anything_is_sent(box):
    """What is wrong in a folder or an option is told with file, line and the nearest right name; the farm hears nothing of it."""
    home = box.folder

    def refused(folder, *words, options=()):
        return one_sentence(box.run("submit", folder, *options, ok=False), 2, *words)

    (home / "a file").write_text("x")
    (home / "empty").mkdir()
    refused(home / "a file", "a file is no folder", "give the folder that holds the scene")
    refused(home / "nowhere", f"There is no folder {home}/nowhere", "check its name")
    refused(home / "empty", f"{home}/empty holds no file", "put all that the task needs into it")
    refused(scene(home / "zero", ""), "zero/scene.pov: The scene is empty")

    good = scene(home / "good")
    for width in (0, 10**9):
        refused(good, f"-o width={width}: width must be from 1 to 100,000", options=("-o", f"width={width}"))
    refused(good, '"widht"', 'did you mean "width"?', options=("-o", "widht=9"))

    two = scene(home / "two", SCENE)
    scene(two, SCENE, "other.pov")
    refused(two, "holds 2 scenes (other.pov, scene.pov)", "-o scene=other.pov")

    def written(name, text):
        return scene(home / "written", task_toml=text) / name

    for text, *words in (
        ('kind = "povray"\n[options]\nwidht = 10\n', ':3: The kind povray has no option "widht"', 'did you mean "width"?'),
        ('nmae = "x"\nkind = "povray"\n', ':1: there is no key "nmae"', 'did you mean "name"?'),
        ('kind = "povray"\n[limits]\natempts = 2\n', ':3: [limits] has no key "atempts"', 'did you mean "attempts"?'),
        ('kind = "povary"\n', ':1: there is no kind "povary"', 'did you mean "povray"?'),
        ('kind = "povray"\n\n[options]\nwidth = 0\n', ":4: width must be from 1 to 100,000, not 0"),
    ):
        refused(written("", text), "written/task.toml" + words[0], *words[1:])

    ini = scene(home / "ini", scene_ini="Width=64\nPost_Frame_Command=rm -r /\n")
    refused(ini, "ini/scene.ini:2: Post_Frame_Command", "take this out")
    scene(ini, scene_ini="Width=64\n\nHieght=48\n")
    refused(ini, "ini/scene.ini:3: Hieght=48", "did you mean")
    include = scene(home / "include", f'#include "colors.inc"\n#include "missing.inc"\n{SCENE}')
    refused(include, "include/scene.pov:2: ", '"missing.inc"', "neither in the folder nor in POV-Ray's own libraries")
    assert box.json("tasks") == []


def test_what_the_submitter_may_not_read_is_named(box):
    """One unreadable file, scene, description or subfolder stops the folder with its name, as a person who is not root sees it."""
    # root reads whatever it likes; without these two capabilities it is held to the permissions like everybody
    plain = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []

    def run(*arguments):
        command = [*plain, BIN / "clusterray", *map(str, arguments)]
        return subprocess.run(command, env=box.env, cwd=box.folder, capture_output=True, text=True, timeout=60, check=False)

    for number, path in enumerate(["notes.txt", "scene.pov", "task.toml", "sub/", "."]):
        folder = scene(box.folder / f"locked{number}", notes_txt="n", task_toml='kind = "povray"\n')
        (folder / "sub").mkdir()
        (folder / "sub" / "more.txt").write_text("m")
        (folder / path).chmod(0)
        name = f"locked{number}" if path == "." else path
        one_sentence(run("submit", folder), 2, f"locked{number}", f"{name} cannot be read (Permission denied)", "make it readable")
        (folder / path).chmod(0o755)
    closed = box.folder / "closed"
    closed.mkdir(mode=0)
    one_sentence(run("submit", closed / "inner"), 2, "closed/inner cannot be looked at (Permission denied)", "a user who may read it")
    closed.chmod(0o755)
    assert box.json("tasks") == []


def test_any_name_that_a_disk_takes_goes_round(box):
    """Spaces, quotes, dollars and letters of any script in names of folders, scenes and files: the picture comes back under its name."""
    box.node()
    odd = """Käse & "Brot" 's $HOME `x` 日本 #1"""
    folder = scene(box.folder / odd, '#include "more parts/it\'s $1.inc"\n' + SCENE, name=f"{odd}.pov")
    (folder / "more parts").mkdir()
    (folder / "more parts" / "it's $1.inc").write_text("// nothing\n")
    (folder / "größe.txt").write_text("not named by the scene\n")
    (folder / "-rf.txt").write_text("a name like a flag\n")
    box.run("submit", folder, *SMALL)
    assert (box.folder / f"{odd}-result" / f"{odd}.png").read_bytes().startswith(b"\x89PNG")
    box.run("submit", box.echo(f"{odd} 2".replace('"', "”"), jobs=2))
    assert len(box.json("tasks")) == 2
    bad = box.folder / "line"
    scene(bad)
    (bad / "two\nlines.txt").write_text("x")
    one_sentence(box.run("submit", bad, ok=False), 2, "two\\nlines.txt", "rename the file")
    foreign = scene(box.folder / "foreign", '#include "größe.inc"\n' + SCENE)
    (foreign / "größe.inc").write_text("// POV-Ray itself cannot open this\n")
    one_sentence(box.run("submit", foreign, ok=False), 2, 'foreign/scene.pov:1: #include "größe.inc"', "outside of ASCII; rename it")


def test_a_folder_of_2010_renders(box):
    """A params.cfg as the old system had it, with CRLF, a blank line and a colon in a value, is a task as it is."""
    box.node()
    folder = scene(box.folder / "old", name="kugel.pov")
    params = "inputFile:kugel.pov\r\noutputFile:kugel\r\n\r\njobNumber:3\r\nrenderType:picture\r\nimageHeight:48\r\nimageWidth:65\r\n"
    (folder / "params.cfg").write_text(params + "otherParams:+A0.3 -J\r\n")
    box.run("submit", folder)
    assert (box.folder / "old-result" / "kugel.png").read_bytes().startswith(b"\x89PNG")
    (task,) = box.json("tasks")
    assert (task["name"], task["jobs"]["total"]) == ("kugel", 3)
    (folder / "params.cfg").write_text(params.replace("imageWidth", "imageWdith"))
    said = box.run("submit", folder, "--overwrite", ok=False)
    one_sentence(said, 2, 'params.cfg:7: there is no key "imageWdith"', 'did you mean "imageWidth"?')


def test_codes_that_do_not_fit_are_told_apart(make_box):
    """No login, no code, half a code, a mistyped, a node's and an outdated one; no server: each its own sentence and exit code."""
    box = make_box()
    folder = box.echo("work", jobs=1)
    one_sentence(box.run("submit", folder, ok=False), 2, "not logged in", "clusterray login CODE", "--local")
    box.server()
    code = box.code("submit")
    other = "a" if code[30] != "a" else "b"
    one_sentence(box.run("login", "hello", ok=False), 2, "This is no join code", "clusterray join-code")
    one_sentence(box.run("login", code[:-9], ok=False), 2, "cut short", "copy it again")
    one_sentence(box.run("login", code[:30] + other + code[31:], ok=False), 2, "mistyped", "copy it again")
    one_sentence(box.run("login", box.code("node"), ok=False), 2, "join code for nodes", "clusterray node start --join", "--role submit")
    box.run("login", code)
    box.run("join-code", "--role", "submit", "--new")
    outdated = "The join code is wrong or was replaced", "The token is not known here", "the join code is wrong or was replaced; log in"
    one_sentence(box.run("submit", folder, ok=False), 4, *outdated[1:])
    one_sentence(box.run("login", code, ok=False), 4, *outdated[1:])
    nodes = box.code("node")
    box.run("join-code", "--role", "node", "--new")
    one_sentence(box.run("node", "start", ok=False), 2, "knows no server yet", "clusterray node start --join CODE")
    one_sentence(box.run("node", "start", "--join", code, ok=False), 2, "not for nodes", "--role node")
    one_sentence(box.run("node", "start", "--join", nodes, ok=False), 4, outdated[0], "join-code --role node")
    assert box.run("node", "status", ok=False).returncode == 3
    box.login()
    box.kill("server")
    one_sentence(box.run("submit", folder, ok=False), 3, f"No server answers at 127.0.0.1:{box.port}", "is it running")
    box.server()
    assert box.json("tasks") == []


def test_a_need_that_no_node_meets_is_said_at_submission(box):
    """Also to somebody who does not stay: what is lacking on which node, at once and in `show`; it runs when such a node comes."""
    folder = box.echo("work", jobs=1, limits='[needs]\ntags = ["fast"]\n')
    said = box.run("submit", folder, "--detach")
    assert "No node is connected, so the task waits: start one with `clusterray node start" in said.stderr
    box.node("slow")
    said = box.run("submit", box.echo("more", jobs=1, limits='[needs]\ngpu = 4\n'), "--detach")
    assert "No node can run it now, so it waits: node slow has 0 GPUs, a job needs 4." in said.stderr
    (ident,) = (task["id"] for task in box.json("tasks") if task["name"] == "work")
    assert "node slow lacks the tag fast" in box.run("show", ident).stdout
    box.node("quick", CLUSTERRAY_NODE_TAGS="fast")
    box.run("watch", ident)
    assert (box.folder / "work-result" / "work.txt").read_bytes() == content(0, 16)
    until(lambda: box.task(ident)["state"] == "completed")
