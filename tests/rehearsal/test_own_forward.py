"""What a rehearsal finds in a model's own forward."""

import pytest
import torch
from torch.utils.data import TensorDataset

from tdml.errors import SettingError
from tests.rehearsal import users
from tests.rehearsal.rehearsals import INPUTS, rehearsed, through


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("relu", "does something before block 2 that none of its blocks does .in evaluation"),
        (
            "dropout",
            "does something before block 2 that none of its blocks does .in training",
        ),
        (
            "scaled",
            "does something before it returns that none of its blocks does .in evaluation",
        ),
    ],
)
def test_what_lies_between_the_blocks_is_the_users_mistake(more, told):
    with pytest.raises(SettingError, match=told):
        through(target="tests.rehearsal.users.Net", more=more)


@pytest.mark.parametrize(
    ("target", "arguments", "told"),
    [
        (
            "Frozen",
            {},
            "Frozen does something before block 2 .* .in training.*and a train.. of its own",
        ),
        ("hooked", {"kind": "forward"}, "Sequential does something before it returns .* hooks"),
        ("hooked", {"kind": "forward_pre"}, "Sequential does something before block 1 .* hooks"),
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


USERS = "tests.rehearsal.whole_users"


@pytest.mark.parametrize("stages", [1, 2])
@pytest.mark.parametrize(
    ("target", "arguments", "name"),
    [
        ("Backbone", {}, "backbone.0.weight"),
        ("Between", {"how": "reverse"}, "first.weight"),
        ("Between", {"how": "hook"}, "first.weight"),
        ("Between", {"how": "detach"}, "first.weight"),
    ],
)
def test_what_only_gradients_show_is_the_users_mistake(target, arguments, name, stages):
    told = (
        f"does something to the gradient of {name} that none of its blocks does .* requires_grad_"
    )
    with pytest.raises(SettingError, match=told):
        through(target=f"{USERS}.{target}", stages=stages, **arguments)


def test_what_is_frozen_needs_no_gradient():
    assert through(target=f"{USERS}.Backbone", frozen=True, cuts=(2,), stages=1) == ""


FORMS = ["tuple", "features first", "dict", ""]


@pytest.mark.parametrize("form", FORMS)
def test_whatever_else_a_forward_returns_its_blocks_are_compared(form):
    found = rehearsed(target=f"{USERS}.Several", form=form)
    assert (found.problem, found.uncompared) == ("", "")
    with pytest.raises(SettingError, match="does something before block 1 that none of its blocks"):
        through(target=f"{USERS}.Several", form=form, relu=True)


@pytest.mark.parametrize("between", [users.Global, users.OwnNumpy, users.OwnGenerator])
def test_what_cannot_be_repeated_is_not_accused_of_anything_else(between):
    assert "it must follow from weights, seeds and" in through(between=between, repeatable="warn")


def test_a_forward_that_cannot_be_called_is_told():
    found = rehearsed(target=f"{USERS}.Several", form="of a dict", relu=True)
    assert found.problem == ""
    assert found.uncompared.startswith("its forward() cannot be called as its blocks are (")


@pytest.mark.parametrize("stages", [1, 2])
@pytest.mark.parametrize("norm", ["new", "old"])
def test_buffers_that_a_pass_changes_are_the_same_for_both(norm, stages):
    found = rehearsed(target=f"{USERS}.Several", form="tuple", norm=norm, stages=stages)
    assert (found.problem, found.uncompared) == ("", "")


@pytest.mark.parametrize(
    ("target", "arguments", "told"),
    [
        ("masked", {}, "something else before it returns .* a mask or a layer in a list"),
        ("listed", {"looks": True}, "something else to the gradient of 0.weight .in training"),
        ("listed", {"looks": False}, "must be its parameters or buffers .* one of its own"),
        ("tied", {"max_norm": 0.1}, "something else before it returns .* a weight of both"),
    ],
)
def test_what_passes_a_cut_by_another_way_is_the_users_mistake(target, arguments, told):
    with pytest.raises(SettingError, match=told):
        through(target=f"{USERS}.{target}", cuts=(2,), microbatches=1, **arguments)
    assert through(target=f"{USERS}.{target}", stages=1, microbatches=1, **arguments) == ""


def test_tied_weights_are_not_accused():
    assert through(target=f"{USERS}.tied", cuts=(2,)) == ""


@pytest.mark.parametrize("always", [True, False])
def test_what_crosses_a_cut_in_another_shape_is_the_users_mistake(always):
    """In another batch, or in another in evaluation."""
    samples = TensorDataset(torch.cat([INPUTS, torch.eye(4, 6)]), torch.arange(8) % 3)
    told = r"crosses the cut before block 1 is \(4, \d\), and of the first .* \(4, \d\): it must"
    with pytest.raises(SettingError, match=told):
        through(target=f"{USERS}.trims", always=always, samples=samples)
    assert through(target=f"{USERS}.trims", always=always, samples=samples, stages=1) == ""


def test_a_forward_that_takes_something_else_has_nothing_to_compare():
    assert through(target="tests.rehearsal.users.NoForward") == ""
