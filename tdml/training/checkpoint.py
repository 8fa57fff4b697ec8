"""A checkpoint after every round, from which the job goes on bit for bit."""

import io
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from tdml.errors import SettingError

_FORM = 1  # of what is kept: another number whenever that changes
_KEPT = 2  # the last, and the one before it in case the last cannot be read


@dataclass(frozen=True)
class Checkpoint:
    """What the next round depends on. Everything else follows from the settings."""

    round: int  # the last round that is part of it
    model: dict[str, torch.Tensor]  # parameters and buffers of the un-split model
    outer: list[torch.Tensor]  # state of the outer optimizer
    cuts: list[int]
    fleet: dict  # banned nodes and who sits where
    court: dict  # the evidence so far, and what cross-checks may still spend
    metrics: str  # the round's line of metrics.jsonl


def save(checkpoint: Checkpoint, folder: Path) -> None:
    """Write it under its final name only once it is complete, then drop the oldest."""
    folder.mkdir(exist_ok=True)
    save_atomically({"form": _FORM} | asdict(checkpoint), folder / f"round-{checkpoint.round:06d}.pt")
    for old in sorted(folder.glob("round-*.pt"))[:-_KEPT]:
        old.unlink()


def how_to_go_on(last_round: int) -> str:
    """What to do after a run that has ended early, whose last checkpoint is of that round."""
    return "go on with resume=true" if last_round else "begin again with resume=false"


def load_last(folder: Path) -> Checkpoint | None:
    """The newest checkpoint of a run that can be read, None if there is none.

    Raises:
        SettingError: there are checkpoints, but none of them can be read, or another version of TDML wrote them.
    """
    found = sorted(folder.glob("round-*.pt"), reverse=True)
    for path in found:
        try:
            kept = torch.load(path, weights_only=True)
            if kept.pop("form") == _FORM:
                return Checkpoint(**kept)
        except Exception:  # a damaged file makes torch raise almost anything
            continue
    if found:
        raise SettingError(
            f"resume=true, but no checkpoint in {folder} can be read: they are damaged, or another version of TDML "
            "wrote them. Go on with that version, or start with resume=false"
        )
    return None


def save_atomically(value: object, path: Path) -> None:
    """`torch.save` such that an interrupted write leaves nothing under `path`."""
    partial = path.with_suffix(".partial")
    buffer = io.BytesIO()  # torch turns a full disk into a RuntimeError of its own; plain writes say OSError
    torch.save(value, buffer)
    try:
        with partial.open("wb") as file:
            file.write(buffer.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
