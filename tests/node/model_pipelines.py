"""Language models in pipelines of real processes, and in one piece: the gradients of one step."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import torch
import torch.distributed as dist

from tdml import config as settings
from tdml.common.vision import mend_torchvision
from tdml.models import whole
from tdml.models.compute import autocast
from tdml.models.plan import make_plan
from tdml.node.lockstep import StepInputs
from tdml.node.messages import Passing
from tdml.node.pipeline import Pipeline
from tdml.node.stage import Stage
from tdml.settings.schema import Config
from tdml.tasks.objective import mean_loss, sum_of_weights, task_of

CPU, BATCH, MICRO, TOKENS, VOCABULARY = torch.device("cpu"), 16, 4, 12, 64
_LLAMA = {
    "vocab_size": VOCABULARY, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3,
    "num_attention_heads": 2, "max_position_embeddings": 32, "num_key_value_heads": 1,
}  # fmt: skip
_GPT2 = {
    "vocab_size": VOCABULARY, "n_embd": 16, "n_layer": 3, "n_head": 2, "n_positions": 32,
    "bos_token_id": 0, "eos_token_id": 0, "attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0,
}  # fmt: skip
_BERT = {**_LLAMA, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
_CONFIGS = {
    "llama": _LLAMA, "qwen2": _LLAMA, "qwen3": _LLAMA | {"head_dim": 8}, "gpt2": _GPT2,
    "bert": _BERT,
}  # fmt: skip


def config_of(case: str, stages: int) -> Config:
    """Of a case: a family, and whichever of tied, bf16, interleaved and classifier it is."""
    family, *traits = case.split("-")
    task = "masked" if family == "bert" else "language"
    if "classifier" in traits:
        task = "classification"
    config = _composed(task, family == "gpt", stages, "interleaved" in traits, "bf16" in traits)
    tied = "tied" in traits
    if family == "gpt":
        return replace(config, model=config.model | {"tied": tied})
    chosen = {"model_type": family, **_CONFIGS[family], "tie_word_embeddings": tied}
    head = {"masked": "masked", "language": "causal", "classification": "classifier"}[task]
    return replace(config, model=config.model | {"config": chosen, "num_labels": 3, "head": head})


@cache
def _composed(task: str, own: bool, stages: int, interleaved: bool, bf16: bool) -> Config:
    gpt = [f"model.vocabulary={VOCABULARY}", "model.context=32", "model.layers=3"]
    gpt += ["model.width=16", "model.heads=2"]
    return settings.load([
        f"task={task}", *(["model=gpt", *gpt] if own else ["model=hf"]), "topology.replicas=1",
        f"topology.stages={stages}", f"topology.microbatches={MICRO}", f"train.batch_size={BATCH}",
        f"topology.schedule={'interleaved_1f1b' if interleaved else '1f1b'}", "train=sgd",
        f"train.precision={'bf16' if bf16 else 'fp32'}",
    ])  # fmt: skip


def batch(config: Config) -> tuple[torch.Tensor, torch.Tensor]:
    """Sequences that end earlier or later, so that micro-batches have other numbers of tokens."""
    generator = torch.Generator().manual_seed(3)
    inputs = torch.randint(1, VOCABULARY, (BATCH, TOKENS), generator=generator)
    if config.task["_target_"].endswith("Classification"):
        return inputs, torch.randint(3, (BATCH,), generator=generator)
    targets = torch.randint(1, VOCABULARY, (BATCH, TOKENS), generator=generator)
    lengths = torch.randint(1, TOKENS, (BATCH, 1), generator=generator)
    return inputs, targets.masked_fill(torch.arange(TOKENS) >= lengths, -100)


def in_one_piece(case: str) -> tuple[float, dict[str, torch.Tensor]]:
    """The loss, and the gradients by name, of the model itself on the same micro-batches."""
    config = config_of(case, 2)
    model, task = whole.initial_model(config.model, config.seed).train(), task_of(config)
    inputs, targets = batch(config)
    total, losses = sum_of_weights(task, targets), []
    for given, right in zip(inputs.chunk(MICRO), targets.chunk(MICRO), strict=True):
        with autocast(config.train, CPU):
            output = model(given)
        losses.append(mean_loss(task, getattr(output, "logits", output), right, total))
        losses[-1].backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return float(torch.stack(losses).detach().sum()), gradients


def step(case: str, rank: int, stages: int) -> tuple[float | None, dict[str, torch.Tensor]]:
    """The same of one stage of a pipeline, whose processes take part."""
    config = config_of(case, stages)
    model = whole.initial_model(config.model, config.seed)
    inputs, targets = batch(config)
    stage = Stage(config, rank, make_plan(config, model, inputs[: BATCH // MICRO]), CPU, CPU)
    tensors = whole.tensors_of(model)
    stage.trainer.begin(stage.layout.flatten([tensors[name] for name in stage.layout.names]))
    pipeline = Pipeline(stage, config.topology.schedule, lambda: None)
    loss = pipeline.train_step(StepInputs(inputs, targets, 0, 0.0), Passing())
    found = zip(stage.layout.names, stage.trainer.parameters, strict=False)
    return loss, {name: p.grad for name, p in found if p.grad is not None}


def main(rank: int, stages: int, store: Path, out: Path, cases: list[str]) -> None:
    """The process of one stage, of one case after the other; what it finds is saved in `out`."""
    torch.set_num_threads(1)
    mend_torchvision()
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=stages)
    torch.save({case: step(case, rank, stages) for case in cases}, out)
    dist.destroy_process_group()
