"""A real FTP thread on loopback for tests, and a proxy that cuts its data connections."""

from __future__ import annotations

import contextlib
import hashlib
import io
import selectors
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from clusterray.common.clock import Clock
from clusterray.common.encoding import encode
from clusterray.common.model import Account, PackRef
from clusterray.common.ports import free_range
from clusterray.common.security import Identity, make_identity
from clusterray.common.testing import FakeClock
from clusterray.common.transfer import Courier
from clusterray.server.ftp_thread import FtpThread


def ref(data: bytes) -> PackRef:
    return PackRef(digest=hashlib.sha256(data).hexdigest(), size=len(data))


class House:
    """A running FTP thread with its own identity; couriers never sleep."""

    def __init__(self, root: Path, *, ports: int = 8, **traits: Any) -> None:
        self.root = root
        self.identity: Identity = make_identity(root / "identity")
        self.passive = free_range(ports)
        self.thread = FtpThread("127.0.0.1", 0, self.passive, self.identity, **{"penalty": 0.0, **traits})
        self.thread.open()
        self.thread.start()
        self._couriers: list[Courier] = []

    def close(self) -> None:
        for courier in self._couriers:
            courier.close()
        self.thread.stop()
        assert self.thread.join(10.0)

    def account(self, user: str = "lease") -> Account:
        return Account(user=user, password="secret of " + user, port=self.thread.port)

    def lease(self, *packs: bytes, user: str = "lease", encoded: bool = False, **more: Any) -> Path:
        """An account that reads these packs and writes into the folder returned."""
        read = {}
        for data in packs:
            path = self.root / (ref(data).digest + (".zst" if encoded else ""))
            path.write_bytes(b"".join(encode(io.BytesIO(data))) if encoded else data)
            read[ref(data).digest] = path
        out = self.root / f"{user}-out"
        out.mkdir(exist_ok=True)
        self.thread.grant(user, "secret of " + user, read=read, write=out, write_names="out", **more)
        return out

    def upload(self, user: str = "upload", **more: Any) -> Path:
        """An account that sends packs into the folder returned."""
        folder = self.root / f"{user}-in"
        folder.mkdir(exist_ok=True)
        self.thread.grant(user, "secret of " + user, read={}, write=folder, write_names="packs", **more)
        return folder

    def courier(self, user: str = "lease", *, host: str = "127.0.0.1", pin: str = "", clock: Clock | None = None, **more: Any) -> Courier:
        courier = Courier(self.account(user), host, pin or self.identity.pin, clock or FakeClock(), **{"timeout": 10.0, **more})
        self._couriers.append(courier)
        return courier


class Proxy:
    """Stands at 127.0.0.2 with the server's own ports before it. Each number in ``cuts`` ends one data connection, after so many bytes."""

    HOST = "127.0.0.2"

    def __init__(self, house: House, *cuts: int, reset: bool = False, data_to: int = 0) -> None:
        self.cuts = list(cuts)
        self.bytes = 0
        self.connections = 0
        self._reset, self._data_to = reset, data_to
        self._control = house.thread.port
        self._choose = selectors.DefaultSelector()
        self._stop, self._wake = socket.socketpair()
        self._sockets = [self._stop]
        self._choose.register(self._stop, selectors.EVENT_READ)
        for port in (self._control, *range(house.passive[0], house.passive[1] + 1)):
            listening = socket.create_server((self.HOST, port))
            self._sockets.append(listening)
            self._choose.register(listening, selectors.EVENT_READ, port)
        self._thread = threading.Thread(target=self._run, name="proxy")

    def __enter__(self) -> Proxy:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._wake.close()
        self._thread.join(10.0)
        self._choose.close()
        for sock in self._sockets:
            sock.close()

    def _run(self) -> None:
        while True:
            for key, _ in self._choose.select():
                if key.fileobj is self._stop:
                    return
                if isinstance(key.data, int):
                    self._join(key.fileobj, key.data)  # type: ignore[arg-type]
                elif key.fileobj.fileno() >= 0:  # type: ignore[union-attr]  # else closed with its other side in this round
                    self._carry(key.fileobj, *key.data)  # type: ignore[arg-type]

    def _join(self, listening: socket.socket, port: int) -> None:
        near, _ = listening.accept()
        data = port != self._control
        try:
            far = socket.create_connection(("127.0.0.1", self._data_to if data and self._data_to else port))
        except OSError:
            near.close()
            return
        left = [self.cuts.pop(0) if data and self.cuts else 1 << 60, 2]  # bytes to go, directions that are open
        self._sockets += [near, far]
        self.connections += data
        self._choose.register(near, selectors.EVENT_READ, (far, left, data))
        self._choose.register(far, selectors.EVENT_READ, (near, left, data))

    def _carry(self, one: socket.socket, other: socket.socket, left: list[int], data: bool) -> None:
        try:
            block = one.recv(min(65536, left[0]))
            if block:
                other.sendall(block)
        except OSError:
            block = b""
        left[0] -= len(block)
        self.bytes += len(block) * data
        if block and left[0] > 0:
            return
        left[1] -= 1
        if left[0] > 0 and left[1]:  # one end has said all: the other may go on
            self._choose.unregister(one)
            with contextlib.suppress(OSError):
                other.shutdown(socket.SHUT_WR)
            return
        for side in (one, other):
            with contextlib.suppress(KeyError):
                self._choose.unregister(side)
            if self._reset and left[0] <= 0:
                side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            side.close()


@contextlib.contextmanager
def house_at(root: Path, **traits: Any) -> Iterator[House]:
    house = House(root, **traits)
    try:
        yield house
    finally:
        house.close()
