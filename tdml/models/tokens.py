"""Whether a model takes the token ids that the data have, and does not look ahead."""

from numbers import Integral

import torch
from torch import nn

from tdml.data.sample import MapStyle
from tdml.errors import SettingError, complain
from tdml.models.borders import trace_borders
from tdml.models.split import blocks_of
from tdml.tasks import Language, Masked, Task

# of the largest logit: more than rounding
_SEEN = 1e-4


def check_tokens(
    model: nn.Module, data: MapStyle, inputs: torch.Tensor, targets: torch.Tensor | None = None
) -> None:
    """
    Args:
        data: training samples; `vocabulary`, where it is a number, is what ids are below.
        inputs: the first micro-batch; only token ids, (batch, tokens) whole numbers, are looked at.
        targets: the same, if they are tokens that the model is to predict.

    Raises:
        SettingError: ids or sequences are larger than the model's embeddings, and it cannot take
            them.
    """
    if inputs.is_floating_point() or inputs.dim() != 2:
        return
    given = getattr(data, "vocabulary", None)
    vocabulary = given if isinstance(given, Integral) else 0  # others call a dict of words so
    ids = [inputs] if targets is None else [inputs, targets]
    largest = max((int(each.long().max()) for each in ids if each.numel()), default=-1)
    first = blocks_of(model)[0]
    own = max((m.num_embeddings for m in first.modules() if isinstance(m, nn.Embedding)), default=0)
    # a text's may stand anywhere, and its model's largest table may be that of places; of other
    # numbers each column may have a table of its own
    for token, rows in ((int(vocabulary) - 1, min(own, 1)), (largest, own)):
        if 0 < rows <= token and _takes(first, inputs, 0) and not _takes(first, inputs, token):
            raise SettingError(
                f"data: there may be a token {token}, which the model does not take: set "
                f"model.vocabulary={token + 1} (of model=hf: model.config.vocab_size), or take "
                "the data.tokenizer and the task.mask_token that belong to the model"
            )
    most = getattr(model, "most_tokens", None)
    if most is not None and inputs.shape[1] > most:
        raise SettingError(
            f"data.context: sequences have {inputs.shape[1]} tokens, and the model sees {most} at "
            "most: lower data.context, or take a larger model.context (of model=hf: "
            "model.config.max_position_embeddings)"
        )


def _takes(block: nn.Module, inputs: torch.Tensor, token: int) -> bool:
    """Whether a block takes a token, in a batch of such a shape: it may look it up by less than all
    of it."""
    ids = torch.zeros_like(inputs)
    try:
        ids[0, -1] = token  # which may be beyond what ids hold
        trace_borders([block], ids)
    except (ValueError, RuntimeError):
        return False
    return True


def check_direction(task: Task, model: nn.Module, inputs: torch.Tensor) -> None:
    """Whether a model of tokens looks where its task has it look.

    Args:
        inputs: the first micro-batch, (batch, tokens) whole numbers.

    Raises:
        SettingError: what the model returns for a token depends on the last one, which it is to
            predict.
    """
    ahead = looks_ahead(model, inputs) if isinstance(task, Language) else None
    if isinstance(task, Masked):
        if ahead is False:
            complain(
                "tdml: task=masked: the model does not look at the tokens that follow one, so it "
                "says what is hidden from the left alone: take one that does, such as of model=hf "
                "model.head=masked"
            )
    elif ahead:
        raise SettingError(
            "model: what it returns for a token depends on those that follow, which task=language "
            "has it predict: take a causal model (of model=hf: model.head=causal, and of BERT's "
            "kind model.config.is_decoder=true), or task=masked"
        )


@torch.no_grad()
def looks_ahead(model: nn.Module, inputs: torch.Tensor) -> bool | None:
    """Whether what the model returns for a token depends on the last one; None where the inputs
    cannot tell, or it fails in evaluation, of which the rehearsal says why."""
    if inputs.dim() != 2 or inputs.shape[1] < 2:
        return None
    others = inputs[inputs != inputs[0, -1]]
    if not len(others):
        return None
    changed = inputs[:1].clone()
    changed[0, -1] = others[0]
    mode = model.training
    try:
        model.eval()
        before, after = (_logits(model, ids)[:, :-1] for ids in (inputs[:1], changed))
    except Exception:
        return None
    finally:
        model.train(mode)
    return bool((before - after).abs().max() > _SEEN * before.abs().max())


def _logits(model: nn.Module, value: torch.Tensor) -> torch.Tensor:
    for block in blocks_of(model):
        value = block(value)
    return value.float()
