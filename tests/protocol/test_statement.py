import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdml.protocol.identity import Identity
from tdml.protocol.statement import Statement, canonical, parse

numbers = st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text("ab\u00e9\U0001f600", max_size=3), inner, max_size=3)
    ),
    max_leaves=10,
)


@settings(derandomize=True, deadline=None, max_examples=300)
@given(values)
def test_what_is_read_is_what_was_written(value):
    text = canonical(value).decode()
    assert parse(text) == value
    assert canonical(parse(text)).decode() == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        '{"a": 1}',
        '{"b":1,"a":2}',
        '{"a":1,"a":1}',
        "1.0",
        "-0",
        "1e3",
        "NaN",
        "Infinity",
        '"\\ud800"',
        '"\\u0061"',
        "9007199254740993",
        "1" * 400,
        "1" * 5000,
        "[" * 100_000,
        "\ufeff1",
        "1 ",
    ],
)
def test_other_texts_are_refused(text):
    with pytest.raises(ValueError, match=r"."):
        parse(text)


@pytest.mark.parametrize("value", [float("nan"), {1: 2}, 2**53, {"a": object()}, "\ud800"])
def test_what_is_not_json_cannot_be_said(value):
    with pytest.raises(ValueError, match=r"."):
        canonical(value)


def test_what_is_nested_too_deeply_cannot_be_said():
    value = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(ValueError, match="too deeply"):
        canonical(value)


def test_a_signature_is_of_one_statement_only():
    identity = Identity.new()
    statement = Statement("job", 1, "commit", identity.public, {"node": "r0.s0"})
    signature = statement.sign(identity)
    assert statement.signed_by_author(signature)
    for changed in (
        Statement("other", 1, "commit", identity.public, {"node": "r0.s0"}),
        Statement("job", 2, "commit", identity.public, {"node": "r0.s0"}),
        Statement("job", 1, "root", identity.public, {"node": "r0.s0"}),
        Statement("job", 1, "commit", Identity.new().public, {"node": "r0.s0"}),
        Statement("job", 1, "commit", identity.public, {"node": "r0.s1"}),
    ):
        assert not changed.signed_by_author(signature)
