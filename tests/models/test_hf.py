"""Models of Hugging Face's transformers, cut into stages, against the models themselves."""

import json
from dataclasses import replace

import pytest
import torch

from tdml.common.seeds import seeded
from tdml.errors import SettingError
from tdml.models import whole
from tdml.models.plan import layouts
from tdml.tasks.objective import mean_loss
from tests.models.hf_models import CAUSAL, MASKED, config_of, job_of
from tests.slow import slow_but

_SOME = {
    *((kind, "causal") for kind in ("llama", "gpt2", "bloom", "gemma2", "deepseek_v3", "mamba")),
    *((kind, "masked") for kind in ("bert", "distilbert", "modernbert")),
    *((kind, "classifier") for kind in ("llama", "bert")),
}


@pytest.mark.parametrize(
    ("kind", "head"),
    slow_but(
        _SOME,
        [
            *((kind, "causal") for kind in CAUSAL),
            *((kind, "masked") for kind in MASKED),
            *((kind, "classifier") for kind in ("llama", "gpt2", "gemma2", "mpt", *MASKED)),
        ],
    ),
)
def test_stages_equal_the_model_whose_weights_they_have(kind, head):
    """Also with dropout, which some have. What is never sent, such as tables of
    positions, is computed."""
    job = job_of(config_of(kind, head, "topology.stages=3"))
    assert all(
        "inv_freq" not in name and "position_ids" not in name
        for lay in job.layouts
        for name in lay.names
    )
    flats = [flat + 0.01 for flat in whole.flatten(job.model, job.layouts)]
    model = whole.outline(job.config.model, seed=0)
    parts = job.plan.cut(model, range(3))
    value, _ = job.source.training_batch(range(4), seed=0)
    expected = value
    whole.write(job.model, job.layouts, flats)
    for part, layout, flat in zip(parts, layouts(job.plan, model, 3), flats, strict=True):
        part.materialise(torch.device("cpu"))
        layout.scatter(flat, part.tensors(part.parameters | part.buffers))
        value = part.module.eval()(value)
    assert torch.equal(value, job.model.eval()(expected).logits)


@pytest.mark.parametrize(
    "kind",
    slow_but(
        {"gpt2", "opt", "bert", "modernbert"},
        ["llama", "gpt2", "gemma2", "mpt", "bloom", "opt", *MASKED],
    ),
)
def test_a_classifiers_stages_do_not_read_padding(kind):
    """As the model itself does where a tokenizer gives it a mask; and behind a text, where it
    moves no position, it is as if there were none."""
    before_and_behind = [slice(None, 3), slice(-3, None)]
    job = job_of(
        config_of(kind, "classifier", "topology.stages=2", pad_token_id=0),
        paddings=before_and_behind,
    )
    assert not job.problem
    ids, _ = job.source.training_batch(range(4), seed=0)
    value = ids
    for block in job.model.eval().blocks():
        value = block.eval()(value)
    assert torch.equal(value, job.model(ids).logits)
    torch.testing.assert_close(value, job.model(ids, attention_mask=(ids != 0).long()).logits)
    torch.testing.assert_close(value[1::2], job.model(ids[1::2, :-3]).logits)


def test_a_text_of_padding_alone_has_finite_logits():
    job = job_of(config_of("bert", "classifier", "topology.stages=2"), paddings=[slice(None)])
    ids, _ = job.source.training_batch(range(4), seed=0)
    assert job.model(ids).logits.isfinite().all()


