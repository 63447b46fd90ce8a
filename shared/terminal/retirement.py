"""The command retire: shows what removing from the source would take, and asks a running Ebb."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import urllib.parse
from collections.abc import Iterator, Mapping
from typing import Any

from rich.text import Text

from shared.terminal.console import DONE, PROBLEM, Terminal
from shared.terminal.remote import EXAMINING_TIMEOUT_S, Remote


def retire(options: argparse.Namespace, terminal: Terminal) -> int:
    """Without a verb nothing is changed; exit code 1 when something stands against it."""
    remote = Remote(
        options.url,
        options.key,
        operator_key=options.operator_key,
        timeout_s=EXAMINING_TIMEOUT_S,
    )
    path = f"migrations/{urllib.parse.quote(options.name, safe='')}/retirement"
    if options.action is None:
        found = remote.call("GET", path)
        terminal.show(found, lambda: _assessed(found))
        return _code(found)
    answer = remote.call("POST", path, json.dumps(_asked(options)))
    terminal.show(answer, lambda: f"{options.name}: {_course(answer)}")
    return DONE


def _asked(options: argparse.Namespace) -> dict[str, str]:
    asked = {
        "action": options.action,
        "accept_protection": options.accept_unprotected,
        "accept_change_feed": options.accept_change_feed,
        "accept_write_regions": options.accept_write_regions,
        "accept_time_to_live": options.accept_time_to_live,
        "accept_index": options.accept_index,
    }
    return {key: value for key, value in asked.items() if value is not None}


def _code(found: Mapping[str, Any]) -> int:
    course = found["retirement"]
    halted = course is not None and course["state"] == "halted"
    return PROBLEM if halted or not found["possible"] else DONE


def _assessed(found: Mapping[str, Any]) -> Text:
    forecast = found["forecast"]
    by = "as measured" if forecast["measured"] else "assumed from their size"
    seconds = forecast["seconds"]
    took = "an unknown time" if seconds is None else str(dt.timedelta(seconds=round(seconds)))
    size = f"{forecast['documents']:,} documents, {forecast['document_bytes'] / 1e9:,.1f} GB"
    each_ru = f"{forecast['ru_per_document']:,.1f} each, {by}"
    cost = f"about {forecast['ru']:,.0f} RU ({each_ru}), {took} at the copy's own pace"
    head = f"{found['name']}: retire: {found['mode']}, {size}\n  {cost}"
    return Text("\n").join([Text(head), *map(_gate, found["gates"]), *map(Text, _rest(found))])


def _rest(found: Mapping[str, Any]) -> Iterator[str]:
    if found["slices_in_grace"]:
        yield f"  {found['slices_in_grace']} slices wait until their proof is old enough"
    if found["retirement"]:
        yield f"  {_course(found['retirement'])}"
    elif found["possible"]:
        yield f"  nothing was removed; begin with: ebb retire {found['name']} --execute"


def _gate(gate: Mapping[str, Any]) -> Text:
    mark = ("holds ", "green") if gate["holds"] else ("CLOSED", "bold red")
    if gate["overridden"]:
        mark = ("opened", "yellow")
    why = f" (accepted: {gate['overridden']})" if gate["overridden"] else ""
    return Text.assemble("  ", mark, f" {gate['name']}: {gate['text']}{why}")


def _course(course: Mapping[str, Any]) -> str:
    documents = course["documents"]
    spared = sum(count for name, count in documents.items() if name.startswith("spared_"))
    return (
        f"{course['direction']} is {course['state']} ({course['reason']}): "
        f"{documents['removed']:,} of {documents['expected']:,} removed, "
        f"{documents['restored']:,} restored, {spared:,} left alone, {course['ru']['spent']:,} RU"
    )
