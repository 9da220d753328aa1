"""Graphics cards: as their makers' tools print them (no card was at hand where this was written), and who has which."""

from __future__ import annotations

from pathlib import Path

from clusterray.node import cards
from clusterray.node.cards import Card, Cards

PRINTED = {
    "nvidia-smi": "NVIDIA H200\nQuadro P400\n",
    "rocm-smi": '{"card1": {"Card Series": "Radeon RX 7600"}, "card0": {"Card series": "Radeon RX 7900 XTX"}, "system": {}}',
    "sycl-ls": """\
[opencl:cpu][opencl:0] Intel(R) OpenCL, Intel(R) Xeon(R) Gold 6330 CPU OpenCL 3.0 (Build 0) [2024.18]
[level_zero:gpu][level_zero:0] Intel(R) oneAPI Unified Runtime over Level-Zero, Intel(R) Arc(TM) A770 Graphics 12.55.8 [1.3.29735]
""",
}


def test_cards_are_told_by_maker_and_name() -> None:
    """So that a kind can tell which work together; numbers are the maker's own."""
    found = cards.find(lambda argv: PRINTED[argv[0]])
    assert [(card.title, card.number) for card in found] == [
        ("NVIDIA H200", 0),
        ("NVIDIA Quadro P400", 1),
        ("AMD Radeon RX 7900 XTX", 0),
        ("AMD Radeon RX 7600", 1),
        ("Intel Arc A770 Graphics", 0),
    ]
    assert cards.find(lambda argv: "") == ()
    assert cards.find(lambda argv: "" if argv[0] == "nvidia-smi" else "what is this?") == ()


def test_this_machine_can_be_asked() -> None:
    """With the tools or without."""
    assert isinstance(cards.find(), tuple)


def test_a_job_is_shown_its_cards_and_no_others() -> None:
    """Each maker's variable counts from 0 by itself; a job without cards is shown none."""
    all_of = Cards(cards.find(lambda argv: PRINTED[argv[0]]))
    assert all_of.environment(()) == {"CUDA_VISIBLE_DEVICES": "", "HIP_VISIBLE_DEVICES": "-1"}
    assert all_of.environment((1,)) == {"CUDA_VISIBLE_DEVICES": "1", "CUDA_DEVICE_ORDER": "PCI_BUS_ID", "HIP_VISIBLE_DEVICES": "-1"}
    assert all_of.environment((3,)) == {"CUDA_VISIBLE_DEVICES": "", "ROCR_VISIBLE_DEVICES": "1"}
    assert all_of.environment((4,))["ZE_AFFINITY_MASK"] == "0"


def test_no_card_is_given_twice() -> None:
    """They come back at the end, also of a failed job."""
    both = Cards([Card(maker="NVIDIA", number=number, name="x") for number in range(2)])
    with both.take(1) as one, both.take(1) as two, both.take(1) as none, both.take(0) as nothing:
        assert (one, two, none, nothing) == ((0,), (1,), None, ())
    with both.take(2) as again:
        assert again == (0, 1)


def test_a_resting_program_is_ended_before_its_card_is_given_away() -> None:
    """Its own slot gets the card back with the program alive; others get free cards first."""
    both = Cards([Card(maker="NVIDIA", number=number, name="x") for number in range(2)])
    ended: list[str] = []

    def end() -> None:
        ended.append("one")

    both.rest((0,), end)
    with both.take(1) as other:
        assert (other, ended) == ((1,), [])
    with both.take(1, end) as own:
        assert (own, ended) == ((0,), [])
    both.rest((0,), end)
    with both.take(2) as all_of:
        assert (all_of, ended) == ((0, 1), ["one"])
    both.rest((0,), end)
    both.gone(end)
    with both.take(2):
        assert ended == ["one"]


def test_devices_are_those_of_the_drivers(tmp_path: Path) -> None:
    """What confined jobs with cards see beside an empty /dev."""
    for name in ("nvidia0", "nvidiactl", "null", "kfd"):
        (tmp_path / name).touch()
    assert cards.devices(tmp_path) == tuple(str(tmp_path / name) for name in ("nvidia0", "nvidiactl", "kfd"))
