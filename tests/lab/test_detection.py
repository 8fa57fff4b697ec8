import json
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from tdml import cli
from tdml import config as settings
from tdml.data import source
from tdml.lab.byzfl_rules import RULES
from tdml.lab.grids import GRIDS, SETTINGS, Case, attack_names, grid, narrowed
from tdml.lab.intervals import mean_interval, wilson
from tdml.lab.laboratory import Laboratory
from tdml.lab.runs import run_case
from tdml.lab.tables import summarise
from tdml.lab.yardsticks import NAMES
from tdml.models import whole
from tdml.round.orders import TrainOrder
from tdml.run import job

SMALL = [
    "data=digits",
    "data.size=8",
    "model=mlp",
    "model.features=192",
    "model.hidden=8",
    "device=cpu",
]


def run(*arguments):
    return cli.run(["bench", "detection", "--jobs", "1", *map(str, arguments)])


def case(attack="none", attackers=0, **changes):
    changes = {"steps": 1, "defence": "tdml", "seed": 0, "rounds": 3} | changes
    return Case("digits-mlp", 4, attackers, attack=attack, **changes)


# The command


def test_a_small_grid_from_end_to_end(tmp_path, capsys):
    narrow = (
        "--attack",
        "sign_flip",
        "garbage+shape",
        "--rounds",
        2,
        "--out",
        tmp_path,
        "--set",
        "attack.from_round=1",
    )
    assert run("--quick", *narrow, "--keep", tmp_path / "docs") == 0
    page = (tmp_path / "docs/results/detection.md").read_text()
    assert "**no honest node is banned**: met in" in page
    assert "| garbage+shape | tdml | 100%" in page
    kept = [json.loads(line) for line in (tmp_path / "cases.jsonl").read_text().splitlines()]
    assert {result["case"]["attack"] for result in kept} == {
        "none", "absent", "sign_flip", "garbage+shape",
    }  # fmt: skip
    assert {result["case"]["rounds"] for result in kept} == {2}
    groups = json.loads((tmp_path / "results.json").read_text())["groups"]
    garbage = next(group for group in groups if group["case"]["attack"] == "garbage+shape")
    assert garbage["proven_at_once"]["share"] == 1
    assert garbage["rounds_to_proof"] == {"median": 1, "p95": 1}
    assert garbage["honest_banned"]["hits"] == 0
    assert garbage["clean_accuracy"] is not None
    text = (tmp_path / "results.md").read_text()
    assert "## digits-mlp, n = 8, f = 2, 10 steps a round, IID" in text
    assert "| sign_flip | tdml |" in text
    assert str(tmp_path / "results.md") in capsys.readouterr().out.replace("\n", "")


def test_what_is_there_is_not_played_again(tmp_path, monkeypatch):
    narrow = ("--quick", "--rounds", 1, "--out", tmp_path)
    assert run(*narrow, "--attack", "zero_update") == 0
    before = (tmp_path / "cases.jsonl").read_text()
    with (tmp_path / "cases.jsonl").open("a") as file:
        file.write('{"key": "cut o')
    played = []
    monkeypatch.setattr(
        "tdml.lab.detection.run_case", lambda case: played.append(case.attack) or run_case(case)
    )
    assert run(*narrow, "--attack", "zero_update", "garbage") == 0
    assert played == ["garbage"]
    after = (tmp_path / "cases.jsonl").read_text().splitlines()
    assert "\n".join(after).startswith(before.strip())
    assert json.loads(after[-1])["case"]["attack"] == "garbage"


def test_a_case_that_fails_is_told_and_played_again(tmp_path, monkeypatch, capsys):
    narrow = ("--quick", "--rounds", 1, "--attack", "garbage", "--out", tmp_path)
    monkeypatch.setattr("tdml.lab.runs.Laboratory.play", lambda *_: 1 / 0)
    assert run(*narrow) == 1
    assert "ZeroDivisionError" in capsys.readouterr().out
    monkeypatch.undo()
    assert run(*narrow) == 0


