"""What breaks in a real farm: ports, disks, clocks, copies, strangers. Each is told in one sentence, and nothing is lost."""

from __future__ import annotations

import contextlib
import datetime
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
from clusterray.common.errors import Refused
from clusterray.common.kinds.echo import content
from clusterray.common.model import Role
from clusterray.common.security import JoinCode
from clusterray.common.wire.link import dial
from clusterray.common.wire.messages import Hello

from .box import BIN, until
from .sayings import SMALL, one_sentence, processes, scene

CLOCK = Path(__file__).parent / "clock"
DAY = 86_400


def result(box, name):
    return (box.folder / f"{name}-result" / f"{name}.txt").read_bytes()


def foreground(box, *arguments):
    """`clusterray server|node foreground` as at a terminal."""
    log = (box.folder / f"{arguments[0]}.log").open("ab")
    with log:
        return subprocess.Popen(
            [BIN / "clusterray", *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=box.env, cwd=box.folder
        )


def test_a_port_in_use_names_who_has_it(make_box):
    """For either port, as a daemon and in the foreground: who holds it and which setting chooses another; nothing stays behind."""
    box = make_box()
    for port, setting in ((box.port, "[server] port"), (box.ftp, "[ftp] port")):
        with contextlib.closing(socket.create_server(("127.0.0.1", port))):
            one_sentence(box.run("server", "start", ok=False), 2, port, "in use by pid ", setting)
            said = box.run("server", "foreground", ok=False)
            assert said.returncode == 2
            assert setting in said.stderr.splitlines()[-1]
        assert box.run("server", "status", ok=False).returncode == 3
    box.server().login()
    one_sentence(box.run("server", "start", ok=False), 1, f"{box.data}/server is in use by process", "--data")
    box.node("one", CLUSTERRAY_DATA=str(box.data))
    one_sentence(box.run("node", "start", ok=False), 1, f"{box.data}/node is in use by process", "--data")


def test_strangers_at_the_door_disturb_nobody(box):
    """Seventy silent connections, one that talks rubbish and a client of another version: only they are turned away."""
    box.node()
    ident = box.detach(box.echo("work", jobs=2, seconds=1))
    with contextlib.ExitStack() as stack:
        mute = [stack.enter_context(socket.create_connection(("127.0.0.1", box.port))) for _ in range(70)]
        mute[-1].sendall(b"GET / HTTP/1.0\r\n\r\n")
        before = time.monotonic()
        assert box.json("tasks")[0]["id"] == ident
        assert time.monotonic() - before < 10
        box.run("watch", ident)
    code = JoinCode.decode(box.code("submit"))
    link = stack.enter_context(dial(code.addresses, code.pin))
    with link, pytest.raises(Refused, match=r"This server speaks version 1 of the protocol, .* speaks 99: update the older one\.") as told:
        link.ask(Hello(role=Role.SUBMIT, token=code.token, version=99))
    assert (told.value.code, told.value.exit_code) == ("version", 4)
    assert result(box, "work") == content(0, 16) + content(1, 16)


def test_a_cloned_disk_is_refused_until_it_gets_an_id_of_its_own(box):
    """The copy of a running node is told to start with --new-id and disturbs nothing; so started, it joins beside the first."""
    box.node("one")
    ident = box.detach(box.echo("work", jobs=2, seconds=1))
    with contextlib.suppress(shutil.Error):  # files come and go below a living node, as under any copy of a disk
        shutil.copytree(box.folder / "one", box.folder / "twin")
    assert (box.folder / "twin" / "node" / "identity.json").exists()
    twin = {"CLUSTERRAY_DATA": str(box.folder / "twin"), "CLUSTERRAY_NODE_NAME": "twin", "CLUSTERRAY_NODE_SLOTS": "1"}
    try:
        said = box.run("node", "start", **twin)
        assert "Another machine runs as node one" in said.stdout
        assert "if this one's disk was cloned from it, start this one with --new-id." in said.stdout
        box.run("watch", ident)
        assert all(len(job["attempts"]) == 1 for job in box.task(ident)["job_list"])
        assert [node["name"] for node in box.json("nodes")] == ["one"]
        box.run("node", "stop", **twin)
        box.run("node", "start", "--new-id", **twin)
        assert sorted(node["name"] for node in box.json("nodes") if node["online"]) == ["one", "twin"]
    finally:  # a daemon, which the box does not know
        box.run("node", "stop", **twin)


def test_a_clock_that_is_a_day_off_is_only_looked_at(make_box):
    """Node and client a day behind, a certificate that begins tomorrow, then a server that wakes up yesterday: all goes on."""
    box = make_box().server().login()
    box.kill("server")
    _valid_from_tomorrow(box.data / "server")
    box.server()
    late = {"PYTHONPATH": f"{CLOCK}:{box.env['PYTHONPATH']}", "CR_TEST_CLOCK": str(-DAY)}
    box.node(**late)
    assert box.log("node1")[:10] < box.log("server")[:10], "the node's clock is a day behind indeed"
    said = box.run("submit", box.echo("work", jobs=2, bytes=100_000, seconds=0.2), **late)
    assert result(box, "work") == content(0, 100_000) + content(1, 100_000)
    assert "completed in " in said.stderr + said.stdout
    (task,) = box.json("tasks", **late)
    created = datetime.datetime.fromisoformat(task["created"]).timestamp()
    assert abs(created - time.time()) < 60, "the server's clock dates a task"
    box.kill("server")
    box.env |= late
    box.server()
    assert [task["name"] for task in box.json("tasks")] == ["work"]
    box.run("submit", box.echo("more", jobs=1))
    assert result(box, "more") == content(0, 16)


def _valid_from_tomorrow(folder):
    """The server's certificate made anew from its key, as a client with a clock a day behind sees one of today."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization

    key = serialization.load_pem_private_key((folder / "key.pem").read_bytes(), None)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a server of tomorrow")])
    begin = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


def test_a_full_disk_on_the_server_takes_nothing_more_and_loses_nothing(make_box):
    """A new folder is refused with how much is free; what was submitted is done and fetched; with room it is taken."""
    box = make_box().server().login()
    ident = box.detach(box.echo("before", jobs=2))
    box.kill("server")
    box.env["CLUSTERRAY_RETENTION_KEEP_FREE"] = "900TB"
    box.server()
    folder = box.echo("after", jobs=1)
    said = box.run("submit", folder, ok=False)
    one_sentence(said, 1, "after was not submitted: The server has no room for ", "are free on its disk", "remove old tasks")
    box.node()
    box.run("watch", ident)
    assert result(box, "before") == content(0, 16) + content(1, 16)
    box.kill("server", signal.SIGTERM)
    box.env["CLUSTERRAY_RETENTION_KEEP_FREE"] = "0"
    box.server()
    box.run("submit", folder)
    assert result(box, "after") == content(0, 16)


def test_a_full_disk_on_a_node_costs_the_task_nothing(box):
    """Too little for anything: the node takes no job and says why. Too little for this job: it is given back and runs elsewhere."""
    box.node("full", CLUSTERRAY_NODE_KEEP_FREE="900TB")
    ident = box.detach(box.echo("work", jobs=1, limits="[limits]\nattempts = 1"))
    until(lambda: "its disk has" in "".join(box.task(ident)["notes"]))
    assert "node full takes no job now: its disk has" in box.run("show", ident).stdout
    assert "[node] keep_free wants" in box.json("nodes")[0]["note"]
    assert [job["attempts"] for job in box.task(ident)["job_list"]] == [[]]
    box.kill("full", signal.SIGINT)
    box.node("full")  # there is room again
    box.run("watch", ident)
    assert result(box, "work") == content(0, 16)
    box.kill("full", signal.SIGINT)

    free = shutil.disk_usage(box.folder).free
    box.node("tight", CLUSTERRAY_NODE_KEEP_FREE=str(free - 2_000_000_000))
    ident = box.detach(box.echo("big", jobs=1, limits='[limits]\nattempts = 1\n[needs]\nscratch = "4GB"'))
    (back,) = until(lambda: [a for job in box.task(ident)["job_list"] for a in job["attempts"] if a["cause"]])
    assert (back["node"], back["cause"]) == ("tight", "returned")
    assert back["sentence"].startswith("The disk of this node has ")
    assert "MiB are needed ([node] keep_free and what the job asks for)." in back["sentence"]
    assert box.task(ident)["state"] == "running"
    box.node("roomy")
    box.run("watch", ident)
    assert result(box, "big") == content(0, 16)
    assert [a["node"] for a in box.task(ident)["job_list"][0]["attempts"]] == ["tight", "roomy"]


def test_a_task_runs_on_one_version_of_povray(box):
    """The rarer version is left out with the reason, also when it is all that is left; a node without a renderer is shown as such."""
    other = box.folder / "povray-3.8"
    other.write_text('#!/bin/sh\n[ "$1" = --version ] && { echo "POV-Ray 3.8.0" >&2; exit; }\nexec povray "$@"\n')
    other.chmod(0o755)
    none = ",".join(f"{name}=/nowhere/{program}" for name, program in
                    {"povray": "povray", "blender": "blender", "mitsuba": "python", "survey": "python"}.items())  # fmt: skip
    box.node("bare", CLUSTERRAY_NODE_PROGRAMS=none)
    assert "[node] programs: /nowhere/povray is no povray that can be started here; it is left out." in box.log("bare")
    box.node("rare", CLUSTERRAY_NODE_PROGRAMS=f"povray={other}")
    box.node("usual", slots=2)
    have = {n["name"]: [p["version"][:3] for p in n["programs"] if p["name"] == "povray"] for n in box.json("nodes")}
    assert have == {"bare": [], "rare": ["3.8"], "usual": ["3.7"]}
    assert "no renderer" in box.run("nodes").stdout
    ident = box.detach(scene(box.folder / "picture"), *SMALL, "-o", "tiles=[4, 3]")
    until(lambda: box.task(ident)["jobs"]["running"])
    left_out = "Node rare (it has 3.8.0) is left out, because the task runs on povray 3.7.0"
    assert left_out in box.run("show", ident).stdout
    box.kill("usual")
    note = until(lambda: [note for note in box.task(ident)["notes"] if "no node with that one is here now" in note])
    assert note[0].startswith(left_out)
    box.node("usual", slots=2)
    box.run("watch", ident)
    done = box.task(ident)
    assert {a["node"] for job in done["job_list"] for a in job["attempts"]} == {"usual"}
    assert (box.folder / "picture-result" / "picture.png").exists()


def test_data_keeps_two_farms_apart(make_box):
    """Two servers, two nodes and two logins on one machine: --data says which is meant, and neither sees the other."""
    one, two = make_box().server().login(), make_box().server().login()
    one.node("first")
    two.node("second")
    one.run("submit", one.echo("work", jobs=1))
    there = ("--data", two.data)
    assert [task["name"] for task in one.json("tasks")] == ["work"]
    assert one.json("tasks", *there) == []
    assert [node["name"] for node in one.json("nodes", *there)] == ["second"]
    assert one.run("join-code", *there).stdout != one.run("join-code").stdout
    one.run("submit", *there, one.echo("other", jobs=1))
    assert [task["name"] for task in two.json("tasks")] == ["other"]
    assert [task["name"] for task in one.json("tasks")] == ["work"]
    refused = one.run("submit", one.echo("third", jobs=1), ok=False, CLUSTERRAY_CLIENT_SERVER=f"127.0.0.1:{two.port}")
    one_sentence(refused, 4, f"The server at 127.0.0.1:{two.port} is not the one of the join code", "ask for a new join code")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_foreground_run_ends_cleanly(make_box, number):
    """SIGTERM and Ctrl-C end a server and a node with exit code 0 while a job runs; no process stays, and the job is done later."""
    box = make_box()
    server = foreground(box, "server", "foreground")
    until(lambda: " is up on port" in box.log("server"))
    box.login()
    box.env |= {"CLUSTERRAY_JOIN": box.code("node"), "CLUSTERRAY_NODE_SLOTS": "1"}
    node = foreground(box, "node", "foreground")
    ident = box.detach(box.echo("work", jobs=1, seconds=2))
    until(lambda: box.task(ident)["jobs"]["running"] == 1)
    node.send_signal(number)
    if number is signal.SIGTERM:  # it drains: the job is finished first
        until(lambda: box.task(ident)["state"] == "completed")
    assert node.wait(15) == 0
    server.send_signal(number)
    assert server.wait(15) == 0
    assert "Traceback" not in box.log("server") + box.log("node")
    assert processes(box.folder) == []
    box.server().node()
    box.run("watch", ident)
    assert result(box, "work") == content(0, 16)
