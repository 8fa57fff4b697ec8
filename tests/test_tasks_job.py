"""Jobs that train something else than a classifier."""

import math
from pathlib import Path

import pytest
import torch

from tdml import cli
from tdml import config as settings
from tdml.common.vision import mend_torchvision
from tdml.models.whole import initial_model
from tdml.settings.file import from_yaml
from tests.jobs import run_job

_TEXT = [
    "task=language",
    "data=text",
    "data.context=32",
    "train=adamw",
    "train.lr=0.003",
    "train.batch_size=8",
]
_GPT = [*_TEXT, "model=gpt", "model.layers=2", "model.width=32", "model.heads=2"]
_LLAMA = (
    "{model_type: llama, vocab_size: 256, hidden_size: 32, intermediate_size: 64, num_hidden_layers: 3, "
    "num_attention_heads: 2, num_key_value_heads: 1, max_position_embeddings: 32, tie_word_embeddings: false}"
)


def test_a_language_model_is_trained_and_audited_and_nobody_is_accused(tmp_path: Path) -> None:
    result = run_job(
        tmp_path / "run",
        7,
        *_GPT,
        "topology.replicas=3",
        "topology.stages=2",
        "sync.local_steps=8",
        "rounds=3",
        "trust.budget=1",
    )
    assert result.statuses == [0] * 7, result.output
    assert not result.why()
    first, *_, last = result.rounds
    assert list(last)[:4] == ["round", "test_perplexity", "test_token_accuracy", "test_loss"]
    assert math.isclose(last["test_perplexity"], math.exp(last["test_loss"]), rel_tol=1e-5)
    assert last["test_perplexity"] < 0.9 * first["test_perplexity"] < 256
    assert "perplexity" in result.output
    assert "<th>perplexity</th>" in (result.run / "report.html").read_text()


@pytest.mark.parametrize(
    "schedule",
    [pytest.param(name, marks=pytest.mark.slow) for name in ("1f1b", "interleaved_1f1b")],
)
def test_tied_weights_are_trained_and_audited_and_stay_tied(schedule: str, tmp_path: Path) -> None:
    result = run_job(
        tmp_path / "run",
        7,
        *_GPT,
        "model.tied=true",
        "topology.replicas=3",
        "topology.stages=2",
        f"topology.schedule={schedule}",
        "train.clip_norm=1",
        "sync.local_steps=6",
        "rounds=2",
        "trust.budget=1",
    )
    assert result.statuses == [0] * 7, result.output
    assert not result.why()
    assert result.rounds[1]["test_perplexity"] < result.rounds[0]["test_perplexity"] < 256
    assert torch.equal(result.model["0.tokens.weight"], result.model["3.logits.weight"])
    numbers = sum(t.numel() for name, t in result.model.items() if name != "3.logits.weight")
    assert result.rounds[1]["bytes"]["down"] == 3 * 4 * numbers  # a tied matrix is sent once


@pytest.mark.slow
@pytest.mark.parametrize(
    "more",
    [
        ["topology.schedule=interleaved_1f1b"],
        ["model.lora.rank=4", "train.lr=0.01"],
        ["model.config.tie_word_embeddings=true", "topology.stages=3"],
    ],
)
def test_a_model_of_hugging_face_is_trained_and_audited(more: list[str], tmp_path: Path) -> None:
    mend_torchvision()
    pytest.importorskip("transformers", reason="needs pip install 'tdml[hf]'")
    stages = 3 if "topology.stages=3" in more else 2
    result = run_job(
        tmp_path / "run",
        1 + 3 * stages,
        *_TEXT,
        "model=hf",
        f"model.config={_LLAMA}",
        "topology.replicas=3",
        "topology.stages=2",
        "sync.local_steps=6",
        "rounds=2",
        "trust.budget=1",
        *more,
        seconds=170,
    )
    assert result.statuses == [0] * (1 + 3 * stages), result.output
    assert not result.why()
    assert result.rounds[1]["test_perplexity"] < result.rounds[0]["test_perplexity"] < 256
    assert any(name.endswith("model.layers.2.mlp.up_proj.weight") for name in result.model) is (
        "lora" not in more[0]
    )
    assert not any("inv_freq" in name for name in result.model)
    out = tmp_path / "out"
    assert cli.run(["export", str(result.run), str(out)]) == 0
    assert (out / "model.safetensors").is_file()


