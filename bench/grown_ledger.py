"""Makes a ledger of many done slices out of one of few, in the file that Azurite keeps tables in.

Through its API Azurite looks through all rows for every row it inserts: a hundred thousand take
longer than anyone waits. Real tables don't.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.errors import BenchError

FILE = "__azurite_db_table__.json"
LEDGER = "ebbledger"
SAVED_WITHIN_S = 60.0
POLL_S = 0.5
_DONE = "done|"


def saved(folder: Path, slices: int) -> None:
    """Wait until Azurite has written this many done slices to its file."""
    until_s = time.monotonic() + SAVED_WITHIN_S
    while time.monotonic() < until_s:
        try:
            if len(_done(_ledger(_read(folder)))) >= slices:
                return
        except (OSError, ValueError, StopIteration):
            pass  # not there yet, or half written
        time.sleep(POLL_S)
    raise BenchError(f"waiting for {folder / FILE}: Azurite did not save {slices} done slices")


def grow(folder: Path, slices: int) -> str:
    """Repeat the done slices, each under a window that follows the last; returns the last key."""
    database = _read(folder)
    ledger = _ledger(database)
    samples = _done(ledger)
    last = json.loads(samples[-1]["properties"]["extent_json"])["window"]
    width_s, next_s = last["hi_s"] - last["lo_s"], last["hi_s"]
    for number in range(slices - len(samples)):
        sample = samples[number % len(samples)]
        ledger["maxId"] += 1
        ledger["data"].append(_moved(sample, next_s, width_s, ledger["maxId"]))
        next_s += width_s
    ledger["idIndex"] = [row["$loki"] for row in ledger["data"]]
    for name in ledger["binaryIndices"]:
        keys = [str(row[name]) for row in ledger["data"]]
        places = sorted(range(len(keys)), key=keys.__getitem__)
        ledger["binaryIndices"][name] = {"name": name, "dirty": False, "values": places}
    (folder / FILE).write_text(json.dumps(database), encoding="utf-8")
    return str(_done(ledger)[-1]["RowKey"]).removeprefix(_DONE)


def _moved(sample: Mapping[str, Any], lo_s: int, width_s: int, number: int) -> dict[str, Any]:
    extent = json.loads(sample["properties"]["extent_json"])
    extent["window"] = {"lo_s": lo_s, "hi_s": lo_s + width_s}
    old = sample["RowKey"].removeprefix(_DONE)
    new = f"{lo_s:010d}-{lo_s + width_s:010d}-{extent['range']['id']}"
    row: dict[str, Any] = json.loads(json.dumps(sample).replace(old, new))
    row["properties"]["extent_json"] = json.dumps(extent, separators=(",", ":"))
    row["$loki"] = number
    return row


def _read(folder: Path) -> dict[str, Any]:
    database: dict[str, Any] = json.loads((folder / FILE).read_text(encoding="utf-8"))
    return database


def _ledger(database: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = next(
        each for each in database["collections"] if each["name"].endswith(LEDGER)
    )
    return found


def _done(ledger: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows = [row for row in ledger["data"] if row["RowKey"].startswith(_DONE)]
    return sorted(rows, key=lambda row: str(row["RowKey"]))
