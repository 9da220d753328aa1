"""A chain of folders: all handed in in order, results fetched as each finishes, a failure told and passed over.

``clusterray submit`` and ``client.py`` are this for any number of folders; ``watch`` is the latter half of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ..common.clock import Clock
from ..common.errors import ClusterRayError, Conflict, LinkError, NoSuchTask
from ..common.model import TaskView
from ..common.states import TaskState
from ..common.wire.messages import Change, Changed
from .fetch import Fetcher
from .memory import Origin, Origins
from .session import Session
from .submit import Plan, Submitter
from .views import View
from .watch import Follower
from .words import clean, evidence, short, took


@dataclass(kw_only=True)
class Outcome:
    """What became of one task."""

    task: str
    view: TaskView | None = None
    result: Path | None = None
    failed: bool = False


class Chain:
    """Submits and follows. ``done`` is told of every outcome as it comes."""

    def __init__(
        self,
        session: Session,
        submitter: Submitter,
        fetcher: Fetcher,
        origins: Origins,
        view: View,
        clock: Clock,
        *,
        stop_on_failure: bool = False,
        done: Callable[[Outcome], None] = lambda outcome: None,
        published: Callable[[TaskView], Path | None] = lambda view: None,
    ) -> None:
        """``published``: where this machine sees a result that the server put into shared storage; None: it does not."""
        self._published = published
        self._session = session
        self._submitter = submitter
        self._fetcher = fetcher
        self._origins = origins
        self._view = view
        self._follower = Follower(session, view, clock)
        self._stop = stop_on_failure
        self._done = done
        self.outcomes: dict[str, Outcome] = {}
        """By task id, in the order of the chain."""
        self.failed = False

    @property
    def open_tasks(self) -> list[str]:
        """Handed in, and not ended as far as we know."""
        return [task for task, outcome in self.outcomes.items() if not outcome.failed and outcome.result is None]

    def submit(self, plans: Iterable[Plan]) -> None:
        """Hand in all of them, in order; one that cannot be handed in is told and passed over. A lost server ends it."""
        for plan in plans:
            try:
                task = self._submitter.submit(plan)
            except LinkError:
                raise
            except ClusterRayError as error:
                self.fail(f"{clean(plan.spec.name)} was not submitted: {error}")
                if self._stop:
                    return
                continue
            self._origins.remember(task.id, Origin(folder=str(plan.folder), result=str(plan.result), overwrite=plan.overwrite))
            self.outcomes[task.id] = Outcome(task=task.id, view=task)
            self._view.note(f"{clean(plan.spec.name)} is submitted as {short(task.id)}.")

    def fail(self, sentence: str) -> None:
        """Tell a failure."""
        self.failed = True
        self._view.note(sentence)

    def follow(self, tasks: Sequence[str] | None = None) -> None:
        """Until all have ended; fetch those whose folder is known on this machine."""
        for task in tasks or ():
            self.outcomes.setdefault(task, Outcome(task=task))
        if self._stop and self.failed:
            self._cancel_rest()
        self._follower.follow(list(self.outcomes), self._ended, self._gone)

    def _ended(self, view: TaskView) -> None:
        outcome = self.outcomes[view.id]
        outcome.view = view
        if view.state is TaskState.COMPLETED:
            self._fetch(outcome, view)
        else:
            outcome.failed = True
            if view.state is TaskState.FAILED:
                self.fail("\n".join(evidence(view, self._session.show(view.id).jobs)))
            else:
                self.fail(f"{clean(view.name)} was cancelled.")
        self._done(outcome)
        if outcome.failed and self._stop:
            self._cancel_rest()

    def _fetch(self, outcome: Outcome, view: TaskView) -> None:
        outcome.result = self._published(view)
        if outcome.result is not None:  # nothing is copied that lies before us
            return
        if view.published:
            where = f"{view.published} below the results of the shared root {view.shared}"
            self._view.note(f"The result of {clean(view.name)} is {where}; this machine does not see it there, so that it is fetched.")
        origin = self._origins.recall(view.id)
        if origin is None:
            self._view.note(f"{clean(view.name)} completed{took(view)}; get its result with: clusterray fetch {short(view.id)}")
            return
        try:
            outcome.result = self._fetcher.fetch(
                view.id,
                Path(origin.result),
                overwrite=origin.overwrite,
                progress=partial(self._view.moving, f"fetching {clean(view.name)}"),
            )
        except LinkError:
            raise
        except ClusterRayError as error:
            outcome.failed = True
            self.fail(
                f"The result of {clean(view.name)} was not fetched: {error} It stays on the server: clusterray fetch {short(view.id)}"
            )

    def _gone(self, task: str) -> None:
        outcome = self.outcomes[task]
        outcome.failed = True
        self.fail(f"The task {short(task)} was removed from the server.")
        self._origins.forget(task)
        self._done(outcome)

    def _cancel_rest(self) -> None:
        """--stop-on-failure: what has not ended does not go on. Following it to its end is left to the follower."""
        self._stop = False
        for task in self.open_tasks:
            try:
                self._session.patiently(lambda task=task: self._session.ask(Change(task=task, verb="cancel"), Changed))  # type: ignore[misc]
            except (Conflict, NoSuchTask):
                continue
