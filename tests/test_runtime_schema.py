from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbdeploy.runtime.manifest import Column, Schema
from nbdeploy.runtime.schema import Contract, Refusal, Request, group_of

COLUMNS = (
    Column("island", "category", "str", categories=("Biscoe", "Dream"), unseen=False, nullable=True),
    Column("Age", "integer", "int8"),
    Column("mass", "number", "float64", nullable=True),
    Column("small", "number", "float32"),
    Column("alive", "boolean", "bool"),
    Column("note", "text", "str"),
    Column("when", "datetime", "datetime64[us]"),
    Column("zoned", "datetime", "datetime64[s, Europe/Berlin]"),
    Column("length", "timedelta", "timedelta64[ms]"),
    Column("mixed", "any", "object"),
)
FRAME = Schema("frame", COLUMNS, library="pandas", keys=("id",))
GOOD = {
    "island": "Dream",
    "Age": 3,
    "mass": 1.5,
    "small": 0.1,
    "alive": True,
    "note": "é😀",
    "when": "2024-05-17T08:30:00.25",
    "zoned": "2024-05-17T08:30:00+02:00",
    "length": "P1DT2H3M4.5S",
    "mixed": 5,
}


def decode(rows: Any, schema: Schema = FRAME) -> Request:
    return Contract(schema).decode(json.dumps({"rows": rows}).encode())


def refused(rows: Any, schema: Schema = FRAME) -> Refusal:
    with pytest.raises(Refusal) as caught:
        decode(rows, schema)
    assert caught.value.status == 422
    return caught.value


def detail(schema: Schema = FRAME, /, **changes: Any) -> dict[str, Any]:
    details = refused([GOOD, {**GOOD, **changes}], schema).details
    assert len(details) == 1
    assert details[0]["row"] == 1
    return details[0]


def test_a_valid_row_comes_through_in_the_schemas_order() -> None:
    request = decode([dict(reversed(GOOD.items()))])
    assert request.rows == [GOOD]
    assert list(request.rows[0]) == list(GOOD)


def test_no_rows_are_fine() -> None:
    assert decode([]).rows == []


def test_keys_are_kept_beside_the_rows() -> None:
    request = decode([{**GOOD, "id": "a-7"}, GOOD, {**GOOD, "id": None}])
    assert request.keys == [{"id": "a-7"}, {}, {"id": None}]
    assert request.rows == [GOOD, GOOD, GOOD]


def test_a_schema_without_keys_has_none() -> None:
    assert decode([GOOD], replace(FRAME, keys=())).keys is None


def test_a_key_that_is_no_single_value_is_refused() -> None:
    assert detail(id=[1])["column"] == "id"
    assert "too large" in detail(id=10**400)["problem"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" \n",
        b"\xff\xfe{}",
        b"\xef\xbb\xbf{}",
        '{"rows": []}'.encode("utf-16"),
        b'{"rows": []} x',
        b'{"rows": []}{"rows": []}',
        b'{"rows": [], "rows": []}',
        b'{"rows": [{"Age": 1, "Age": 2}]}',
        b'{"rows": [NaN]}',
        b'{"rows": [-Infinity]}',
        b'{"rows": [' + b"9" * 10_000 + b"]}",
        b"[" * 100_000,
        b'{"rows":' * 100_000,
        b"[]",
        b"3",
        b"null",
        b'"rows"',
        b"{'rows': []}",
        b'{"rows": [1,]}',
    ],
)
def test_what_is_not_one_json_object_is_400(body: bytes) -> None:
    with pytest.raises(Refusal) as caught:
        Contract(FRAME).decode(body)
    assert (caught.value.status, caught.value.code) == (400, "bad_json")


def answered_by(contract: Contract, body: bytes) -> int:
    try:
        contract.decode(body)
    except Refusal as refusal:
        return refusal.status
    return 200


