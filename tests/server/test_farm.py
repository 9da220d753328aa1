"""One server as a whole: it starts, and stops without a trace."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import socket
import threading
from pathlib import Path

import pytest
from clusterray.common import ports
from clusterray.common.clock import SystemClock
from clusterray.common.errors import AlreadyRunning, LinkLost, Refused, UsageError
from clusterray.common.model import Result, Role
from clusterray.common.security import JoinCode
from clusterray.common.wire.link import dial
from clusterray.common.wire.messages import Finished, Hello, Tasks
from clusterray.server.farm import Farm
from clusterray.server.store import StoreError

from .bench import ME, settings, small
from .live import Live, until


def sockets():
    """What this process has open to others, and its databases."""
    found = []
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found.append(str(entry.readlink()))
    return sorted(name for name in found if "socket:" in name or "clusterray.db" in name)


def everything():
    """Threads, sockets, children."""
    return {thread.name for thread in threading.enumerate()}, sockets(), all_children()


def all_children():
    """Living processes whose parent is this one."""
    found = set()
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[1] == str(os.getpid()) and fields[0] != "Z":
            found.add(status.parent.name)
    return found


@pytest.fixture
def make_farm(tmp_path, with_kinds):
    farms = []

    def make(name="data", **server):
        given = settings()
        given = dataclasses.replace(given, server=dataclasses.replace(given.server, **server))
        farms.append(Farm(given, tmp_path / name, SystemClock()))
        return farms[-1]

    yield make
    for farm in farms:
        farm.stop()


def greet(farm, role=Role.SUBMIT):
    code = JoinCode.decode(farm.join_code(role))
    link = dial(code.addresses, code.pin)
    link.ask(Hello(role=role, token=code.token))
    return link


def test_start_and_stop_leave_nothing(make_farm):
    """No thread, no child, no open socket: also with links open, one of them parked."""
    before = everything()
    farm = make_farm()
    farm.start()
    with greet(farm) as link:
        assert link.ask(Tasks()).tasks == ()
        assert everything() != before
        until(lambda: len(all_children()) > len(before[2]))
        farm.stop()
    until(lambda: everything() == before)


def test_stop_again_is_harmless(make_farm):
    """Whoever is not sure may."""
    farm = make_farm()
    farm.start()
    farm.stop()
    farm.stop()
    assert ports.is_free("127.0.0.1", farm.port)


def test_it_starts_again_where_it_was(make_farm):
    """Same key, same tokens, same farm."""
    farm = make_farm()
    farm.start()
    before = (farm.identity.pin, farm.farm_id, farm.tokens.current(Role.NODE))
    assert farm.first_start
    farm.stop()
    again = make_farm()
    again.start()
    assert (again.identity.pin, again.farm_id, again.tokens.current(Role.NODE)) == before
    assert not again.first_start


def test_two_farms_live_in_one_process(make_farm):
    """Each with its own folder, ports and submitters; the code of one is nothing to the other."""
    one, two = make_farm("one"), make_farm("two")
    one.start()
    two.start()
    assert one.port != two.port and one.farm_id != two.farm_id
    with greet(one) as first, greet(two) as second:
        first.ask(Tasks())
        second.ask(Tasks())
    one.stop()
    with greet(two) as link:
        assert link.ask(Tasks()).tasks == ()


def test_a_second_server_on_the_folder_is_refused(make_farm):
    """It names the folder, and the first one lives on."""
    farm = make_farm()
    farm.start()
    with pytest.raises(AlreadyRunning, match="data"):
        make_farm()
    with greet(farm) as link:
        assert link.ask(Tasks()).tasks == ()


def test_a_port_in_use_is_named_and_all_is_taken_down(make_farm):
    """With the setting that chooses another; then the folder is free again."""
    before = everything()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        farm = make_farm(port=taken.getsockname()[1])
        with pytest.raises(UsageError, match=r"\[server\] port"):
            farm.start()
    assert everything() == before
    make_farm().start()


def test_a_taken_ftp_port_is_named_too(tmp_path, with_kinds):
    """Both ports are taken before anything else happens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        given = settings()
        given = dataclasses.replace(given, ftp=dataclasses.replace(given.ftp, port=taken.getsockname()[1]))
        farm = Farm(given, tmp_path / "data", SystemClock())
        with pytest.raises(UsageError, match=r"\[ftp\] port"):
            farm.start()


def test_a_farm_that_cannot_be_built_lets_go(make_farm, monkeypatch):
    """A fault on the way: no thread stays, and the folder can be used."""
    before = everything()
    with monkeypatch.context() as patch:
        patch.setattr("clusterray.server.farm.Listener", lambda *a, **b: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            make_farm()
    assert everything() == before
    make_farm().start()


def test_stop_while_a_result_is_looked_at(make_farm):
    """A link thread sits in the judge, a hand hangs: the stop ends both, and no attempt is held against the node."""
    before = everything()
    farm = make_farm()
    live = Live(farm)
    link, _ = live.slot()
    live.submit(jobs=1, kind="slow", where="verify", how="hang")
    (grant,) = live.lease(link)
    failed = []

    def report():
        try:
            link.ask(Finished(results=(Result(lease=grant.lease, outputs=(small(0),)),)), timeout=30.0)
        except LinkLost as error:
            failed.append(error)

    reporting = threading.Thread(target=report)
    reporting.start()
    until(lambda: farm.judge._busy)
    threading.Event().wait(0.3)
    farm.stop()
    reporting.join(10)
    assert failed
    link.close()
    until(lambda: everything() == before)
    again = make_farm()
    with again.store.read() as tx:
        assert tx.one("attempt", lease=grant.lease)["state"] == "leased"


def test_who_comes_after_the_stop_is_told(make_farm):
    """A thread that is still at it gets an error, never an endless wait."""
    farm = make_farm()
    farm.stop()
    with pytest.raises(StoreError, match="stopping"):
        farm.desk.tasks(ME, "", 1, False)
    with pytest.raises(StoreError, match="stopping"):
        farm.store.write(lambda tx: None)


def test_a_silent_or_rude_peer_ends_only_itself(make_farm):
    """Garbage before TLS and within it: the link closes, the farm goes on."""
    farm = make_farm()
    farm.start()
    with greet(farm) as link:
        link._tls.send(b"\0\0\0\5hello")
        with pytest.raises((LinkLost, Refused)):
            link.ask(Tasks())
    with socket.create_connection(("127.0.0.1", farm.port)) as raw:
        raw.sendall(b"GET / HTTP/1.1\r\n\r\n" * 10)
    with greet(farm) as link:
        assert link.ask(Tasks()).tasks == ()