def test_what_the_demo_of_a_language_model_trains_loads_in_transformers(tmp_path: Path) -> None:
    mend_torchvision()
    transformers = pytest.importorskip("transformers", reason="needs pip install 'tdml[hf]'")
    result = run_job(
        tmp_path / "run",
        3,
        "experiment=demo_gpt",
        "attack=none",
        "topology.replicas=1",
        "topology.spares=0",
        "rounds=2",
        "sync.local_steps=3",
        "train.warmup=2",
    )
    assert result.statuses == [0] * 3, result.output
    assert cli.run(["export", str(result.run), str(tmp_path / "out")]) == 0
    loaded = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out").eval()
    config = from_yaml(result.run / "config.yaml")
    model = initial_model(config.model, config.seed).eval()
    model.load_state_dict(result.model)
    ids = torch.arange(2 * 100).view(2, 100)
    with torch.no_grad():
        torch.testing.assert_close(loaded(ids).logits, model(ids), rtol=1e-5, atol=1e-5)


def test_what_is_frozen_is_sent_once_and_stays(tmp_path: Path) -> None:
    result = run_job(
        tmp_path / "run",
        7,
        *_GPT,
        "model._target_=tests.plugins.half_frozen",
        "topology.replicas=3",
        "topology.stages=2",
        "sync.local_steps=4",
        "rounds=3",
        "trust.budget=1",
        "attack._target_=tests.plugins.Raises",
        "+attack.in_round=2",
        "attack.nodes=[r1.s1]",
    )
    assert result.statuses == [0] * 7, result.output
    assert result.verdicts(1) == ["honest", "lost", "honest"]  # and is formed again
    assert result.rounds[-1]["test_loss"] < result.rounds[0]["test_loss"]
    config = settings.load([*_GPT, "model._target_=tests.plugins.half_frozen"])
    start = initial_model(config.model, config.seed)
    trained = {name for name, parameter in start.named_parameters() if parameter.requires_grad}
    for name, tensor in start.state_dict().items():
        assert torch.equal(result.model[name], tensor) is (name not in trained), name
    down = [line["bytes"]["down"] for line in result.rounds]
    exchanged = sum(
        parameter.numel() for parameter in start.parameters() if parameter.requires_grad
    )
    frozen = sum(parameter.numel() for parameter in start.parameters()) - exchanged
    a_number = 4 * 3  # bytes, to each replica
    assert down[0] == a_number * (frozen + 2 * exchanged)
    assert sum(down) == a_number * (frozen + 4 * exchanged)


@pytest.mark.slow
def test_a_stage_reads_what_is_frozen_and_is_sent_what_its_folder_lacks(tmp_path: Path) -> None:
    """r0.s1 has no weights at all, and r1.s0 others."""
    mend_torchvision()
    pytest.importorskip("peft", reason="needs pip install 'tdml[hf]'")
    saved, config = tmp_path / "saved", f"model.config={_LLAMA}"
    base = initial_model(settings.load([*_TEXT, "model=hf", config]).model, 5)
    for rank in (2, 3):
        base.save_pretrained(f"{saved}-{rank}")
    Path(f"{saved}-2", "model.safetensors").unlink()
    with torch.no_grad():
        for parameter in base.parameters():
            parameter.mul_(1.5)
    base.save_pretrained(saved)
    result = run_job(
        tmp_path / "run", 5, *_TEXT, "model=hf", "model._target_=tests.plugins.from_own_folder",
        f"model.pretrained={saved}", "model.lora.rank=4", "topology.replicas=2",
        "topology.stages=2", "sync.local_steps=4", "rounds=2", "trust.budget=1",
    )  # fmt: skip
    assert result.statuses == [0] * 5, result.output
    assert not result.why()
    frozen = {name: tensor for name, tensor in result.model.items() if "lora_" not in name}
    known = dict(base.named_parameters())
    assert len(frozen) == len(known)
    for name, tensor in frozen.items():
        plain = name.removeprefix("base_model.model.").replace(".base_layer.", ".")
        assert torch.equal(tensor, known[plain]), name
    first, second = (line["bytes"]["down"] for line in result.rounds)
    assert first - 2 * second == sum(tensor.nbytes for tensor in frozen.values())
