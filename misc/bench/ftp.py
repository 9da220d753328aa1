#!/usr/bin/env python3
"""FTPS put and get, ours beside bare pyftpdlib: one large file over loopback, both channels under TLS, server and client apart.

    python misc/bench/ftp.py [MEGABYTES] [RUNS]        1000 and 5 unless told

Ours is FtpThread with a Courier, as a node uses them: the pin is checked, sizes are compared, and a fetched pack is hashed before it
gets its name. Bare is pyftpdlib's TLS server with ftplib, which does none of that. Runs take turns; the table has medians.
"""

from __future__ import annotations

import contextlib
import ftplib
import hashlib
import io
import os
import shutil
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from clusterray.common.clock import SystemClock
from clusterray.common.encoding import verify
from clusterray.common.model import Account, PackRef
from clusterray.common.security import Identity, make_identity
from clusterray.common.transfer import Courier

USER, PASSWORD = "bench", "bench"


def serve(which: str, folder: Path, digest: str) -> None:
    """The server process: prints its port, serves until its standard input ends."""
    identity = make_identity(folder / "identity")
    if which == "ours":
        from clusterray.server.ftp_thread import FtpThread

        thread = FtpThread("127.0.0.1", 0, (0, 0), identity)
        thread.open()
        thread.start()
        thread.grant(USER, PASSWORD, read={digest: folder / digest}, write=folder, write_names="out")
        print(thread.port, flush=True)
        sys.stdin.read()
        thread.stop()
        thread.join(10)
        return
    import logging
    import threading

    from pyftpdlib.authorizers import DummyAuthorizer
    from pyftpdlib.handlers import TLS_FTPHandler
    from pyftpdlib.servers import FTPServer

    logging.getLogger("pyftpdlib").addHandler(logging.NullHandler())
    authorizer = DummyAuthorizer()
    authorizer.add_user(USER, PASSWORD, str(folder), perm="elradfmw")
    traits = {"authorizer": authorizer, "certfile": str(identity.cert_path), "keyfile": str(identity.key_path)}
    server = FTPServer(("127.0.0.1", 0), type("Handler", (TLS_FTPHandler,), traits))
    print(server.address[1], flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()


@contextlib.contextmanager
def running(which: str, folder: Path, digest: str) -> Iterator[int]:
    command = [sys.executable, "-W", "ignore", __file__, "--serve", which, str(folder), digest]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None and child.stdout is not None
        try:
            yield int(child.stdout.readline())
        finally:
            child.stdin.close()
            child.wait(20)


def ours(port: int, folder: Path, pack: PackRef, identity: Identity) -> tuple[float, float, float]:
    """Seconds for put, for get, and for the hashing that get contains."""
    with Courier(Account(user=USER, password=PASSWORD, port=port), "127.0.0.1", identity.pin, SystemClock()) as courier:
        start = time.perf_counter()
        courier.put_file("ours", folder / pack.digest)
        middle = time.perf_counter()
        courier.get_pack(pack, folder / "got-ours")
        end = time.perf_counter()
    (folder / "ours").unlink()  # else the next run would find it there and send nothing
    verify(folder / "got-ours", pack, encoded=False)
    return middle - start, end - middle, time.perf_counter() - end


def bare(port: int, folder: Path, pack: PackRef) -> tuple[float, float, float]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    ftp = ftplib.FTP_TLS(context=context)
    ftp.connect("127.0.0.1", port)
    ftp.login(USER, PASSWORD)
    ftp.prot_p()
    start = time.perf_counter()
    with (folder / pack.digest).open("rb") as source:
        ftp.storbinary("STOR bare", source, blocksize=1 << 18)
    middle = time.perf_counter()
    with (folder / "got-bare").open("wb") as out:
        ftp.retrbinary(f"RETR {pack.digest}", out.write, blocksize=1 << 18)
    end = time.perf_counter()
    ftp.close()
    return middle - start, end - middle, 0.0


def main(megabytes: int, runs: int) -> None:
    folder = Path(tempfile.mkdtemp(prefix="clusterray-bench-"))
    try:
        block, digest = os.urandom(1_000_000), hashlib.sha256()
        with (folder / "data").open("wb") as out:
            for number in range(megabytes):
                digest.update(part := io.BytesIO(block).read()[number % 997 :] + block[: number % 997])
                out.write(part)
        pack = PackRef(digest=digest.hexdigest(), size=megabytes * 1_000_000)
        (folder / "data").rename(folder / pack.digest)
        identity = make_identity(folder / "identity")
        seconds: dict[str, list[tuple[float, float, float]]] = {"ours": [], "bare": []}
        with running("ours", folder, pack.digest) as our_port, running("bare", folder, pack.digest) as bare_port:
            for _ in range(runs):
                seconds["ours"].append(ours(our_port, folder, pack, identity))
                seconds["bare"].append(bare(bare_port, folder, pack))
        rates = {name: [megabytes / statistics.median(run[way] for run in taken) for way in (0, 1)] for name, taken in seconds.items()}
        unhashed = megabytes / statistics.median(run[1] - run[2] for run in seconds["ours"])
        print(f"FTPS, {megabytes} MB over loopback, medians of {runs}, MB/s")
        print(f"{'':24}{'put':>8}{'get':>8}")
        for name, words in (("ours", "ClusterRay"), ("bare", "bare pyftpdlib + ftplib")):
            print(f"{words:24}{rates[name][0]:8.0f}{rates[name][1]:8.0f}")
        print(f"{'ratio':24}{rates['ours'][0] / rates['bare'][0]:8.2f}{rates['ours'][1] / rates['bare'][1]:8.2f}")
        print(f"without the hashing, our get is {unhashed:.0f} MB/s, {unhashed / rates['bare'][1]:.2f} of the bare one")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(sys.argv[2], Path(sys.argv[3]), sys.argv[4])
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000, int(sys.argv[2]) if len(sys.argv) > 2 else 5)
