"""torchvision beside a CPU build of torch."""

import functools
import importlib.machinery
import importlib.util
import sys
from types import ModuleType

import torch


@functools.cache
def mend_torchvision() -> None:
    """Have `import torchvision` work, in whatever file it stands. To be called before users' code
    is imported; imports nothing itself.

    torchvision's wheel is compiled for CUDA builds of torch. Beside a CPU build its operators do
    not load, and the import fails because `torchvision::nms` has no schema. Models, datasets and
    transforms use no such operator, so declaring the two schemas that the import asks for is
    enough.
    """
    package = importlib.util.find_spec("torchvision")
    if package is None or "torchvision" in sys.modules:
        return
    operators = importlib.machinery.PathFinder.find_spec("_C", package.submodule_search_locations)
    if operators is None or operators.origin is None or not _load(operators.origin):
        _declare_operators()


def torchvision() -> ModuleType:
    """The torchvision package."""
    mend_torchvision()
    import torchvision as package

    return package


def _load(library: str) -> bool:
    try:
        torch.ops.load_library(library)  # as the import does
    except OSError:
        return False
    return True


def _declare_operators() -> None:
    global _library  # noqa: PLW0603 - the schemas live as long as this object does
    _library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        _library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


_library: torch.library.Library | None = None
