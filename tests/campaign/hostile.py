"""Malformed and hostile requests, seeded, against every route of the described interface.

`python -m tests.campaign.hostile --requests 10000 --json`. Each answer must be one that
docs/openapi.yaml knows, tell no traceback, and, where it refuses, leave everything as it was.
"""

from __future__ import annotations

import argparse
import json
import random
import runpy
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import azure.functions as func
import yaml

from shared import wiring
from tests.simulation.alerts import message
from tests.simulation.runs import SPEC
from tests.simulation.world import START_S, World, make_world

HOUSE = Path(__file__).parents[2]
REQUESTS = 10_000
SERVER_FAULT = 500
REFUSED = 400
UNHEALTHY = 503
METHODS = ("get", "put", "post")
DEEP = 5_000
LONG = 70_000
NAMES = ("sim", "nobody", "", " ", "..", "../sim", "%2e%2e", "a" * 3_000, "sim\x00", "sim\n", "sím")
ODD = (
    *("", "null", "-1", "1e400", "nan", "inf", "0x10", "\uff11", "1" * 400, "' OR 1=1 --"),
    *("<script>alert(1)</script>", "${jndi:ldap://x}", "\x00", "\u202e", "\ud800", "{{7*7}}"),
)
VALUES: tuple[Any, ...] = (
    *(None, True, [], {}, -1, 0, 1e308, 10**30, float("nan"), "", "x", "\x00", "a" * 9_000),
    *([[]], {"a": {"b": []}}, "2026-13-45", "../..", "/", "a/b/c", "\ud800"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method of one route, and the statuses it may answer with."""

    name: str
    method: str
    path: str
    statuses: frozenset[int]


@dataclass(slots=True)
class Report:
    requests: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return {
            "requests": self.requests,
            "answers": dict(sorted(self.answers.items())),
            "faults": self.faults,
        }


def described() -> tuple[Operation, ...]:
    """Every operation that docs/openapi.yaml tells of."""
    told = yaml.safe_load((HOUSE / "docs" / "openapi.yaml").read_text(encoding="utf-8"))
    return tuple(
        Operation(
            name=entry[method]["operationId"],
            method=method.upper(),
            path=path,
            statuses=frozenset(int(status) for status in entry[method]["responses"]),
        )
        for path, entry in told["paths"].items()
        for method in METHODS
        if method in entry
    )


def handlers() -> dict[str, Callable[..., func.HttpResponse]]:
    """The functions that answer, by name."""
    app = runpy.run_path(str(HOUSE / "function_app.py"))["app"]
    return {
        each.get_function_name(): each.get_user_function()
        for each in app.get_functions()
        if each.get_trigger().type == "httpTrigger"
    }


def _bodies(rng: random.Random, operation: Operation) -> bytes:
    """Bytes at random, or something nearly right."""
    near = _nearly_right(operation)
    kinds: tuple[Callable[[], bytes], ...] = (
        lambda: b"",
        lambda: rng.randbytes(rng.randrange(200)),
        lambda: b"[" * DEEP,
        lambda: b'{"a":' * DEEP,
        lambda: b"x" * LONG,
        lambda: b"a: &a [*a, *a]\n",
        lambda: b"a: &a [x,x]\nb: &b [*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b]\nd: [*c,*c,*c,*c]\n",
        lambda: b"!!python/object/apply:os.system ['true']",
        lambda: rng.choice(ODD).encode("utf-8", "surrogatepass"),
        lambda: near[: rng.randrange(len(near) + 1)],
        lambda: _flipped(rng, near),
        lambda: _spoilt(rng, near),
        lambda: _spoilt(rng, near),
        lambda: _spoilt(rng, near),
    )
    return rng.choice(kinds)()


def _nearly_right(operation: Operation) -> bytes:
    if operation.name == "migration_apply":
        return json.dumps(yaml.safe_load(SPEC)).encode()
    if operation.name == "retirement_change":
        return json.dumps({"action": "execute", "accept_protection": "it is copied"}).encode()
    if operation.name == "alerts":
        return message(fired_at_s=START_S - 60.0).encode()
    if operation.name == "slice_validate":
        delivery = {
            "migration": "sim",
            "slice": "0-1-r000",
            "fence": 1,
            "attempt": 1,
            "path": "incoming/x/y.parquet",
            "rowsCopied": 1,
            "runId": "r",
            "callBackUri": "https://evil.example/callback",
        }
        return json.dumps(delivery).encode()
    return json.dumps({"business_ru_per_s": 10.0, "for_s": 5, "why": "x"}).encode()


def _flipped(rng: random.Random, data: bytes) -> bytes:
    at = rng.randrange(len(data))
    return data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :]


def _spoilt(rng: random.Random, data: bytes) -> bytes:
    """One place of the document gets another value, another name, or goes."""
    body = json.loads(data)
    holder: Any = body
    while True:
        keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        key = rng.choice(keys)
        below = holder[key]
        if isinstance(below, dict | list) and below and rng.random() < 0.8:
            holder = below
            continue
        break
    change = rng.random()
    if change < 0.2 and isinstance(holder, dict):
        del holder[key]
    elif change < 0.3 and isinstance(holder, dict):
        holder[rng.choice(ODD)] = holder.pop(key)
    else:
        holder[key] = deepcopy(rng.choice(VALUES))
    return json.dumps(body).encode()


def hostile(rng: random.Random, operation: Operation) -> func.HttpRequest:
    route = {"name": rng.choice(NAMES), "slice_id": rng.choice(NAMES)}
    params = {name: rng.choice(ODD) for name in ("span_s", "limit", "hours") if rng.random() < 0.7}
    wants_body = operation.method != "GET" or rng.random() < 0.1
    return func.HttpRequest(
        method=operation.method,
        url=f"http://127.0.0.1{operation.path}",
        headers={"authorization": rng.choice(ODD), "content-type": rng.choice(ODD)},
        params=params,
        route_params=route,
        body=_bodies(rng, operation) if wants_body else b"",
    )


def stored(world: World) -> str:
    """Everything that a request might have changed."""
    ports = world.ports
    names = [each.name for each in ports.ledger.migrations()]
    return repr(
        (
            ports.ledger.migrations(),
            [(ports.ledger.ranges(name), ports.ledger.open_slices(name)) for name in names],
            [(ports.ledger.retirement(name), ports.ledger.removals(name)) for name in names],
            ports.boards.read(),
            ports.incidents.latest(limit=100),
            len(world.mail.letters),
        )
    )


def attacked(requests: int, *, seed: int) -> Report:
    """So many requests, one after the other, against one world with a running migration."""
    world = make_world(1)
    world.source.put("doc", ts=START_S - 200 * 86_400, body=1)
    world.calm.operating.start(world.calm.operating.apply(SPEC).name)
    world.calm.controller.tick()
    rng, report = random.Random(seed), Report()
    functions, operations = handlers(), described()
    with patch.object(wiring, "app", lambda: world.calm):
        for number in range(requests):
            operation = operations[number % len(operations)]
            before = stored(world)
            answer = functions[operation.name](
                hostile(rng, operation), SimpleNamespace(invocation_id="i")
            )
            report.requests += 1
            report.answers[f"{operation.name} {answer.status_code}"] += 1
            changed = stored(world) != before
            report.faults += list(_faults(number, operation, answer, changed=changed))
    return report


def _faults(
    number: int, operation: Operation, answer: func.HttpResponse, *, changed: bool
) -> Iterator[str]:
    text, status = answer.get_body().decode(), answer.status_code
    where = f"request {number}, {operation.method} {operation.path}, {status}"
    if status not in operation.statuses:
        yield f"{where}: not a status of its description: {text[:200]}"
    if status >= SERVER_FAULT and not (operation.name == "health" and status == UNHEALTHY):
        yield f"{where}: a fault of the server: {text[:200]}"
    if "Traceback" in text or 'File "' in text:
        yield f"{where}: a traceback: {text[:200]}"
    if status >= REFUSED and changed:
        yield f"{where}: refused, and something changed"
    if status >= REFUSED and answer.mimetype == "application/problem+json":
        json.loads(text)["detail"]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.campaign.hostile", description=__doc__)
    parser.add_argument("--requests", type=int, default=REQUESTS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="only the numbers, as JSON")
    given = parser.parse_args(arguments)
    report = attacked(given.requests, seed=given.seed)
    shown = report.as_dict()
    lines = "".join(f"{name}: {value}\n" for name, value in shown.items())
    sys.stdout.write(json.dumps(shown, indent=1) + "\n" if given.json else lines)
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main())
