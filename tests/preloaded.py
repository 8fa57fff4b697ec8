"""What the server that forks the ranks of `tests/jobs.py` does once for all of them: it imports what
they import, and loads what they would load when they first use it."""

import gc
import importlib

gc.disable()
for _name in (
    "tdml.run.start_coordinator",
    "tdml.run.start_worker",
    "tdml.monitor.report",
    "tdml.monitor.monitor",
    "tdml.node.pipeline",
    "tdml.attacks.node",
    "tests.plugins",
    # at first use
    "matplotlib.backends.backend_svg",
    "safetensors.torch",
    "scipy.linalg",
    "tdml.trust.fold_compiled",
    "tdml.trust.ranking_compiled",
    "tensorboard.plugins.hparams.api_pb2",
    "torch._dynamo",
):
    importlib.import_module(_name)

importlib.import_module("tests.composing").compose_once()
importlib.import_module("tdml.config").load(["model=cnn"])  # as most jobs of tests have it

_numba = importlib.import_module("numba.core.registry").cpu_target
_numba.typing_context.refresh()
_numba.target_context.refresh()

gc.freeze()  # ranks neither copy nor look through it
gc.enable()
