import math

import pytest

from tdml import cli
from tdml.bench import repeat
from tests.jobs import SMALL


def body(outcome, *errors):
    return {"outcome": outcome, "findings": [{"error": error} for error in errors]}


def test_what_the_audits_say_by_hand():
    audits = repeat.summarise(
        [body("clean", 0.0, 1e-9), body("clean", 0.0, 0.0), body("unsettled", 0.0, "infinite", 0.25)]
    )
    assert audits == repeat.Audits(3, 7, [math.inf, 0.25, 1e-9], {"clean": 2, "unsettled": 1})
    sentence = repeat._sentence(audits, repeat.Cost(90.0, 100.0))
    assert sentence.startswith("4 of 7 windows repeated bit for bit, largest relative error inf; ")
    assert "audits: 2 clean, 1 unsettled; kernels that repeat run at 90.0% of the fastest's 100 " in sentence


@pytest.mark.parametrize("setting", ["topology.replicas=1", "trust.enabled=false", "trust.audit_rate=0"])
def test_where_nobody_is_audited_there_is_nothing_to_measure(setting, capsys, monkeypatch):
    monkeypatch.setattr(repeat, "plain_loop", None)
    assert cli.run(["bench", "repeat", *SMALL, setting]) == 1
    error = capsys.readouterr().err
    assert setting in error
    assert error.count("\n") == 1
