"""``clusterray submit``: from a folder to its result beside it, whatever happens on the way."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from clusterray.common.states import TaskState
from clusterray.common.wire import messages

from .conftest import Double, Terminal, messages_refused


def submits(farm: Double) -> list[messages.Submit]:
    return [question for question in farm.asked if isinstance(question, messages.Submit)]


def cut_once(farm: Double, sort: type, *, after: bool) -> None:
    """The link is cut at the first question of this sort, before or after it was acted upon."""
    left = [1]

    def cut(question: messages.AnyMessage) -> None:
        if isinstance(question, sort) and left:
            left.pop()
            raise ConnectionError

    if after:
        farm.after = cut
    else:
        farm.before = cut


def test_a_folder_becomes_a_picture_beside_it(person: Terminal, farm: Double) -> None:
    """`clusterray submit scene/` leaves scene-result/ with the picture under the task's name, and prints where."""
    scene = person.scene("good")
    person("submit", scene, code=0)
    result = person.cwd / "good-result"
    assert person.out == f"{result}\n"
    assert (result / "good.png").read_bytes() == b"the picture of good"
    assert (result / "more/seams.txt").read_bytes() == b"none"
    assert [path.name for path in sorted(person.cwd.iterdir())] == ["data", "good", "good-result"]
    assert "1 of 3 tiles done, 2 running on 2 nodes, 20s to go" in person.err
    assert "completed in 32s" in person.err


def test_an_unchanged_folder_is_not_sent_again(person: Terminal, farm: Double) -> None:
    """The second submit of a folder sends no file, and is a task of its own."""
    scene = person.scene("good")
    person("submit", scene, code=0)
    sent = len(farm.received)
    assert sent == 2  # the small files' pack and the manifest
    person("submit", scene, "--overwrite", code=0)
    assert len(farm.received) == sent
    assert len(farm.tasks) == 2


def test_an_older_result_is_never_written_over_unasked(person: Terminal, farm: Double) -> None:
    """Said at once, before anything is sent; with --overwrite the older one goes when the new one is there."""
    scene = person.scene("good")
    (person.cwd / "good-result").mkdir()
    (person.cwd / "good-result/precious.png").write_bytes(b"old")
    asked = len(farm.asked)
    person("submit", scene, code=2)
    assert "--overwrite" in person.err and "good-result" in person.err
    assert len(farm.asked) == asked
    person("submit", scene, "--force", code=0)
    assert sorted(path.name for path in (person.cwd / "good-result").iterdir()) == ["good.png", "more"]


def test_a_result_that_appears_meanwhile_is_spared(person: Terminal, farm: Double) -> None:
    """Two tasks of one folder at once: each gets a folder of its own."""
    scene = person.scene("good")

    def appear(question: messages.AnyMessage) -> None:
        if isinstance(question, messages.Fetch):
            (person.cwd / "good-result").mkdir(exist_ok=True)

    farm.before = appear
    person("submit", scene, code=0)
    task = next(iter(farm.tasks))
    assert (person.cwd / f"good-result-{task[:8]}/good.png").exists()
    assert not any((person.cwd / "good-result").iterdir())


def test_options_name_kind_and_priority_reach_the_task(person: Terminal, farm: Double) -> None:
    """What is said on the command line is in the task."""
    scene = person.scene("good")
    person("submit", scene, "-o", "width=19", "-o", "height=10", "--name", "good-name", "--priority", "7", code=0)
    spec = submits(farm)[0].spec
    assert (spec.name, spec.priority) == ("good-name", 7)
    assert (int(spec.options["width"]), int(spec.options["height"])) == (19, 10)
    assert (person.cwd / "good-result/good-name.png").exists()


def test_a_failure_is_shown_with_its_evidence(person: Terminal, farm: Double) -> None:
    """A failed task exits 1 and prints povray's own message with file and line, cleaned of escape sequences."""
    person("submit", person.scene("bad"), code=1)
    assert "bad failed: The scene has an error." in person.err
    assert "tile-1, attempt 1 on alpha: povray stopped at line 12" in person.err
    assert "File 'a.pov' line 12: Parse Error: " in person.err and "Fatal error in parser" in person.err
    assert "\x1b" not in person.err
    assert not (person.cwd / "bad-result").exists()


