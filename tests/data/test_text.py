"""Text and files of token ids."""

import os
import resource
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tdml.data.contents import contents_of, form_of
from tdml.data.source import load
from tdml.data.text import text, written_in
from tdml.errors import SettingError
from tdml.tasks import Language


def loaded(name, **settings):
    defaults = {"text": {"path": None, "tokenizer": "bytes", "held_out": 0.2}, "tokens": {
        "test": None, "dtype": "uint16", "vocabulary": None, "held_out": 0.2,
    }}[name]  # fmt: skip
    return load(
        {"_target_": f"tdml.data.{name}", "context": 4, **defaults, **settings}, 0, Language()
    )


def test_a_text_is_cut_into_sequences_that_overlap_by_one(tmp_path):
    # 16 to train on, 4 held out
    (tmp_path / "a.txt").write_text("abcdefghijklmnopqrst", encoding="utf-8")
    (tmp_path / "b.txt").write_text("äöüß" * 5, encoding="utf-8")  # 20 characters of two bytes
    train, test = loaded("text", path=str(tmp_path)).train, loaded("text", path=str(tmp_path)).test
    ids = [*b"abcdefghijklmnop", *("äöüß" * 4).encode()]
    assert [train[i].tolist() for i in range(len(train))] == [
        ids[i : i + 5] for i in range(0, len(ids) - 4, 4)
    ]
    assert bytes(test[0].tolist()) == b"qrst\xc3"
    assert train.vocabulary == 256


def test_several_paths_and_what_comes_with_python(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).write_text(name * 100)
    both = loaded("text", path=[str(tmp_path / "a"), str(tmp_path / "b")]).train
    assert len(both) == (160 - 1) // 4
    assert bytes(loaded("text", context=32).train[0].tolist()).startswith(b'The "assert" statement')


