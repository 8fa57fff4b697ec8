"""Tables in CSV files."""

import sys
from fractions import Fraction

import numpy as np
import pytest
import torch

from tdml.data import csv
from tdml.errors import SettingError

TABLE = "size,weight,kind,price\n" + "\n".join(
    f"{i},{i % 5},{'ab'[i % 2]},{3 * i}" for i in range(20)
)


def table(tmp_path, text=TABLE, **settings):
    (tmp_path / "table.csv").write_text(text)
    return csv(
        **{
            "path": str(tmp_path / "table.csv"),
            "target": "price",
            "classes": False,
            "held_out": 0.25,
        }
        | settings
    )


def without_kind(text=TABLE):
    return "\n".join(
        ",".join(line.split(",")[:2] + line.split(",")[3:]) for line in text.splitlines()
    )


def test_a_row_is_a_sample_and_numbers_are_scaled(tmp_path):
    train, test = table(tmp_path, without_kind())
    assert (len(train), len(test)) == (15, 5)
    features, targets = (
        torch.stack(part) for part in zip(*(train[i] for i in range(15)), strict=True)
    )
    assert features.shape == (15, 2) and targets.shape == (15, 1)
    for values in (features, targets):
        torch.testing.assert_close(values.mean(0), torch.zeros(values.shape[1]), atol=1e-6, rtol=0)
        torch.testing.assert_close(values.std(0, correction=0), torch.ones(values.shape[1]))
    assert np.corrcoef(features[:, 0], targets[:, 0])[0, 1] == pytest.approx(1)
    assert torch.equal(table(tmp_path, without_kind())[0][3][0], train[3][0]), (
        "the split is the same in every job"
    )


def test_empty_lines_at_the_end_are_none(tmp_path):
    assert len(table(tmp_path, TABLE + "\n\n", target="kind", classes=True)[0]) == 15


def test_what_is_done_to_the_columns_is_the_same_on_every_machine(tmp_path):
    """Of numbers that are added up in another order the samples would be others, by little, and
    honest work on them would be found false."""
    sizes = [2.0**60, 1.0, 700.0, -(2.0**60), 300.0] * 8
    text = "size,price\n" + "\n".join(f"{size!r},{i}" for i, size in enumerate(sizes))
    train, _ = table(tmp_path, text)
    exact = float(sum(Fraction(sizes[row]) for row in train.origin.rows))
    assert train.facts["features"]["size"]["mean"] == exact / len(train)


def test_a_column_of_one_number_is_left_as_it_is_in_other_rows(tmp_path):
    """The sum of 199 times 89.43, divided by 199, is another number, from which 90 was 4e13
    deviations away."""
    lines = ["size,price", *(f"89.43,{i}" for i in range(265))]
    held_out = table(tmp_path, "\n".join(lines))[1].origin.rows[0]
    lines[1 + held_out] = f"90,{held_out}"
    train, test = table(tmp_path, "\n".join(lines))
    assert len(train) == 199 and {float(train[i][0]) for i in range(199)} == {0.0}
    assert float(test[0][0]) == pytest.approx(0.57)


def test_what_was_done_to_the_columns_is_known(tmp_path):
    """So that a model can be used on other rows."""
    raw, _ = table(tmp_path, without_kind(), scaled=False)
    train, _ = table(tmp_path, without_kind())
    for place, name in enumerate(("size", "weight")):
        scale = train.facts["features"][name]
        mine = [(raw[i][0][place] - scale["mean"]) / scale["deviation"] for i in range(15)]
        torch.testing.assert_close(
            torch.stack(mine), torch.stack([train[i][0] for i in range(15)])[:, place]
        )
    assert train.facts["target"]["price"]["deviation"] > 1
    assert all(3 * raw[i][0][0] == raw[i][1] for i in range(15))


