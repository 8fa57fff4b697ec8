"""Fill the caches of what compiles at its first use, while the image is built: numba, matplotlib,
and Triton."""

from importlib.util import find_spec
from itertools import product
from types import SimpleNamespace

import matplotlib.font_manager  # noqa: F401 - lists the fonts
import torch

from tdml.trust.fold import fold

_CAPABILITIES = (80, 86, 89, 90, 100, 120)  # of NVIDIA's GPUs from the A100 on
_REPLICAS = range(3, 9)
_COORDINATES = (1, 17, 32)  # Triton tells 1, multiples of 16 and all others apart


def main() -> None:
    """Fill them all."""
    fold(torch.zeros(2, 1))
    if find_spec("triton"):
        for capability in _CAPABILITIES:
            compile_for_gpu(capability)


def compile_for_gpu(capability: int) -> None:
    """Compile the kernels of a few replicas as a GPU of that compute capability, which need not be
    here, would."""
    import triton
    from triton.backends.compiler import GPUTarget

    from tdml.trust import ranking_triton as kernels

    target = GPUTarget("cuda", capability, 32)
    absent = SimpleNamespace(
        get_current_target=lambda: target,
        get_current_device=lambda: capability,
        get_current_stream=lambda device: 0,
    )
    triton.runtime.driver.set_active(absent)
    for replicas, coordinates in product(_REPLICAS, _COORDINATES):
        strides = torch.empty(replicas, coordinates, device="meta").stride()
        sizes = (replicas, kernels._WIDTH, kernels._TRIPS)
        kernels._add_up.warmup(torch.float32, *strides, coordinates, torch.int32, *sizes, grid=(1,))


if __name__ == "__main__":
    main()