@pytest.mark.parametrize(
    ("kind", "head", "message"),
    [
        ("rwkv", "causal", "RwkvForCausalLM is built in another way than the models whose parts"),
        ("qwen3", "classifier", "the model's configuration has no pad_token_id"),
        (
            "t5",
            "causal",
            "model=hf: AutoModelForCausalLM of t5 (see model.head): Unrecognized configuration class",
        ),
        ("camel", "causal", "model.config: transformers has no model_type camel"),
    ],
)
def test_what_cannot_be_cut_is_refused(kind, head, message):
    config = config_of(kind, "causal")
    with pytest.raises(SettingError) as caught:
        whole.initial_model(config.model | {"head": head}, 0)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"model_type": "llama", "num_layers": 2},
            "model.config: llama has no num_layers: num_hidden_layers may be meant",
        ),
        ({"hidden_size": 8}, "model.config has no model_type, such as llama"),
        ({"model_type": "lama"}, "transformers has no model_type lama: llama may be meant"),
        (
            {"model_type": "mixtral", "num_hidden_layers": 0, "output_router_logits": True},
            "output_router_logits=true asks for the auxiliary loss of mixtures of experts",
        ),
    ],
)
def test_a_config_that_means_something_else_is_refused(given, message):
    """The library ignores names that it does not know, and would build 32 layers."""
    with pytest.raises(SettingError, match=message):
        whole.initial_model(config_of("llama", "causal").model | {"config": given}, 0)


def test_names_that_the_library_alone_understands_are_taken():
    changes = {"rope_theta": 5000.0, "attn_implementation": "sdpa"}
    model = whole.initial_model(config_of("llama", "causal", **changes).model, 0)
    assert model.config.rope_parameters["rope_theta"] == 5000.0
    whole.initial_model(config_of("codegen", "causal", pad_token_id=0, rotary_dim=4).model, 0)


@pytest.mark.parametrize("stages", [1, 3])
def test_tied_embeddings_are_one_tensor_of_the_first_stage(stages):
    config = config_of("llama", "causal", f"topology.stages={stages}", tie_word_embeddings=True)
    job = job_of(config)
    names = [name for layout in job.layouts for name in layout.names]
    assert sorted(names) == sorted(name for name, _ in job.model.named_parameters())
    assert "model.embed_tokens.weight" in job.layouts[0].names
    assert "lm_head.weight" not in names


def test_tied_embeddings_may_become_two():
    config = config_of("llama", "causal", "topology.stages=2", tie_word_embeddings=True)
    two = job_of(replace(config, model=config.model | {"untie": True}))
    assert "lm_head.weight" in two.layouts[1].names
    assert two.model.config.tie_word_embeddings is False


def save(tmp_path, **changes):
    config = config_of("llama", "causal", **changes)
    model = whole.initial_model(config.model, 5)
    model.save_pretrained(tmp_path)
    return model


def test_a_folder_gives_the_weights_in_float32(tmp_path):
    saved = save(tmp_path)
    config = replace(
        config_of("llama", "causal"), model=config_of("llama", "causal").model | {"config": None}
    )
    loaded = whole.initial_model(config.model | {"pretrained": str(tmp_path)}, 0)
    for name, tensor in saved.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor)
        assert loaded.state_dict()[name].dtype == torch.float32


@pytest.mark.parametrize(("kind", "most"), [("bert", 32), ("roberta", 30), ("opt", 32)])
def test_how_many_tokens_a_model_sees(kind, most):
    config = config_of("opt" if kind == "opt" else "bert", "causal" if kind == "opt" else "masked")
    given = config.model["config"] | {"model_type": kind}
    given |= {"pad_token_id": 1} if kind == "roberta" else {}
    model = whole.initial_model(config.model | {"config": given}, 0)
    assert model.most_tokens == most
    model(torch.full((1, most), 5))
    with pytest.raises((IndexError, RuntimeError)):
        model(torch.full((1, most + 1), 5))


