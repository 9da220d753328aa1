"""Jobs go where their files are; nobody waits for it."""

from __future__ import annotations

from clusterray.server.locality import LEAST, LOOK, REMEMBERED, Locality, Want

MEGA = 1 << 20


def want(*photos: str, turn: int = 0) -> Want:
    return Want(turn, dict.fromkeys(photos, MEGA))


def test_a_node_gets_the_job_whose_files_it_holds():
    """And one that holds nothing takes what nobody else has, in order."""
    near = Locality()
    wants = {"one": want("a", "b"), "two": want("c", "d"), "three": want("d", "e"), "four": want("f")}
    jobs = list(wants)
    assert near.best("nan", jobs, wants) == "one"
    near.sent("ada", wants["two"].packs)
    assert near.best("ada", jobs, wants) == "two"
    assert near.best("ada", ["one", "three", "four"], wants) == "three", "half of it is there"
    assert near.best("nan", jobs, wants) == "one"
    assert near.best("nan", ["two", "four"], wants) == "four", "what others hold is left to them"
    assert near.best("nan", ["two"], wants) == "two", "but nothing waits"


def test_turns_come_before_places():
    """A job of a later turn is not taken first because its files are here."""
    near = Locality()
    wants = {"first": want("a"), "later": want("b", turn=1)}
    near.sent("ada", wants["later"].packs)
    assert near.best("ada", ["first", "later"], wants) == "first"


def test_what_is_small_or_long_ago_does_not_count():
    """Nor what a node had that is gone; and not more than some of the next jobs are looked at."""
    near = Locality()
    near.sent("ada", {"tiny": LEAST - 1})
    assert near.best("ada", ["one", "two"], {"one": want("x"), "two": Want(0, {"tiny": LEAST - 1})}) == "one"
    near.sent("ada", {"old": MEGA})
    wants = {"one": want("x"), "two": want("old")}
    assert near.best("ada", ["one", "two"], wants) == "two"
    many = {f"j{n}": want(f"p{n}") for n in range(LOOK)}
    assert near.best("ada", [*many, "two"], {**many, "two": want("old")}) == "j0"
    near.sent("ada", {f"n{n}": MEGA for n in range(REMEMBERED)})
    assert near.best("ada", ["one", "two"], wants) == "one"
    near.forget(["ada"])
    near.sent("nan", {"n1": MEGA})
    assert near.best("ada", ["one", "two"], {"one": want("n1"), "two": want("n2")}) == "two"
