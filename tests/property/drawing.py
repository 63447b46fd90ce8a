"""Strategies with the edges drawn on purpose."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

EDGE_FLOATS = (
    5e-324, -5e-324, 2.2250738585072014e-308, 1e308, 1.7976931348623157e308, -0.0, 0.0, 1.0,
    1e16, 1e21, 1e22, 1e23, 9007199254740992.0, 9007199254740993.0, 1e-5, 9.999e-6, 1e-6, 1e-7,
    0.1, 1 / 3, 123456.789, -2.5, 0.30000000000000004, 1.5e300,
)  # fmt: skip
EDGE_INTS = (
    0, -1, 2**53 - 1, 2**53, 2**53 + 1, -(2**53) - 1, 2**63 - 1, 2**63, -(2**63) - 1, -(2**63),
    2**64 - 1, 2**64, 10**22, 10**23, 10**20 + 7, -(10**399) - 1,
)  # fmt: skip
EDGE_KEYS = (
    "", "\x00", "__proto__", "constructor", "\uffff", "\U00010000", "\U0001f600", "\ud800",
    "\udfff", "\ue000", "é", "e\u0301", "\u2028", "\x7f", '"', "\\", "a", "A", "id", "_ts",
)  # fmt: skip

any_text = st.text(st.characters(exclude_categories=()), max_size=8)
keys = st.sampled_from(EDGE_KEYS) | any_text
big_ints = st.integers(20, 400).flatmap(
    lambda digits: st.integers(10 ** (digits - 1), 10**digits - 1)
)
numbers = (
    st.sampled_from(EDGE_FLOATS)
    | st.sampled_from(EDGE_INTS)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.integers(-(2**70), 2**70)
    | big_ints
)
scalars = st.none() | st.booleans() | numbers | keys
_trees: st.SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(keys, inner, max_size=5),
    max_leaves=20,
)
# Documents arrive as JSON text, and only what such text can say is a document.
trees: st.SearchStrategy[Any] = _trees.map(lambda value: json.loads(json.dumps(value)))
