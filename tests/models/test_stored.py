"""What a stage finds in the folder of a saved model."""

from dataclasses import replace

import pytest
import safetensors
import torch

from tdml.models import whole
from tdml.models.plan import frozen_names
from tdml.models.stored import stored
from tests.models.hf_models import config_of, job_of, with_lora


def from_folder(folder, kind, head, *overrides, **lora):
    config = config_of(kind, head, "topology.stages=2", *overrides)
    model = config.model | {"config": None, "pretrained": str(folder)}
    return with_lora(replace(config, model=model), **lora)


def watched(monkeypatch):
    """The names of the tensors that are read from now on."""
    names = []

    class Watched:
        def __init__(self, *arguments, **named):
            self._file = open_file(*arguments, **named)

        def __enter__(self):
            self._file.__enter__()
            return self

        def __exit__(self, *error):
            return self._file.__exit__(*error)

        def keys(self):
            return self._file.keys()

        def get_tensor(self, name):
            names.append(name)
            return self._file.get_tensor(name)

    open_file = safetensors.safe_open
    monkeypatch.setattr(safetensors, "safe_open", Watched)
    return names


@pytest.mark.parametrize(
    ("kind", "head", "of_base", "changes"),
    [
        *(("llama", "causal", False, {}), ("gpt2", "causal", False, {})),
        ("llama", "causal", False, {"tie_word_embeddings": True}),
        *(("albert", "masked", False, {}), ("bert", "classifier", False, {})),
        *(("bert", "classifier", True, {}), ("llama", "classifier", False, {})),
    ],
)
def test_a_stage_finds_all_that_is_not_trained_and_reads_nothing_else(
    kind, head, of_base, changes, tmp_path, monkeypatch
):
    pytest.importorskip("peft", reason="needs pip install 'tdml[hf]'")
    with_head = "masked" if kind.endswith("bert") else "causal"
    saved = whole.initial_model(config_of(kind, with_head, **changes).model, 5)
    (saved.base_model if of_base else saved).save_pretrained(tmp_path)
    job = job_of(from_folder(tmp_path, kind, head))
    read = watched(monkeypatch)
    for names, values in zip(frozen_names(job.plan, job.model, 2), job.frozen, strict=True):
        read.clear()
        found = list(stored(tmp_path, names))
        assert len(read) == sum(tensor is not None for tensor in found)
        for name, value, tensor in zip(names, values, found, strict=True):
            # a classifier's head, with its pooler, is new: in no file
            new = "original_module" in name or ".pooler." in name
            assert (tensor is None) == new, name
            assert tensor is None or torch.equal(tensor, value), name


def test_a_node_needs_no_weights_to_build_its_stage(tmp_path):
    whole.initial_model(config_of("llama", "causal").model, 5).save_pretrained(tmp_path)
    config = from_folder(tmp_path, "llama", "causal")
    (tmp_path / "model.safetensors").unlink()
    model = whole.outline(config.model, 0)
    assert all(tensor.is_meta for tensor in model.parameters())
    assert list(model.stored(["lm_head.weight"])) == [None]
