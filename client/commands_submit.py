"""Commands that hand in work: submit (for one folder or a chain of them) and demo."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence, Set
from pathlib import Path
from typing import Annotated, Any

import typer

from ..common.errors import UsageError
from ..common.manifest import Share, name_fault
from ..common.model import TaskView
from ..common.shared import find_place
from ..common.units import show_duration
from .call import INTERRUPTED, Call, the_call
from .chain import Chain, Outcome
from .fetch import Fetcher
from .local import LocalFarm, interrupts
from .memory import Origins, Pending
from .session import Session
from .submit import Plan, Submitter, plan
from .summary import print_json, task_row
from .views import View, make_view
from .words import clean, short

DEMOS = {"povray": ("misc", "scenes", "demo"), "mitsuba": ("misc", "scenes", "mitsuba")}
"""The shipped scenes, the first that this machine has the renderer of is taken: in a checkout and in the installed package alike."""


def add(app: typer.Typer) -> None:
    app.command("submit")(submit)
    app.command("demo")(demo)


def submit(
    ctx: typer.Context,
    folders: Annotated[
        list[Path],
        typer.Argument(metavar="FOLDER…", help="Folders, each with a scene and all that it needs.", show_default=False, readable=False),
    ],
    option: Annotated[
        list[str] | None, typer.Option("--option", "-o", metavar="KEY=VALUE", help="An option of the kind; `clusterray kinds` lists them.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="The task's name; else from its task.toml, or the folder's.")] = None,
    kind: Annotated[str | None, typer.Option(help="The kind; else from its task.toml, or as the folder looks.")] = None,
    priority: Annotated[int | None, typer.Option(metavar="N", help="Higher is earlier; 0 is usual.")] = None,
    local: Annotated[bool, typer.Option("--local", help="A farm of this machine alone, for this command alone.")] = False,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Hand in, print the ids, and leave.")] = False,
    stop_on_failure: Annotated[bool, typer.Option("--stop-on-failure", help="A failure ends the chain: the rest is cancelled.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", "--force", help="Replace an older result.")] = False,
    shared: Annotated[
        bool, typer.Option("--shared", help="The folders lie in shared storage ([shared.NAME]): nothing is copied.")
    ] = False,
    results: Annotated[Path | None, typer.Option(metavar="DIR", help="Put results into DIR instead of beside each folder.")] = None,
    progress: Annotated[str | None, typer.Option(metavar="live|plain|none", help="How to show it.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a list of objects with stable keys.")] = False,
) -> None:
    """Hand in folders, follow them, and put each result into FOLDER-result beside it.

    Several folders are a chain: queued together, run one after the other, results as each finishes.
    """
    call = the_call(ctx)
    call.set(client_progress=progress, client_priority=priority)
    if local and detach:
        raise UsageError("--local ends its farm when it ends, so it cannot --detach.")
    if shared and results:
        elsewhere = "clusterray fetch TASK --into DIR brings them elsewhere"
        raise UsageError(f"--shared leaves results in shared storage, so that --results has no place: {elsewhere}.")
    if name and len(folders) > 1:
        raise UsageError("--name is for one folder; a chain takes the names of its folders.")
    plans, broken = _plans(call, folders, tuple(option or ()), name, kind, results, overwrite, stop_on_failure, shared)
    with _farm(call, local, plans) as farm:
        code = hand_in(call, plans, farm=farm, detach=detach, stop_on_failure=stop_on_failure, as_json=as_json, local=local)
    raise typer.Exit(code or (1 if broken else 0))


def demo(
    ctx: typer.Context,
    progress: Annotated[str | None, typer.Option(metavar="live|plain|none", help="How to show it.")] = None,
) -> None:
    """Start a server and two nodes on this machine, render a shipped scene, and stop everything again."""
    call = the_call(ctx)
    call.set(client_progress=progress)
    with _farm(call, True, [], nodes=2) as farm:
        assert farm is not None
        scene = demo_scene(call, farm.programs)
        spec, warnings = _read(call, scene, (), None, None)
        made = Plan(folder=scene, spec=spec, warnings=warnings, result=_free_name(call.cwd / "demo-result"))
        code = hand_in(call, [made], farm=farm, local=True, say_result=False)
    if code == 0:
        pictures = sorted(path for path in made.result.rglob("*") if path.is_file())
        call.say("The picture is " + " and ".join(str(path) for path in pictures))
    raise typer.Exit(code)


def demo_scene(call: Call, programs: Set[str]) -> Path:
    """The scene for the renderers of this machine."""
    name = next((name for name in DEMOS if name in programs), "")
    if not name:
        wanted = "POV-Ray (apt-get install povray) or Mitsuba (pip install 'clusterray[mitsuba]')"
        raise UsageError(f"The demo has no renderer on this machine: install {wanted}; or set [node] programs.")
    if name != "povray":
        call.tell(f"POV-Ray is not on this machine, so the demo renders a scene by {name.capitalize()}.")
    scene = Path(__file__).resolve().parents[1].joinpath(*DEMOS[name])
    if not scene.is_dir():
        raise UsageError(f"The demo's scene is missing from this installation: there is no {scene}.")
    return scene


def hand_in(
    call: Call,
    plans: Sequence[Plan],
    *,
    farm: LocalFarm | None = None,
    detach: bool = False,
    stop_on_failure: bool = False,
    as_json: bool = False,
    local: bool = False,
    say_result: bool = True,
) -> int:
    """Submit plans and follow them; the exit code."""
    session = call.session(farm.login, remember=False) if farm else call.session()
    view = make_view(call.settings.client.progress, call.err, call.clock)
    with _closing(view), session as link:
        link.say = view.note
        chain = _chain(call, link, view, stop_on_failure, say_result and not as_json and not detach)
        try:
            chain.submit(plans)
            if detach:
                for handed in (outcome.view for outcome in chain.outcomes.values() if outcome.view):
                    for note in handed.notes:  # who leaves hears now why it may have to wait
                        view.note(f"{clean(handed.name)}: {clean(note)}")
            else:
                chain.follow()
        except KeyboardInterrupt:
            _say_how_to_return(view, chain, local)
            return INTERRUPTED
    if as_json:
        print_json([_row(outcome, detach) for outcome in chain.outcomes.values()], call.out)
    elif detach:
        for task in chain.outcomes:
            call.say(task)
    return 1 if chain.failed else 0


def follow(call: Call, tasks: Sequence[str], *, as_json: bool = False) -> int:
    """Follow tasks that were submitted before; the exit code."""
    view = make_view(call.settings.client.progress, call.err, call.clock)
    with _closing(view), call.session() as link:
        link.say = view.note
        chain = _chain(call, link, view, False, not as_json)
        try:
            chain.follow(tasks)
        except KeyboardInterrupt:
            _say_how_to_return(view, chain, False)
            return INTERRUPTED
    if as_json:
        print_json([_row(outcome, False) for outcome in chain.outcomes.values()], call.out)
    return 1 if chain.failed else 0


def _chain(call: Call, link: Session, view: View, stop_on_failure: bool, say_result: bool) -> Chain:
    def done(outcome: Outcome) -> None:
        if say_result and outcome.result:
            view.result(str(outcome.result), call.out)

    folder = call.folders.client
    return Chain(
        link,
        Submitter(link, call.courier, Pending(folder / "pending", call.clock), view),
        Fetcher(link, call.courier, call.clock),
        Origins(folder / "tasks", call.clock),
        view,
        call.clock,
        stop_on_failure=stop_on_failure,
        done=done,
        published=lambda task: published_at(call, task),
    )


def published_at(call: Call, task: TaskView) -> Path | None:
    """Where this machine sees the result that the server put into shared storage; None: nowhere, so that it has to be fetched."""
    root = call.settings.shared.get(task.shared) if task.published else None
    if root is None or name_fault(task.published) or "/" in task.published:
        return None
    folder = root.results / task.published
    return folder if folder.is_dir() else None


def _plans(
    call: Call,
    folders: Sequence[Path],
    options: tuple[str, ...],
    name: str | None,
    kind: str | None,
    results: Path | None,
    overwrite: bool,
    stop_on_failure: bool,
    shared: bool,
) -> tuple[list[Plan], bool]:
    """Read all folders before anything is sent. In a chain a wrong one is told and passed over, unless --stop-on-failure."""
    where = results or (Path(call.settings.client.results) if call.settings.client.results else None)
    plans: list[Plan] = []
    error: UsageError | None = None
    for folder in folders:
        try:
            place = find_place(str(folder), call.settings.shared, call.cwd) if shared else None
            made = plan(
                place.real if place else call.cwd / folder,
                lambda path: _read(call, path, options, name, kind),
                results=call.cwd / where.expanduser() if where else None,
                overwrite=overwrite,
                share=Share(root=place.root.name, folder=place.folder) if place else None,
            )
            if made.result in [other.result for other in plans]:
                raise UsageError(f"{folder} is given twice, or two folders of that name would put their results into {made.result}.")
        except UsageError as fault:
            if stop_on_failure or len(folders) == 1:
                raise
            error = fault
            call.tell(f"{folder} is left out: {fault}")
            continue
        for warning in made.warnings:
            call.tell(f"{clean(made.spec.name)}: {warning}")
        plans.append(made)
    if error and not plans:
        raise UsageError("None of the folders can be submitted.")
    return plans, error is not None


def _read(call: Call, folder: Path, options: tuple[str, ...], name: str | None, kind: str | None) -> Any:
    from ..common.taskfile import read_task

    return read_task(folder, options, kind=kind, name=name, priority=call.settings.client.priority)


@contextlib.contextmanager
def _farm(call: Call, local: bool, plans: Sequence[Plan], nodes: int = 1) -> Iterator[LocalFarm | None]:
    """The embedded farm of --local and of the demo, or nothing; it is gone when the block ends, in whatever way."""
    if not local:
        yield None
        return
    import tempfile

    with interrupts(), tempfile.TemporaryDirectory(prefix="clusterray-local-") as folder:
        call.tell(f"Starting a server and {nodes} node{'s' if nodes > 1 else ''} on this machine …")
        began = call.clock.monotonic()
        farm = LocalFarm(Path(folder), nodes=nodes, env=call.env, cwd=call.cwd, flags=call.flags, clock=call.clock)
        try:
            farm.start()
            farm.check(plan.spec for plan in plans)
            call.tell(f"They are ready after {show_duration(call.clock.monotonic() - began)}.")
            yield farm
        except KeyboardInterrupt:
            call.tell("Stopped.")
            raise typer.Exit(INTERRUPTED) from None
        finally:
            farm.stop()


@contextlib.contextmanager
def _closing(view: View) -> Iterator[None]:
    try:
        yield
    finally:
        view.close()


def _say_how_to_return(view: View, chain: Chain, local: bool) -> None:
    if local:
        view.note("Interrupted: the farm of this command ends with it.")
        return
    left = chain.open_tasks
    if not left:
        view.note("Interrupted before anything was handed in; the same command goes on with the upload.")
        return
    view.note(f"Detached; the farm goes on. Come back with: clusterray watch {' '.join(short(task) for task in left)}")


def _row(outcome: Outcome, detached: bool) -> dict[str, Any]:
    row = task_row(outcome.view) if outcome.view else {"id": outcome.task}
    return row if detached else {**row, "result": str(outcome.result) if outcome.result else None}


def _free_name(path: Path) -> Path:
    """The path, or the first of path-2, path-3 … that is free."""
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_name(f"{path.name}-{number}")
    return free