@pytest.mark.timeout(60)
def test_a_pipe_is_no_text(tmp_path):
    """As a shell's <(zcat FILE) is: who reads it first has all, and the others wait for ever."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SettingError, match="is neither: give a file or folder of text"):
        loaded("text", path=str(tmp_path / "pipe"))


@pytest.mark.parametrize("last", [3, 9, 70_000])
def test_a_tokenizer_of_hugging_face(last, tmp_path):
    """Its ids need not be without gaps."""
    tokenizers = pytest.importorskip("tokenizers", reason="needs pip install 'tdml[hf]'")
    words = {"[UNK]": 0, "one": 1, "two": 2, "three": last}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "text").write_text("one two three four " * 40)
    source = loaded("text", path=str(tmp_path / "text"), tokenizer=str(tmp_path / "tokenizer.json"))
    assert source.train[0].tolist() == [1, 2, last, 0, 1]
    assert source.train.vocabulary == last + 1


def test_a_tokenizer_that_cuts_and_fills_up_loses_no_text(tmp_path):
    """As files are that belong to models whose inputs have one length."""
    tokenizers = pytest.importorskip("tokenizers", reason="needs pip install 'tdml[hf]'")
    words = {"[PAD]": 0, "one": 1, "two": 2}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="[PAD]"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a").write_text("one two " * 400)
    (tmp_path / "text" / "b").write_text("two " * 10)
    found, forms = [], set()
    for name in ("plain", "cuts", "fills"):
        if name == "cuts":
            tokenizer.enable_truncation(16)
        if name == "fills":
            tokenizer.enable_padding(length=128)
        tokenizer.save(str(tmp_path / name))
        source = loaded("text", path=str(tmp_path / "text"), tokenizer=str(tmp_path / name))
        found.append([source.train[i].tolist() for i in range(len(source.train))])
        forms.add(form_of(source))
    assert len(found[0]) == (0.8 * 810 - 1) // 4 and not any(0 in ids for ids in found[0])
    assert found[0] == found[1] == found[2]
    # whose texts stay with their owners may have other ones
    forms.add(form_of(loaded("text", path=str(tmp_path / "text"))))
    assert len(forms) == 2, forms


def test_tokens_are_those_of_the_file(tmp_path):
    ids = np.arange(1000, dtype="<u4") * 70
    ids.tofile(tmp_path / "ids")
    source = loaded("tokens", path=str(tmp_path / "ids"), dtype="uint32")
    inputs, targets = source.training_batch([3, 0], seed=0)
    assert inputs.tolist() == [ids[12:16].tolist(), ids[:4].tolist()]
    assert targets.tolist() == [ids[13:17].tolist(), ids[1:5].tolist()]
    assert len(source.train) == 199 and len(source.test) == 49
    other = loaded("tokens", path=str(tmp_path / "ids"), test=str(tmp_path / "ids"), dtype="uint32")
    assert len(other.train) == len(other.test) == 249


def test_ten_gigabytes_take_no_memory_and_no_time(tmp_path):
    """A sparse file, in which what is read afterwards was never looked at before."""
    file = tmp_path / "ids"
    with file.open("wb") as out:
        out.truncate(10 * 2**30)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    source = loaded("tokens", path=str(file), context=1024, held_out=0.01)
    contents_of(source, 0)
    batch, _ = source.training_batch([len(source.train) - 1, 5], seed=0)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * (
        1 if sys.platform == "darwin" else 2**10
    )
    assert batch.shape == (2, 1024)
    assert len(source.train) > 5_000_000
    assert grown < 100 * 2**20


def test_links_are_read_as_what_they_lead_to(tmp_path):
    for name in ("text", "else", "text/folder"):
        (tmp_path / name).mkdir()
    for name in ("text/a", "text/folder/b", "else/c"):
        (tmp_path / name).write_text(name[-1] * 10)
    (tmp_path / "text" / "link").symlink_to("../else")
    (tmp_path / "text" / "one").symlink_to("../else/c")
    (tmp_path / "linked").symlink_to("text")
    read = ["a" * 10, "b" * 10, "c" * 10, "c" * 10]
    assert written_in(str(tmp_path / "text")) == written_in(str(tmp_path / "linked")) == read


@pytest.mark.parametrize(
    ("leads_to", "message"),
    [("..", "link to a folder that it is in"), ("nowhere", "link to nothing: leave it out")],
)
def test_links_that_lead_nowhere_are_the_users_mistake(leads_to, message, tmp_path):
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a").write_text("a" * 100)
    (tmp_path / "text" / "link").symlink_to(leads_to)
    with pytest.raises(SettingError, match=message):
        written_in(str(tmp_path))


def test_a_file_that_has_the_name_of_the_default_tokenizer_is_text(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bytes").write_text("a" * 100)
    train, test = text(".", "bytes", 8, 0.2)
    assert (len(train), len(test)) == (79 // 8, 19 // 8)  # a last token has nothing to predict


def test_a_mark_at_the_beginning_of_a_file_is_no_text(tmp_path):
    (tmp_path / "a").write_bytes(b"\xef\xbb\xbfgr\xc3\xb6\xc3\x9fe")
    assert written_in(str(tmp_path)) == ["größe"]


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("text", {"path": "nowhere.txt"}, "data.path=nowhere.txt"),
        ("text", {"path": "BINARY"}, "cannot be read as UTF-8 text: leave it out, or convert it: "),
        ("text", {"path": "EMPTY"}, "is an empty folder"),
        (
            "text",
            {"path": "SHORT"},
            "data.context=4: there are 1 training and 0 test sequences of so many tokens",
        ),
        ("text", {"tokenizer": "nowhere.json"}, "data.tokenizer=nowhere.json"),
        (
            "tokens",
            {"path": None},
            "data.path=None is no file: give one of token ids, uint16 without a header",
        ),
        ("tokens", {"path": "BINARY"}, "has 5 bytes, which are no uint16 numbers: see data.dtype"),
        (
            "tokens",
            {"path": "NPY"},
            "is numpy's .npy, which has a header: write it without one, by np.load(path)",
        ),
        ("tokens", {"path": "SHORT", "test": "NPY"}, "data.test="),
        ("tokens", {"path": "INT64"}, "every second number is 0, as where wider ones are read as"),
        ("tokens", {"path": "UINT32"}, "as where wider ones are read as uint16: see data.dtype"),
        ("tokens", {"path": "LARGE"}, "every second number is at most 1, as where wider ones are"),
        ("tokens", {"path": "LARGE"}, "or write ids that are so themselves as uint32"),
        (
            "tokens",
            {"path": "INT64", "dtype": "uint32"},
            "as where wider ones are read as uint32: see data.dtype",
        ),
        (
            "tokens",
            {"path": "SHORT"},
            "data.context=4: there are 0 training and 0 test sequences of so many tokens: give "
            "more text (data.path), change data.held_out, or lower data.context",
        ),
    ],
)
def test_what_cannot_be_read_is_the_users_mistake(name, settings, message, tmp_path):
    (tmp_path / "EMPTY").mkdir()
    (tmp_path / "SHORT").write_text("abcdefgh")
    (tmp_path / "BINARY").write_bytes(b"\xff\xfe\x00\x00\xff")
    with (tmp_path / "NPY").open("wb") as file:
        np.save(file, np.arange(2000))
    np.array([7, 0, 9] * 200).tofile(tmp_path / "INT64")  # as of any list
    np.array([7, 0, 9] * 200, dtype="<u4").tofile(tmp_path / "UINT32")
    np.arange(1000, 128_000, 7, dtype="<u4").tofile(tmp_path / "LARGE")  # as Llama 3 has them
    files = ("EMPTY", "SHORT", "BINARY", "NPY", "INT64", "UINT32", "LARGE")
    given = {k: str(tmp_path / v) if v in files else v for k, v in settings.items()}
    with pytest.raises(SettingError) as caught:
        loaded(name, **given)
    assert message in str(caught.value)


@pytest.mark.parametrize("start", [[0] * 4094 + [7, 0], [7, 0] * 2500, [7, 0, 0, 0] * 1500])
def test_tokens_that_begin_like_halves_are_none(start, tmp_path):
    """As where a file begins with padding, or with one id and what fills it up."""
    others = np.random.default_rng(0).integers(0, 50, 4000, dtype=np.uint16)
    np.array([*start, *others], dtype=np.uint16).tofile(tmp_path / "ids")
    assert loaded("tokens", path=str(tmp_path / "ids")).train[0].tolist() == start[:5]


def test_an_id_beyond_the_vocabulary_is_named(tmp_path):
    (np.arange(100) % 9).astype("<u2").tofile(tmp_path / "ids")
    source = loaded("tokens", path=str(tmp_path / "ids"), vocabulary=8)
    with pytest.raises(
        SettingError,
        match=r"training sample 1 cannot be read: ValueError: token 8 is not below .*'s 8",
    ):
        source.training_batch([0, 1], seed=0)


def test_shares_and_batches_know_no_labels():
    source = loaded("text")
    assert source.strata is None and source.test_strata is None
    assert contents_of(source, 0).training_labels == ""
    inputs, targets = source.held_out_batch("validation", [0])
    assert inputs.dtype == torch.int64 and torch.equal(inputs[0, 1:], targets[0, :-1])


def test_files_come_in_the_order_of_their_names(tmp_path: Path):
    for name in ("b", "c", "a"):
        (tmp_path / name).write_text(name * 10)
    train = loaded("text", path=str(tmp_path), context=2).train
    assert (
        b"".join(bytes(train[i].tolist()[:2]) for i in range(len(train)))
        == b"a" * 8 + b"b" * 8 + b"c" * 6
    )


def test_ids_of_which_every_second_is_small_can_be_written_as_wider_ones(tmp_path):
    """As where each token has a mark behind it."""
    ids = np.stack([np.arange(1000, 3000), np.arange(2000) % 2], axis=1)
    ids.astype("<u4").tofile(tmp_path / "ids")
    source = loaded("tokens", path=str(tmp_path / "ids"), dtype="uint32")
    assert source.train[0].tolist()[:4] == [1000, 0, 1001, 1]
