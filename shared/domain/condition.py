"""Why a further condition of a spec cannot be put beside Ebb's own; it checks form, not meaning."""

from __future__ import annotations

import re

_PAIRS = {")": "(", "]": "[", "}": "{"}
_TOKEN = re.compile(
    r"""(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')"""
    r"|(?P<comment>--|/\*)|(?P<open>[(\[{])|(?P<close>[)\]}])|(?P<quote>[\"'])"
    r"|(?P<name>[A-Za-z_]\w*)",
    re.DOTALL,
)
# Their answer changes while nothing is written, so that a past window would grow or shrink.
_UNSTEADY = re.compile(r"getcurrent\w*|rand", re.IGNORECASE)


def why_unfit(condition: str) -> str | None:
    """What is wrong with it, or None; texts in quotes may hold anything."""
    open_: list[str] = []
    for token in _TOKEN.finditer(condition):
        kind, seen = token.lastgroup, token[0]
        if kind == "comment":
            return f"leave out the comment {seen}: it would hide what Ebb writes behind it"
        if kind == "quote":
            return "close every text: a quote stands alone"
        if kind == "name" and _UNSTEADY.fullmatch(seen):
            return f"leave out {seen}: its answer changes while no document does"
        if kind == "open":
            open_.append(seen)
        if kind == "close" and (not open_ or open_.pop() != _PAIRS[seen]):
            return f"open every bracket that is closed: {seen!r} closes none"
    return f"close every bracket: {open_[-1]!r} stays open" if open_ else None
