"""The types of tensors that may travel."""

import torch

DTYPES = {
    str(dtype): dtype
    for dtype in (
        torch.float32,
        torch.float64,
        torch.float16,
        torch.bfloat16,
        torch.int64,
        torch.int32,
        torch.int16,
        torch.int8,
        torch.uint64,
        torch.uint32,
        torch.uint16,
        torch.uint8,
        torch.bool,
    )
}


def travels(dtype: torch.dtype) -> bool:
    """Whether messages may have tensors of this type."""
    return dtype in DTYPES.values()


def rounds_to_few(values: torch.Tensor, scaled: torch.Tensor | None = None) -> bool:
    """Whether different numbers become the same ones in float32 to such a degree that no more than
    half of them are left: moments in seconds since 1970 are rounded to two minutes. `scaled`: what
    they are before that, where float64 may have made one of several already."""
    rounded = values if scaled is None else scaled
    return 2 * len(rounded.float().unique()) <= len(values.double().unique())
