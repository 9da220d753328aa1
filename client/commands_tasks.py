"""Commands about tasks that the farm has: tasks, show, log, watch, fetch, cancel, restart, remove, priority."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from ..common.errors import UsageError
from ..common.model import TaskView
from ..common.states import TaskState
from ..common.wire.messages import Change, Changed, Lines, Log, TaskList, Tasks
from .call import INTERRUPTED, Call, the_call
from .fetch import Fetcher, refuse_older
from .memory import Origins
from .preview import Previews
from .session import Session
from .summary import job_row, print_json, print_task, print_tasks, task_row
from .views import make_view
from .words import clean, short, state_line

Task = Annotated[str, typer.Argument(metavar="TASK", help="A task's id, or a beginning of it that no other task has.")]
PAGE = 200
MOST = 10_000
"""Tasks that one `watch` without ids follows."""
SomeTasks = Annotated[list[str], typer.Argument(metavar="TASK…", help="Ids of tasks, or their beginnings.")]
Json = Annotated[bool, typer.Option("--json", help="Print a list of objects with stable keys.")]


def add(app: typer.Typer) -> None:
    for command in (tasks, show, log, watch, fetch, cancel, restart, remove, priority):
        app.command(command.__name__)(command)


def tasks(
    ctx: typer.Context,
    live: Annotated[bool, typer.Option("--live", help="Only those that have not ended.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="The newest so many.")] = 200,
    as_json: Json = False,
) -> None:
    """List tasks, newest first."""
    call = the_call(ctx)
    with call.session() as session:
        views = _list(session, live, limit)
    if as_json:
        print_json([task_row(view) for view in views], call.out)
    else:
        print_tasks(views, call.out)


def show(
    ctx: typer.Context,
    task: Task,
    preview: Annotated[
        bool, typer.Option("--preview", help="Fetch pictures instead: what is there, time by region, which node made what.")
    ] = False,
    full: Annotated[bool, typer.Option("--full", help="With --preview: the one picture of what is there, at its full size.")] = False,
    into: Annotated[Path | None, typer.Option("--into", "-o", metavar="DIR", help="With --preview: where to put them; else here.")] = None,
    as_json: Json = False,
) -> None:
    """Show one task with its jobs and what became of every attempt."""
    call = the_call(ctx)
    if preview:
        raise typer.Exit(_preview(call, task, call.cwd / (into or ""), full, as_json))
    if full or into is not None:
        raise UsageError("--full and -o go with --preview.")
    with call.session() as session:
        detail = session.show(task)
    if as_json:
        print_json([{**task_row(detail.task), "job_list": [job_row(job) for job in detail.jobs]}], call.out)
    else:
        print_task(detail.task, detail.jobs, call.out)


def _preview(call: Call, text: str, into: Path, full: bool, as_json: bool) -> int:
    """Pictures into a folder; 1 where there are none yet, with the reason."""
    view = make_view(call.settings.client.progress, call.err, call.clock)
    try:
        with call.session() as session:
            task = session.show(text).task
            moving = partial(view.moving, f"fetching pictures of {clean(task.name)}")
            made, why = Previews(session, call.courier, call.clock).fetch(task.id, into, _file_name(task), full=full, progress=moving)
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        view.close()
    if as_json:
        print_json([{"file": str(path)} for path in made], call.out)
    else:
        call.out.writelines(f"{path}\n" for path in made)
    if not made:
        call.tell(clean(why))
    return 0 if made else 1


def log(
    ctx: typer.Context,
    task: Task,
    job: Annotated[str, typer.Option(metavar="JOB", help="One job: its id, or its name in `clusterray show`.")] = "",
    as_json: Json = False,
) -> None:
    """Print what the programs of a task printed."""
    call = the_call(ctx)
    lines: list[str] = []
    with call.session() as session:
        task = session.full_id(task)
        if job:
            job = next((one.id for one in session.show(task).jobs if job in (one.id, one.region)), job)
        after, more = 0, True
        while more:
            page = session.ask(Log(task=task, job=job, after=after), Lines)
            lines += page.lines
            more, after = page.more and page.next > after, page.next
    if as_json:
        print_json([{"line": line} for line in lines], call.out)
    else:
        call.out.writelines(clean(line) + "\n" for line in lines)
        if not lines:
            call.tell("There is no log of this run: none of its jobs has been started, or all were taken over from an earlier run.")


def watch(
    ctx: typer.Context,
    tasks: Annotated[
        list[str] | None, typer.Argument(metavar="TASK…", help="Ids, or their beginnings; none: all that have not ended.")
    ] = None,
    progress: Annotated[str | None, typer.Option(metavar="live|plain|none", help="How to show it.")] = None,
    as_json: Json = False,
) -> None:
    """Follow tasks to their end; results of those submitted from this machine are fetched to where they belong."""
    from .commands_submit import follow

    call = the_call(ctx)
    call.set(client_progress=progress)
    with call.session() as session:
        ids = [session.full_id(task) for task in tasks or ()]
        if not tasks:
            ids = [view.id for view in reversed(_list(session, True, MOST))]
    if not ids:
        call.tell("No task is under way.")
        if as_json:
            print_json([], call.out)
        return
    raise typer.Exit(follow(call, ids, as_json=as_json))


def fetch(
    ctx: typer.Context,
    tasks: SomeTasks,
    into: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The result's folder; else beside the folder that was submitted.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", "--force", help="Replace an older result.")] = False,
    as_json: Json = False,
) -> None:
    """Fetch the results of tasks that are completed."""
    call = the_call(ctx)
    if into is not None and len(tasks) > 1:
        raise UsageError("--into takes one task at a time.")
    origins = Origins(call.folders.client / "tasks", call.clock)
    rows = []
    view = make_view(call.settings.client.progress, call.err, call.clock)
    try:
        with call.session() as session:
            for text in tasks:
                task = session.show(text).task
                if task.state is not TaskState.COMPLETED:
                    raise UsageError(f"{clean(task.name)} ({short(task.id)}) has no result: {state_line(task)}.")
                origin = origins.recall(task.id)
                target = call.cwd / into if into else Path(origin.result) if origin else call.cwd / f"{_file_name(task)}-result"
                refuse_older(target, overwrite)
                result = Fetcher(session, call.courier, call.clock).fetch(
                    task.id, target, overwrite=overwrite, progress=partial(view.moving, f"fetching {clean(task.name)}")
                )
                rows.append({**task_row(task), "result": str(result)})
                if not as_json:
                    call.say(str(result))
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    finally:
        view.close()
    if as_json:
        print_json(rows, call.out)


def cancel(ctx: typer.Context, tasks: SomeTasks, as_json: Json = False) -> None:
    """Cancel tasks; their jobs end within seconds."""
    _change(the_call(ctx), tasks, "cancel", as_json)


def restart(
    ctx: typer.Context,
    tasks: SomeTasks,
    fresh: Annotated[bool, typer.Option("--fresh", help="Do everything again; else what earlier runs have made is kept.")] = False,
    anew: Annotated[str, typer.Option("--from", metavar="STAGE", help="Do everything from this stage on again.")] = "",
    options: Annotated[list[str] | None, typer.Option("-o", "--option", metavar="KEY=VALUE", help="Change an option first.")] = None,
    as_json: Json = False,
) -> None:
    """Run tasks that have ended once more: what is missing, and what depends on a newer program or a changed option."""
    _change(the_call(ctx), tasks, "restart", as_json, fresh=fresh, anew=anew, options=tuple(options or ()))


def remove(ctx: typer.Context, tasks: SomeTasks, as_json: Json = False) -> None:
    """Remove tasks with their results from the server; running ones are cancelled first."""
    call = the_call(ctx)
    _change(call, tasks, "remove", as_json, Origins(call.folders.client / "tasks", call.clock).forget)


def priority(
    ctx: typer.Context,
    task: Task,
    value: Annotated[int, typer.Argument(metavar="N", help="Higher is earlier; 0 is usual.", min=-1_000_000, max=1_000_000)],
    as_json: Json = False,
) -> None:
    """Move a task forward or back in the queue."""
    _change(the_call(ctx), [task], "priority", as_json, value=value)


def _list(session: Session, live: bool, limit: int) -> list[TaskView]:
    """The newest tasks, page by page."""
    views: list[TaskView] = []
    while len(views) < limit:
        page = session.ask(Tasks(after=views[-1].id if views else "", limit=min(PAGE, limit - len(views)), live=live), TaskList)
        views += page.tasks
        if not page.more or not page.tasks:
            break
    return views


def _change(
    call: Call,
    tasks: list[str],
    verb: str,
    as_json: bool,
    after: Callable[[str], None] = lambda task: None,
    *,
    value: int = 0,
    fresh: bool = False,
    anew: str = "",
    options: tuple[str, ...] = (),
) -> None:
    rows = []
    with call.session() as session:
        for text in tasks:
            task = session.full_id(text)
            view = _changed(session, Change(task=task, verb=verb, value=value, fresh=fresh, anew=anew, options=options))
            after(task)
            if view is not None:
                rows.append(task_row(view))
            if not as_json:
                call.say(f"{clean(view.name)} ({short(task)}): {state_line(view)}" if view else f"{short(task)}: removed")
    if as_json:
        print_json(rows, call.out)


def _changed(session: Session, change: Change) -> TaskView | None:
    return session.patiently(lambda: session.ask(change, Changed)).task


def _file_name(task: TaskView) -> str:
    """The task's name as one part of a path."""
    name = clean(task.name).replace("/", "_").strip(". ")
    return name or short(task.id)
