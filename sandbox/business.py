"""The business: a process that uses the account as its owner does, and measures what it gets.

Run as `python -m sandbox.business --help`. Arrivals are open-loop: a slow answer does not slow the
next request, so latency counts from when a request was due. It takes `mark NAME`, `rate FRACTION`
and `stop` on standard input, and ends when that closes.
"""

import argparse
import asyncio
import csv
import json
import random
import sys
import threading
import time
import warnings
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from azure.core.exceptions import AzureError
from azure.cosmos._retry_options import RetryOptions
from azure.cosmos.aio import ContainerProxy, CosmosClient
from azure.cosmos.documents import ConnectionPolicy
from azure.cosmos.exceptions import CosmosHttpResponseError

if TYPE_CHECKING:
    from sandbox.processes import Child
    from sandbox.stage import Sandbox

# Beyond this the business sheds: the account is not answering, and memory is not endless.
IN_FLIGHT_MAX = 512
STATS_EVERY_S = 5.0
# What a read costs until the first answers say it.
RU_PER_READ_GUESS = 30.0
_THROTTLED = 429
_WRITTEN_DOCUMENTS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Spike:
    """A stretch of time at another fraction of the target."""

    start_s: float
    seconds: float
    fraction: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """How much of the target the business uses, by seconds since its start."""

    steady: float = 1.0
    spikes: tuple[Spike, ...] = ()
    # (seconds since the start, fraction), ascending; replaces steady.
    trace: tuple[tuple[float, float], ...] = ()

    def fraction(self, since_start_s: float) -> float:
        """Return the fraction of the target at a moment."""
        for spike in self.spikes:
            if spike.start_s <= since_start_s < spike.start_s + spike.seconds:
                return spike.fraction
        value = self.steady
        for at_s, fraction in self.trace:
            if at_s > since_start_s:
                break
            value = fraction
        return value


@dataclass(slots=True)
class PhaseTally:
    """What the business got in one phase."""

    requests: int = 0
    throttled: int = 0
    errors: int = 0
    shed: int = 0
    ru: float = 0.0
    seconds: float = 0.0
    latencies_ms: list[float] = field(default_factory=list)

    def summary(self) -> dict[str, Any]:
        """Return the phase in numbers; throttled requests have no latency."""
        ordered = sorted(self.latencies_ms)
        return {
            "requests": self.requests,
            "throttled": self.throttled,
            "errors": self.errors,
            "shed": self.shed,
            "ru": round(self.ru, 1),
            "seconds": round(self.seconds, 1),
            "ru_per_s": round(self.ru / self.seconds, 1) if self.seconds else 0.0,
            "p50_ms": _percentile(ordered, 0.50),
            "p99_ms": _percentile(ordered, 0.99),
            "max_ms": _percentile(ordered, 1.0),
        }

    def merge(self, other: "PhaseTally") -> None:
        """Add another phase to this one."""
        for name in ("requests", "throttled", "errors", "shed", "ru", "seconds"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.latencies_ms.extend(other.latencies_ms)


@dataclass(frozen=True, slots=True, kw_only=True)
class BusinessOptions:
    """What the business does, and to what."""

    database: str
    container: str
    target_ru_per_s: float
    # (id, partition key) of the documents it reads: SeedReport.recent_items.
    items: tuple[tuple[str, str], ...]
    partition_key: str = "customerId"
    profile: Profile = field(default_factory=Profile)
    write_share: float = 0.1
    seed: int = 1


class Workload:
    """Sends the requests and keeps the tallies."""

    def __init__(self, container: ContainerProxy, options: BusinessOptions) -> None:
        """Start in the phase 'start'."""
        self._container = container
        self._options = options
        self._rng = random.Random(options.seed)
        self._phases: dict[str, PhaseTally] = {"start": PhaseTally()}
        self._phase = "start"
        self._phase_since_s = time.monotonic()
        self._ru_per_request = RU_PER_READ_GUESS
        self._answers = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self.rate = 1.0
        self.stopped = asyncio.Event()

    def mark(self, name: str) -> None:
        """Count what is due from now on under another phase."""
        now_s = time.monotonic()
        self._phases[self._phase].seconds += now_s - self._phase_since_s
        self._phase, self._phase_since_s = name, now_s
        self._phases.setdefault(name, PhaseTally())

    def summary(self) -> dict[str, Any]:
        """Return everything so far, in total and by phase."""
        self.mark(self._phase)
        total = PhaseTally()
        for tally in self._phases.values():
            total.merge(tally)
        return {
            **total.summary(),
            "phases": {name: tally.summary() for name, tally in self._phases.items()},
        }

    async def run(self) -> None:
        """Send requests when they are due until stopped, then wait for the last answers."""
        started_s = due_s = time.monotonic()
        while not self.stopped.is_set():
            fraction = self._options.profile.fraction(due_s - started_s) * self.rate
            per_s = self._options.target_ru_per_s * fraction / self._ru_per_request
            # Idle stretches are looked at again twice a second.
            due_s += min(0.5, self._rng.expovariate(per_s)) if per_s > 0 else 0.5
            if (wait_s := due_s - time.monotonic()) > 0:
                await asyncio.sleep(wait_s)
            if per_s > 0:
                self._send(due_s)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=10)

    def _send(self, due_s: float) -> None:
        tally = self._phases[self._phase]
        if len(self._tasks) >= IN_FLIGHT_MAX:
            tally.shed += 1
            return
        task = asyncio.create_task(self._request(tally, due_s))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _request(self, tally: PhaseTally, due_s: float) -> None:
        charges: list[float] = []

        def hook(headers: Any, _: Any) -> None:
            charges.append(float(headers.get("x-ms-request-charge", 0)))

        tally.requests += 1
        try:
            if self._rng.random() < self._options.write_share:
                await self._container.upsert_item(self._small_document(), response_hook=hook)
            else:
                item, key = self._rng.choice(self._options.items)
                await self._container.read_item(item, key, response_hook=hook)
        except CosmosHttpResponseError as error:
            if error.status_code == _THROTTLED:
                tally.throttled += 1
            else:
                tally.errors += 1
            return
        except (AzureError, OSError):
            tally.errors += 1
            return
        tally.latencies_ms.append((time.monotonic() - due_s) * 1000)
        tally.ru += sum(charges)
        # Quick at first, then a slow average, so that one large document does not swing the rate.
        self._answers += 1
        self._ru_per_request += max(0.02, 1 / self._answers) * (sum(charges) - self._ru_per_request)

    def _small_document(self) -> dict[str, Any]:
        number = self._rng.randrange(_WRITTEN_DOCUMENTS)
        return {
            "id": f"business-{number:04d}",
            self._options.partition_key: f"business-{number % 10}",
            "state": self._rng.randrange(10**6),
            "note": "x" * 600,
        }


