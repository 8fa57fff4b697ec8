"""What lies in a store of artifacts, read without the store."""

import fsspec
import torch
from safetensors.torch import load


def content(url: str, digest: str) -> bytes:
    """What lies under a SHA-256."""
    files, root = fsspec.core.url_to_fs(url)
    return files.cat_file(f"{root}/{digest[:2]}/{digest[2:]}")


def tensors(url: str, digest: str) -> dict[str, torch.Tensor]:
    """The same, of tensors."""
    return load(content(url, digest))
