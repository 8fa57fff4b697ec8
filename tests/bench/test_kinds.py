import json

import pytest
import torch

from tdml import cli
from tdml import config as settings
from tdml.bench import alone, kinds
from tdml.data import source
from tdml.run.prepare import prepare
from tests.jobs import SMALL

OURS = [*SMALL, "topology.stages=2", "topology.replicas=1", "sync.local_steps=3", "device=cpu"]
CPU = torch.device("cpu")
MEASURED = ("activations", "passed", "gradients", "update", "buffers")


def test_one_kind_of_machine_is_no_distance_from_itself(capsys, tmp_path):
    assert cli.run(["bench", "kinds", *OURS, "--json", str(tmp_path / "kinds.json")]) == 0
    errors = json.loads((tmp_path / "kinds.json").read_text())["errors"]
    places = [(e["optimizer"], e["arithmetic"], e["step"], e["part"]) for e in errors]
    expected = [
        (o, p, s, i)
        for o in ("sgd", "adamw")
        for p in ("fp32", "bf16")
        for s in (0, 2)
        for i in (0, 1)
    ]
    assert places == expected
    assert {error[name] for error in errors for name in MEASURED} == {0.0}
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.endswith(
        "relative to a step's change: sgd fp32 0, sgd bf16 0, adamw fp32 0, adamw bf16 0"
    )


@pytest.mark.parametrize("chosen", ["train=adamw", "train.optimizer=adam", "train.precision=bf16"])
def test_what_is_compared_is_no_choice(chosen, capsys):
    """It would be taken for what the table calls it."""
    assert cli.run(["bench", "kinds", *OURS, chosen]) == 1
    assert capsys.readouterr().err.startswith(f"tdml: {chosen}: sgd and adamw, fp32 and bf16 are")


def test_another_arithmetic_is_as_far_as_it_rounds(monkeypatch):
    """float32 on one side and bfloat16 on the other, in place of two kinds of machine."""
    job, rounded = job_with("train.precision=fp32"), job_with("train.precision=bf16")
    begun, start = [], alone.start

    def start_otherwise(job, device):
        begun.append(device)
        return start(job if len(begun) == 1 else rounded, device)

    monkeypatch.setattr(alone, "start", start_otherwise)
    found = kinds.compare(job, "sgd", "fp32", CPU)
    assert len(found) == 2 * 2
    for errors in found:
        for name in ("activations", "gradients", "update"):
            assert 1e-4 < getattr(errors, name) < 0.2, (name, errors)
        assert (errors.passed > 0) == (errors.part == 1)  # the first part hands nothing back


def test_tf32_is_as_asked_while_the_other_machine_computes_and_then_as_before(monkeypatch):
    seen, repeat, before = [], alone.Alone.repeat, torch.backends.cudnn.allow_tf32

    def look(part, taken, step):
        seen.append(torch.backends.cudnn.allow_tf32)
        return repeat(part, taken, step)

    monkeypatch.setattr(alone.Alone, "repeat", look)
    job = job_with("topology.stages=1", "sync.local_steps=1")
    for arithmetic in ("fp32", "tf32", "bf16"):
        kinds.compare(job, "sgd", arithmetic, CPU)
        assert torch.backends.cudnn.allow_tf32 == before
    assert seen == [False, True, True]


def test_the_errors_by_hand():
    [part] = alone.start(job_with("topology.stages=1"), CPU)
    size, parameters = part.layout.size, part.layout.parameters
    before, one = torch.zeros(size), torch.ones(size)
    other = torch.cat([torch.full((parameters,), 0.5), torch.ones(size - parameters)])
    other[-1] = 0.75

    def taken(scale, weights):
        values = [torch.tensor([scale, 0.0]), torch.tensor([0.0])]
        return alone.Taken([], values, [], [], torch.tensor([scale]), weights)

    found = kinds._errors(
        before, taken(1.0, one), taken(0.8, other), part.layout, settings.load(OURS).train
    )
    assert found == pytest.approx([0.2, 0.0, 0.2, 0.5, 0.25])


def job_with(*overrides):
    config = settings.load([*OURS, *overrides])
    return prepare(config, source.load(config.data, config.seed), checkpoint=None)
