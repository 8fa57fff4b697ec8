import pytest

from tdml import cli
from tdml.bench import outcome
from tdml.monitor.history import History

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
    """`r3=("malicious", "r3.s1")`: the verdict on a replica, and the nodes that it names."""
    replicas = {
        name[1:]: {"verdict": verdict} | ({"nodes": list(nodes)} if nodes else {})
        for name, (verdict, *nodes) in verdicts.items()
    }
    seconds = {"train": total / 2, "total": total}
    return {
        "round": number,
        "test_accuracy": accuracy,
        "test_loss": 0.5,
        "replicas": replicas,
        "seconds": seconds,
    }


def test_the_first_accusation_counts_and_the_means_are_over_rounds():
    lines = [
        line(1, 0.5, 3.0, r0=("honest",), r3=("suspicious",)),
        line(2, 0.7, 1.0, r0=("honest",), r3=("malicious", "r3.s1")),
        line(3, None, 2.0, r0=("lost",), r3=("malicious", "r3.s1")),
    ]
    found = outcome.summarise(ATTACKED, lines)
    assert found.attackers == ["r1.s0", "r1.s1", "r3.s1"]
    assert found.accused == {"r3.s1": 2}
    assert found.accuracy == [0.5, 0.7, None]
    assert found.verdicts[2] == {"0": "lost", "3": "malicious"}
    assert found.seconds == {"train": 1.0, "total": 2.0}
    assert found.wrongly_accused == []


def test_the_metrics_are_the_tasks_own():
    last = line(2, 0.5, 1.0) | {"test_perplexity": 12.345, "test_accuracy": None}
    found = outcome.summarise(CLEAN, [line(1, 0.7, 1.0), last])
    assert found.metrics == {"accuracy": None, "loss": 0.5, "perplexity": 12.345}
    assert "accuracy unknown, loss 0.5, perplexity 12.35 after 2" in outcome.sentence(found)


@pytest.mark.parametrize(
    ("found", "named", "wrong"),
    [
        (ATTACKED, ("malicious", "r3.s1"), []),
        (ATTACKED, ("malicious", "r3.s0", "r3.s1"), ["r3.s0"]),
        (ATTACKED, ("malicious",), []),  # the replica, in which one node attacks
        (ATTACKED, ("suspicious",), []),
        (CLEAN, ("malicious",), ["r3"]),
        (CLEAN, ("malicious", "r3.s1"), ["r3.s1"]),
    ],
)
def test_who_is_accused_wrongly(found, named, wrong):
    assert outcome.summarise(found, [line(1, 0.5, 1.0, r3=named)]).wrongly_accused == wrong


def test_a_folder_of_no_run_gets_one_line(tmp_path, capsys):
    assert cli.run(["bench", "outcome", str(tmp_path)]) == 1
    assert (
        capsys.readouterr().err
        == f"tdml: {tmp_path} is no run: give the folder of one, such as runs/demo\n"
    )
