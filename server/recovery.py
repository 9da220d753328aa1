"""What a start makes of the store: memory as it was before the stop, whatever the stop was.

Runs whose stage has jobs come back into the index, live leases get a term, nodes are known. VERIFYING attempts are verified
again once hands and threads are up; stages to be stitched or split are found by the task thread itself.
"""

from __future__ import annotations

import logging

import msgspec

from ..common.errors import ClusterRayError
from ..common.model import Needs, NodeInfo
from ..common.states import AttemptState, TaskState
from .judge import Judge
from .logbook import Logbook
from .roster import Roster
from .splitter import Splitter
from .store import Store
from .terms import Terms

log = logging.getLogger(__name__)


def rebuild(store: Store, splitter: Splitter, terms: Terms, roster: Roster, logbook: Logbook) -> list[str]:
    """Before any thread runs; returns the leases that are to be verified again."""
    with store.read() as tx:
        nodes = tx.all("nodes")
        running = [(row, tx.one("run", task=row["id"], number=row["run"])) for row in tx.all("tasks_in", state=TaskState.RUNNING)]
        bare = {row["id"] for row, run in running if run is None or run["begun"] is None}
        live = tx.all("attempts_live")
        needs = {row["id"]: msgspec.json.decode(run["needs"], type=Needs) for row, run in running if run is not None}
    for node in nodes:
        info = msgspec.json.decode(node["info"], type=NodeInfo)
        roster.load(node["id"], info, locked=bool(node["locked"]), draining=bool(node["draining"]))
    for row, run in running:
        if run is None or row["id"] in bare:
            continue
        try:
            splitter.reopen(row, run)
        except (OSError, KeyError, ClusterRayError) as error:
            log.exception("task %s cannot be taken up again", row["id"])
            splitter.give_up(row["id"], row["run"], f"After a restart the task's files could not be read: {error}")
    verifying = []
    for attempt in live:
        terms.begin(
            attempt["lease"],
            task=attempt["task"],
            job=attempt["job"],
            node=attempt["node"],
            incarnation=attempt["incarnation"],
            slot=attempt["slot"],
            log=logbook.name(attempt["position"], attempt["number"], attempt["lease"]),
        )
        roster.take(attempt["node"], attempt["lease"], needs.get(attempt["task"], Needs()))
        if AttemptState(attempt["state"]) is AttemptState.VERIFYING:
            terms.hold(attempt["lease"])
            verifying.append(attempt["lease"])
    if running or live:
        log.info("taken up again: %d tasks in work, %d leases", len(running), len(live))
    return verifying


def verify_again(judge: Judge, leases: list[str]) -> None:
    """In a thread of its own, after the start. A lease that cannot be verified has its term again, and then goes to the reaper."""
    for lease in leases:
        try:
            judge.verify_again(lease)
        except ClusterRayError as error:
            log.warning("lease %s could not be verified again: %s", lease[:8], error)
        except Exception:
            log.exception("lease %s: unexpected error, going on", lease[:8])