def test_a_classifier_goes_on_from_a_masked_model(tmp_path):
    """Which has neither its head nor a pooler: all else is from the folder."""
    masked = whole.initial_model(config_of("bert", "masked").model, 5)
    masked.save_pretrained(tmp_path)
    given = config_of("bert", "classifier").model | {"config": None, "pretrained": str(tmp_path)}
    loaded = whole.initial_model(given, 0).state_dict()
    body = {name: value for name, value in masked.state_dict().items() if name[:5] == "bert."}
    assert all(torch.equal(loaded[name], value) for name, value in body.items())
    again = whole.initial_model(given, 0).state_dict()
    assert all(torch.equal(again[name], value) for name, value in loaded.items())
    with pytest.raises(SettingError, match=r"lacks bert\.embeddings"):
        _forget(tmp_path, "bert.embeddings.LayerNorm.bias")
        whole.initial_model(given, 0)


def _forget(folder, name):
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    del tensors[name]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "model.safetensors").unlink(), "has no *.safetensors"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"none"), "cannot be loaded"),
        (
            lambda folder: _change(folder, vocab_size=80),
            "is (64, 16), and its config.json, or model.num_labels, says (80, 16)",
        ),
        (
            lambda folder: _change(folder, num_hidden_layers=4),
            "lacks model.layers.3.input_layernorm.weight (9 ",
        ),
        (lambda folder: (folder / "config.json").unlink(), "has no config.json: give a folder"),
        (lambda folder: (folder / "config.json").write_text("{"), "model.config cannot be read"),
        (
            lambda folder: (folder / "adapter_config.json").write_text('{"peft_type": "LORA"}'),
            "has an adapter_config.json: merge these adapters into the model",
        ),
    ],
    ids=["no weights", "damaged", "shapes", "names", "no config", "damaged config", "adapters"],
)
def test_a_folder_that_does_not_fit_is_the_users_mistake(spoil, message, tmp_path):
    save(tmp_path)
    spoil(tmp_path)
    model = config_of("llama", "causal").model | {"config": None, "pretrained": str(tmp_path)}
    with pytest.raises(SettingError) as caught:
        whole.initial_model(model, 0)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_code_that_a_folder_brings_is_not_run(tmp_path, monkeypatch):
    """Nor is anybody asked whether it may be, as transformers does."""
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    config = {"model_type": "strange", "auto_map": {"AutoConfig": "conf.Strange"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "conf.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nStrange = None\n")
    with pytest.raises(SettingError, match=r"code that a folder brings is never run"):
        whole.initial_model(config_of("llama", "causal").model | {"config": str(tmp_path)}, 0)
    assert not (tmp_path / "ran").exists()


def _change(folder, **settings):
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | settings))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"pretrained": "nowhere/at-all", "config": None}, "model.pretrained=nowhere/at-all"),
        ({"config": "nowhere/config.json"}, "model.config=nowhere/config.json does not exist"),
        ({"config": None}, "give one of model.config (to train from scratch) and model.pretrained"),
    ],
)
def test_what_is_not_there_is_named(model, message):
    with pytest.raises(SettingError) as caught:
        whole.initial_model(config_of("llama", "causal").model | model, 0)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "head"), [("llama", "causal"), ("gpt2", "causal"), ("bert", "classifier")]
)
def test_gradients_of_stages_are_those_of_the_model(kind, head):
    config = config_of(kind, head, "topology.stages=3")
    job = job_of(config)
    inputs, targets = job.source.training_batch(range(8), seed=0)
    chain = [part.module.train() for part in job.plan.cut(job.model, range(3))]
    with seeded(1):
        mean_loss(job.task, job.model.train()(inputs).logits, targets).backward()
    expected = {name: parameter.grad for name, parameter in job.model.named_parameters()}
    job.model.zero_grad()
    received, sent = [inputs], []
    with seeded(1):
        for module in chain:
            sent.append(module(received[-1]))
            received.append(sent[-1].detach().requires_grad_())
    last = received.pop()
    mean_loss(job.task, last, targets).backward()
    gradient = last.grad
    for output, given in zip(reversed(sent), reversed(received), strict=True):
        output.backward(gradient)
        gradient = given.grad
    for name, parameter in job.model.named_parameters():
        assert (parameter.grad - expected[name]).norm() <= 1e-6 * expected[name].norm(), name
