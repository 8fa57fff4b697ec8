"""TensorBoard: scalars, the scatter of ranks, and the hyperparameters."""

import threading
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from tdml.errors import one_line
from tdml.monitor.figures import rank_scatter
from tdml.monitor.record import headline, line_of, ranked
from tdml.round.result import Round
from tdml.settings.schema import Config

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Its writer thread would print a stack trace where the disk is full. The round's own record then
# says so in one line.
_usual_hook = threading.excepthook


def _without_full_disks(failure: threading.ExceptHookArgs) -> None:
    is_writer = type(failure.thread).__module__.startswith("tensorboard.")
    if not (is_writer and issubclass(failure.exc_type, OSError)):
        _usual_hook(failure)


class TensorBoard:
    """Writes one event file in RUN/tensorboard. On resuming, what lies after `first_round` is
    superseded."""

    def __init__(self, run: Path, config: Config, first_round: int) -> None:
        threading.excepthook = _without_full_disks
        self._writer = SummaryWriter(str(run / "tensorboard"), purge_step=first_round)
        self._config = config

    def add(self, played: Round) -> None:
        """Write one round."""
        line, step = line_of(played), played.number
        if step == 1:
            # add_hparams would open a second event file; these are the summaries that it writes.
            for summary in hparams(hyperparameters(self._config), {f"test/{headline(line)}": 0.0}):
                # torch's stubs say that there is none.
                self._writer.file_writer.add_summary(summary)  # type: ignore[attr-defined]
        scalars = {
            f"{split}/{name.removeprefix(split)[1:]}": value
            for split in ("test", "validation")
            for name, value in line.items()
            if name.startswith(f"{split}_")
        }
        for name, replica in line["replicas"].items():
            for key in ("train_loss", "rank_mean", "rank_std"):
                scalars[f"{key}/r{name}"] = replica[key]
        scalars |= {f"seconds/{phase}": value for phase, value in line["seconds"].items()}
        scalars |= {f"bytes/{way}": value for way, value in line["bytes"].items()}
        scalars["accepted_replicas"] = len(line["accepted"])
        for tag, value in scalars.items():
            if value is not None:
                self._writer.add_scalar(tag, value, step)
        if ranked(line):
            figure = rank_scatter(line)
            figure.set_dpi(110)
            self._writer.add_image("ranks", _pixels(figure), step, dataformats="HWC")
        for note in line["notes"]:
            self._writer.add_text("notes", _as_it_is(note), step)
        self._writer.flush()

    def take_back(self, after: int) -> None:
        """The rounds after one come again: what was written of them is superseded."""
        self._writer.close()
        self._writer = SummaryWriter(self._writer.log_dir, purge_step=after + 1)

    def close(self) -> None:
        """Finish the event file."""
        self._writer.close()


def hyperparameters(config: Config) -> dict[str, str | int | float | bool]:
    """The settings that a comparison of runs would sort by."""
    flat = {
        "model": config.model["_target_"].rpartition(".")[2],
        "task": config.task["_target_"].rpartition(".")[2],
        "data": config.data["_target_"].rpartition(".")[2],
        "partition": config.data.get("partition", "iid"),
        "attack": (config.attack.get("_target_") or "none").rpartition(".")[2],
        "seed": config.seed,
    }
    for group in ("topology", "sync", "trust", "train"):
        for key, value in vars(getattr(config, group)).items():
            flat[f"{group}.{key}"] = value if isinstance(value, bool | int | float) else str(value)
    return flat


def _as_it_is(text: str) -> str:
    """In Markdown, as code: a contributor may have a part in it, and links and images are none of
    its business."""
    return f"    {one_line(text)}"


def _pixels(figure: "Figure") -> np.ndarray:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]
