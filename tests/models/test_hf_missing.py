"""What is said where Hugging Face's libraries are not installed."""

import sys

import pytest

from tdml import config as settings
from tdml.data import text
from tdml.errors import SettingError
from tdml.models.whole import initial_model


def test_transformers_are_asked_for_in_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    config = settings.load(["model=hf", "model.config={model_type: llama}"])
    with pytest.raises(SettingError, match=r"needs transformers, .* pip install 'tdml\[hf\]'$"):
        initial_model(config.model, 0)


def test_so_are_tokenizers(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(
        SettingError, match=r"which is not bytes, needs tokenizers, .* pip install 'tdml\[hf\]'$"
    ):
        text(None, str(tmp_path / "tokenizer.json"), 16, 0.1)


def test_so_is_peft(monkeypatch):
    pytest.importorskip("tokenizers", reason="needs pip install 'tdml[hf]'")
    monkeypatch.setitem(sys.modules, "peft", None)
    model = "{model_type: llama, vocab_size: 8, hidden_size: 8, intermediate_size: 8, num_attention_heads: 1}"
    config = settings.load(["model=hf", f"model.config={model}", "model.lora.rank=2"])
    with pytest.raises(SettingError, match=r"model.lora needs peft, .*: pip install 'tdml\[hf\]'$"):
        initial_model(config.model, 0)