@given(st.binary(max_size=200))
def test_any_bytes_are_answered_or_refused(body: bytes) -> None:
    contract = Contract(Schema("values", (Column("value", "any", "object", nullable=True),)))
    assert answered_by(contract, body) in {200, 400, 422}


@pytest.mark.parametrize(
    "document", [{}, {"row": []}, {"rows": {}}, {"rows": None}, {"rows": [], "extra": 1}, {"Age": 1}]
)
def test_a_document_of_another_shape_is_422(document: Any) -> None:
    with pytest.raises(Refusal) as caught:
        Contract(FRAME).decode(json.dumps(document).encode())
    assert (caught.value.status, caught.value.code) == (422, "invalid_rows")


def test_too_many_rows_are_413() -> None:
    contract = Contract(FRAME)
    body = json.dumps({"rows": [GOOD] * 3}).encode()
    assert len(contract.decode(body, max_rows=3).rows) == 3
    with pytest.raises(Refusal) as caught:
        contract.decode(body, max_rows=2)
    assert caught.value.status == 413


@pytest.mark.parametrize(
    ("column", "value", "problem"),
    [
        ("Age", 3.0, "must be a whole number"),
        ("Age", "3", "must be a whole number, not text"),
        ("Age", True, "must be a whole number, not true or false"),
        ("Age", 128, "must be from -128 to 127 (int8)"),
        ("Age", None, "is null, and the model does not answer rows with a null here"),
        ("Age", [3], "must be a whole number, not a list"),
        ("mass", "1.5", "must be a number, not text"),
        ("mass", True, "must be a number, not true or false"),
        ("mass", 10**400, "is too large a number for float64"),
        ("mass", "-Infinity", "must be a number, not text"),
        ("small", 1e300, "is too large a number for float32"),
        ("alive", 1, "must be true or false, not a number"),
        ("note", 5, "must be text, not a number"),
        ("note", {"a": 1}, "must be text, not an object"),
        ("note", "\ud800", "is not valid Unicode"),
        ("note", "x" * 1_000_001, "is longer than 1,000,000 characters"),
        ("island", "Torgersen", "is not one of the known categories"),
        ("island", 5, "must be text, not a number"),
        ("when", "2024-02-30", "is a date that does not exist"),
        ("when", "2024-01-01T25:00", "is a time of day that does not exist"),
        ("when", "yesterday", "must be a date and time like 2024-05-17T08:30:00"),
        ("when", "2024-01-01T00:00:00Z", "must have no offset from UTC"),
        ("when", "2024-01-01T00:00:00.1234567", "is finer than the model's data, which counts in us"),
        ("when", 1715934600, "must be text with a date and time, not a number"),
        ("zoned", "2024-01-01T00:00:00", "must end in an offset like +02:00 or Z"),
        ("length", "4.5", "must be a duration like P1DT2H30M0.5S"),
        ("length", "P", "must be a duration like P1DT2H30M0.5S"),
        ("mixed", [1], "must be a number, text, true or false, not a list"),
        ("mixed", 10**30, "is too large a number"),
        ("mixed", None, "is null, and the model does not answer rows with a null here"),
    ],
)
def test_a_wrong_value_is_named_and_not_echoed(column: str, value: Any, problem: str) -> None:
    found = detail(**{column: value})
    assert found["column"] == column
    assert found["problem"] == problem
    if isinstance(value, str) and len(value) > 1:
        assert value not in f"{found['problem']} {found['hint']}"


def test_a_number_beyond_floats_is_refused() -> None:
    body = json.dumps({"rows": [GOOD]}).replace("1.5", "1e999", 1).encode()
    with pytest.raises(Refusal) as caught:
        Contract(FRAME).decode(body)
    assert caught.value.details[0]["problem"] == "is too large a number"