class TestChain:
    def test_a_chain_runs_in_order_and_goes_on_after_a_failure(self, person: Terminal, farm: Double) -> None:
        """All are queued in order; results come as each finishes; a failure is told, and makes the exit code 1."""
        scenes = [person.scene(name) for name in ("good-1", "bad-2", "good-3")]
        person("submit", *scenes, code=1)
        assert [task.name for task in farm.tasks.values()] == ["good-1", "bad-2", "good-3"]
        assert person.out.split() == [str(person.cwd / "good-1-result"), str(person.cwd / "good-3-result")]
        assert "bad-2 failed" in person.err
        first_fetch = next(index for index, one in enumerate(farm.asked) if isinstance(one, messages.Fetch))
        last_submit = max(index for index, one in enumerate(farm.asked) if isinstance(one, messages.Submit))
        assert last_submit < first_fetch

    def test_a_failure_may_end_the_chain(self, person: Terminal, farm: Double) -> None:
        """With --stop-on-failure the rest is cancelled."""
        scenes = [person.scene(name) for name in ("bad-1", "long-2", "long-3")]
        person("submit", "--stop-on-failure", *scenes, code=1)
        assert [task.state for task in farm.tasks.values()] == [TaskState.FAILED, TaskState.CANCELED, TaskState.CANCELED]

    def test_a_wrong_folder_is_left_out(self, person: Terminal, farm: Double) -> None:
        """One wrong folder of many is told before anything is sent, and the others are done."""
        person("submit", person.scene("good-1"), "nothing-here", person.scene("good-2"), code=1)
        assert "nothing-here is left out: There is no folder" in person.err
        assert len(farm.tasks) == 2

    def test_with_stop_on_failure_a_wrong_folder_ends_it_before_it_begins(self, person: Terminal, farm: Double) -> None:
        """Nothing is sent."""
        person("submit", "--stop-on-failure", person.scene("good-1"), "nothing-here", code=2)
        assert not farm.tasks

    def test_a_folder_twice_is_told(self, person: Terminal, farm: Double) -> None:
        """Two results cannot have one place."""
        scene = person.scene("good-1")
        person("submit", scene, str(scene) + "/", code=1)
        assert "given twice" in person.err
        assert len(farm.tasks) == 1


