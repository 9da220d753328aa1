"""Pieces in split order, each as soon as it and all before it are accepted."""

from __future__ import annotations

import threading

import pytest
from clusterray.common.errors import HandDied, StitchFailed
from clusterray.common.kinds.echo import content
from clusterray.server import feed as feed_module
from clusterray.server.feed import Feed

from .bench import small


def feed_of(bench, task, *, whole):
    return Feed(bench.store, bench.farm.keeper, task, 1, 0, whole=whole)


def finish(bench, slot, *grants):
    for grant in grants:
        bench.finish(slot, grant, outputs=(small(grant.region.data["number"]),), seconds=grant.region.data["number"] + 0.5)


def numbers(given):
    return [one.region.data["number"] for one in given.pieces]


def test_a_gap_holds_back_what_comes_after_it(bench):
    """The pieces come in split order; each says who made it and how long it took; the last answer says so."""
    slot = bench.node("maker")
    task, grants = bench.in_work(slot, jobs=4)
    feed = feed_of(bench, task, whole=False)
    finish(bench, slot, grants[2], grants[0])
    first = feed.more()
    assert (numbers(first), first.last) == ([0], False)
    assert [(one.node, one.seconds, one.files["echo.txt"].data) for one in first.pieces] == [("maker", 0.5, content(0, 16))]
    got = []
    waiting = threading.Thread(target=lambda: got.append(feed.more()))
    waiting.start()
    finish(bench, slot, grants[1])
    feed.ring()
    waiting.join(10)
    assert numbers(got[0]) == [1, 2]
    finish(bench, slot, grants[3])
    assert numbers(feed.more()) == [3]
    feed.finish()
    assert (numbers(last := feed.more()), last.last) == ([], True)


@pytest.mark.parametrize("batch", [1, 2, 3, 4])
def test_all_pieces_come_whatever_the_batch(bench, monkeypatch, batch):
    """None twice, none left out, and an end after the last."""
    monkeypatch.setattr(feed_module, "BATCH", batch)
    slot = bench.node()
    task, grants = bench.in_work(slot, jobs=4)
    finish(bench, slot, *grants)
    feed, got, last = feed_of(bench, task, whole=True), [], False
    while not last:
        given = feed.more()
        got += numbers(given)
        last = given.last
    assert got == [0, 1, 2, 3]


def test_a_stopped_feed_wakes_who_waits(bench):
    """At once, and for ever."""
    slot = bench.node()
    task, _ = bench.in_work(slot, jobs=1)
    feed = feed_of(bench, task, whole=False)
    said = []

    def ask():
        with pytest.raises(HandDied, match="called off"):
            feed.more()
        said.append(True)

    waiting = threading.Thread(target=ask)
    waiting.start()
    feed.stop()
    waiting.join(10)
    ask()
    assert said == [True, True]


def test_a_piece_that_is_gone_is_said(bench):
    """A lost file, and a stage that is not whole though it should be: one sentence each."""
    slot = bench.node()
    task, (one, two) = bench.in_work(slot, jobs=2, bytes=50_000)
    bench.finish(slot, one, outputs=(bench.upload(one, content(0, 50_000)),))
    with pytest.raises(StitchFailed, match="piece of job0000001 is missing"):
        feed_of(bench, task, whole=True).more()
    output = bench.upload(two, content(1, 50_000))
    bench.finish(slot, two, outputs=(output,))
    del bench.farm.keeper._kept[output.digest]
    with pytest.raises(StitchFailed, match=r"cannot be read on the server: .*does not hold pack"):
        feed_of(bench, task, whole=True).more()
