"""A submitter's talk with the server: connect, ask, and come back after a restart of the server.

The first connection is impatient (a person waits: no server is one sentence at once); a talk that has begun is patient,
because the server keeps all that matters and may only be starting again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from ..common.clock import Clock, backoff
from ..common.errors import LinkLost, NoServer, ProtocolError, Refused
from ..common.units import show_duration
from ..common.wire.messages import AnyMessage, Bye, Hello, Question, Show, TaskDetail, Welcome
from .login import Login

T = TypeVar("T")
FULL_ID = 36
"""Characters of a uuid; less is a beginning that the server must complete."""
COMES_BACK = frozenset({"busy", "stopping"})
"""Refusals of a server that is going down or full: worth another try."""
LONG_TALK = 30.0
"""Seconds after which a talk that is cut off counts as a new loss, with all of the patience again."""


class Wire(Protocol):
    """What a session needs of link.Link."""

    @property
    def host(self) -> str: ...
    @property
    def peer(self) -> str: ...

    def ask(self, question: Question, timeout: float = 30.0) -> AnyMessage: ...
    def tell(self, question: Bye) -> None: ...
    def close(self) -> None: ...


Dial = Callable[[Sequence[str], str], Wire]


class Session:
    """One login at one farm, over one link at a time.

    ``met`` is called with the login once it knows the farm's id, so that it can be remembered.
    """

    def __init__(
        self,
        login: Login,
        *,
        dial: Dial,
        clock: Clock,
        patience: float = 600.0,
        addresses: Sequence[str] = (),
        say: Callable[[str], None] = lambda text: None,
        met: Callable[[Login], None] = lambda login: None,
    ) -> None:
        self.login = login
        self.pin = login.way.pin
        self.say = say
        self._addresses = tuple(addresses) or login.way.addresses
        self._dial = dial
        self._clock = clock
        self._patience = patience
        self._met = met
        self._link: Wire | None = None
        self._never = threading.Event()

    def __enter__(self) -> Session:
        self.connect()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def host(self) -> str:
        """The address at which the server was reached; FTP goes there too unless an account says otherwise."""
        return self._wire().host

    def connect(self) -> Welcome:
        """Dial and say hello. Raises NoServer at once, or Refused."""
        self.close()
        link = self._dial(self._addresses, self.pin)
        try:
            welcome = self._expect(link.ask(Hello(role=self.login.way.role, token=self.login.way.token)), Welcome)
            if self.login.farm and welcome.farm and welcome.farm != self.login.farm:
                raise Refused(
                    f"Another farm answers at {link.peer} than the one that this machine logged in at: "
                    "if that is meant, log in there with `clusterray login CODE`.",
                    "farm",
                )
        except BaseException:
            link.close()
            raise
        self._link = link
        known = Login(code=self.login.code, farm=welcome.farm, server=welcome.server)
        if known != self.login:
            self.login = known
            self._met(known)
        return welcome

    def ask(self, question: Question, answer: type[T], timeout: float = 30.0) -> T:
        """Ask on the present link. Any failure of the link closes it: a late answer must not meet the next question."""
        link = self._wire()
        try:
            return self._expect(link.ask(question, timeout=timeout), answer)
        except (LinkLost, ProtocolError, Refused, KeyboardInterrupt):
            self.drop()
            raise

    def patiently(self, talk: Callable[[], T]) -> T:
        """Do ``talk``; when the link or the server goes away, connect again and do it anew, for as long as ``patience``.

        ``talk`` must be fit to be done again: every question of a submitter is, a submit by its id.
        """
        lost: float | None = None
        attempt = 0
        while True:
            began = self._clock.monotonic()
            try:
                if self._link is None:
                    self.connect()
                    self.say("The server is back.")
                return talk()
            except (LinkLost, NoServer, Refused) as error:
                self.drop()
                if isinstance(error, Refused) and error.code not in COMES_BACK:
                    raise
                now = self._clock.monotonic()
                if lost is None or now - began > LONG_TALK:
                    lost, attempt = now, 0
                    self.say(f"The server is away ({str(error).rstrip('.')}); trying again for up to {show_duration(self._patience)}.")
                if now - lost >= self._patience:
                    raise NoServer(f"The server has been away for {show_duration(now - lost)}: {error}") from error
            self._clock.wait(self._never, backoff(attempt, cap=10.0))
            attempt += 1

    def full_id(self, text: str) -> str:
        """A task's id from a unique beginning of it; raises NoSuchTask or Conflict as the server judges."""
        return text if len(text) == FULL_ID else self.show(text).task.id

    def show(self, task: str) -> TaskDetail:
        """A task with all its jobs."""
        page = self.patiently(lambda: self.ask(Show(task=task), TaskDetail))
        jobs = list(page.jobs)
        while page.more and page.jobs:
            after = len(jobs)
            page = self.patiently(lambda after=after: self.ask(Show(task=task, after=after), TaskDetail))  # type: ignore[misc]
            jobs += page.jobs
        return TaskDetail(task=page.task, jobs=tuple(jobs))

    def drop(self) -> None:
        """Close the link without a word."""
        link, self._link = self._link, None
        if link is not None:
            link.close()

    def close(self) -> None:
        """Say good-bye, if anybody is there to hear it."""
        if self._link is not None:
            try:
                self._link.tell(Bye())
            except (LinkLost, ProtocolError):
                pass
        self.drop()

    def _wire(self) -> Wire:
        if self._link is None:
            raise LinkLost("The link to the server is closed.")
        return self._link

    @staticmethod
    def _expect(message: AnyMessage, answer: type[T]) -> T:
        if not isinstance(message, answer):
            raise ProtocolError(f"The server answered with {type(message).__name__} where {answer.__name__} was due.")
        return message
