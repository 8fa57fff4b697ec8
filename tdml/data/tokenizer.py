"""Tokenizers that are trained on the text at hand."""

from collections.abc import Sequence
from pathlib import Path

from tdml.common.files import replace_file
from tdml.data.text import written_in
from tdml.errors import SettingError, refusing
from tdml.settings.extras import library

SPECIAL = ("<|endoftext|>", "<mask>")  # their ids are 0 and 1
_LEAST = len(SPECIAL) + 256  # the bytes, of which all text consists
_MOST = 2**31  # ids have 32 bits


def train_tokenizer(paths: Sequence[str], vocabulary: int, out: Path) -> int:
    """Learn a byte-level byte-pair encoding (Sennrich et al., arXiv 1508.07909; Radford et al.,
    2019) and write it as a tokenizer.json.

    Args:
        paths: files of UTF-8 text, or folders of them; none: the topics that Python's help knows.
        vocabulary: tokens at most: of little text fewer are learnt.

    Returns how many tokens there are.

    Raises:
        SettingError: the library is missing, a file cannot be read, the vocabulary cannot be, or
            `out` is something else than an earlier tokenizer.
    """
    tokenizers = library("tokenizers", "hf", "tdml tokenize")
    if not _LEAST <= vocabulary <= _MOST:
        raise SettingError(
            f"--vocabulary {vocabulary} must be from {_LEAST}, a token a byte, to {_MOST}"
        )
    if out.exists():  # perhaps the text itself, in the wrong place
        other = f"{out} is there, and is no tokenizer.json: first the one to write, then the text"
        with refusing(other):
            tokenizers.Tokenizer.from_file(str(out))
    parts = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer, tokenizer.decoder = parts, tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(SPECIAL),
        initial_alphabet=parts.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(written_in(list(paths) or None, out), trainer)
    out.parent.mkdir(parents=True, exist_ok=True)
    replace_file(out, tokenizer.to_str(pretty=True) + "\n")
    return tokenizer.get_vocab_size()