@pytest.mark.parametrize(
    ("text", "settings", "message"),
    [
        (
            TABLE,
            {},
            "line 2 has 'a' as kind, which is no number: leave the column out, or write numbers",
        ),
        ("a,b\n2023_01,1\n2023_02,2\n", {"target": "b"}, "line 2 has '2023_01' as a, which is no"),
        (TABLE, {"target": "colour"}, "data.target=colour is no column of"),
        (TABLE, {"target": None}, "choose one of size, weight, kind, price"),
        (
            TABLE,
            {"target": "kind", "classes": ["b", "c"]},
            "line 2 has 'a' as kind, which is none of data.classes=[b,c]",
        ),
        (TABLE, {"target": "kind", "classes": ["a", "b", "a"]}, "[a,b,a] names a twice"),
        (TABLE, {"path": ["one.csv", "two.csv"]}, "data.path=['one.csv', 'two.csv'] is no file"),
        ("price,size,price\n1,2,3", {}, "has two columns price: rename one of them"),
        ("price\n1\n2", {}, "has no column beside data.target=price"),
        (",size,price\n0,1,2\n1,2,3", {}, "column 1 has no name: give it one, or leave it out"),
        ("size,price,\n1,2,\n2,3,", {}, "column 3 has no name: give it one, or leave it out"),
        (
            "size,kind\n1,1\n2,2\n3,1.0",
            {"target": "kind", "classes": True},
            "kind is '1' in some rows and '1.0' in others, which is one number",
        ),
        (
            without_kind().replace("\n3,3,9", "\n3,3,nan"),
            {},
            "line 5 has no price ('nan'): fill it in, or leave the row out",
        ),
        (
            "a,b\n" + "1,2\n" * 3 + "red,4\n",
            {"target": "b"},
            "line 5 has 'red' as a, which is no number: leave the column out, or write numbers",
        ),
        (
            "a,b\n" + "1,2\n" * 3 + "1,red\n",
            {"target": "b"},
            "line 5 has 'red' as b, which is no number: data.classes=true takes words",
        ),
        ("0,1\n1,2\n", {"target": 2}, "data.target=2 is no column of"),
        ("a,b\n1,2\n3", {"target": "a"}, "line 3 has 1 values, and the header 2 names"),
        ("a,b\n1,2\n3,4\n", {"target": "a"}, "has 2 rows, too few to hold out a share of 0.25"),
        ("", {}, "is empty: its first line has the names of the columns"),
        ("a;b\n1;2\n", {}, "its columns are separated by ';': write it with commas"),
        ("a\tb\n1\t2\n", {}, "its columns are separated by '\\t': write it with commas"),
        (TABLE, {"path": "nowhere.csv"}, "data.path=nowhere.csv is no file"),
    ],
)
def test_what_is_no_such_table_is_the_users_mistake(text, settings, message, tmp_path):
    with pytest.raises(SettingError) as caught:
        table(tmp_path, text, **settings)
    assert message in str(caught.value)


def test_a_table_of_another_encoding_is_the_users_mistake(tmp_path):
    path = tmp_path / "table.csv"
    path.write_bytes("größe,preis\n1,2\n".encode("latin-1"))
    with pytest.raises(SettingError, match="cannot be read as CSV, which must be UTF-8 text: "):
        csv(str(path), "preis", False, 0.25)


@pytest.mark.parametrize("start", [0, 1.7e9, 1e100])
def test_large_numbers_are_scaled_before_they_are_rounded(start, tmp_path):
    """As moments in seconds since 1970, of which float32 knows the minute."""
    step = max(1.0, start / 2**50)
    text = "a,b\n" + "".join(f"{start + i * step!r},{i}\n" for i in range(20))
    train, _ = table(tmp_path, text, target="b")
    for features, targets in (train[i] for i in range(len(train))):
        torch.testing.assert_close(features, targets, atol=0.1, rtol=0)


def test_a_table_of_a_spreadsheet_begins_with_a_mark_that_is_no_name(tmp_path):
    train, _ = table(tmp_path, "\ufeff" + without_kind(), target="size")
    assert train[0][0].shape == (2,)


@pytest.mark.parametrize(
    ("text", "settings", "message"),
    [
        ("\n3,3,9", {}, "line 5 has no size: fill it in, or leave the row out"),
        ("\n3, ,9", {}, "line 5 has no weight: fill it in, or leave the row out"),
        ("\n3,3,", {}, "line 5 has no price: fill it in, or leave the row out"),
        ("\n3,3,", {"classes": True}, "line 5 has no price: fill it in, or leave the row out"),
        ("\n3,NA,9", {}, "line 5 has no weight ('NA'): fill it in, or leave the row out"),
        ("\n3,3,NULL", {}, "line 5 has no price ('NULL'): fill it in, or leave the row out"),
    ],
)
def test_what_is_missing_is_named(text, settings, message, tmp_path):
    spoilt = text.replace("\n3,3,9", "\n,3,9")
    with pytest.raises(SettingError) as caught:
        table(tmp_path, without_kind().replace("\n3,3,9", spoilt), **settings)
    assert message in str(caught.value)


def test_columns_may_be_called_by_numbers(tmp_path):
    """As pandas does on its own."""
    train, _ = table(tmp_path, "0,1\n" + "".join(f"{i},{3 * i}\n" for i in range(20)), target=1)
    assert train.columns == "0 → 1"


def test_blanks_around_values_are_none_of_them(tmp_path):
    spaced = TABLE.replace(",", " , ").replace("a ,", '"a" ,')
    for kind in (TABLE, spaced):
        train, _ = table(tmp_path, kind, target="kind", classes=True)
        assert train.facts["classes"] == ["a", "b"]


