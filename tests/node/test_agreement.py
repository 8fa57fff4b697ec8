"""The two ends of every channel sign what both have logged, or the step is not agreed on."""

import pytest
import torch

from tdml.node.agreement import (
    Agreement,
    Disagreement,
    common_digest,
    evaluation_purpose,
    repetition_purpose,
    statement,
    training_purpose,
)
from tdml.node.messages import between, channels, empty_log, of_stage
from tdml.protocol.identity import Identity
from tdml.protocol.orders import EvaluateOrder, RepeatOrder, Slot

STAGES, STEPS, JOB, PURPOSE = 3, 2, "5e" * 16, training_purpose(4, "a")
CHANNELS = channels(STAGES, STAGES, clipped=True)
NODES = [Identity.new() for _ in range(STAGES)]
KEYS = [node.public for node in NODES]


def logs():
    """What three stages log of two steps that went well."""
    common = torch.randint(
        1, 256, (STEPS, len(CHANNELS), 32), generator=torch.Generator().manual_seed(0)
    )
    made = [empty_log(STEPS, CHANNELS) for _ in range(STAGES)]
    for stage, log in enumerate(made):
        own = of_stage(CHANNELS, stage)
        log[:, own] = common[:, own].to(torch.uint8)
    return made


def agreements(logs, job=JOB, replica=1, purpose=PURPOSE, nodes=NODES):
    """The three sides, which have taken their steps."""
    made = [Agreement(node, job, Slot(replica, s), KEYS, CHANNELS) for s, node in enumerate(nodes)]
    for agreement, log in zip(made, logs, strict=True):
        agreement.begin(purpose, log)
    return made


def exchange(sides, stage, heard=None):
    """What a stage accepts: the others' offers, or what was heard in place of some of them."""
    offers = {peer: sides[peer].offer(stage) for peer in sides[stage].peers}
    sides[stage].accept(offers | (heard or {}))


def test_all_agree_and_hold_each_others_signatures():
    made, sides = logs(), agreements(logs())
    for stage, side in enumerate(sides):
        exchange(sides, stage)
        assert side.peers == [other for other in range(STAGES) if other != stage]
        assert side.signatures[stage] == ""
        for peer in side.peers:
            assert side.offer(peer).shape == (32 + 64,), "a digest and a signature"
            digest = common_digest(made[peer], CHANNELS, peer, stage)
            said = statement(JOB, 1, PURPOSE, peer, stage, digest)
            assert NODES[peer].sign(said) == side.signatures[peer]


@pytest.mark.parametrize("step", range(STEPS))
@pytest.mark.parametrize("number", range(len(CHANNELS)))
def test_a_changed_byte_of_a_message_is_a_disagreement_of_its_two_ends(number, step):
    changed = logs()
    channel = CHANNELS[number]
    changed[channel.sender][step, number, 31] ^= 1
    sides = agreements(changed)
    with pytest.raises(Disagreement, match=f"stages {min(channel.sender, channel.receiver)} and "):
        exchange(sides, channel.receiver)
    with pytest.raises(Disagreement):
        exchange(sides, channel.sender)
    [third] = {0, 1, 2} - {channel.sender, channel.receiver}
    exchange(sides, third)
    assert all(sides[third].signatures[peer] for peer in sides[third].peers)
    assert sides[channel.receiver].signatures == ("",) * STAGES, "nothing is agreed on"


@pytest.mark.parametrize(
    "other",
    [
        {"nodes": [NODES[1], NODES[0], NODES[2]]},  # with another's key
        {"nodes": [Identity.new() for _ in range(STAGES)]},
        {"job": "0" * 32},
        {"replica": 2},
        {"purpose": training_purpose(5, "a")},
        {"purpose": training_purpose(4, "b")},
    ],
    ids=["another's key", "a stranger's key", "job", "replica", "round", "order"],
)
def test_a_signature_of_something_else_is_none(other):
    sides, strangers = agreements(logs()), agreements(logs(), **other)
    with pytest.raises(Disagreement, match="stages 0 and 1 do not agree"):
        exchange(sides, 1, {0: strangers[0].offer(1)})


def test_a_missing_signature_one_for_another_peer_and_ones_own_are_none():
    sides = agreements(logs())
    unsigned = sides[0].offer(1)
    unsigned[32:] = 0
    for offer in (
        unsigned,
        sides[0].offer(2),
        sides[1].offer(0),
        torch.zeros(96, dtype=torch.uint8),
    ):
        with pytest.raises(Disagreement):
            exchange(sides, 1, {0: offer})
    exchange(sides, 1)


def test_new_steps_forget_what_was_agreed_on():
    sides = agreements(logs())
    exchange(sides, 1)
    assert any(sides[1].signatures)
    sides[1].begin(training_purpose(5, "a"), logs()[1])
    assert not any(sides[1].signatures)


def test_stages_without_a_channel_have_nothing_to_say_to_each_other():
    unclipped = channels(STAGES, STAGES, clipped=False)
    assert Agreement(NODES[0], JOB, Slot(0, 0), KEYS, unclipped).peers == [1]
    assert Agreement(NODES[0], JOB, Slot(0, 0), KEYS[:1], ()).peers == []
    assert between(unclipped, 0, 2) == []


def test_what_is_signed_for_differs():
    batches = torch.zeros(2, 4, dtype=torch.int64)
    orders = [
        RepeatOrder(r, 5, i, first, False, batches, nonce)
        for r, i, first, nonce in (
            (1, 0, 0, "a"),
            (1, 0, 2, "a"),
            (1, 1, 0, "a"),
            (2, 0, 0, "a"),
            (1, 0, 0, "b"),
        )
    ]
    questions = [
        EvaluateOrder(r, (), candidate, nonce=nonce)
        for r, candidate, nonce in ((1, None, "a"), (1, 0, "a"), (2, 0, "a"), (1, 0, "b"))
    ]
    rounds = [training_purpose(1, "a"), training_purpose(2, "a"), training_purpose(1, "b")]
    said = [*rounds, *map(repetition_purpose, orders), *map(evaluation_purpose, questions)]
    assert len(set(said)) == len(said)
