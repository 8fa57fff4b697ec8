"""What a node commits to of a round: its root changes with every part of it."""

import hashlib
from dataclasses import replace

import pytest
import torch

from tdml.node.trace import Opening, Trace, log_digest
from tdml.round.windows import window_bounds
from tdml.trust.commitment import content

STEPS, WINDOWS, CHANNELS = 7, 3, 2


def a_trace(changed: str = "", taken: int = STEPS, windows: int = WINDOWS) -> tuple[Trace, str]:
    """A sealed trace of seven steps, and its root. `changed` names the one thing in which it
    differs."""
    weights = torch.arange(4.0)
    log = torch.arange(STEPS * CHANNELS * 32).view(STEPS, CHANNELS, 32).to(torch.uint8)
    if changed.startswith("log"):
        log[int(changed[-1]), 1, 31] ^= 1
    inner = torch.tensor([2.0, 3.0]) if changed.startswith("inner") else None
    if changed == "inner2":
        inner[1] += 1
    trace = Trace(window_bounds(STEPS, windows), weights, log, ("", "ef" * 64), inner)
    for step in range(taken):
        if trace.wants(step):
            trace.keep(torch.full((6,), float(step)) + (changed == f"state{step}"))
    return trace, trace.seal(content(torch.ones(4) + (changed == "update")))


def test_states_are_wanted_at_the_inner_borders_only() -> None:
    trace, _ = a_trace()
    assert [step for step in range(STEPS) if trace.wants(step)] == [2, 5]
    assert trace.bounds == (0, 2, 5, 7)


@pytest.mark.parametrize(
    "changed", ["state2", "state5", "update", *(f"log{i}" for i in range(STEPS))]
)
def test_the_root_binds_every_state_and_the_whole_log(changed: str) -> None:
    assert a_trace(changed)[1] != a_trace()[1]


def test_it_binds_what_the_optimizer_has_begun_with_where_it_was_not_fresh() -> None:
    trace, root = a_trace("inner")
    assert len({a_trace()[1], root, a_trace("inner2")[1]}) == 3
    assert trace.opening.inner == content(torch.tensor([2.0, 3.0]))
    assert trace.opening.root == root
    assert a_trace()[0].opening.inner == ""


def test_an_opening_shows_all_and_leads_to_the_root() -> None:
    trace, root = a_trace()
    opening = trace.opening
    assert opening is not None and opening.root == root
    states = (torch.full((6,), 2.0), torch.full((6,), 5.0), torch.ones(4))
    assert opening.states == tuple(map(content, states))
    assert torch.equal(opening.log, trace.log)
    assert opening.signatures == ("", "ef" * 64)


def test_the_root_is_a_merkle_tree_by_hand() -> None:
    """RFC 6962, for the four leaves of three states and a log."""
    trace, root = a_trace()

    def sha(data: bytes) -> bytes:
        return hashlib.sha256(data).digest()

    leaves = [sha(b"\x00" + sha(f"tdml border|{state}".encode())) for state in trace.opening.states]
    last = sha(b"\x00" + bytes.fromhex(log_digest(trace.log)))
    two, more = sha(b"\x01" + leaves[0] + leaves[1]), sha(b"\x01" + leaves[2] + last)
    assert root == sha(b"\x01" + two + more).hex()


def test_an_opening_in_which_anything_was_changed_or_moved_has_another_root() -> None:
    trace, root = a_trace()
    opening: Opening = trace.opening
    states = opening.states
    for other in (
        replace(opening, states=states[::-1]),
        replace(opening, states=states[:-1]),
        replace(opening, states=(*states, states[-1])),
        replace(opening, log=opening.log[:-1]),
        replace(opening, log=opening.log.view(CHANNELS, STEPS, 32)),
        replace(opening, log=opening.log.flip(0)),
    ):
        assert other.root != root
    assert replace(opening, signatures=()).root == root, "they are checked by their keys"


def test_windows_begin_with_the_state_that_was_kept() -> None:
    trace, _ = a_trace()
    assert trace.before(0) is None
    assert a_trace("inner")[0].before(0).tolist() == [2.0, 3.0]
    assert trace.before(2).tolist() == [2.0] * 6
    assert trace.before(5).tolist() == [5.0] * 6


@pytest.mark.parametrize(("taken", "kept"), [(0, "weights"), (3, "state 2"), (STEPS, "both")])
def test_who_has_left_out_steps_can_still_commit_to_something(taken: int, kept: str) -> None:
    trace, root = a_trace(taken=taken)
    assert len(trace.opening.states) == WINDOWS
    expected = {
        "weights": [torch.arange(4.0)] * 2,
        "state 2": [torch.full((6,), 2.0)] * 2,
        "both": [torch.full((6,), 2.0), torch.full((6,), 5.0)],
    }[kept]
    assert trace.opening.states[:2] == tuple(map(content, expected))
    assert trace.opening.root == root


def test_one_window_keeps_no_state() -> None:
    trace, _ = a_trace(windows=1)
    assert trace.kept == []
    assert trace.opening.states == (content(torch.ones(4)),)