@pytest.mark.parametrize("column", ["a", "b"])
@pytest.mark.parametrize(
    ("numbers", "scaled", "advice"),
    [
        ([1_700_000_000 + i for i in range(40)], False, "or set data.scaled=true"),
        ([1_700_000_000 + i % 2 for i in range(40)], False, "or set data.scaled=true"),
        # of the second a float64 leaves as little, and the third has no deviation
        *(
            ([i / 40 for i in range(39)] + [n], True, "so far from all")
            for n in (1e12, 1e20, 1e200)
        ),
        *(([1e200] + [i / 40 for i in range(39)], on, "") for on in (True, False)),
    ],
)
def test_numbers_that_float32_makes_the_same_are_refused(numbers, scaled, advice, column, tmp_path):
    lines = (f"{n},{i}" if column == "a" else f"{i},{n}" for i, n in enumerate(numbers))
    with pytest.raises(SettingError, match=f"{column} has numbers that differ, .*{advice}"):
        table(tmp_path, "a,b\n" + "\n".join(lines), target="b", scaled=scaled)


def test_a_number_that_float32_does_not_hold_is_refused_in_any_row(tmp_path):
    """It was infinite where it is held out, and nothing was seen of the others where it is not."""
    for row in range(10):
        lines = (f"{'1e200' if i == row else i / 7},{i}" for i in range(10))
        with pytest.raises(SettingError, match=r"a has numbers that differ, .* the same in"):
            table(tmp_path, "a,b\n" + "\n".join(lines), target="b", scaled=True)


def test_many_digits_are_no_reason_to_refuse_numbers(tmp_path):
    """Of some thousands float32 makes some the same."""
    drawn = 1000 + np.random.default_rng(0).random(3000)
    assert len(np.unique(drawn.astype(np.float32))) < len(np.unique(drawn))
    text = "a,b\n" + "".join(f"{number},1\n" for number in drawn)
    assert len(table(tmp_path, text, target="b", scaled=False)[0]) == 2250


def parquet(path, table):
    pyarrow = pytest.importorskip("pyarrow", reason="needs pip install 'tdml[data]'")
    from pyarrow import parquet

    parquet.write_table(pyarrow.table(table), path)
    return str(path)


def test_a_parquet_file_is_the_same_table(tmp_path):
    columns = {
        "size": [i / 7 for i in range(20)], "sold": [i % 3 == 0 for i in range(20)],
        "kind": ["ab"[i % 2] for i in range(20)],
    }  # fmt: skip
    path = parquet(tmp_path / "x.parquet", columns)
    lines = (f"{a},{int(b)},{c}" for a, b, c in zip(*columns.values(), strict=True))
    (tmp_path / "x.csv").write_text("size,sold,kind\n" + "\n".join(lines))
    settings = {"target": "kind", "classes": True, "held_out": 0.25}
    found, expected = csv(path, **settings), csv(str(tmp_path / "x.csv"), **settings)
    for one, other in zip(found, expected, strict=True):
        assert one.targets == other.targets
        assert all(torch.equal(one[i][0], other[i][0]) for i in range(len(other)))


def test_numbers_of_rows_that_pandas_keeps_are_no_column(tmp_path):
    """As after df.sample(frac=1): a model that has them learns the order of the file."""
    rows = {"size": [3.0, 1.0, 2.0, 4.0], "price": [1.0, 2.0, 3.0, 4.0]}
    path = parquet(tmp_path / "x.parquet", rows | {"__index_level_0__": [3, 0, 1, 2]})
    train, _ = csv(path, "price", False, 0.5)
    assert list(train.facts["features"]) == ["size"]


def test_what_is_missing_in_a_parquet_file_is_named(tmp_path):
    path = parquet(tmp_path / "x.parquet", {"size": [1.0, None, 3.0], "price": [1.0, 2.0, 3.0]})
    with pytest.raises(SettingError, match="row 2 has no size: fill it in, or leave the row out"):
        csv(path, "price", False, 0.5)
    (tmp_path / "x.parquet").write_bytes(b"PAR1")
    with pytest.raises(SettingError, match="cannot be read as Parquet: ") as caught:
        csv(path, "price", False, 0.5)
    assert "\n" not in str(caught.value)


def test_without_pyarrow_a_parquet_file_says_what_it_needs(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    (tmp_path / "x.parquet").write_bytes(b"PAR1")
    with pytest.raises(SettingError, match=r"needs pyarrow.*pip install 'tdml\[data\]'"):
        csv(str(tmp_path / "x.parquet"), "price", False, 0.5)