def test_ctrl_c_keeps_what_is_done(tmp_path, monkeypatch):
    def interrupted(chosen):
        if chosen.attack == "garbage":
            raise KeyboardInterrupt
        return run_case(chosen)

    monkeypatch.setattr("tdml.lab.detection.run_case", interrupted)
    assert run("--quick", "--rounds", 1, "--attack", "garbage", "--out", tmp_path) == 130
    assert len((tmp_path / "cases.jsonl").read_text().splitlines()) == 2
    assert (tmp_path / "results.md").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--attack", "sing_flip"), "--attack sing_flip is unknown: choose from adaptive, "),
        (
            ("--defence", "krumm"),
            "--defence krumm is unknown: choose from tdml, tdml-no-audits, none, mandera, ",
        ),
        (("--setting", "mnist"), "--setting mnist is unknown: choose from digits-mlp, "),
        (("--replicas", 7), "no case is left: give a wider --grid"),
        (("--rounds", 0), "--rounds 0: give at least 1"),
        (("--out", "/proc/nowhere"), "--out /proc/nowhere cannot be written: "),
    ],
)
def test_mistakes_are_told_in_one_line(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(*arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"tdml: {message}")
    assert error.count("\n") == 1


def test_what_is_left_out_without_byzfl(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "byzfl", None)
    narrow = ("--grid", "yardsticks", "--attack", "none", "--steps", 1, "--seeds", 0, "--rounds", 1)
    assert run(*narrow, "--defence", "none", "trmean", "--out", tmp_path) == 0
    assert "ByzFL's rules are left out" in capsys.readouterr().out.replace("\n", " ")
    kept = [json.loads(line) for line in (tmp_path / "cases.jsonl").read_text().splitlines()]
    assert [result["case"]["defence"] for result in kept] == ["none"]


# The laboratory


def test_an_honest_update_is_that_of_plain_local_sgd():
    laboratory = Laboratory(
        [*SMALL, "topology.replicas=3", "topology.stages=2", "sync.local_steps=4", "seed=5"]
    )
    made, weights = laboratory.job, laboratory.engine.weights
    replica = laboratory.fleet.muster()[1]
    replica.load(weights, 1)
    replica.train(TrainOrder(2, 4, made.batches(1, 2)), lambda: None)
    replica.commit(2)

    config = laboratory.job.config
    data = source.load(config.data, config.seed)
    plain = job.prepare(
        settings.load([*SMALL, "topology.replicas=3", "sync.local_steps=4", "seed=5"]), data, None
    )
    model, start = plain.model, whole.flatten(plain.model, made.layouts)
    velocities = [torch.zeros_like(parameter) for parameter in model.parameters()]
    for batch in plain.batches(1, 2):
        inputs, labels = data.training_batch(batch.tolist(), seed=0)
        gradients = torch.autograd.grad(
            F.cross_entropy(model(inputs), labels), list(model.parameters())
        )
        for parameter, velocity, gradient in zip(
            model.parameters(), velocities, gradients, strict=True
        ):
            velocity.mul_(config.train.momentum).add_(gradient)
            parameter.data.sub_(config.train.lr * velocity)
    for stage, (before, after) in enumerate(
        zip(start, whole.flatten(model, made.layouts), strict=True)
    ):
        torch.testing.assert_close(
            replica.reveal("update", stage, 0), after - before, atol=1e-6, rtol=1e-4
        )


def test_attackers_know_the_honest_updates_only():
    attack = ["attack=reversed_mean", "attack.replicas=[2]"]
    given = [
        "topology.replicas=3",
        "topology.stages=1",
        "sync.local_steps=1",
        "trust.enabled=false",
        *attack,
    ]
    laboratory = Laboratory([*SMALL, *given])
    laboratory.play(1)
    updates = [replica.reveal("update", 0, 0) for replica in laboratory.fleet.muster()]
    torch.testing.assert_close(updates[2], -3 * torch.stack(updates[:2]).mean(dim=0))


# Cases


def test_a_case_with_an_update_that_is_not_finite_which_an_audit_proves():
    result = run_case(case("garbage", 1))
    (attacker,) = result["attackers"]
    assert (attacker["first_act"], attacker["convicted"]) == (1, 1)
    assert "not finite" in attacker["reason"]
    assert [honest["banned"] for honest in result["honest"]] == [{}, {}, {}]
    assert list(result["accuracy"]) == [3]


def test_without_audits_nobody_is_banned_for_it():
    result = run_case(case("garbage", 1, defence="tdml-no-audits"))
    (attacker,) = result["attackers"]
    assert (attacker["convicted"], attacker["counted"], result["spent"]) == (None, 0, 0)


def test_a_case_that_cannot_be_is_skipped():
    result = run_case(Case("digits-mlp", 200, 0, 1, "none", "tdml", 0, 1))
    assert (
        "samples are too few for an optimizer step on 8 in each of 200 replicas"
        in result["skipped"]
    )


def test_the_attacking_node_is_named():
    result = run_case(case("garbage", 1, stages=2, single_node=True, seed=1))
    assert result["attackers"][0]["named_right"]


def test_what_a_liar_put_in_before_is_taken_out_again():
    result = run_case(case("gaussian", 1, rounds=4, from_round=3))
    alone = run_case(case("zero_update", 1, rounds=4, extra=("attack.from_round=1",)))
    assert result["void_rounds"] == 3
    assert alone["attackers"][0]["convicted"] == 1
    assert result["final_accuracy"] == alone["final_accuracy"], "as if it had never been there"


# which accuses even then
@pytest.mark.parametrize("name", [name for name in NAMES if name != "mandera"])
def test_every_yardstick_averages_equal_updates_to_themselves(name):
    if name in RULES:
        pytest.importorskip("tdml.common.vision").torchvision()
        pytest.importorskip("byzfl")
    given = [
        "topology.replicas=4",
        "topology.stages=1",
        "sync.local_steps=1",
        "trust.enabled=false",
    ]
    engine = Laboratory([*SMALL, *given], rule=name, byzantine=1).engine
    update = torch.randn(sum(layout.size for layout in engine.job.layouts))
    found = SimpleNamespace(steps=dict.fromkeys(range(4), 1))
    made = engine._combine(update.expand(4, -1).clone(), [0, 1, 2, 3], found)
    torch.testing.assert_close(made, update)


@pytest.mark.parametrize("stages", [1, 3])
def test_a_stage_that_trains_a_backdoor_into_a_language_model_is_convicted(stages):
    """At once, and nobody else; in a pipeline the stage by its name."""
    found = run_case(
        replace(
            Case("text-gpt", 3, 1, 4, "stage_backdoor", "tdml", 1, 2, stages=stages),
            single_node=stages > 1,
            extra=("trust.budget=1", "attack.steps=20"),
        )
    )
    assert "error" not in found and "skipped" not in found, found
    [attacker] = found["attackers"]
    assert attacker["convicted"] == 1
    assert attacker.get("named_right", True)
    assert not any(honest["banned"] for honest in found["honest"])


@pytest.mark.parametrize("name", GRIDS)
def test_the_grids_hold_what_can_be_set_up(name):
    cases = grid(name, root="data")
    assert len({case.key for case in cases}) == len(cases)
    assert {case.setting for case in cases} <= set(SETTINGS)


@pytest.mark.parametrize("setting", SETTINGS)
def test_cases_can_be_set_up(setting):
    chosen = Case(
        setting,
        100,
        2,
        None,
        "replay+noise",
        "tdml",
        3,
        5,
        stages=2,
        single_node=True,
        root="there",
    )
    config = settings.load(replace(chosen, extra=("trust.budget=0.25",)).overrides())
    assert (config.topology.replicas, config.sync.local_steps, config.trust.budget) == (
        100,
        None,
        0.25,
    )
    assert (config.attack["noise"], config.attack["nodes"]) == (1, ["r98.s1", "r99.s1"])
    assert config.data.get("root") == ("there" if setting == "cifar-cnn" else None)


def test_clean_cases_have_no_settings_of_an_attack():
    extra = ("attack.scale=0.1", "~attack.share", "+attack.own=1", "train.lr=0.5")
    assert case(extra=extra).overrides()[-1] == "train.lr=0.5"
    assert not [setting for setting in case(extra=extra).overrides() if "attack" in setting]
    assert case("sign_flip", 1, extra=extra).overrides()[-4:] == list(extra)


def test_an_attack_of_ones_own_is_found_in_the_current_folder(tmp_path, monkeypatch, capsys):
    (tmp_path / "own_attack.py").write_text(
        "from tdml.attacks import Attack\n\n\nclass Nothing(Attack):\n"
        "    def corrupt(self, update, context):\n        return update * 0\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    own = ["attack._target_=own_attack.Nothing", "~attack.scale"]
    assert run("--attack", "sign_flip", "--rounds", 1, "--set", *own) == 0
    kept = [
        json.loads(line)
        for line in (tmp_path / "runs/bench-detection/cases.jsonl").read_text().splitlines()
    ]
    assert {found["case"]["attack"] for found in kept} == {"none", "absent", "sign_flip"}
    assert all("final_accuracy" in found for found in kept), kept


def test_narrowing_keeps_the_clean_cases_to_compare_with():
    kept = narrowed(
        grid("bar", None), {"attack": ["mean_shift"], "steps": [10], "seed": [1], "attackers": [2]}
    )
    assert {(case.attack, case.replicas, case.attackers, case.partition) for case in kept} == {
        ("none", 8, 0, "iid"), ("none", 8, 0, "dirichlet"), ("mean_shift", 8, 2, "iid"),
        ("mean_shift", 8, 2, "dirichlet"), ("absent", 8, 2, "iid"),
        ("absent", 8, 2, "dirichlet"),
    }  # fmt: skip


def test_every_attack_takes_part():
    assert {"sign_flip", "collusion", "lying_validator", "replay+noise", "backdoor"} <= set(
        attack_names()
    )
    assert {case.attack for case in grid("bar", None)} == {"none", "absent", *attack_names()}


# Statistics


def test_wilson_interval():
    # By hand, 8 of 10: (0.8 + 0.19207) / 1.38415 ∓ 1.95996 / 1.38415 · √(0.016 + 0.0096037)
    assert wilson(8, 10) == pytest.approx((0.49016, 0.94332), abs=1e-4)
    assert wilson(0, 10) == pytest.approx((0, 0.27754), abs=1e-4)
    assert wilson(0, 0) == (0, 1)


def test_mean_interval():
    # t(0.975, 2) = 4.302653; standard deviation 1
    assert mean_interval([1, 2, 3]) == pytest.approx((2, 4.302653 / 3**0.5))


def test_delays_count_from_the_first_deed():
    def result(seed, first, convicted):
        attacker = {
            "replica": 3,
            "first_act": first,
            "convicted": convicted,
            "counted": 1.0,
            "rounds": 4,
        }
        honest = [
            {"banned": {"r0.s0": 2}, "rounds": 4, "lost_weight": 1.0},
            {"banned": {}, "rounds": 4, "lost_weight": 0.0},
        ]  # fmt: skip
        rest = {"accuracy": {"4": 0.5}, "final_accuracy": 0.5, "seconds": 1.0, "spent": 0.1}
        chosen = case("mean_shift", 1, seed=seed, rounds=4)
        return {"case": vars(chosen), "attackers": [attacker], "honest": honest, **rest}

    (summary,) = summarise(
        [result(0, 2, 2), result(1, 1, 3), result(2, 1, None), result(3, None, None)]
    )
    assert summary["attackers"] == 3
    assert (summary["proven_at_once"]["hits"], summary["never_proven"]["hits"]) == (1, 1)
    assert summary["rounds_to_proof"] == {"median": 3, "p95": None}
    assert (summary["honest_banned"]["hits"], summary["honest_banned"]["of"]) == (4, 8)
    assert (summary["honest_not_counted"], summary["attackers_counted"]) == (4 / 32, 3 / 12)
