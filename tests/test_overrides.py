import pytest

from tdml import config as settings
from tdml.errors import SettingError


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("--rounds", "--rounds: cannot be read: write key=value"),
        ("rounds", "rounds: cannot be read: write key=value"),
        ("rounds=[1", "rounds=[1: cannot be read: "),
        ("name=größe", "name=größe: cannot be read: write key=value, an unusual value in two quotes"),
        ("=3", "=3: the name of the setting is missing"),
        ("attack=[alie,gaussian]", "attack=[alie,gaussian]: attack takes one choice, such as attack=adaptive"),
        ("attack=alie,gaussian", "attack=alie,gaussian: attack takes one choice, such as attack=adaptive"),
        ("topology=2", "topology=2: topology takes one choice, such as topology=default"),
        ("topology=[1]", "topology=[1]: topology takes one choice, such as topology=default"),
        ("model=null", "model=null: model takes one choice, such as model=cnn"),
        (
            "attack.nodes=r0.s0,r1.s0",
            "attack.nodes=r0.s0,r1.s0 is several values: write a list as attack.nodes=[r0.s0,r1.s0]",
        ),
        ("name=a,b", "name=a,b is several values: write a list as name=[a,b], a text as name=\"'a,b'\""),
    ],
)
def test_what_hydra_would_take_for_something_else_is_refused(override, message):
    assert refused(override).startswith(message)


@pytest.mark.parametrize(
    ("override", "found"),
    [
        ("name='a,b'", lambda config: config.name == "a,b"),
        ("attack.nodes=[r0.s0,r1.s0]", lambda config: config.attack["nodes"] == ["r0.s0", "r1.s0"]),
        ("attack=sign_flip", lambda config: config.attack["_target_"] == "tdml.attacks.SignFlip"),
        ("attack='sign_flip'", lambda config: config.attack["_target_"] == "tdml.attacks.SignFlip"),
        ("+attack.own={a: 1}", lambda config: config.attack["own"] == {"a": 1}),
    ],
)
def test_one_value_is_taken(override, found):
    assert found(settings.load([override, "attack.replicas=[1]"]))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("rounds=many", "rounds: Value 'many' of type 'str' could not be converted to Integer"),
        ("rounds=1.5", "rounds: Value '1.5' of type 'float' could not be converted to Integer"),
        ("trust.enabled=maybe", "trust.enabled: Value 'maybe' is not a valid bool"),
        ("topology.cuts=3", "topology.cuts must be a list"),
        ("topology.cuts=abc", "topology.cuts must be a list"),
        (
            "model=vgg",
            "model=vgg is unknown: choose one of cnn, mlp, resnet18, resnet50, or name your own with model._",
        ),
        ("experiment=nothing", "experiment=nothing is unknown: choose one of "),
        ("round=3", "round is unknown: "),
        ("nosuch=1", "nosuch is unknown: "),
        ("+nosuch=1", "nosuch is unknown: "),
        ("+train.colour=3", "train.colour is unknown: "),
        ("model.width=3", "model.width is no setting of this model: "),
        ("attack={_target_: mine.Attack, scale: 1}", "attack.scale is no setting of this attack: "),
        ("train={lr: 0.1, colour: 3}", "train.colour is unknown: "),
        ("~rounds", "rounds is missing: give it a value"),
        ("~train", "train.batch_size is missing: give it a value"),
        ("name=${nothing}", "name: Interpolation key 'nothing' not found"),
        ("name=", "name is empty"),
        ("run_dir=", "run_dir is empty"),
        ("identity.folder=", "identity.folder is empty"),
        ("train.lr=-1", "train.lr=-1.0 must be a finite number of at least 0"),
    ],
)
def test_what_hydra_rejects_is_explained_in_one_line(override, message):
    assert refused(override).startswith(message)


def refused(override):
    with pytest.raises(SettingError) as caught:
        settings.load([override])
    text = str(caught.value)
    assert "\n" not in text
    assert "HYDRA_FULL_ERROR" not in text
    assert "full_key" not in text
    return text
