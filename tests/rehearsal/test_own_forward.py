"""What a rehearsal finds in a model's own forward."""

import pytest

from tdml.errors import SettingError
from tests.rehearsal.rehearsals import through


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("relu", "forward.. does something before block 2 that blocks.. leaves out .in evaluation"),
        (
            "dropout",
            "forward.. does something before block 2 that blocks.. leaves out .in training",
        ),
        (
            "scaled",
            "forward.. does something before it returns that blocks.. leaves out .in evaluation",
        ),
    ],
)
def test_what_lies_between_the_blocks_is_the_users_mistake(more, told):
    with pytest.raises(SettingError, match=told):
        through(target="tests.rehearsal.users.Net", more=more)


@pytest.mark.parametrize(
    ("target", "arguments", "told"),
    [
        ("Frozen", {}, "a train.. of its own, does something before block 2 .in training"),
        ("hooked", {"kind": "forward"}, "a hook of Sequential, .* before it returns"),
        ("hooked", {"kind": "forward_pre"}, "a hook of Sequential, .* before block 1"),
        ("hooked", {"kind": "full_backward"}, "it has a backward hook"),
        ("hooked", {"kind": "full_backward_pre"}, "it has a backward hook"),
    ],
)
def test_what_only_the_whole_of_the_blocks_does_is_the_users_mistake(target, arguments, told):
    """Nodes have blocks alone: what the whole does was left out of the training in silence."""
    with pytest.raises(SettingError, match=told):
        through(target=f"tests.rehearsal.users.{target}", **arguments)


@pytest.mark.parametrize("more", ["", "auxiliary"])
def test_a_forward_that_does_what_the_blocks_do(more):
    assert through(target="tests.rehearsal.users.Net", more=more) == ""


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch.jit
@pytest.mark.parametrize("compiled", [False, True])
def test_a_block_that_is_listed_several_times_and_one_that_takes_no_hooks(compiled):
    assert through(target="tests.rehearsal.users.Alternating", compiled=compiled) == ""


def test_a_forward_that_takes_something_else_has_nothing_to_compare():
    assert through(target="tests.rehearsal.users.NoForward") == ""
