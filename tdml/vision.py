"""torchvision, imported so that it also works beside a CPU build of torch."""

import functools
from types import ModuleType

import torch


@functools.cache
def torchvision() -> ModuleType:
    """The torchvision package.

    Its wheel is compiled for CUDA builds of torch. Beside a CPU build its operators do not load, and
    the import fails because `torchvision::nms` has no schema. Models, datasets and transforms use no
    such operator, so declaring the two schemas that the import asks for is enough.
    """
    try:
        import torchvision as package
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        _declare_operators()
        import torchvision as package
    return package


def _declare_operators() -> None:
    global _library  # noqa: PLW0603 - the schemas live as long as this object does
    _library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        _library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


_library: torch.library.Library | None = None
