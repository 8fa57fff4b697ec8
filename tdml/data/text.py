"""Text as token ids, in sequences of one length."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from tdml.errors import SettingError, refusing
from tdml.settings.extras import library

_BYTES = "bytes"
_SHOWN = 16  # hex digits of a digest


class Sequences(Dataset):
    """A run of token ids, cut into sequences of `context` + 1: the last token of one is the first
    of the next, which the one is to say and the other may see.

    `vocabulary`: ids are below this; None where nobody knows. `columns`: what they are numbers of,
    in words, which must be the same for all who train; "" where nobody knows.
    """

    def __init__(
        self, ids: np.ndarray, context: int, vocabulary: int | None, columns: str = ""
    ) -> None:
        self._ids, self._context = ids, context
        self.vocabulary, self.columns = vocabulary, columns

    def __len__(self) -> int:
        return max(0, (len(self._ids) - 1) // self._context)

    def __getitem__(self, index: int) -> torch.Tensor:
        """(context + 1,) int64. Raises ValueError: an id is not below the vocabulary."""
        start = index * self._context
        ids = self._ids[start : start + self._context + 1].astype(np.int64)
        if self.vocabulary is not None and (largest := ids.max()) >= self.vocabulary:
            raise ValueError(
                f"token {largest} is not below the vocabulary's {self.vocabulary}: see "
                "data.vocabulary"
            )
        return torch.from_numpy(ids)


def text(
    path: str | Sequence[str] | None, tokenizer: str, context: int, held_out: float
) -> tuple[Sequences, Sequences]:
    """Training and test sequences of UTF-8 text; the last share `held_out` of every file is for the
    test.

    Args:
        path: a file, a folder, of which all files are read, or several; None: the topics that
            Python's help knows.
        tokenizer: "bytes", or the path of a tokenizer.json of Hugging Face's.
        context: tokens that the model sees.

    Raises:
        SettingError: something cannot be read, or there is too little of it.
    """
    encode, vocabulary, columns = _tokenizer(tokenizer)
    parts: list[list[np.ndarray]] = [[], []]
    own = None if tokenizer == _BYTES else Path(tokenizer)
    for written in written_in(path, own):
        cut = round((1 - held_out) * len(written))
        for part, piece in zip(parts, (written[:cut], written[cut:]), strict=True):
            part.append(encode(piece))
    train, test = (Sequences(np.concatenate(part), context, vocabulary, columns) for part in parts)
    check_enough(train, test, context)
    return train, test


def check_enough(train: Sequences, test: Sequences, context: int) -> None:
    """Raises SettingError: there are not two test sequences and one to train on."""
    if len(train) < 1 or len(test) < 2:
        raise SettingError(
            f"data.context={context}: there are {len(train)} training and {len(test)} test "
            "sequences of so many tokens: give more text (data.path), change data.held_out, or "
            "lower data.context"
        )


def _tokenizer(name: str) -> tuple[Callable[[str], np.ndarray], int, str]:
    """Text → ids, what these are below, and which tokenizer it is, in words."""
    if name == _BYTES:
        return lambda written: np.frombuffer(written.encode(), dtype=np.uint8), 256, _BYTES
    tokenizers = library("tokenizers", "hf", f"data.tokenizer={name}, which is not bytes,")
    if not Path(name).is_file():
        raise SettingError(
            f"data.tokenizer={name} is no file: give bytes, or the path of a tokenizer.json, which "
            "tdml tokenize writes"
        )
    with refusing(f"data.tokenizer={name} is no tokenizer.json"):
        tokenizer = tokenizers.Tokenizer.from_file(name)
    # many files say so for the inputs of one model, and would leave the beginnings of texts alone
    tokenizer.no_truncation()
    tokenizer.no_padding()
    # ids need not be without gaps
    size = 1 + max(tokenizer.get_vocab().values(), default=-1)
    kind = np.uint16 if size <= 2**16 else np.uint32
    which = hashlib.sha256(tokenizer.to_str().encode()).hexdigest()[:_SHOWN]
    return (
        lambda written: np.array(
            tokenizer.encode(written, add_special_tokens=False).ids, dtype=kind
        ),
        size,
        f"tokens of tokenizer {which}",
    )


def written_in(path: str | Sequence[str] | None, tokenizer: Path | None = None) -> list[str]:
    """The text of every file that `text` reads: a tokenizer that lies in a folder of text is none
    of it. Raises as it does."""
    return _topics() if path is None else _read(path, tokenizer and tokenizer.resolve())


def _topics() -> list[str]:
    from pydoc_data.topics import topics

    return ["\n".join(topics[name] for name in sorted(topics))]


def _read(path: str | Sequence[str], tokenizer: Path | None) -> list[str]:
    files: list[Path] = []
    for name in [path] if isinstance(path, str) else path:
        place = Path(name)
        if not (place.is_file() or place.is_dir()):  # every rank reads it, and a pipe ends once
            found = "is neither" if place.exists() else "does not exist"
            raise SettingError(
                f"data.path={name} ({place.resolve()}) {found}: give a file or folder of text"
            )
        inside = [place]
        if place.is_dir():
            inside = [file for file in _files_in(place) if file.resolve() != tokenizer]
        if not inside:
            raise SettingError(
                f"data.path={name} is an empty folder: give a file or folder of text"
            )
        files += inside
    return [_text_of(file) for file in files]


def _files_in(folder: Path, above: tuple[Path, ...] = ()) -> list[Path]:
    """All files in it and in folders below it, links to either among them, in the order of their
    names."""
    here = folder.resolve()
    if here in above:
        raise SettingError(
            f"data.path: {folder} is a link to a folder that it is in: leave the link out"
        )
    with refusing(f"data.path: {folder} cannot be read", OSError):
        inside = sorted(folder.iterdir())

    files: list[Path] = []
    for place in inside:
        if place.is_dir():
            files += _files_in(place, (*above, here))
        elif place.is_file():
            files.append(place)
        elif not place.exists():
            raise SettingError(f"data.path: {place} is a link to nothing: leave it out")
    return files


def _text_of(file: Path) -> str:
    with refusing(f"data.path: {file} cannot be read as UTF-8 text: leave it out, or convert it"):
        # Editors put a mark in front that is no part of the text.
        return file.read_text(encoding="utf-8-sig")
