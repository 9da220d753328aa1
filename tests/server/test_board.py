"""Who watches what."""

from __future__ import annotations

from clusterray.server.board import Board

from .bench import Bell


def test_only_watchers_of_the_task_are_woken():
    """A farm in a hurry does not wake everybody for everything."""
    board, mine, others = Board(), Bell(), Bell()
    board.watch(mine, ["a", "b"])
    board.watch(others, ["c"])
    board.changed("b")
    assert (mine.rang, others.rang) == (1, 0)


def test_who_left_is_not_rung():
    """Nor is anything kept of him."""
    board, bell = Board(), Bell()
    board.watch(bell, ["a"])
    board.leave(bell)
    board.leave(bell)
    board.changed("a")
    assert bell.rang == 0


def test_watching_anew_replaces_what_was_watched():
    """One bell, one list."""
    board, bell = Board(), Bell()
    board.watch(bell, ["a"])
    board.watch(bell, ["b"])
    board.changed("a")
    assert bell.rang == 0
