"""Columns of classes."""

import pytest

from tdml.data import csv
from tdml.errors import SettingError

WORDS = ["ab"[i % 2] for i in range(20)]
NUMBERS = [str(i % 5) for i in range(20)]


def classes(tmp_path, given, values=WORDS):
    """The training rows of a table with this column."""
    lines = (f"{i},{value}" for i, value in enumerate(values))
    (tmp_path / "table.csv").write_text("size,kind\n" + "\n".join(lines))
    return csv(str(tmp_path / "table.csv"), "kind", given, 0.25)[0]


def test_classes_may_be_words_or_numbers(tmp_path):
    train = classes(tmp_path, True)
    assert {train[i][1].item() for i in range(15)} == {0, 1}
    assert train.targets == [train[i][1].item() for i in range(15)]
    assert sorted(set(classes(tmp_path, True, NUMBERS).targets)) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("none", [False, None, []])
def test_without_classes_the_target_is_a_number(none, tmp_path):
    assert not hasattr(classes(tmp_path, none, NUMBERS), "targets")


def test_classes_may_be_given_in_their_order(tmp_path):
    """So that files in which some are missing number them alike."""
    train = classes(tmp_path, ["c", "b", "a"])
    assert set(train.targets) == {1, 2}
    assert train.facts["classes"] == ["c", "b", "a"]


@pytest.mark.parametrize("given", ["kind", "a", "", 2, 0, 0.5, {"a": 1, "b": 0}, {}])
def test_classes_that_are_neither_true_nor_a_list_are_refused(given, tmp_path):
    with pytest.raises(SettingError, match=r"^data.classes=.* must be true, or a list of the"):
        classes(tmp_path, given)


@pytest.mark.parametrize("values", [WORDS, NUMBERS])
@pytest.mark.parametrize("missing", ["NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None"])
def test_what_stands_for_a_missing_value_is_a_class_only_if_it_is_named(missing, values, tmp_path):
    spoilt = [*values[:3], missing, *values[4:]]
    with pytest.raises(SettingError) as caught:
        classes(tmp_path, True, spoilt)
    said = (
        f"line 5 has no kind ({missing!r}): fill it in, or leave the row out; or, if {missing} is"
    )
    assert said in str(caught.value)
    known = [*sorted(set(values)), missing]
    assert classes(tmp_path, known, spoilt).facts["classes"] == known


@pytest.mark.parametrize("spelt", [("False", "True"), ("false", "true"), ("FALSE", "TRUE"), "01"])
def test_true_and_false_are_classes_however_they_are_written(spelt, tmp_path):
    no, yes = spelt
    values = [yes if i % 3 else no for i in range(20)]
    assert classes(tmp_path, [True, False], values).facts["classes"] == [yes, no]


def test_true_and_false_of_a_parquet_file_are_classes(tmp_path):
    pyarrow = pytest.importorskip("pyarrow", reason="needs pip install 'tdml[data]'")
    from pyarrow import parquet

    columns = {"size": [*range(20)], "sold": [i % 3 == 0 for i in range(20)]}
    parquet.write_table(pyarrow.table(columns), tmp_path / "x.parquet")
    train, _ = csv(str(tmp_path / "x.parquet"), "sold", [False, True], 0.25, scaled=False)
    assert train.targets == [int(train[i][0].item() % 3 == 0) for i in range(15)]