def read_trace(path: Path) -> tuple[tuple[float, float], ...]:
    """Read a CSV of timestamp,value into seconds since its start and fractions of its highest."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = [
            (_trace_time_s(row["timestamp"]), float(row["value"])) for row in csv.DictReader(file)
        ]
    highest = max(value for _, value in rows) or 1.0
    return tuple((at_s - rows[0][0], value / highest) for at_s, value in rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Work until stopped."""
    # The SDK never verifies a certificate on loopback and urllib3 says so at every request.
    warnings.filterwarnings("ignore", message="Unverified HTTPS request")
    given = _parser().parse_args(arguments)
    asyncio.run(_work(given))


async def _work(given: argparse.Namespace) -> None:
    key = given.key_file.read_text().strip()
    async with _container(given, key) as container:
        workload = Workload(container, _options(given))
        loop = asyncio.get_running_loop()
        threading.Thread(target=_obey, args=(workload, loop), daemon=True).start()
        _say({"ready": True})
        reporter = asyncio.create_task(_report(workload))
        if given.seconds:
            loop.call_later(given.seconds, workload.stopped.set)
        await workload.run()
        reporter.cancel()
        summary = workload.summary()
    _say({"summary": summary})
    if given.summary_file:
        given.summary_file.write_text(json.dumps(summary, indent=2))


@asynccontextmanager
async def _container(given: argparse.Namespace, key: str) -> AsyncIterator[ContainerProxy]:
    policy = ConnectionPolicy()
    # retry_throttle_total=0 is falsy and would mean nine retries, which would hide every 429.
    policy.RetryOptions = RetryOptions(max_retry_attempt_count=0)
    async with CosmosClient(
        given.endpoint,
        key,
        connection_verify=str(given.ca_file),
        connection_policy=policy,
        enable_endpoint_discovery=False,
        user_agent_suffix="business",
    ) as client:
        yield client.get_database_client(given.database).get_container_client(given.container)


async def _report(workload: Workload) -> None:
    while True:
        await asyncio.sleep(STATS_EVERY_S)
        _say({"stats": workload.summary()})


def _obey(workload: Workload, loop: asyncio.AbstractEventLoop) -> None:
    for line in sys.stdin:
        command, _, argument = line.strip().partition(" ")
        if command == "mark":
            loop.call_soon_threadsafe(workload.mark, argument)
        elif command == "rate":
            workload.rate = float(argument)
        elif command == "stop":
            break
    loop.call_soon_threadsafe(workload.stopped.set)


def _say(event: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


def _percentile(ordered: Sequence[float], share: float) -> float | None:
    if not ordered:
        return None
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 2)


