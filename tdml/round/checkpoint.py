"""A checkpoint after every round, from which the job goes on with the same weights, bit for bit.
How long replicas may take, and which were late, is not kept."""

import hashlib
import io
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch

from tdml.common.files import write_whole
from tdml.errors import SettingError

_FORM = 15  # of what is kept, here and in the ledger: another number whenever that changes
_DIGEST = 32  # bytes of SHA-256 at the end of a file, over all before it
# others in the folder are the user's own
_NAME = re.compile(r"round-([0-9]{6}|[1-9][0-9]{6,})\.pt")
_LEAST = 2  # the last, and the one before it in case the last cannot be read


class Return(NamedTuple):
    """A run has gone back to the checkpoint's round."""

    round: int  # from which it has gone back
    reason: str
    entries: int  # of the ledger, before it said so


@dataclass(frozen=True)
class Checkpoint:
    """All that the next round depends on, besides the settings."""

    round: int  # the last round that is part of it
    model: dict[str, torch.Tensor]  # parameters and buffers of the un-split model
    outer: list[torch.Tensor]  # state of the outer optimizer
    moved: int  # the last round that has changed the model; 0: none has
    cuts: list[int]
    fleet: dict  # the nodes, those that are banned, and who sits where
    judge: dict  # what is known of the nodes so far, and what may still be spent on looking at them
    balance: dict  # how fast the replicas are
    left_out: dict  # training samples, and the rounds that have shown what is wrong with them
    notices: list[str]  # what the user should know of the run so far
    metrics: str  # the round's line of metrics.jsonl
    back: Return | None = None


def save(checkpoint: Checkpoint, folder: Path, memory: int) -> None:
    """Write a checkpoint, which gets its final name once it is complete; then drop old ones.

    Args:
        memory: bytes of disk for all of them.
    """
    folder.mkdir(exist_ok=True)
    # torch reads plain values only
    back = checkpoint.back and tuple(checkpoint.back)
    content = _serialised({"form": _FORM} | vars(checkpoint) | {"back": back})
    _write([content, hashlib.sha256(content).digest()], path_of(folder, checkpoint.round))
    # where the run goes back, those of later rounds are void, and dropped when that is recorded
    there = [number for number in rounds_in(folder) if number <= checkpoint.round]
    most = max(_LEAST, memory // max(1, path_of(folder, checkpoint.round).stat().st_size))
    for number in set(there) - {checkpoint.round, *to_keep(there)[:most]}:
        path_of(folder, number).unlink()


def to_keep(rounds: Sequence[int]) -> list[int]:
    """Which checkpoints to keep, the newest first: the last two; and each other for four times as
    many rounds as the largest power of two that divides its number. So for every d there is one
    between d and 2·d rounds ago."""
    newest = max(rounds)
    return sorted((r for r in rounds if newest - r <= max(1, 4 * (r & -r))), reverse=True)


def rounds_in(folder: Path) -> list[int]:
    """The numbers of the rounds whose checkpoints are in a folder."""
    names = map(_NAME.fullmatch, os.listdir(folder) if folder.is_dir() else [])
    return sorted(int(name[1]) for name in names if name)


def path_of(folder: Path, number: int) -> Path:
    """Where the checkpoint of a round lies."""
    return folder / f"round-{number:06d}.pt"


def load(folder: Path, before: int) -> Checkpoint | None:
    """The newest checkpoint that can be read, of a round before `before`; None if there is none."""
    for number in reversed([number for number in rounds_in(folder) if number < before]):
        if (checkpoint := _read(path_of(folder, number))) is not None:
            return checkpoint
    return None


def passed_over(folder: Path, last: int) -> str:
    """What to say of newer checkpoints than the one of round `last`, which is the newest that can
    be read; "" if there are none."""
    newer = [path_of(folder, number).name for number in rounds_in(folder) if number > last]
    if not newer:
        return ""
    damaged = f"{' and '.join(newer)} in {folder} {'is' if len(newer) == 1 else 'are'} damaged"
    return f"{damaged}: the run goes on from the checkpoint of round {last}"


def drop(folder: Path, after: int) -> None:
    """Remove the checkpoints of all rounds after one, the newest last, for it knows who is banned,
    and what they have put into the weights."""
    for number in [number for number in rounds_in(folder) if number > after]:
        path_of(folder, number).unlink()


def set_aside(folder: Path, number: int) -> str:
    """Keep the checkpoint of a round under a name that no run drops, which is returned."""
    kept = folder / f"kept-{number:06d}.pt"
    kept.unlink(missing_ok=True)
    try:
        os.link(path_of(folder, number), kept)
    except OSError:  # not every disk has such links
        shutil.copyfile(path_of(folder, number), kept)
    return kept.name


def load_last(folder: Path) -> Checkpoint | None:
    """The newest checkpoint of a run that can be read, None if there is none.

    Raises:
        SettingError: there are checkpoints, but none of them can be read, or another version of
            TDML wrote them.
    """
    rounds = rounds_in(folder)
    checkpoint = load(folder, before=rounds[-1] + 1) if rounds else None
    if rounds and checkpoint is None:
        raise SettingError(
            f"resume=true, but no checkpoint in {folder} can be read: they are damaged, or another "
            "version of TDML wrote them. Go on with that version, or start with resume=false"
        )
    return checkpoint


def _read(path: Path) -> Checkpoint | None:
    try:
        content = memoryview(path.read_bytes())
        whole, digest = content[:-_DIGEST], content[-_DIGEST:]
        if hashlib.sha256(whole).digest() != digest:
            return None
        kept = torch.load(io.BytesIO(whole), weights_only=True)
        if kept.pop("form") != _FORM:
            return None
        kept["back"] = kept["back"] and Return(*kept["back"])
        return Checkpoint(**kept)
    except Exception:  # what is none makes torch raise almost anything
        return None


def save_atomically(value: object, path: Path) -> None:
    """`torch.save` such that an interrupted write leaves nothing under `path`."""
    _write([_serialised(value)], path)


def _serialised(value: object) -> memoryview:
    """Torch turns a full disk into a RuntimeError of its own; plain writes say OSError."""
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getbuffer()


def _write(parts: Sequence[bytes | memoryview], path: Path) -> None:
    write_whole(path, parts, path.with_suffix(".partial"))