class TestBadInput:
    @pytest.mark.parametrize("name", ["nothing", "", "/", "a file"])
    def test_what_is_no_task_folder_is_one_sentence(self, person: Terminal, farm: Double, name: str) -> None:
        """Exit code 2, and nothing is sent."""
        (person.cwd / "a file").write_bytes(b"x")
        person("submit", name, code=2)
        assert len(person.err.strip().splitlines()) == 1
        assert not submits(farm)

    def test_odd_names_travel(self, person: Terminal, farm: Double) -> None:
        """Spaces, quotes and letters of any alphabet are only names."""
        scene = person.scene("good-a 'b\" ü漢")
        person("submit", scene, code=0)
        assert (person.cwd / "good-a 'b\" ü漢-result").is_dir()

    @pytest.mark.parametrize(
        "argv",
        [("submit",), ("submit", "--no-such-flag", "x"), ("submit", "--local", "--detach", "x"), ("nonsense",), ("--set", "x", "tasks")],
    )
    def test_wrong_usage_exits_2(self, person: Terminal, argv: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
        """Whatever is mistyped, nothing is done and the exit code is 2."""
        person(*argv, code=2)
        assert "Traceback" not in capsys.readouterr().err


class TestCutLinks:
    @pytest.mark.parametrize("after", [False, True])
    @pytest.mark.parametrize("sort", [messages.Have, messages.Stored, messages.Submit, messages.Watch, messages.Fetch])
    def test_a_link_cut_at_any_moment_costs_a_pause(self, person: Terminal, farm: Double, sort: type, after: bool) -> None:
        """Before or after each question: one task, one picture, and the files are sent once."""
        cut_once(farm, sort, after=after)
        person("submit", person.scene("good"), code=0)
        assert len(farm.tasks) == 1
        assert (person.cwd / "good-result/good.png").exists()
        assert len(farm.received) == 2
        assert "The server is away" in person.err and "The server is back." in person.err

    def test_a_submit_that_was_not_answered_is_the_same_submit_when_typed_again(self, person: Terminal, farm: Double) -> None:
        """The server took the task, the answer was lost, the client was ended: the repeated command does not double the task."""

        def stop(question: messages.AnyMessage) -> None:
            if isinstance(question, messages.Submit):
                raise messages_refused("token")

        scene = person.scene("good")
        farm.after = stop
        person("submit", scene, code=4)
        farm.after = lambda question: None
        person("submit", scene, code=0)
        assert len({submit.task for submit in submits(farm)}) == 1
        assert len(farm.tasks) == 1
        assert not list((person.cwd / "data/client/pending").iterdir())

    def test_a_changed_folder_is_another_submit(self, person: Terminal, farm: Double) -> None:
        """The remembered id is for the same files and options only."""
        refuse = [True]

        def stop(question: messages.AnyMessage) -> None:
            if isinstance(question, messages.Submit) and refuse:
                refuse.pop()
                raise messages_refused("token")

        scene = person.scene("good")
        farm.before = stop
        person("submit", scene, code=4)
        (scene / "scene.pov").write_bytes(b"plane { y, 0 }")
        person("submit", scene, code=0)
        assert len({submit.task for submit in submits(farm)}) == 2

    def test_files_that_arrive_damaged_are_sent_again(self, person: Terminal, farm: Double) -> None:
        """What the server could not verify goes on the way once more."""
        left = [1]

        def damage(question: messages.AnyMessage) -> None:
            if isinstance(question, messages.Stored) and left:
                left.pop()
                for path in (farm.folder / "uploads" / question.session).iterdir():
                    path.unlink()

        farm.before = damage
        person("submit", person.scene("good"), code=0)
        assert len(farm.received) == 2

    def test_a_server_that_never_takes_a_file_is_told(self, person: Terminal, farm: Double) -> None:
        """No endless upload."""

        def damage(question: messages.AnyMessage) -> None:
            if isinstance(question, messages.Stored):
                for path in (farm.folder / "uploads" / question.session).iterdir():
                    path.unlink()

        farm.before = damage
        person("submit", person.scene("good"), code=1)
        assert "did not take a file of good: It did not arrive." in person.err


class TestJsonAndDetach:
    KEYS = {"id", "name", "kind", "state", "created", "started", "ended", "jobs", "assets"}

    def test_detach_prints_the_id(self, person: Terminal, farm: Double) -> None:
        """`submit --detach` prints the id alone; with --json, a list of objects."""
        person("submit", "--detach", person.scene("long-1"), code=0)
        assert person.out.strip() in farm.tasks
        row = person.json("submit", "--detach", str(person.scene("long-2")))[0]
        assert row["id"] in farm.tasks and row["state"] == "queued"
        assert row.keys() >= self.KEYS and set(row["jobs"]) == {"total", "done", "running", "failed"}

    def test_json_is_all_that_is_on_stdout(self, person: Terminal, farm: Double) -> None:
        """A script reads stdout; a person reads stderr."""
        rows = person.json("submit", str(person.scene("good-1")), str(person.scene("bad-2")), code=1)
        assert [row["state"] for row in rows] == ["completed", "failed"]
        assert [row["result"] for row in rows] == [str(person.cwd / "good-1-result"), None]
        assert rows[0]["assets"][0]["path"] == "good-1.png"
        assert rows[0]["created"].endswith("Z")

    def test_watch_brings_a_detached_result_home(self, person: Terminal, farm: Double) -> None:
        """The folder is remembered: `clusterray watch ID` ends as submit would have."""
        person("submit", "--detach", person.scene("good"), code=0)
        person("watch", person.out[:6], code=0)
        assert (person.cwd / "good-result/good.png").exists()

    def test_watch_without_ids_follows_all_that_is_under_way(self, person: Terminal, farm: Double) -> None:
        """And says so if there is nothing."""
        person("watch", code=0)
        assert "No task is under way" in person.err
        person("submit", "-d", person.scene("good-1"), person.scene("good-2"), person.scene("good-3"), code=0)
        person("watch", code=0)
        assert len(person.out.split()) == 3

    def test_ctrl_c_detaches_and_says_how_to_come_back(self, person: Terminal, farm: Double) -> None:
        """The farm goes on; exit code 130; the words to type are there."""
        from clusterray.client import watch

        def interrupt(question: messages.AnyMessage) -> None:
            raise KeyboardInterrupt

        ask = watch.Session.ask
        patch = pytest.MonkeyPatch()

        def interrupted(self: object, question: object, *more: object, **named: object) -> object:
            if isinstance(question, messages.Watch):
                raise KeyboardInterrupt
            return ask(self, question, *more, **named)  # type: ignore[arg-type]

        with contextlib.ExitStack() as stack:
            stack.callback(patch.undo)
            patch.setattr(watch.Session, "ask", interrupted)
            person("submit", person.scene("long"), code=130)
        task = next(iter(farm.tasks))
        assert f"clusterray watch {task[:8]}" in person.err
        assert farm.tasks[task].ended is None


def test_a_task_that_somebody_removes_is_told(person: Terminal, farm: Double) -> None:
    """The watch ends, with exit code 1."""

    def remove(question: messages.AnyMessage) -> None:
        if isinstance(question, messages.Watch):
            farm.tasks.clear()

    farm.before = remove
    person("submit", person.scene("long"), code=1)
    assert "was removed from the server" in person.err


def test_results_may_go_elsewhere(person: Terminal, farm: Double, tmp_path: Path) -> None:
    """--results DIR, for folders that may not be written beside."""
    person("submit", person.scene("good"), "--results", tmp_path / "out", code=0)
    assert (tmp_path / "out/good-result/good.png").exists()
