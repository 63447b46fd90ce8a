"""The spec's laws: what is not a spec is Invalid and nothing else, what is one reads back."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import accumulate
from typing import Any

import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from shared.domain.condition import why_unfit
from shared.domain.spec import MigrationSpec, parse_spec, spec_from, spec_text
from shared.errors import Fault, Invalid
from tests.unit.samples import SPEC

FRAGMENTS = (
    "name", ":", " ", "\n", "  ", "- ", "[", "]", "{", "}", ",", "&a", "*a", "<<", "!!int ",
    "!!str ", "|", ">", "'", '"', "#", "?", "%", "---", "...", "\t", "cold", "source",
    "0x", "0b_", "1:30",
    "2026-01-31", "2026-02-30", "2026-01-31T00:00:00Z", ".inf", "1e9", "~", "=", "é",
    "\x00", "\ud800",
    "!!timestamp x", "!!binary x", "!!set ", "!!omap ", "\\", "yes", "\x85", "\ufeff", "\u2028",
)  # fmt: skip
yaml_scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    | st.sampled_from(["90d", "1MiB", "discover", "adf", "/pk", "2026-01-31T00:00:00Z", "shop"])
    | st.datetimes() | st.dates()
)  # fmt: skip
known = sorted(
    {
        *MigrationSpec.model_fields,
        "account",
        "older_than",
        "before",
        "where",
        "prefix",
        "partitions",
    }
)
yaml_values: st.SearchStrategy[Any] = st.recursive(
    yaml_scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(known) | yaml_scalars, inner, max_size=5)
    ),
    max_leaves=12,
)
filters = st.text(
    st.characters(codec="utf-8") | st.sampled_from("\x7f\x85\u2028\ufeff\x00\n\"'"),
    min_size=1,
    max_size=30,
)


def judged(read: Callable[[], MigrationSpec]) -> None:
    """A spec that reads back, or Invalid with faults that say where and what to do."""
    faults: tuple[Fault, ...] = ()
    try:
        spec = read()
    except Invalid as error:
        faults = error.faults
    else:
        assert parse_spec(spec_text(spec)) == spec
        return
    assert faults
    assert all(fault.path.startswith("$") and fault.seen and fault.advice for fault in faults)


@given(st.lists(st.sampled_from(FRAGMENTS), max_size=25).map("".join) | st.text(max_size=40))
@example("2026-02-30")
def test_any_text_is_a_spec_or_invalid(text: str) -> None:
    """A person's slip is answered with faults, never with a traceback."""
    judged(lambda: parse_spec(text))


@given(st.integers(0, len(SPEC)), st.integers(0, 12), st.sampled_from(FRAGMENTS))
def test_any_slip_of_the_pen_is_accepted_or_invalid(at: int, gone: int, put: str) -> None:
    """A good spec with something cut out and something put in."""
    judged(lambda: parse_spec(SPEC[:at] + put + SPEC[at + gone :]))


@given(yaml_values)
def test_any_data_is_a_spec_or_invalid(data: Any) -> None:
    """Also what a JSON body or YAML's own types can hold."""
    judged(lambda: spec_from(data))


@given(st.sampled_from(known), yaml_values, st.sampled_from([None, "source", "cold", "sink"]))
def test_one_wrong_value_in_a_good_spec_is_accepted_or_invalid(
    key: str, value: Any, inside: str | None
) -> None:
    """Every key with every kind of value, at the top and one level down."""
    data: dict[str, Any] = yaml.safe_load(SPEC)
    (data if inside is None else data[inside])[key] = value
    judged(lambda: spec_from(data))


@given(filters | st.text("()[]{}'\"\\- a", max_size=12))
def test_a_condition_that_fits_stays_inside_its_brackets(condition: str) -> None:
    """Put between two of ours, nothing of it closes the first or opens beyond the second."""
    if why_unfit(condition) is not None:
        return
    outside = re.sub(r""""(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'""", "", condition, flags=re.DOTALL)
    depths = list(accumulate((each == "(") - (each == ")") for each in outside))
    assert min(depths, default=0) >= 0
    assert (depths or [0])[-1] == 0
    assert "'" not in outside
    assert '"' not in outside


@given(filters, st.integers(1, 10), st.floats(0.01, 1.0), st.integers(0, 10**9))
def test_every_spec_reads_back_from_its_own_text(
    where: str, priority: int, ceiling: float, older_than: int
) -> None:
    """Whatever the filter holds, the migration that runs is the one that was declared."""
    data: dict[str, Any] = yaml.safe_load(SPEC)
    data |= {"priority": priority, "ceiling": ceiling}
    data["cold"] = {"older_than": older_than, "where": where}
    spec = spec_from(data)
    assert parse_spec(spec_text(spec)) == spec