def test_hints_say_what_was_probably_meant() -> None:
    assert detail(island="dream")["hint"] == 'did you mean "Dream"?'
    assert detail(island="Atlantis")["hint"] == 'known: "Biscoe", "Dream"'
    assert detail(mass="1.5")["hint"] == "send numbers without quotes"
    assert detail(Age=3.0)["hint"] == "write it without a fraction: 3, not 3.0"
    row = {("age" if name == "Age" else name): value for name, value in GOOD.items()}
    unknown, missing = refused([row]).details
    assert unknown == {
        "row": 0,
        "column": "age",
        "problem": "is not a column of the model",
        "hint": 'did you mean "Age"?',
    }
    assert (missing["column"], missing["problem"]) == ("Age", "is missing")
    unlike = refused([{**GOOD, "order": 7}]).details
    assert [item["hint"] for item in unlike] == [
        "leave it out, or have it named with --keys when the model is deployed"
    ]


def test_all_problems_of_all_rows_are_told() -> None:
    details = refused([{**GOOD, "Age": "x", "alive": 0}, GOOD, {**GOOD, "note": None}, 7]).details
    assert [(item["row"], item["column"]) for item in details] == [(0, "Age"), (0, "alive"), (2, "note"), (3, None)]


def test_details_are_capped_and_the_rest_is_counted() -> None:
    refusal = refused([{**GOOD, "Age": "x"}] * 150)
    assert len(refusal.details) == 100
    assert "50 more rows" in refusal.message


def test_an_unknown_columns_name_is_cut() -> None:
    found = refused([{**GOOD, "x" * 10_000: 1}]).details[0]
    assert len(found["column"]) < 100
    assert found["hint"] == "leave it out, or have it named with --keys when the model is deployed"


@pytest.mark.timeout(120)  # 0.3 s; whoever compares each key with each other never ends
def test_hostile_sizes_are_refused() -> None:
    many_keys = b'{"rows":[{' + b",".join(b'"%d":1' % number for number in range(400_000)) + b"}]}"
    deep = json.dumps({"rows": [{**GOOD, "mass": list(range(400_000))}]}).encode()
    wrong = json.dumps({"rows": [{"Age": "x"}] * 10_000}).encode()
    for body in (many_keys, deep, wrong):
        with pytest.raises(Refusal):
            Contract(FRAME).decode(body)


@pytest.mark.parametrize(
    "name", ["__class__", "self", "return", "model_config", "", "é😀", "a b", "'\"\n", "0", "= + - @", "x" * 10_000]
)
def test_any_column_name_works(name: str) -> None:
    schema = Schema("frame", (Column(name, "number", "float64"), Column("other", "text", "str")), library="pandas")
    assert decode([{"other": "a", name: 1}], schema).rows == [{name: 1.0, "other": "a"}]
    assert refused([{"other": "a", name: "1"}], schema).details[0]["column"][:80] == name[:80]


def test_a_whole_number_is_a_valid_float() -> None:
    value = decode([{**GOOD, "mass": 3}]).rows[0]["mass"]
    assert (value, type(value)) == (3.0, float)


def test_infinities_are_texts_where_the_sample_had_some() -> None:
    schema = Schema("values", (Column("value", "number", "float64", nonfinite=True),))
    assert decode(["Infinity", "-Infinity", 1], schema).rows == ["Infinity", "-Infinity", 1.0]
    refused(["infinity"], schema)


ARRAY = Schema(
    "array", tuple(Column(str(place), "number", "float64", place) for place in range(3)), dtype="float64", shape=(3,)
)


def test_array_rows_are_lists_of_the_right_length() -> None:
    assert decode([[1, 2, 3]], ARRAY).rows == [[1.0, 2.0, 3.0]]
    assert refused([[1, 2]], ARRAY).details == [
        {"row": 0, "column": None, "problem": "has 2 values, not 3", "hint": None}
    ]
    assert refused([5], ARRAY).details[0]["problem"] == "must be a list of 3, not a number"
    wrong = refused([[1, "2", None]], ARRAY).details
    assert [(item["column"], item["problem"]) for item in wrong] == [
        ("1", "must be a number, not text"),
        ("2", "is null, and the model does not answer rows with a null here"),
    ]


