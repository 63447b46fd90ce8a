"""What a Copy makes of documents, above all where it does harm."""

import datetime as dt
from typing import Any

import pytest

from sandbox.factory.conversion import Translator, table
from sandbox.factory.failures import ActivityFailed

Data = dict[str, Any]
UNMAPPED = Translator(mappings=(), complex_to_text=False, detects_times=False)
WHEN = "2024-01-02T03:04:05Z"


def mapped(name: str, kind: str, *, detects_times: bool = False) -> Translator:
    """One column of a type, taken from the property v."""
    mapping = {"source": {"path": "$['v']"}, "sink": {"name": name, "type": kind}}
    return Translator(mappings=(mapping,), complex_to_text=False, detects_times=detects_times)


def column(translator: Translator, *documents: Data) -> list[Any]:
    """The values of the column v."""
    return list(table(documents, translator).column("v").to_pylist())


def refusal(translator: Translator, *documents: Data) -> str:
    """Why a Copy fails."""
    with pytest.raises(ActivityFailed) as failed:
        table(documents, translator)
    assert failed.value.code == "2200"
    return failed.value.message


def test_without_a_mapping_the_first_document_decides_the_columns() -> None:
    """What it lacks is lost in silence."""
    written = table([{"id": "a"}, {"id": "b", "lost": 1}], UNMAPPED)
    assert written.to_pylist() == [{"id": "a"}, {"id": "b"}]


def test_with_a_mapping_a_missing_value_is_null() -> None:
    """And the columns are those of the mapping, whatever the documents hold."""
    assert column(mapped("v", "String"), {"v": "x"}, {}, {"v": None}) == ["x", None, None]


def test_strings_that_look_like_times_are_rewritten() -> None:
    """Unless detectDatetime is false; a date alone is left in peace."""
    detecting = mapped("v", "String", detects_times=True)
    assert column(detecting, {"v": WHEN}) == ["01/02/2024 03:04:05"]
    assert column(detecting, {"v": "2024-01-02"}) == ["2024-01-02"]
    assert column(mapped("v", "String"), {"v": WHEN}) == [WHEN]


def test_times_within_objects_are_rewritten_as_well() -> None:
    """Read as times with the whole document: the zeros and odd digits of a fraction go."""
    mapping = {"source": {"path": "$['v']"}, "sink": {"name": "v", "type": "String"}}
    document = {"v": {"at": ["2024-01-02T03:04:05.100Z", "2024-01-02T03:04:05+02:00", "x"], "n": 1}}
    for detects, expected in (
        (True, '{"at":["2024-01-02T03:04:05.1Z","2024-01-02T03:04:05+0200","x"],"n":1}'),
        (False, '{"at":["2024-01-02T03:04:05.100Z","2024-01-02T03:04:05+02:00","x"],"n":1}'),
    ):
        as_text = Translator(mappings=(mapping,), complex_to_text=True, detects_times=detects)
        assert column(as_text, document) == [expected]


def test_an_unmapped_time_becomes_a_timestamp_in_utc() -> None:
    """Its offset is forgotten."""
    detecting = Translator(mappings=(), complex_to_text=False, detects_times=True)
    assert column(detecting, {"v": "2024-01-02T03:04:05+02:00"}) == [
        dt.datetime(2024, 1, 2, 1, 4, 5)  # noqa: DTZ001 - that it has none is the point
    ]


def test_whole_numbers_lose_digits_as_doubles() -> None:
    """2^53 + 1 becomes 2^53; as Int64 it is kept."""
    large = 2**53 + 1
    assert column(mapped("v", "Double"), {"v": large}) == [2.0**53]
    assert column(mapped("v", "Int64"), {"v": large}) == [large]


@pytest.mark.parametrize("value", [1.5, 2**63, "x"])
def test_a_value_that_does_not_fit_its_column_fails_the_copy(value: Any) -> None:
    """Nothing is skipped or rounded to fit a whole number."""
    assert "TypeConversionFailure" in refusal(mapped("v", "Int64"), {"v": value})


def test_a_later_value_must_fit_what_the_first_one_decided() -> None:
    """A fraction under a whole number fails the copy."""
    assert "TypeConversionFailure" in refusal(UNMAPPED, {"v": 1}, {"v": 1.5})


def test_objects_and_arrays_are_refused_unless_asked_for_as_text() -> None:
    """The setting that no typed model has."""
    assert "JsonUnsupportedHierarchicalComplexValue" in refusal(UNMAPPED, {"v": {"a": 1}})
    asked = Translator(mappings=(), complex_to_text=True, detects_times=False)
    assert column(asked, {"v": {"a": [1, "é"]}}) == ['{"a":[1,"é"]}']


@pytest.mark.parametrize("name", ["a b", "a;b", "a\tb", "a=b"])
def test_white_space_and_some_signs_in_a_column_name_are_refused(name: str) -> None:
    """Parquet's own list of names that the connector does not take."""
    assert "ParquetInvalidColumnName" in refusal(mapped(name, "String"), {"v": "x"})


def test_a_mapping_that_is_not_understood_fails_the_copy() -> None:
    """It is never left out."""
    nested = {"source": {"path": "$['a']['b']"}, "sink": {"name": "v"}}
    translator = Translator(mappings=(nested,), complex_to_text=False, detects_times=False)
    assert "UserErrorInvalidColumnMapping" in refusal(translator, {"a": {"b": 1}})
