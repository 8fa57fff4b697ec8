"""What became of a run, from its folder and from JSON."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tdml.attacks.base import acts
from tdml.bench import outcome
from tdml.errors import SettingError
from tdml.monitor.compare import write_comparison
from tdml.monitor.compare_ranks import ranked
from tdml.monitor.history import baseline_of, read, read_all, write
from tdml.monitor.report import write_report
from tests.monitor.run_folders import MACHINE, leave_run, take_back

_ATTACKED = [
    "topology.replicas=4",
    "attack=gaussian",
    "attack.replicas=[3]",
    "attack.nodes=[r1.s0]",
    "attack.from_round=2",
]


def test_a_run_folder_is_read(tmp_path: Path) -> None:
    history = read(
        leave_run(tmp_path / "mine", "topology.replicas=2", accuracies=[0.5, None, 0.92])
    )
    assert (history.name, history.topology, history.ended, history.is_baseline) == (
        "mine",
        (2, 2),
        True,
        False,
    )
    assert history.machines == [MACHINE]
    assert [line.test_accuracy for line in history.rounds] == [0.5, None, 0.92]
    assert history.rounds[1].train_loss == 1.5  # the mean of 1 and 2
    assert (history.accuracy(3), history.accuracy(4), history.first_round_at(0.9)) == (
        0.92,
        None,
        3,
    )
    assert history.seconds == 22.5


def test_all_metrics_of_a_task_are_read(tmp_path: Path) -> None:
    run = leave_run(tmp_path / "run", accuracies=[0.5])
    told = run / "metrics.jsonl"
    told.write_text(told.read_text().replace('"test_accuracy"', '"test_perplexity"'))
    (line,) = read(run).rounds
    assert line.test_accuracy is None
    assert line.metrics["test_perplexity"] == 0.5
    assert line.metrics["test_loss"] == line.test_loss


def test_a_run_under_way_has_not_ended(tmp_path: Path) -> None:
    history = read(leave_run(tmp_path / "run", "rounds=5", accuracies=[0.5], ended=False))
    assert (history.ended, history.last.round) == (False, 1)
    assert read(leave_run(tmp_path / "new", accuracies=[], ended=False)).last is None


def test_a_run_that_goes_on_for_more_rounds_has_not_ended(tmp_path: Path) -> None:
    run = leave_run(tmp_path / "run", accuracies=[0.5, 0.6])
    text = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(text.replace("rounds: 2\n", "rounds: 9\n"))
    assert not read(run).ended


def test_the_loss_is_that_of_the_replicas_that_count(tmp_path: Path) -> None:
    run = leave_run(
        tmp_path / "run", *_ATTACKED, accuracies=[0.5, 0.6], banned={2: ["r3.s0", "r3.s1"]}
    )
    assert read(run).rounds[1].train_loss == 2.0  # of 1, 2 and 3, without the 9 of the liar
    assert read(run).bans == {"r3.s0": 2, "r3.s1": 2}


def test_who_attacks_until_it_is_banned(tmp_path: Path) -> None:
    banned = {2: ["r3.s0"], 3: ["r3.s1"], 4: ["r1.s0"]}
    history = read(leave_run(tmp_path / "run", *_ATTACKED, accuracies=[0.5] * 5, banned=banned))
    assert history.attack == "gaussian"
    assert history.attackers == {"r1.s0", "r3.s0", "r3.s1"}
    assert [history.attacking(number) for number in range(1, 6)] == [
        set(),
        {1, 3},
        {1, 3},
        {1},
        set(),
    ]


def test_who_attacks_in_some_of_the_rounds(tmp_path: Path) -> None:
    some = ["attack.share_of_rounds=0.5", "seed=3"]
    history = read(leave_run(tmp_path / "run", *_ATTACKED, *some, accuracies=[0.5] * 12))
    played = [number for number in range(1, 13) if acts(history.settings["attack"], 3, number)]
    assert 1 < len(played) < 11
    assert [number for number in range(1, 13) if history.attacking(number)] == played
    assert sum(lies for *_, lies in ranked(history)) == 2 * len(played)


def test_a_spare_that_attacks_is_named_like_others(tmp_path: Path) -> None:
    attack = ["attack=gaussian", "attack.nodes=[spare0]", "topology.spares=1"]
    run = leave_run(tmp_path / "run", *attack, accuracies=[0.5, 0.6])
    assert (read(run).attackers, read(run).attacking(2)) == ({"spare0"}, set())
    assert outcome.read(run).attackers == ["spare0"]
    assert "gaussian, 1 of 4" in write_comparison([run, run], tmp_path / "out").read_text()


def test_who_was_banned_in_a_round_that_was_taken_back_no_longer_attacks(tmp_path: Path) -> None:
    banned = {4: ["r3.s0", "r3.s1"]}
    run = leave_run(tmp_path / "run", *_ATTACKED, accuracies=[0.1, 0.2, 0.3, 0.4], banned=banned)
    take_back(run, 1, *_ATTACKED, accuracies=[0.5, 0.6, 0.7])
    history = read(run)
    assert [line.test_accuracy for line in history.rounds] == [0.1, 0.5, 0.6, 0.7]
    assert history.bans == {"r3.s0": 4, "r3.s1": 4}
    assert [history.attacking(number) for number in range(1, 5)] == [set(), {1}, {1}, {1}]
    assert history.seconds == 7 * 7.5
    write(history, tmp_path / "run.json")
    kept = read(tmp_path / "run.json")
    assert (kept.bans, kept.seconds) == (history.bans, history.seconds)
    page = write_report(run).read_text()
    assert "r3.s0, r3.s1" in page
    assert "4, taken back" in page
    assert "4, and 3 that were taken back" in page
    found = outcome.read(run)
    assert (found.accused, found.accuracy) == ({"r3.s0": 4, "r3.s1": 4}, [0.1, 0.5, 0.6, 0.7])
    assert found.seconds["total"] == 7 * 7.5 / 4


def test_json_says_the_same_and_nothing_of_the_machine(tmp_path: Path) -> None:
    run = leave_run(
        tmp_path / "secret" / "run",
        *_ATTACKED,
        f"data.root={tmp_path}/secret",
        "data=cifar10",
        f"identity.folder={tmp_path}/secret",
        accuracies=[1 / 3, 0.6],
        banned={2: ["r3.s0"]},
    )
    history = read(run)
    write(history, tmp_path / "run.json")
    text = (tmp_path / "run.json").read_text()
    assert "secret" not in text and str(tmp_path) not in text
    assert text.count('{"round": ') == 2  # a line each
    kept = read(tmp_path / "run.json")
    assert kept.rounds[0].test_accuracy == 0.33333
    assert replace(kept, rounds=kept.rounds[1:]) == replace(history, rounds=history.rounds[1:])
    write(kept, tmp_path / "again.json")
    assert (tmp_path / "again.json").read_text() == text


def test_ranks_are_kept_of_attacked_runs_alone(tmp_path: Path) -> None:
    write(read(leave_run(tmp_path / "run", accuracies=[0.5])), tmp_path / "run.json")
    assert not read(tmp_path / "run.json").rounds[0].ranks


def test_the_baseline_was_trained_alike(tmp_path: Path) -> None:
    alone = ["topology.replicas=1", "topology.stages=1"]
    others = {
        "lr": [*alone, "train.lr=0.1"],
        "model": [*alone, "model=cnn"],
        "distributed": [],
        "right": alone,
        "later": alone,
    }
    folders = [
        leave_run(tmp_path / name, *given, accuracies=[0.5, 0.6]) for name, given in others.items()
    ]
    longer = leave_run(tmp_path / "longer", *alone, accuracies=[0.5] * 3)
    history = read(leave_run(tmp_path / "ours", "topology.replicas=2", accuracies=[0.5, 0.6]))
    assert baseline_of(history, read_all([longer, *folders])).name == "right"
    assert baseline_of(history, read_all([longer])) is None
    del history.settings["data"]["weights"]  # as in a run of before there were any
    assert baseline_of(history, read_all([longer, *folders])).name == "right"
    history.settings["train"] |= {"precision": "bf16", "channels_last": True}
    history.settings["train"]["activation_checkpointing"] = True  # what is for speed or memory
    assert baseline_of(history, read_all([longer, *folders])).name == "right"


def test_names_that_come_again_are_told_apart(tmp_path: Path) -> None:
    runs = [leave_run(tmp_path / folder / "run", accuracies=[0.5]) for folder in "abc"]
    assert [history.name for history in read_all(runs)] == ["run", "run (2)", "run (3)"]


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("config.yaml", "a: 1\n"),
        ("config.yaml", "["),
        ("config.yaml", "a: ${b}\n"),
        ("config.yaml", "- 1\n"),
        ("metrics.jsonl", '{"round": 1}\n'),
        ("metrics.jsonl", "3\n"),
        ("metrics.jsonl", "[" * 200_000),
        ("metrics.jsonl", f'{{"round": {"9" * 5000}}}'),
        ("metrics.jsonl", '{"round": 1e400}'),
        ("summary.json", "["),
        ("summary.json", "[]"),
        ("summary.json", "[" * 200_000),
        ("machines.json", '[{"cores": "many"}]'),
    ],
)
def test_a_damaged_run_is_one_line(file: str, text: str, tmp_path: Path) -> None:
    run = leave_run(tmp_path / "run", accuracies=[0.5])
    (run / file).write_text(text)
    assert f"{file} is damaged" in _refused(run) or f"damaged: {file}" in _refused(run)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"name": "x"}', "\xff"])
def test_what_is_no_run_is_one_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "file.json").write_text(text)
    assert "is not a run, or is damaged" in _refused(tmp_path / "file.json")
    assert "is no run: give the folder of one" in _refused(tmp_path)
    assert "is no run: give the folder of one" in _refused(tmp_path / "nowhere")


def test_kept_settings_that_lack_something_are_one_line(tmp_path: Path) -> None:
    write(read(leave_run(tmp_path / "run", accuracies=[0.5])), tmp_path / "run.json")
    kept = json.loads((tmp_path / "run.json").read_text())
    for group in ("topology", "attack", "train", "model", "data", "rounds"):
        settings = {name: value for name, value in kept["settings"].items() if name != group}
        (tmp_path / "less.json").write_text(json.dumps(kept | {"settings": settings}))
        assert group in _refused(tmp_path / "less.json")


def _refused(path: Path) -> str:
    with pytest.raises(SettingError) as caught:
        read(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)
