"""A farm that is up, in this process, with real links over loopback."""

from __future__ import annotations

import threading

from clusterray.common.clock import SystemClock
from clusterray.common.errors import LinkLost
from clusterray.common.model import NodeInfo, Role
from clusterray.common.wire.link import Link, dial
from clusterray.common.wire.messages import Ask, Bye, Hello, Leases
from clusterray.server.farm import Farm

from .bench import Bench


class Live(Bench):
    """A bench whose threads run; what it makes by hand goes on working beside them."""

    def __init__(self, farm: Farm) -> None:
        super().__init__(farm, SystemClock())
        self.links: list[Link] = []
        farm.start()

    def close(self) -> None:
        for link in self.links:
            link.close()
        self.farm.stop()

    def dial(self) -> Link:
        self.links.append(dial([f"127.0.0.1:{self.farm.port}"], self.farm.identity.pin))
        return self.links[-1]

    def submitter(self, role: Role = Role.SUBMIT) -> Link:
        link = self.dial()
        link.ask(Hello(role=role, token=self.farm.tokens.current(role)))
        return link

    def slot(self, number: int = 0, *, known: tuple[str, str] = ("", ""), incarnation: str = "life1", **more: object):
        """A slot's link, and the identity of its node."""
        link = self.dial()
        hello = Hello(
            role=Role.NODE, token=self.farm.tokens.current(Role.NODE), node_id=known[0], node_token=known[1], incarnation=incarnation,
            slot=number, node=NodeInfo(name="n", slots=2), **more,
        )  # fmt: skip
        welcome = link.ask(hello)
        return link, known if known[0] else (welcome.node_id, welcome.node_token)

    def lease(self, link: Link):
        """Ask until there is work."""
        for _ in range(20):
            answer = link.ask(Ask(wait=5.0))
            assert isinstance(answer, Leases)
            if answer.grants:
                return answer.grants
        raise AssertionError("no work came")


def bye(link: Link) -> None:
    link.tell(Bye())
    link.close()


def lost(link: Link, question: object) -> bool:
    """Whether the server has cut this link."""
    try:
        link.ask(question, timeout=5.0)
    except LinkLost:
        return True
    return False


def until(what, seconds: float = 10.0) -> None:
    """Wait for something that another thread does."""
    never = threading.Event()
    for _ in range(int(seconds / 0.01)):
        if what():
            return
        never.wait(0.01)
    raise AssertionError("it did not come true")
