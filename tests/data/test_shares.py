"""Shares that whoever runs the job gives."""

import json

import numpy as np
import pytest
import torch

from tdml import config as settings
from tdml.data import source
from tdml.data.shares import given_shares
from tdml.errors import SettingError
from tdml.run.prepare import prepare

SAMPLES = [(torch.zeros(2), site) for site in (2, 0, 1, 0, 2, 2, 1, 0)]


def by_site(dataset, replicas, sites=(0, 1, 2)):
    """Each replica has what one site has collected."""
    kept = [site for _, site in dataset]
    return [[i for i, site in enumerate(kept) if site == mine] for mine in sites[:replicas]]


def drawn(dataset, replicas):
    """By torch's own global generator, as tensors."""
    return torch.randperm(len(dataset)).chunk(replicas)


def drawn_in_turn(dataset, replicas):
    """When it is asked for."""
    yield from drawn(dataset, replicas)


def fails(dataset, replicas):
    raise KeyError("no such\nsite")


def fails_in_turn(dataset, replicas):
    yield fails(dataset, replicas)


def own(name, **settings):
    return {"_target_": f"{__name__}.{name}", **settings}


def given(shares, replicas=3, least=1, samples=SAMPLES):
    return given_shares(shares, samples, replicas, least, seed=5)


def written(tmp_path, text):
    (tmp_path / "shares.json").write_text(text)
    return str(tmp_path / "shares.json")


def test_shares_of_a_file_and_of_a_function(tmp_path):
    expected = [[1, 3, 7], [2, 6], [0, 4, 5]]
    for shares in (own("by_site"), written(tmp_path, "[[7, 1, 3], [2, 6], [0, 5, 4]]")):
        found = given(shares)
        assert [share.tolist() for share in found] == expected
        assert all(share.dtype == np.int64 for share in found)
    assert [len(share) for share in given(own("by_site", sites=[2, 1]), replicas=2)] == [3, 2]


def test_some_samples_may_be_left_out(tmp_path):
    assert [s.tolist() for s in given(written(tmp_path, "[[3], [1]]"), replicas=2)] == [[3], [1]]


@pytest.mark.parametrize("name", ["drawn", "drawn_in_turn"])
def test_what_a_function_draws_follows_from_the_seed(name):
    first, again = given(own(name)), given(own(name))
    other = given_shares(own(name), SAMPLES, 3, 1, seed=6)
    assert [s.tolist() for s in first] == [s.tolist() for s in again] != [s.tolist() for s in other]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[[0, 1], [2, 3], [1, 4]]",
            "data.shares: training sample 1 is there more than once, in share 0 and 2: each can",
        ),
        (
            "[[0, 1], [2, 3, 2], [4]]",
            "data.shares: training sample 2 is there more than once, in share 1: each",
        ),
        ("[[0, 1], [2], []]", "the 0 samples of replica 2 are too few for an optimizer step on 1"),
        (
            "[[0, 1], [2]]",
            "data.shares gives 2 shares, and there are 3 replicas: give one for each",
        ),
        ("[[0], [1], [2], [3]]", "data.shares gives 4 shares, and there are 3 replicas"),
        ("[[0], [1], [8]]", "data.shares has 8, and the 8 training samples are 0 to 7"),
        ("[[0], [1], [-1]]", "data.shares has -1, and the 8 training samples are 0 to 7"),
        ("[[0], [1], [0.5]]", "data.shares: share 2 is no list of whole numbers: give a list for"),
        ("[[0], [1], [true]]", "data.shares: share 2 is no list of whole numbers"),
        ("[[0], [1], [[2]]]", "data.shares: share 2 is no list of whole numbers"),
        ("[[0], [1], [2, [3]]]", "data.shares: share 2 is no list of whole numbers"),
        ("[[0], [1], 2]", "data.shares: share 2 is no list of whole numbers"),
        ("[[0], [1], null]", "data.shares: share 2 is no list of whole numbers"),
        ("[0, 1, 2]", "data.shares: share 0 is no list of whole numbers"),
        ('{"a": [0]}', "data.shares is a dict: give a list for each replica"),
        ("3", "data.shares is a int: give a list for each replica"),
        ("[[0], [1", "cannot be read as JSON"),
        ("", "cannot be read as JSON"),
    ],
)
def test_shares_that_cannot_be_are_the_users_mistake(text, message, tmp_path):
    with pytest.raises(SettingError) as caught:
        given(written(tmp_path, text))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ("nowhere.json", "data.shares=nowhere.json is no file: give one of JSON, a list for each"),
        (own("nothing"), "data.shares"),
        (
            own("fails"),
            "data.shares=tests.data.test_shares.fails cannot be used: 'no such\\nsite'",
        ),
        (own("fails_in_turn"), "fails_in_turn cannot be used: 'no such\\nsite'"),
        (own("by_site", colour=1), "leave out data.shares.colour"),
    ],
)
def test_shares_that_cannot_be_had_are_the_users_mistake(shares, message):
    with pytest.raises(SettingError) as caught:
        given(shares)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.shares=x.json", "data.partition=dirichlet"], "data.partition=dirichlet: leave one"),
        (["data.shares=[[0],[1]]"], "must be the path of a JSON file, or a function as"),
        (["data.shares={function: mine.by_site}"], "must be the path of a JSON file"),
        (["data.shares=3"], "must be the path of a JSON file"),
    ],
)
def test_other_settings_of_shares_are_the_users_mistake(overrides, message):
    with pytest.raises(SettingError) as caught:
        settings.load(overrides)
    assert message in str(caught.value)


def test_a_job_trains_on_the_shares_that_are_given(tmp_path):
    shares = [list(range(9, 40)), list(range(100, 111))]
    path = written(tmp_path, json.dumps(shares))
    overrides = ["data.size=16", "topology.replicas=2", "train.batch_size=4"]
    config = settings.load(["model=cnn", *overrides, f"data.shares={path}"])
    job = prepare(config, source.load(config.data, config.seed), checkpoint=None)
    assert job.steps == [7, 2] and not job.iid
    for replica, share in enumerate(shares):
        assert set(job.batches(replica, 1).flatten().tolist()) <= set(share)
    batches = [job.batches(1, number) for number in (1, 2)]
    assert all(len(batch.unique()) == 8 for batch in batches)
