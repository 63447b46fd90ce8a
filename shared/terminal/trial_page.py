"""A trial's report as one self-contained page, row by row."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from itertools import groupby
from typing import Any

from shared.terminal.page import STYLE

_MARKS = """
body { max-width: 72rem; }
th { width: auto; }
.proven { color: #1a7f37; } .differs { color: #b3261e; font-weight: 700; } .skipped { color: #777; }
"""
_ORDER = ("differs", "proven", "skipped")


def trial_page(report: Mapping[str, Any]) -> str:
    """HTML without any outside request."""
    clean = not report["counts"]["differs"] and not report["left"]
    counts = ", ".join(f"{count} {name}" for name, count in report["counts"].items())
    left = "".join(
        f"<p class='verdict unsound'>Left behind: {escape(each)}</p>" for each in report["left"]
    )
    rows = sorted(report["rows"], key=lambda row: (_area(row), _ORDER.index(row["verdict"])))
    parts = "\n".join(_part(area, list(each)) for area, each in groupby(rows, key=_area))
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Trial of {escape(report["cosmos"])}</title>
<style>{STYLE}{_MARKS}</style>
<h1>Trial of {escape(report["cosmos"].rsplit("/", maxsplit=1)[-1])}, {escape(report["began"])}</h1>
<p class="verdict {"sound" if clean else "unsound"}">{escape(counts)}; {report["spent_ru"]:,.0f} RU
and {report["storage_calls"]:,} storage calls, at most {report["cost_max_usd"]:.2f} USD</p>
{left}
<p>The ids are those of docs/fidelity.md.</p>
{parts}
</html>
"""


def _area(row: Mapping[str, Any]) -> str:
    return str(row["id"].partition(".")[0])


def _part(area: str, rows: list[Mapping[str, Any]]) -> str:
    lines = "\n".join(_line(row) for row in rows)
    head = "<tr><th>id</th><th>verdict</th><th>checked</th><th>expected</th><th>seen</th></tr>"
    return f"<h2>{escape(area)}</h2>\n<table>\n{head}\n{lines}\n</table>"


def _line(row: Mapping[str, Any]) -> str:
    verdict = row["verdict"]
    cells = "".join(f"<td>{escape(row[name])}</td>" for name in ("checked", "expected", "seen"))
    return (
        f'<tr><th scope="row"><code>{escape(row["id"])}</code></th>'
        f'<td class="{verdict}">{verdict}</td>{cells}</tr>'
    )
