"""A whole server without its threads and ports, for tests that call its parts: real store, keeper and hands, a clock moved by hand."""

from __future__ import annotations

import hashlib
from concurrent.futures import wait
from pathlib import Path

from clusterray.common import ports
from clusterray.common.bundle import make_bundle
from clusterray.common.clock import Clock
from clusterray.common.kinds.echo import content
from clusterray.common.model import Caller, Limits, Needs, NodeInfo, Output, PackRef, Result, Role, TaskSpec, new_task_id
from clusterray.common.settings import FtpSettings, RetentionSettings, ServerSettings, Settings
from clusterray.common.wire.messages import Hello
from clusterray.server import farm as farm_module
from clusterray.server.farm import Farm
from clusterray.server.hands import Hands
from clusterray.server.lessor import Slot

ME = Caller(token="me", role=Role.SUBMIT)
OTHER = Caller(token="other", role=Role.SUBMIT)
ADMIN = Caller(token="boss", role=Role.ADMIN)


class SharedHands(Hands):
    """Hands that many benches use one after the other: children take half a second to start."""

    def close(self) -> None:
        """They belong to the session."""


class Bell:
    """A doorbell that counts."""

    def __init__(self) -> None:
        self.rang = 0

    def ring(self) -> None:
        self.rang += 1


def ref(data: bytes) -> PackRef:
    return PackRef(digest=hashlib.sha256(data).hexdigest(), size=len(data))


def settings(**more: object) -> Settings:
    """Loopback, free ports, and no claim on the disk."""
    first, last = ports.free_range(8)
    return Settings(
        server=ServerSettings(listen="127.0.0.1", port=0, hands=1),
        ftp=FtpSettings(listen="127.0.0.1", port=0, passive=f"{first}-{last}"),
        retention=RetentionSettings(keep_free=0, **more),
    )


def small(number: int, size: int = 16) -> Output:
    """The output of an echo job, in the report."""
    data = content(number, size)
    return Output(path="echo.txt", size=len(data), digest=ref(data).digest, data=data)


def farm_with(hands: Hands, data: Path, clock: Clock, **retention: object) -> Farm:
    """A farm that is not started, and that uses these hands."""
    made = farm_module.Hands
    farm_module.Hands = lambda **_: hands
    try:
        return Farm(settings(**retention), data, clock)
    finally:
        farm_module.Hands = made


class Bench:
    def __init__(self, farm: Farm, clock: Clock) -> None:
        self.farm, self.data, self.clock = farm, farm.data, clock
        self.store, self.desk, self.judge, self.lessor = farm.store, farm.desk, farm.judge, farm.lessor
        self.thread, self.dispatcher, self.terms = farm.task_thread, farm.dispatcher, farm.terms

    def close(self) -> None:
        self.farm.stop()

    # --- a submitter

    def folder(self, name: str = "work", **files: bytes) -> Path:
        folder = self.data.parent / name
        folder.mkdir(exist_ok=True)
        (folder / "readme.txt").write_bytes(f"the files of {name}\n".encode())
        for file, data in files.items():
            (folder / file).write_bytes(data)
        return folder

    def send(self, who: Caller, folder: Path) -> tuple[PackRef, str]:
        """All packs of a folder, as by FTP; the bundle and the session."""
        made = make_bundle(folder, self.data.parent / "bundles")
        session, missing, _ = self.desk.have(who, "", made.packs)
        for pack in made.packs:
            if pack.digest in missing:
                with made.open(pack.digest) as file:
                    (self.farm.keeper.upload_folder(session) / f"{pack.digest}.part").write_bytes(file.read())
        kept, again = self.desk.stored(who, session, [pack for pack in made.packs if pack.digest in missing])
        assert not again and set(kept) == set(missing)
        return made.bundle, session

    def submit(self, who: Caller = ME, *, jobs: int = 2, kind: str = "echo", name: str = "work", attempts: int = 3, **more: object) -> str:
        bundle, session = self.send(who, self.folder(name))
        task = new_task_id()
        options = {"jobs": jobs, **{key: value for key, value in more.items() if key not in ("priority", "needs")}}
        spec = TaskSpec(
            kind=kind, name=name, options=options, limits=Limits(attempts=attempts),
            priority=more.get("priority", 0), needs=more.get("needs", Needs()),
        )  # fmt: skip
        self.desk.submit(who, task, spec, bundle, session)
        return task

    # --- a node

    def node(self, name: str = "n1", slot: int = 0, incarnation: str = "life1", **more: object) -> Slot:
        """A node that joined and whose slot has a link."""
        hello = Hello(
            role=Role.NODE, token=self.farm.tokens.current(Role.NODE), incarnation=incarnation, slot=slot, node=NodeInfo(name=name, **more)
        )
        admitted = self.farm.gate.admit(hello, "peer")
        self.farm.roster.arrive(admitted.node, incarnation, slot, admitted.info, object())
        return Slot(admitted.node, incarnation, slot)

    def ask(self, slot: Slot, bell: Bell | None = None):
        return self.lessor.ask(slot, bell or Bell())

    def finish(self, slot: Slot, grant, *, want: bool = False, **result: object):
        """Report a job as done, its output in the report, or as told; the verdict."""
        size = grant.options.get("bytes", 16)
        report = {"outputs": (small(grant.region.data["number"], size),), **result}
        (verdict,), grants = self.judge.judge(slot, [Result(lease=grant.lease, **report)], want)
        return (verdict, grants) if want else verdict

    def upload(self, grant, data: bytes, name: str = "echo.txt") -> Output:
        """An output as it arrives by FTP."""
        folder = self.farm.keeper.sending_folder(grant.lease)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
        return Output(path=name, size=len(data), digest=ref(data).digest)

    # --- the task thread, by hand

    def settle(self, rounds: int = 4) -> None:
        """Let the task thread do what there is to do; waits for hands."""
        for _ in range(rounds):
            self.thread.step()
            under_way = [*self.thread._splitting.values(), *self.thread._stitching.values()]
            wait([one.future for one in under_way], 30)

    def in_work(self, slot: Slot, **more: object):
        """A task whose jobs are all leased to this slot."""
        task = self.submit(**more)
        self.settle()
        grants = []
        while got := self.dispatcher.take(slot.node):
            leased = self.store.write(lambda tx, got=got: self.lessor.lease(tx, slot, got))
            grants += self.lessor.grants(slot, leased)
        return task, grants

    def state(self, task: str) -> str:
        with self.store.read() as tx:
            row = tx.one("task", id=task)
            return row["state"] if row else "gone"

    def attempt(self, lease: str):
        with self.store.read() as tx:
            return tx.one("attempt", lease=lease)
