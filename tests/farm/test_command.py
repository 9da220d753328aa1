"""Any program, on nodes whose owners allow it: by name, and with a sentence where nobody does."""

from __future__ import annotations

import pytest

from .box import until

COMMAND = "clusterray.common.kinds.command:COMMAND"


@pytest.fixture
def farm(make_box):
    """A server that knows the kind, whether or not it is installed as an entry point."""
    return make_box(CLUSTERRAY_EXTRA_KINDS=COMMAND).server().login()


def letters(box, name="work", more=""):
    folder = box.folder / name
    folder.mkdir()
    for letter in "abc":
        (folder / f"{letter}.txt").write_text(f"{letter} and more\n")
    (folder / "task.toml").write_text(
        f'kind = "command"\nname = "{name}"\n[options]\ncommand = ["tr", "a-z", "A-Z"]\nfiles = "*.txt"\n'
        f'stdin = "{{input}}"\nstdout = "{{output}}"\noutputs = ["{{stem}}.up"]\n{more}'
    )
    return folder


def test_a_task_waits_for_a_node_that_allows_its_program(farm):
    """While no owner allows the program, the task says which setting of which node is missing; where one does, it is done."""
    farm.node("plain")
    ident = farm.detach(letters(farm))

    def notes():
        """the task says why it waits"""
        return " ".join(farm.task(ident)["notes"])

    until(lambda: "node plain does not allow commands (its owner's setting [node] allow)" in notes())
    farm.kill("plain")
    farm.node("other", CLUSTERRAY_NODE_COMMANDS="cat")
    until(lambda: "node other does not allow the program tr (its owner's setting [node] commands)" in notes())
    assert farm.task(ident)["jobs"]["done"] == 0
    farm.node("able", CLUSTERRAY_NODE_COMMANDS="cat,tr")
    farm.run("watch", ident, timeout=60)
    result = farm.folder / "work-result"
    assert {path.name: path.read_text() for path in result.iterdir()} == {f"{x}.up": f"{x} AND MORE\n".upper() for x in "abc"}


def test_numbers_need_no_file(farm):
    """A task that is nothing but its task.toml, which no job reads: its confined program still has a folder for inputs."""
    farm.node("able", CLUSTERRAY_NODE_COMMANDS="expr")
    folder = farm.folder / "squares"
    folder.mkdir()
    (folder / "task.toml").write_text(
        'kind = "command"\n[options]\ncommand = ["expr", "{index}", "*", "{index}"]\nrange = "1-5"\nchunk = 2\n'
        'stdout = "{output}"\noutputs = ["{index}.txt"]\njoin = "concatenate"\n'
    )
    farm.run("submit", folder, timeout=60)
    assert (farm.folder / "squares-result" / "squares.txt").read_text() == "1\n4\n9\n16\n25\n"


def test_a_last_command_and_a_program_of_the_task_need_any(farm):
    """A script of the task runs where "any" is allowed; it sees the task's files and the pieces before it, and changes neither."""
    farm.node("any", CLUSTERRAY_NODE_COMMANDS="any")
    folder = farm.folder / "sums"
    folder.mkdir()
    (folder / "join.sh").write_text(
        '#!/bin/sh\nout="$1"; shift; cat "$@" > "$out"; ls "$INPUTS" >> "$out"\ntouch "$INPUTS/x" || echo closed >> "$out"\n'
    )
    (folder / "join.sh").chmod(0o755)
    (folder / "task.toml").write_text(
        'kind = "command"\nname = "sums"\n[options]\ncommand = ["expr", "{index}", "*", "{index}"]\nrange = "1-5"\nchunk = 2\n'
        'stdout = "{output}"\noutputs = ["{index:03d}.txt"]\nlast = ["./join.sh", "{output}", "{pieces}"]\nlast_outputs = ["sum.txt"]\n'
        '[env]\nINPUTS = "{inputs}"\n'
    )
    farm.run("submit", folder, timeout=60)
    (made,) = (farm.folder / "sums-result").iterdir()
    assert made.read_text().splitlines() == ["1", "4", "9", "16", "25", "join.sh", "stages", "closed"]
    (task,) = farm.json("tasks")
    assert (task["state"], task["jobs"]["total"]) == ("completed", 4)


def test_a_program_that_fails_is_told_with_its_file_and_last_words(farm):
    """The submitter sees which program, on which file, and what it said."""
    farm.node("able", CLUSTERRAY_NODE_COMMANDS="tr")
    folder = letters(farm, "bad", "[limits]\nattempts = 1\n")
    (folder / "task.toml").write_text((folder / "task.toml").read_text().replace('"a-z", ', '"z-a", '))
    done = farm.run("submit", folder, ok=False, timeout=60)
    said = done.stdout + done.stderr
    assert done.returncode == 1 and "tr exited with 1 on a.txt" in said and "z-a" in said, said
