"""Who may in."""

from __future__ import annotations

import pytest
from clusterray.common.errors import Refused
from clusterray.common.model import Needs, NodeInfo, Program, Role
from clusterray.common.wire.messages import VERSION, Hello
from clusterray.server.gate import bounded
from clusterray.server.roster import SILENT, lacks, program_matches, version_key


def hello(bench, role=Role.NODE, token=None, **more):
    token = bench.farm.tokens.current(role) if token is None else token
    node = {"node": NodeInfo(name="n"), "incarnation": "i"} if role is Role.NODE else {}
    return Hello(role=role, token=token, **{**node, **more})


def refused(bench, question):
    with pytest.raises(Refused) as caught:
        bench.farm.gate.admit(question, "peer")
    return caught.value.code


def test_each_role_gets_in_with_its_own_code(bench):
    """And with no other's: what one may is what the code was made for."""
    assert bench.farm.gate.admit(hello(bench, Role.SUBMIT), "p").caller.role is Role.SUBMIT
    assert bench.farm.gate.admit(hello(bench, Role.ADMIN), "p").caller.role is Role.ADMIN
    assert bench.farm.gate.admit(hello(bench), "p").node
    assert refused(bench, hello(bench, Role.ADMIN, bench.farm.tokens.current(Role.SUBMIT))) == "role"
    assert refused(bench, hello(bench, Role.SUBMIT, bench.farm.tokens.current(Role.NODE))) == "role"
    assert refused(bench, hello(bench, Role.NODE, bench.farm.tokens.current(Role.ADMIN))) == "token"
    assert refused(bench, hello(bench, Role.SUBMIT, "nonsense")) == "token"


def test_another_version_is_told_so(bench):
    """Before anything else is looked at."""
    assert refused(bench, hello(bench, Role.SUBMIT, "nonsense", version=VERSION + 1)) == "version"


def test_a_node_gets_an_identity_of_its_own(bench):
    """The join code only admits; from then on the node's own token counts, and a renewed code does not shut it out."""
    welcome = bench.farm.gate.admit(hello(bench), "p").welcome
    assert welcome.node_id and welcome.node_token
    bench.farm.tokens.renew(Role.NODE)
    again = hello(bench, token="", node_id=welcome.node_id, node_token=welcome.node_token)
    admitted = bench.farm.gate.admit(again, "p")
    assert admitted.node == welcome.node_id and not admitted.welcome.node_token
    assert refused(bench, hello(bench, node_id=welcome.node_id, node_token="wrong")) == "token"
    assert refused(bench, hello(bench, node_id="f" * 32, node_token=welcome.node_token)) == "token"


def test_a_cloned_disk_is_told_the_way_out(bench):
    """While the original speaks its clone is refused; when it is silent, a new life of the node may come."""
    welcome = bench.farm.gate.admit(hello(bench), "p").welcome
    bench.farm.roster.arrive(welcome.node_id, "i", 0, NodeInfo(name="n"), object())
    clone = hello(bench, token="", node_id=welcome.node_id, node_token=welcome.node_token, incarnation="j")
    with pytest.raises(Refused, match="--new-id"):
        bench.farm.gate.admit(clone, "p")
    bench.clock.advance(SILENT)
    assert bench.farm.gate.admit(clone, "p").node == welcome.node_id


@pytest.mark.parametrize("more", [{"node": None}, {"incarnation": ""}, {"incarnation": "i" * 1000}, {"slot": -1}, {"slot": 10**9}])
def test_a_hello_that_makes_no_sense_is_refused(bench, more):
    """With the code for a broken protocol."""
    assert refused(bench, hello(bench, **more)) == "protocol"


def test_what_a_node_says_is_kept_in_bounds():
    """Names that would write on people's terminals, numbers that would make a billion tiles, lists without end."""
    wild = NodeInfo(
        name="evil\x1b[2J\nname" + "x" * 1000, version="v" * 9999, slots=10**9, cores=-5, memory=-1, disk=10**30, gpus=("g" * 999,) * 999,
        programs=(Program(name="povray", version="9" * 5000),) * 500, allow=("render\n",) * 99, tags=("t",) * 999, confined="\x07" * 10,
        bundles=("../x", "0" * 64), commands=("c" * 900,) * 999,
    )  # fmt: skip
    tame = bounded(wild)
    assert tame.name.startswith("evil[2Jname") and len(tame.name) == 100
    assert (tame.slots, tame.cores, tame.memory) == (4096, 1, 0) and tame.disk < 1 << 61
    assert tame.bundles == ("0" * 64,) and tame.allow[0] == "render" and tame.confined == ""
    assert max(len(tame.gpus), len(tame.programs), len(tame.tags)) <= 32
    assert len(tame.commands) == 200 and len(tame.commands[0]) == 100
    assert bounded(tame) == tame


def test_a_nameless_node_gets_a_name():
    """So that it can be spoken of."""
    assert bounded(NodeInfo(name="\n")).name.startswith("node-")


def test_no_version_breaks_the_comparison():
    """Neither a node nor a task can say a version that stops the farm."""
    version_key("9" * 5000)
    assert not program_matches("povray==" + "9" * 5000, "povray", "3.7")
    assert not program_matches("a" + " " * 100_000 + "!", "a", "1")
    program_matches("povray", "povray", "9" * 5000)
    assert lacks(NodeInfo(name="n", programs=(Program(name="p", version="9" * 5000),)), Needs(program="p>=1"), "render") == ""
