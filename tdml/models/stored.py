"""Tensors of a saved model, of which a stage reads its own and no others."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import torch


def stored(folder: Path, names: Sequence[str]) -> Iterator[torch.Tensor | None]:
    """What a folder's safetensors have under the names of a model's parameters, each read when it
    is asked for; None where there is nothing of that name.

    Names may differ: files are older than adapters, and may be of the model without its head. So it
    takes a digest to know that a tensor is the one that is meant.
    """
    from safetensors import safe_open

    with ExitStack() as stack:
        files = [
            stack.enter_context(safe_open(file, framework="pt"))
            for file in sorted(folder.glob("*.safetensors"))
        ]
        places = {key: file for file in files for key in file.keys()}  # noqa: SIM118 - no mapping
        for name in names:
            key = next(filter(places.get, _keys(name)), None)
            yield None if key is None else places[key].get_tensor(key)


def _keys(name: str) -> tuple[str, str]:
    """How a parameter may be called in a file."""
    plain = name.removeprefix("base_model.model.").replace(".base_layer.", ".")
    return plain, plain.partition(".")[2]
