"""Adapters (LoRA) on models of Hugging Face."""

from itertools import chain

import pytest
import torch

from tdml.errors import SettingError
from tdml.models import whole
from tests.models.hf_models import config_of, job_of, with_lora
from tests.slow import slow_but


@pytest.mark.parametrize(
    ("kind", "head"),
    slow_but(
        {("llama", "causal"), ("albert", "masked"), ("bert", "classifier"), ("gpt2", "classifier")},
        [
            *(("llama", "causal"), ("gpt2", "causal"), ("cohere", "causal"), ("albert", "masked")),
            *(
                (kind, "classifier")
                for kind in ("bert", "distilbert", "modernbert", "llama", "gpt2")
            ),
        ],
    ),
)
def test_only_adapters_and_a_new_head_are_exchanged(kind, head):
    pytest.importorskip("peft", reason="needs pip install 'tdml[hf]'")
    job = job_of(with_lora(config_of(kind, head, "topology.stages=2")))
    names = [name for layout in job.layouts for name in layout.names]
    parts = ("classifier", "pre_classifier", "score", "head")
    new = [name for name in names if name.split(".")[2] in parts]
    assert all("lora_" in name for name in set(names) - set(new))
    assert bool(new) == (head == "classifier")
    assert not any("lora_" in name for name in new)
    trained = sum(p.numel() for p in job.model.parameters() if p.requires_grad)
    assert (
        sum(layout.size for layout in job.layouts)
        == trained
        < 0.5 * sum(p.numel() for p in job.model.parameters())
    )
    assert sum(map(torch.numel, chain(*job.frozen))) + trained == sum(
        p.numel() for p in job.model.parameters()
    )


@pytest.mark.parametrize("kind", ["bert", "gpt2"])
def test_a_classifier_with_adapters_does_not_read_padding_either(kind):
    pytest.importorskip("peft", reason="needs pip install 'tdml[hf]'")
    config = with_lora(config_of(kind, "classifier", "topology.stages=2", pad_token_id=0))
    job = job_of(config, paddings=[slice(-3, None)])
    ids, _ = job.source.training_batch(range(4), seed=0)
    alone = job.model.eval()(ids[:, :-3], attention_mask=torch.ones(4, 10)).logits
    torch.testing.assert_close(job.model(ids).logits, alone)


def test_adapters_on_tied_embeddings_may_be_cut():
    """For nothing changes these."""
    pytest.importorskip("peft", reason="needs pip install 'tdml[hf]'")
    job = job_of(
        with_lora(config_of("llama", "causal", "topology.stages=2", tie_word_embeddings=True))
    )
    assert sum(map(torch.numel, chain(*job.frozen))) > sum(
        p.numel() for p in job.model.parameters() if not p.requires_grad
    )


@pytest.mark.parametrize(
    ("lora", "message"),
    [
        (
            {"targets": ["no_such_layer"]},
            "model.lora (see model.lora.targets and rank): Target modules {'no_such_layer'} not found in the base model",
        ),
        (
            {"targets": ["q_proj", "v_prj"]},
            "model.lora.targets: the model has no layer v_prj that takes an adapter",
        ),
        (
            {"rank": 0},
            "model.lora (see model.lora.targets and rank): `r` should be a positive integer value but the value passed is 0",
        ),
    ],
)
def test_adapters_that_cannot_be_are_the_users_mistake(lora, message):
    pytest.importorskip("peft", reason="needs pip install 'tdml[hf]'")
    with pytest.raises(SettingError) as caught:
        whole.initial_model(with_lora(config_of("llama", "causal"), **lora).model, 0)
    assert message in str(caught.value)