def test_array_positions_may_differ() -> None:
    schema = replace(ARRAY, columns=(replace(ARRAY.columns[0], nullable=True), *ARRAY.columns[1:]))
    assert list(decode([[None, 2, 3]], schema).rows[0]) == [None, 2.0, 3.0]
    assert refused([[None, None, 3]], schema).details[0]["column"] == "1"


def test_arrays_of_more_dimensions_name_the_position() -> None:
    schema = Schema("array", (Column("value", "integer", "uint8"),), dtype="uint8", shape=(2, 2))
    assert decode([[[1, 2], [3, 4]]], schema).rows == [[[1, 2], [3, 4]]]
    assert refused([[[1, 2], [3, 256]]], schema).details[0]["column"] == "[1][1]"
    assert refused([[[1, 2], [3]]], schema).details[0] == {
        "row": 0,
        "column": "[1]",
        "problem": "has 1 values, not 2",
        "hint": None,
    }


def test_single_values_are_rows_of_a_series() -> None:
    schema = Schema("texts", (Column("value", "text", "object"),))
    assert decode(["a", "b"], schema).rows == ["a", "b"]
    assert refused(["a", 2], schema).details == [
        {"row": 1, "column": None, "problem": "must be text, not a number", "hint": None}
    ]


def test_rows_that_change_dtypes_are_of_another_group() -> None:
    columns = (
        Column("n", "integer", "int64", nullable=True),
        Column("x", "number", "float64", nullable=True),
        Column("c", "category", "category[str]", categories=("a",), nullable=True),
    )
    schema = Schema("frame", columns, library="pandas")
    row = {"n": 1, "x": 1.0, "c": "a"}
    plain = group_of(schema, [row])
    assert plain == group_of(schema, [{**row, "x": None, "c": None}]) == group_of(schema, [])
    assert plain != group_of(schema, [{**row, "n": None}])
    assert plain != group_of(schema, [{**row, "c": "b"}]) != group_of(schema, [{**row, "c": "d"}])


def _values(column: Column) -> st.SearchStrategy[Any]:
    """Valid and invalid values alike."""
    return st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(max_size=5),
        st.sampled_from([GOOD[column.name], "Biscoe", [], {}]),
    )


@given(st.fixed_dictionaries({column.name: _values(column) for column in COLUMNS}))
def test_rows_are_taken_or_every_wrong_column_is_named(row: dict[str, Any]) -> None:
    contract = Contract(FRAME)
    wrong = {column.name for column in COLUMNS if not _is_valid(contract, column.name, row[column.name])}
    if wrong:
        assert {item["column"] for item in refused([row]).details} == wrong
    else:
        assert decode([row]).rows == [row]


def _is_valid(contract: Contract, name: str, value: Any) -> bool:
    return answered_by(contract, json.dumps({"rows": [{**GOOD, name: value}]}).encode()) == 200


@given(st.fixed_dictionaries({column.name: _values(column) for column in COLUMNS}))
def test_the_json_schema_says_the_same(row: dict[str, Any]) -> None:
    import jsonschema

    contract = Contract(FRAME)
    valid = jsonschema.Draft202012Validator(contract.json_schema()).is_valid({"rows": [row]})
    taken = answered_by(contract, json.dumps({"rows": [row]}).encode()) == 200
    beyond = any(isinstance(value, float | str) for value in row.values())  # 3.0 for 3, dates that do not exist
    assert valid == taken or (valid and beyond)


@pytest.mark.parametrize("schema", [FRAME, ARRAY, Schema("texts", (Column("value", "text", "object"),))])
def test_the_json_schema_is_one(schema: Schema) -> None:
    import jsonschema

    document = Contract(schema).json_schema()
    jsonschema.Draft202012Validator.check_schema(document)
    assert jsonschema.Draft202012Validator(document).is_valid({"rows": []})
    assert not jsonschema.Draft202012Validator(document).is_valid({"rows": [], "more": 1})
