import re
from pathlib import Path

import pytest

import tdml.attacks
from tdml.attacks import make_attack
from tdml.config import config_dir, load
from tdml.errors import SettingError

CLASSES = {
    "adaptive": "Adaptive",
    "backdoor": "Backdoor",
    "bias_noise": "HonestNoise",
    "buffer_poison": "BufferPoison",
    "collusion": "LyingValidator",
    "copy_aggregate": "CopyAggregate",
    "garbage": "Garbage",
    "gaussian": "Gaussian",
    "half_work": "HalfWork",
    "honest_noise": "HonestNoise",
    "ipm": "InnerProduct",
    "label_flip": "LabelFlip",
    "lying_validator": "LyingValidator",
    "mean_shift": "MeanShift",
    "mimic": "Mimic",
    "min_max": "MinMax",
    "min_sum": "MinSum",
    "replay": "Replay",
    "reversed_mean": "InnerProduct",
    "scaled": "Scaled",
    "sign_flip": "SignFlip",
    "single_layer": "SingleLayer",
    "stage_backdoor": "StageBackdoor",
    "zero_gradient": "ZeroGradient",
    "zero_update": "ZeroUpdate",
}


def made(*overrides):
    return make_attack(load([*overrides, "attack.replicas=[3]"]).attack)


def test_every_attack_has_its_settings():
    files = {path.stem for path in Path(config_dir(), "attack").glob("*.yaml")} - {"none"}
    assert files == set(CLASSES)
    machinery = {"Attack", "Context", "Knowledge", "Victim", "make_attack"}
    assert set(tdml.attacks.__all__) - machinery == set(CLASSES.values())


@pytest.mark.parametrize("name", CLASSES)
def test_every_attack_can_be_made(name):
    assert type(made(f"attack={name}")) is getattr(tdml.attacks, CLASSES[name])


@pytest.mark.parametrize("kind", ["nan", "inf", "huge", "shape", "dtype"])
def test_garbage_of_every_kind_can_be_asked_for(kind):
    assert made("attack=garbage", f"attack.kind={kind}").kind == kind


def test_what_a_lying_validator_covers_for_is_an_attack_with_settings_of_its_own():
    attack = made(
        "attack=lying_validator", "attack.attack={_target_: tdml.attacks.Mimic, target: 1}"
    )
    assert attack.omniscient
    assert attack.sees_updates


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["attack=gaussian", "attack.std=-1"], "attack.std=-1 must be at least 0"),
        (["attack=half_work", "attack.share=2"], "attack.share=2 must be between 0 and 1"),
        (["attack=backdoor", "attack.share=1.5"], "attack.share=1.5 must be between 0 and 1"),
        (["attack=backdoor", "attack.size=0"], "attack.size=0 must be at least 1"),
        (["attack=backdoor", "attack.size=2.5"], "attack.size=2.5 must be a whole number"),
        (["attack=label_flip", "attack.num_classes=1"], "attack.num_classes=1 must be at least 2"),
        (["attack=replay", "attack.noise=true"], "attack.noise=True is not a number"),
        (["attack=copy_aggregate", "attack.noise=nan"], "attack.noise=nan is not a number"),
        (["attack=mimic", "attack.target=-1"], "attack.target=-1 must be at least 0"),
        (["attack=mean_shift", "attack.z=far"], "attack.z=far is not a number"),
        (["attack=single_layer", "attack.layer=-2"], "attack.layer=-2 must be at least 0"),
        (
            ["attack=min_max", "attack.direction=up"],
            "attack.direction=up is unknown: choose one of unit_mean, sign",
        ),
        (
            ["attack=garbage", "attack.kind=old"],
            "attack.kind=old is unknown: choose one of nan, inf, huge",
        ),
        (
            ["attack=lying_validator", "attack.attack=sign_flip"],
            "attack.attack must be null or the settings of",
        ),
        (["attack=collusion", "attack.attack.scale=x"], "attack.scale=x is not a number"),
    ],
    ids=lambda value: re.sub(r"[^\w=.]", "", str(value))[:40],
)
def test_a_mistake_in_an_attacks_own_settings_is_named(overrides, message):
    with pytest.raises(SettingError) as caught:
        made(*overrides)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