def _trace_time_s(text: str) -> float:
    import datetime as dt  # noqa: PLC0415 - only traces need it

    return (
        float(text)
        if text.replace(".", "", 1).isdigit()
        else dt.datetime.fromisoformat(text).timestamp()
    )


def _spike(text: str) -> Spike:
    start_s, seconds, fraction = (float(part) for part in text.split(":"))
    return Spike(start_s=start_s, seconds=seconds, fraction=fraction)


def _options(given: argparse.Namespace) -> BusinessOptions:
    trace = read_trace(given.trace) if given.trace else ()
    scaled = tuple((at_s / given.trace_speed, fraction * given.steady) for at_s, fraction in trace)
    return BusinessOptions(
        database=given.database,
        container=given.container,
        target_ru_per_s=given.target_ru_per_s,
        items=tuple((item, key) for item, key in json.loads(given.items_file.read_text())),
        partition_key=given.partition_key,
        profile=Profile(steady=given.steady, spikes=tuple(given.spike), trace=scaled),
        write_share=given.write_share,
        seed=given.seed,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sandbox.business", description=__doc__)
    parser.add_argument("--endpoint", required=True)
    parser.add_argument("--key-file", type=Path, required=True)
    parser.add_argument("--ca-file", type=Path, required=True)
    parser.add_argument("--database", required=True)
    parser.add_argument("--container", required=True)
    parser.add_argument(
        "--items-file", type=Path, required=True, help="JSON list of [id, partition key] to read"
    )
    parser.add_argument(
        "--partition-key", default="customerId", help="the container's partition key property"
    )
    parser.add_argument("--target-ru-per-s", type=float, required=True)
    parser.add_argument(
        "--steady", type=float, default=1.0, help="fraction of the target outside spikes"
    )
    parser.add_argument(
        "--spike",
        type=_spike,
        action="append",
        default=[],
        help="START_S:SECONDS:FRACTION, repeatable",
    )
    parser.add_argument(
        "--trace", type=Path, help="CSV timestamp,value; its highest value becomes --steady"
    )
    parser.add_argument(
        "--trace-speed", type=float, default=1.0, help="play the trace so many times faster"
    )
    parser.add_argument("--write-share", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, help="stop by itself after so long")
    parser.add_argument("--summary-file", type=Path)
    return parser


@dataclass(frozen=True, slots=True, kw_only=True)
class Business:
    """A running business, as the process that started it sees it."""

    child: "Child"

    def mark(self, name: str) -> None:
        """Count what comes from now on under another phase."""
        self.child.send_line(f"mark {name}")

    def set_rate(self, fraction: float) -> None:
        """Scale what the profile says."""
        self.child.send_line(f"rate {fraction}")

    def stop(self) -> dict[str, Any]:
        """End it and return its summary."""
        self.child.send_line("stop")
        found = self.child.wait_for(r'^\{"summary": (\{.*\})\}$')
        return dict(json.loads(found[1]))


@contextmanager
def start_business(sandbox: "Sandbox", options: BusinessOptions) -> Iterator[Business]:
    """Start the business in its own process; it ends with the block at the latest."""
    directory = sandbox.processes.scratch_dir
    (directory / "business-items.json").write_text(json.dumps(options.items))
    key_file = directory / "business-key"
    key_file.touch(mode=0o600)
    key_file.write_text(sandbox.cosmos_key)
    flags: dict[str, object] = {
        "endpoint": sandbox.cosmos_endpoint,
        "key-file": key_file,
        "ca-file": sandbox.ca_file,
        "database": options.database,
        "container": options.container,
        "items-file": directory / "business-items.json",
        "partition-key": options.partition_key,
        "target-ru-per-s": options.target_ru_per_s,
        "steady": options.profile.steady,
        "write-share": options.write_share,
        "seed": options.seed,
    }
    arguments = [f"--{name}={value}" for name, value in flags.items()]
    arguments += [f"--spike={s.start_s}:{s.seconds}:{s.fraction}" for s in options.profile.spikes]
    if options.profile.trace:
        trace_file = directory / "business-trace.csv"
        highest = max(fraction for _, fraction in options.profile.trace)
        lines = [f"{at_s},{fraction}" for at_s, fraction in options.profile.trace]
        trace_file.write_text("\n".join(["timestamp,value", *lines]))
        arguments += [f"--trace={trace_file}", f"--steady={highest}"]
    child = sandbox.processes.start(
        "business", [sys.executable, "-m", "sandbox.business", *arguments]
    )
    try:
        child.wait_for(r'^\{"ready": true\}$')
        yield Business(child=child)
    finally:
        child.stop()


if __name__ == "__main__":
    main()
