import pytest

from tdml import cli
from tdml.bench import repeat
from tests.jobs import SMALL


def body(outcome, windows, *places):
    disputes = [{"place": place} for place in places]
    return {
        "outcome": outcome,
        "validators": dict.fromkeys(map(str, range(windows)), 0),
        "disputes": disputes,
    }


def test_what_the_audits_say_by_hand():
    audits = repeat.summarise(
        [body("clean", 2), body("clean", 2), body("unsettled", 3, "here", "there")]
    )
    assert audits == repeat.AuditCounts(3, 7, ["here", "there"], {"clean": 2, "unsettled": 1})
    sentence = repeat._sentence(audits, repeat.Cost(90.0, 100.0))
    assert sentence.startswith(
        "5 of 7 windows repeated bit for bit, the others part first at here; audits: 2 clean, "
    )
    assert "1 unsettled; kernels that repeat run at 90.0% of the fastest's 100 " in sentence


@pytest.mark.parametrize(
    "setting",
    ["topology.replicas=1", "trust.enabled=false", "trust.budget=0", "data.partition=own"],
)
def test_where_nobody_is_audited_there_is_nothing_to_measure(setting, capsys, monkeypatch):
    monkeypatch.setattr(repeat, "plain_loop", None)
    assert cli.run(["bench", "repeat", *SMALL, setting, "sync.local_steps=2"]) == 1
    error = capsys.readouterr().err
    assert setting in error
    assert error.count("\n") == 1
