"""Reads recorded loads from CSV files and holds their values onto UTC minutes."""

from __future__ import annotations

import csv
import datetime as dt
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.errors import BenchError

MINUTE_S = 60
COLUMNS = ["timestamp", "value"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """A recorded load, minute by minute, in units of its own."""

    name: str
    start_s: int
    minutes: tuple[float, ...]


def find_traces(folder: Path) -> list[Path]:
    """The CSV files of a folder, by name."""
    found = sorted(folder.glob("*.csv"))
    if not found:
        raise BenchError(
            f"looking for traces in {folder}: no *.csv there; "
            f"name a folder of files with the columns {','.join(COLUMNS)}"
        )
    return found


def read_trace(path: Path) -> Trace:
    """Each value lasts until the next one; a minute has the mean of what fell into it."""
    points = sorted(dict(_points(path)).items())
    times = np.array([at_s for at_s, _ in points])
    values = np.array([value for _, value in points])
    start_s = math.ceil(times[0] / MINUTE_S) * MINUTE_S if points else 0
    end_s = math.floor(times[-1] / MINUTE_S) * MINUTE_S if points else 0
    if end_s <= start_s:
        raise BenchError(f"reading {path.name}: it does not last one whole minute")
    used = np.concatenate([[0.0], np.cumsum(values[:-1] * np.diff(times))])
    borders = np.arange(start_s, end_s + 1, MINUTE_S)
    minutes = np.diff(np.interp(borders, times, used)) / MINUTE_S
    if not minutes.mean() > 0:
        raise BenchError(f"reading {path.name}: all its values are 0, which cannot be scaled")
    return Trace(name=path.stem, start_s=start_s, minutes=tuple(minutes.tolist()))


def _points(path: Path) -> Iterator[tuple[float, float]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = csv.reader(file)
            header = next(rows, [])
            if [name.strip() for name in header] != COLUMNS:
                raise _malformed(path, 1, header)
            for row in rows:
                if row:
                    yield _point(path, rows.line_num, row)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BenchError(f"reading {path.name}: {error}") from error


def _point(path: Path, line: int, row: list[str]) -> tuple[float, float]:
    try:
        stamp, text = row
        at = dt.datetime.fromisoformat(stamp.strip())
        value = float(text)
    except ValueError as error:
        raise _malformed(path, line, row) from error
    if not math.isfinite(value) or value < 0:
        raise _malformed(path, line, row)
    return (at if at.tzinfo else at.replace(tzinfo=dt.UTC)).timestamp(), value


def _malformed(path: Path, line: int, row: list[str]) -> BenchError:
    return BenchError(
        f"reading {path.name}, line {line}: saw {','.join(row)!r}; wanted {','.join(COLUMNS)} "
        "with a time such as 2026-11-21 10:05:00 and a number that is not negative"
    )
