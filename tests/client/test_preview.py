"""`clusterray show --preview`: pictures into a folder, or one sentence why there are none."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from clusterray.common.model import Account, Asset, TaskSpec, new_id
from clusterray.common.wire.messages import Preview, Previewed

from .conftest import Double, Terminal, task

ONE = "11111111-1111-4111-8111-111111111111"


class Pictures:
    """Answers the double's question for previews; each time with other bytes."""

    def __init__(self, farm: Double) -> None:
        self.farm, self.names = farm, ["preview.png", "heat.png", "nodes.png"]
        self.pending = 0
        self.broken = 0
        """Answers whose account is gone before the transfer, as after a restart of the server."""
        self.asked: list[Preview] = []
        farm.tasks[ONE] = task(ONE, "ball 3", "povray", 0, 0)
        farm.specs[ONE], farm.steps[ONE] = TaskSpec(kind="povray", name="ball 3"), 0
        farm.on_preview = self  # type: ignore[attr-defined]

    def __call__(self, question: Preview) -> Any:
        self.asked.append(question)
        view = self.farm.find(question.task)
        if self.pending:
            self.pending -= 1
            return Previewed(task=view, why="It is being drawn.", pending=True)
        if not self.names:
            return Previewed(task=view, why="Nothing of task ball 3 is there yet: it is queued.")
        files = []
        for name in self.names[: 1 if question.full else 3]:
            data = f"{name} {len(self.asked)}".encode()
            digest = hashlib.sha256(data).hexdigest()
            (self.farm.folder / digest).write_bytes(data)
            files.append(Asset(path=name, size=len(data), digest=digest))
        user = new_id()
        self.farm.ftp.grant(
            user, "password-3", read={file.digest: self.farm.folder / file.digest for file in files}, write=None, write_names="out"
        )
        if self.broken:
            self.broken -= 1
            self.farm.ftp.revoke(user)
        return Previewed(task=view, files=tuple(files), account=Account(user=user, password="password-3", port=self.farm.ftp.port))


@pytest.fixture
def pictures(farm: Double) -> Pictures:
    return Pictures(farm)


def test_pictures_are_put_here_under_the_tasks_name(person: Terminal, pictures: Pictures) -> None:
    """Their paths are printed; the next time they are replaced, and nothing else is left behind."""
    before = set(person.cwd.iterdir())
    person("show", "111", "--preview", code=0)
    made = [person.cwd / f"ball 3-{part}.png" for part in ("preview", "heat", "nodes")]
    assert person.out.splitlines() == [str(path) for path in made]
    assert made[0].read_text() == "preview.png 1"
    person("show", "111", "--preview", code=0)
    assert made[0].read_text() == "preview.png 2"
    assert set(person.cwd.iterdir()) - before == set(made)


def test_the_full_size_has_a_name_of_its_own(person: Terminal, pictures: Pictures) -> None:
    """With -o into any folder, which is made; --json lists the files."""
    rows = person.json("show", "111", "--preview", "--full", "-o", "deep/place")
    assert rows == [{"file": str(person.cwd / "deep/place/ball 3-full.png")}]
    assert pictures.asked[-1].full and (person.cwd / "deep/place/ball 3-full.png").exists()


def test_nothing_to_see_is_said_and_told_by_the_exit_code(person: Terminal, pictures: Pictures) -> None:
    """The server's sentence; no file; an empty list for scripts."""
    pictures.names = []
    person("show", "111", "--preview", code=1)
    assert person.out == "" and person.err == "Nothing of task ball 3 is there yet: it is queued.\n"
    assert person.json("show", "111", "--preview", code=1) == []


def test_a_picture_that_is_being_drawn_is_waited_for(person: Terminal, pictures: Pictures) -> None:
    """The question is asked again until it is there; also when the server has forgotten the account meanwhile."""
    pictures.pending, pictures.broken = 2, 1
    person("show", "111", "--preview", code=0)
    assert len(pictures.asked) == 4 and (person.cwd / "ball 3-heat.png").exists()


def test_a_server_cannot_write_where_it_likes(person: Terminal, pictures: Pictures) -> None:
    """Only the three names are taken."""
    pictures.names = ["../../evil.png"]
    person("show", "111", "--preview", code=1)
    assert "evil.png" in person.err and "nothing was fetched" in person.err
    assert not list(person.cwd.parent.rglob("*evil*"))


def test_a_folder_that_cannot_be_is_said(person: Terminal, pictures: Pictures) -> None:
    """One sentence with the way out; options without --preview too."""
    (person.cwd / "file").write_text("in the way")
    person("show", "111", "--preview", "-o", "file/below", code=1)
    assert "choose another folder with -o" in person.err
    person("show", "111", "--full", code=2)
    assert "--preview" in person.err
