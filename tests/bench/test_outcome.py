from dataclasses import replace

import pytest

from tdml import cli
from tdml.bench import outcome
from tdml.monitor.history import History, RoundMetrics

ATTACK = {"_target_": "x.Y", "replicas": [1], "nodes": ["r3.s1"], "from_round": 2}


def history(attack):
    return History(
        "demo",
        {"topology": {"replicas": 4, "stages": 2}, "attack": attack},
        [],
        ended=True,
        rounds=[],
    )


ATTACKED, CLEAN = history(ATTACK), history({"replicas": [], "nodes": []})


def line(number, accuracy, total, **verdicts):
    replicas = {name[1:]: {"verdict": verdict} for name, verdict in verdicts.items()}
    seconds = {"train": total / 2, "total": total}
    return {
        "round": number,
        "test_accuracy": accuracy,
        "test_loss": 0.5,
        "replicas": replicas,
        "seconds": seconds,
    }


def test_the_means_are_over_rounds():
    lines = [
        line(1, 0.5, 3.0, r0="honest", r3="suspicious"),
        line(2, 0.7, 1.0, r0="honest", r3="malicious"),
        line(3, None, 2.0, r0="lost", r3="malicious"),
    ]
    rounds = [
        RoundMetrics(number, accuracy, 0.5, None, 1.0)
        for number, accuracy in [(1, 0.5), (2, 0.7), (3, None)]
    ]
    found = outcome.summarise(replace(ATTACKED, rounds=rounds, bans={"r3.s1": 2}), lines)
    assert found.attackers == ["r1.s0", "r1.s1", "r3.s1"]
    assert found.accused == {"r3.s1": 2}
    assert (found.accuracy, found.loss) == ([0.5, 0.7, None], [0.5] * 3)
    assert found.verdicts[2] == {"0": "lost", "3": "malicious"}
    assert found.seconds == {"train": 1.0, "total": 2.0}
    assert found.wrongly_accused == []


def test_rounds_that_were_taken_back_cost_time() -> None:
    void = [line(number, 0.1, 4.0, r0="malicious") | {"void": True} for number in (2, 3)]
    lines = [line(1, 0.5, 1.0, r0="honest"), *void, line(2, 0.7, 3.0, r0="honest")]
    rounds = [RoundMetrics(number, 0.5, 0.5, None, 1.0) for number in (1, 2)]
    found = outcome.summarise(replace(CLEAN, rounds=rounds), lines)
    assert found.seconds == {"train": 3.0, "total": 6.0}
    assert found.verdicts == [{"0": "honest"}] * 2
    said = outcome.sentence(found)
    assert "after 2 rounds and 2 that were taken back" in said and "6.00 s a round" in said


def test_the_metrics_are_the_tasks_own():
    last = line(2, 0.5, 1.0) | {"test_perplexity": 12.345, "test_accuracy": None}
    rounds = [RoundMetrics(number, None, 0.5, None, 1.0) for number in (1, 2)]
    found = outcome.summarise(replace(CLEAN, rounds=rounds), [line(1, 0.7, 1.0), last])
    assert found.metrics == {"accuracy": None, "loss": 0.5, "perplexity": 12.345}
    assert "accuracy unknown, loss 0.5, perplexity 12.35 after 2" in outcome.sentence(found)


@pytest.mark.parametrize(
    ("run", "named", "wrong"),
    [
        (ATTACKED, ["r3.s1"], []),
        (ATTACKED, ["r3.s0", "r3.s1"], ["r3.s0"]),
        (ATTACKED, [], []),
        (CLEAN, ["r3.s1"], ["r3.s1"]),
    ],
)
def test_who_is_accused_wrongly(run, named, wrong):
    found = outcome.summarise(replace(run, bans=dict.fromkeys(named, 1)), [line(1, 0.5, 1.0)])
    assert found.wrongly_accused == wrong


def test_a_folder_of_no_run_gets_one_line(tmp_path, capsys):
    assert cli.run(["bench", "outcome", str(tmp_path)]) == 1
    assert (
        capsys.readouterr().err
        == f"tdml: {tmp_path} is no run: give the folder of one, such as runs/demo\n"
    )
