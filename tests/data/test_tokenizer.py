"""`tdml tokenize`."""

import sys
from pathlib import Path

import pytest

from tdml import cli
from tdml.data.source import load
from tdml.data.text import text
from tdml.tasks import Language


def tokenized(*arguments: object) -> int:
    return cli.run(["tokenize", *map(str, arguments)])


def test_what_is_learnt_reads_the_text_in_fewer_tokens_and_gives_it_back(tmp_path, capsys):
    library = pytest.importorskip("tokenizers", reason="needs pip install 'tdml[hf]'")
    written = "the cat sat on the mat, and the dog saw the cät. " * 40
    (tmp_path / "text").write_text(written, encoding="utf-8")
    out = tmp_path / "a" / "tokenizer.json"
    assert tokenized(out, tmp_path / "text", "--vocabulary", 280) == 0
    assert capsys.readouterr().out.endswith(f"data.tokenizer={out} model.vocabulary=280\n")
    tokenizer = library.Tokenizer.from_file(str(out))
    ids = tokenizer.encode(written).ids
    assert len(ids) < 0.5 * len(written)
    assert tokenizer.decode(ids) == written
    unseen = "Žluťoučký kůň 馬\n\t"
    assert tokenizer.decode(tokenizer.encode(unseen).ids) == unseen
    assert [tokenizer.token_to_id(name) for name in ("<|endoftext|>", "<mask>")] == [0, 1]
    source = load(
        {
            "_target_": "tdml.data.text",
            "path": str(tmp_path / "text"),
            "tokenizer": str(out),
            "context": 8,
            "held_out": 0.2,
        },
        0,
        Language(),
    )
    assert source.train.vocabulary == 280
    assert max(int(source.train[i].max()) for i in range(len(source.train))) < 280


def test_of_little_text_little_is_learnt(tmp_path, capsys):
    pytest.importorskip("tokenizers", reason="needs pip install 'tdml[hf]'")
    (tmp_path / "text").write_text("ab")
    assert tokenized(tmp_path / "x.json", tmp_path / "text") == 0
    assert capsys.readouterr().out.endswith("model.vocabulary=259\n")


def test_one_that_lies_in_the_folder_of_the_text_is_no_text(tmp_path, monkeypatch):
    """Else it would be trained on, and the next tokenizer learnt from it."""
    pytest.importorskip("tokenizers", reason="needs pip install 'tdml[hf]'")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a").write_text("the cat sat on the mat " * 40)
    out = tmp_path / "text" / "tokenizer.json"
    learnt = []
    for _ in range(2):
        assert tokenized("text/tokenizer.json", "text") == 0
        learnt.append(out.read_text())
    assert learnt[0] == learnt[1]
    train, _ = text("text", str(out), 8, 0.2)
    other = out.rename(tmp_path / "tokenizer.json")
    assert len(train) == len(text("text", str(other), 8, 0.2)[0])


def test_an_earlier_one_is_replaced_and_nothing_else(tmp_path, capsys):
    """`tdml tokenize TEXT` would write into the text."""
    pytest.importorskip("tokenizers", reason="needs pip install 'tdml[hf]'")
    (tmp_path / "text").write_text("ab")
    for _ in range(2):
        assert tokenized(tmp_path / "x.json", tmp_path / "text") == 0
    assert tokenized(tmp_path / "text", tmp_path / "x.json") == 1
    assert "text is there, and is no tokenizer.json: first the one to" in capsys.readouterr().err
    assert (tmp_path / "text").read_text() == "ab"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere.txt",), "data.path=nowhere.txt"),
        (
            ("--vocabulary", "257"),
            "--vocabulary 257 must be from 258, a token a byte, to 2147483648",
        ),
        (("--vocabulary", str(10**21)), "--vocabulary 1000000000000000000000 must be from 258"),
    ],
)
def test_what_cannot_be_learnt_is_one_line(arguments, message, tmp_path: Path, capsys):
    pytest.importorskip("tokenizers", reason="needs pip install 'tdml[hf]'")
    assert tokenized(tmp_path / "x.json", *arguments) == 1
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1


def test_without_the_library_it_says_what_it_needs(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    assert tokenized(tmp_path / "x.json") == 1
    assert (
        "tdml tokenize needs tokenizers, which is not installed: pip install"
        in capsys.readouterr().err
    )
