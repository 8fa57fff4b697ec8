"""What `tdml export` writes into the folder of a stranger, who has left links there."""

import json
from pathlib import Path

import pytest
import torch
import yaml

from tdml import cli
from tests.models.test_export import leave_run, transformers

_LLAMA = (
    "{model_type: llama, vocab_size: 64, hidden_size: 16, intermediate_size: 32, "
    "num_hidden_layers: 2, num_attention_heads: 2}"
)
_GPT = ["model=gpt", "model.width=16", "model.layers=1", "model.heads=2"]
_HF = ["model=hf", f"model.config={_LLAMA}"]


@pytest.mark.parametrize("model", [["model=cnn"], _GPT, _HF], ids=["any", "gpt", "hf"])
def test_a_model_is_written_through_no_link(model: list[str], tmp_path: Path) -> None:
    if model == _HF:
        transformers()
    run, victims = tmp_path / "run", tmp_path / "victims"
    torch.manual_seed(0)
    leave_run(run, *model)
    victims.mkdir()
    (run / "words").write_text(json.dumps({"model": {}, "added_tokens": [], "more": "of mine"}))
    settings = yaml.safe_load((run / "config.yaml").read_text())
    settings["data"]["tokenizer"] = str(run / "words")
    (run / "config.yaml").write_text(yaml.safe_dump(settings))
    out = run / "out"
    out.mkdir()
    names = ["model.safetensors", "tokenizer.json", "config.json", "generation_config.json"]
    for name in names:
        (victims / name).write_text("precious")
        (out / name).symlink_to(victims / name)
    (victims / "model.safetensors").unlink()  # a link to nothing
    assert cli.run(["export", str(run), str(out)]) == 0
    assert not (victims / names.pop(0)).exists()
    assert [(victims / name).read_text() for name in names] == ["precious"] * len(names)
    assert (out / "tokenizer.json").read_text() == (run / "words").read_text()
    assert not (out / "model.safetensors").is_symlink()
