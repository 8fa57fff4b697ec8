"""What Hydra and OmegaConf say, in one line."""

import pytest

from tests.settings.configs import refused


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("rounds=many", "rounds=many must be a whole number, such as rounds=10"),
        ("rounds=1.5", "rounds=1.5 must be a whole number, such as rounds=10"),
        ("rounds=1e3", "rounds=1000.0 must be a whole number, such as rounds=1000"),
        (
            "topology.min_replicas=2.0",
            "topology.min_replicas=2.0 must be a whole number, such as topology.min_replicas=2",
        ),
        ("checkpoint.memory=inf", "checkpoint.memory=inf must be a whole number, such as check"),
        ("train.lr=small", "train.lr=small must be a number, such as train.lr=0.5"),
        ("sync.deadline=soon", "sync.deadline=soon must be a number, such as sync.deadline=0.5"),
        ("trust.enabled=maybe", "trust.enabled=maybe must be true or false"),
        (
            "topology.cuts=[a]",
            "topology.cuts must be a list of whole numbers, such as topology.cuts=[1,2], and has a",
        ),
        ("topology.cuts=3", "topology.cuts must be a list"),
        ("topology.cuts=abc", "topology.cuts must be a list"),
        (
            "model=vgg",
            (
                "model=vgg is unknown: choose one of cnn, gpt, hf, mlp, resnet18, resnet50, or "
                "name your own with model._"
            ),
        ),
        ("experiment=nothing", "experiment=nothing is unknown: choose one of "),
        ("lr=0.1", "lr is unknown: perhaps train.lr; tdml train --show-config"),
        ("memory=1", "memory is unknown: perhaps gather.memory or checkpoint.memory; tdml train"),
        ("trian.lr=1", "trian is unknown: perhaps train; "),
        ("topology.replica=1", "topology.replica is unknown: perhaps topology.replicas"),
        ("round=1", "round is unknown: perhaps rounds; "),
        *(
            (
                f"{name}=1",
                f"{name.strip('+')} is unknown: a job is as long as rounds says, such as rounds=10",
            )
            for name in ("epochs", "epoch", "train.epochs", "+epochs")
        ),
        ("topology.cuts=${rounds}", "topology.cuts=10 must list 1 rising block numbers"),
        ("nosuch=1", "nosuch is unknown: tdml train"),
        ("+nosuch=1", "nosuch is unknown: "),
        (
            "+train.colour=3",
            "train.colour is unknown: perhaps train.lr or train.optimizer.colour or train.schedule.",
        ),
        ("train.betas=[0.9]", "train.betas is unknown: perhaps train.optimizer.betas or train.sch"),
        ("train.nesterov=true", "train.nesterov is unknown: perhaps train.optimizer.nesterov or "),
        ("model.width=3", "model.width is no setting of this model: "),
        ("attack={_target_: mine.Attack, scale: 1}", "attack.scale is no setting of this attack: "),
        ("train={lr: 0.1, colour: 3}", "train.colour is unknown: "),
        ("~rounds", "rounds is missing: give it a value"),
        ("rounds=null", "rounds is missing: give it a value"),
        ("train={optimizer: null}", "train.optimizer is missing: give it a value"),
        ("name=[a]", "name: Cannot convert a list to string"),
        (
            "rounds={a: 1}",
            "rounds={'a': 1} must be a whole number, such as rounds=10",
        ),
        ("topology.cuts={a: 1}", "topology.cuts must be a list, such as topology.cuts=[1,2]"),
        ("attack.replicas={a: 1}", "attack.replicas must be a list, such as attack.replicas=[1,2]"),
        ("train={schedule: [1]}", "train must be a mapping, such as train={a: 1}"),
        ("~nosuch", "~nosuch: there is no nosuch to leave out"),
        ("+train.lr=1", "+train.lr is there already: write train.lr=…"),
        (
            "model=cnn/",
            "model=cnn/ is unknown: choose one of cnn, gpt, hf, mlp, resnet18, resnet50",
        ),
        (
            "name=${hydra:job.name}",
            "name: ${hydra:…} has no value here, for no job of Hydra's runs",
        ),
        (
            "name=${oc.env:NO_SUCH_VARIABLE}",
            'name: KeyError raised while resolving interpolation: "Environment vari',
        ),
        *(
            (f"~{name}", f"~{name}: no job can do without this group: leave out single settings")
            for name in ("train", "model", "data", "task", "topology", "sync", "trust", "rewards")
        ),
        ("~model=resnet18", "~model=resnet18: no job can do without this group: leave out single"),
        ("name=${nothing}", "name: Interpolation key 'nothing' not found"),
        (
            "model.num_classes=${data.classes}",
            "model.num_classes: Interpolation key 'data.classes' not found",
        ),
        ("name=", "name is empty"),
        ("run_dir=", "run_dir is empty"),
        ("identity.folder=", "identity.folder is empty"),
        ("train.lr=-1", "train.lr=-1.0 must be a finite number of at least 0"),
    ],
)
def test_what_hydra_rejects_is_explained_in_one_line(override, message):
    assert refused(override).startswith(message)


def test_a_file_that_chooses_what_the_job_chooses_is_told_how_to(tmp_path):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "own.yaml").write_text(
        "# @package _global_\ndefaults:\n  - /model: mlp\n"
    )
    text = refused(f"hydra.searchpath=[file://{tmp_path}]", "experiment=own")
    assert text.startswith("model is chosen in a file's defaults")
    assert "write 'override /model: …' there" in text
