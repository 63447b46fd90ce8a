"""Examines a deployment from inside: the least harmful call of each port, and what to do about it.

It reads no document and changes no migration. It leaves a message in a queue that nobody reads,
and removes the blob that it writes and the incident that its test alert becomes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from shared.application.bundle import Ports
from shared.application.operating import to_be_decided
from shared.domain.alerts import harmless_message
from shared.domain.slices import Migration
from shared.domain.spec import MigrationSpec, parse_spec
from shared.errors import EbbError
from shared.ports import POISON_QUEUES

QUEUE = "ebb-doctor"  # no trigger reads it; Azure drops its messages after seven days
MIGRATIONS_MAX = 16  # as many as one tick looks at
METRICS_SPAN_S = 1_800  # an account that was idle for half an hour tells nothing, and says so
METRICS_LAG_MAX_S = 300  # from then on the governor calls a reading stale
HABITS_SPAN_S = 7 * 86_400
SKEW_MAX_S = 10  # what planning allows between the source's clock and ours
SILENCE_MAX_S = 90  # three ticks, after which the board runs out
INCIDENTS_MAX = 20  # so many others may be recorded between a test alert and the look for it


class Verdict(StrEnum):
    SOUND = "sound"
    FAULTY = "faulty"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at: what was seen there, and what to do if it is at fault."""

    what: str
    verdict: Verdict
    seen: str
    advice: str = ""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class Fault(Exception):
    """What was seen is wrong, though nothing failed."""


class Skip(Exception):
    """There is nothing to look at, and why."""


Look = Callable[[], str]
STATE = "the state's storage (AzureWebJobsStorage__accountName)"


class Examining:
    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    def examine(self) -> tuple[Finding, ...]:
        """Everything once; what fails hides nothing of the rest."""
        known: list[Migration] = []
        return tuple(_found(*each) for each in (*self._state(known), *self._scratch())) + tuple(
            _found(*each) for each in self._migrations(known)
        )

    def _state(self, known: list[Migration]) -> Iterator[tuple[str, Look, str]]:
        def ledger() -> str:
            known.extend(self._ports.ledger.migrations())
            return f"{len(known)} migrations"

        role = f"check the name, network and role of {STATE}: "
        yield "ledger", ledger, role + "Storage Table Data Contributor"
        yield "board", self._board, role + "Storage Table Data Contributor"
        yield "queue", self._queue, role + "Storage Queue Data Contributor"
        yield (
            "poison queues",
            self._poison,
            "see the runbook's section poison: peek at them, and delete what is not Ebb's",
        )
        yield "lease", self._lease, role + "Storage Blob Data Owner"
        yield (
            "controller",
            lambda: self._controller(known),
            "look for failures of the function tick; is EBB_TICK_SCHEDULE set?",
        )
        yield (
            "alerts",
            self._alerts,
            (
                "Azure Monitor's alerts take the same way with the same key: check "
                "EBB_CALLBACK_URL and what stands in front of the app, then run 'azd provision "
                "--no-state', which fetches the key anew. Ebb keeps to the readings without"
            ),
        )

    def _board(self) -> str:
        return f"{len(self._ports.boards.read().grants)} sources on it"

    def _queue(self) -> str:
        self._ports.mail.send(QUEUE, "{}")
        return f"a message went to {QUEUE}"

    def _poison(self) -> str:
        held = {queue: self._ports.mail.count(queue) for queue in POISON_QUEUES}
        left = [f"{queue} holds {count}" for queue, count in held.items() if count]
        if left:
            raise Fault(f"{', '.join(left)}: messages that no function could record or even read")
        return "empty, or not made yet"

    def _lease(self) -> str:
        held = self._ports.lease.acquire()
        if held is None:
            return "held by a controller"
        self._ports.lease.release(held)
        return "free"

    def _controller(self, known: list[Migration]) -> str:
        now_s = self._ports.clock.now_s()
        if not to_be_decided(self._ports, known, now_s):
            raise Skip("no migration is known to run, so nothing need be decided")
        if not self._ports.journal.entries(since_s=now_s - SILENCE_MAX_S, limit=1):
            raise Fault(f"no decision for {SILENCE_MAX_S} s")
        return "it decides"

    def _alerts(self) -> str:
        ports = self._ports
        if ports.front_door.closed:
            raise Skip(f"not examined: {ports.front_door.closed}")
        name = f"{QUEUE}-{ports.names.new()}"
        ports.front_door.alert(
            harmless_message(name, ports.sources.account, now_s=ports.clock.now_s())
        )
        if ports.front_door.guarded:
            raise Skip("not examined: an alert without a token is turned away; Ebb has none to try")
        latest = ports.incidents.latest(limit=INCIDENTS_MAX)
        found = next((each for each in latest if name in each.text), None)
        if found is None:
            raise Fault("a test alert was taken there, and is not among this Ebb's incidents")
        ports.incidents.remove(found)
        return "a test alert came in by the front door and was recorded"

    def _scratch(self) -> Iterator[tuple[str, Look, str]]:
        def scratch() -> str:
            with self._ports.scratch.open() as file:
                file.write(b"ebb")
            return "a file was written"

        yield "scratch", scratch, "EBB_SCRATCH_DIR must name a folder that the app may write to"

    def _migrations(self, known: list[Migration]) -> Iterator[tuple[str, Look, str]]:
        """Each source and each sink once, however many migrations use it."""
        specs = [parse_spec(each.spec_text) for each in known[:MIGRATIONS_MAX]]
        if not specs:
            yield "migrations", _nothing_registered, ""
        for spec in {spec.source.name: spec for spec in specs}.values():
            yield from self._source(spec)
        for spec in {spec.sink.container: spec for spec in specs}.values():
            yield from self._sink(spec)
        if any(spec.engine == "adf" for spec in specs):
            advice = "ebb adf deploy; the app's identity needs Data Factory Contributor on it"
            yield "factory", self._factory, advice

    def _source(self, spec: MigrationSpec) -> Iterator[tuple[str, Look, str]]:
        name = spec.source.name
        yield (
            f"source {name}",
            lambda: self._readable(spec),
            (
                "give the app's identity Cosmos DB Built-in Data Reader on the account (data "
                "plane); check EBB_COSMOS_ENDPOINT, the names in the spec, and its firewall"
            ),
        )
        yield (
            f"metrics {name}",
            lambda: self._metrics(spec),
            (
                "give the app's identity Monitoring Reader on the account; check "
                "EBB_COSMOS_RESOURCE_ID. Without fresh metrics Ebb spends nothing"
            ),
        )
        yield (
            f"habits {name}",
            lambda: self._habits(spec),
            (
                "give the app's identity Log Analytics Reader on the workspace; check "
                "EBB_LOG_WORKSPACE_ID. Ebb works without"
            ),
        )

    def _readable(self, spec: MigrationSpec) -> str:
        source = self._ports.sources.open(spec.source.database, spec.source.container)
        paths = source.partition_key_paths()
        return f"{len(source.ranges())} ranges, partition key {', '.join(paths)}"

    def _metrics(self, spec: MigrationSpec) -> str:
        now_s = int(self._ports.clock.now_s())
        minutes = self._ports.monitor.minutes(
            spec.source.database,
            spec.source.container,
            since_s=(now_s - METRICS_SPAN_S) // 60 * 60,
            until_s=now_s,
        )
        if not minutes:
            raise Fault(f"Azure Monitor tells nothing of the last {METRICS_SPAN_S // 60} min")
        lag_s = now_s - (max(minutes) + 60)
        if lag_s > METRICS_LAG_MAX_S:
            raise Fault(f"the newest minute ended {lag_s} s ago")
        return f"the newest minute ended {max(0, lag_s)} s ago"

    def _habits(self, spec: MigrationSpec) -> str:
        now_s = int(self._ports.clock.now_s())
        found = self._ports.history.profile(
            spec.source.database,
            spec.source.container,
            since_s=now_s - HABITS_SPAN_S,
            until_s=now_s,
        )
        if found is None:
            raise Skip("the logs hold nothing of it, or no workspace is named")
        return "the last week is in the logs"

    def _sink(self, spec: MigrationSpec) -> Iterator[tuple[str, Look, str]]:
        written: list[float] = []
        yield (
            f"archive {spec.sink.container}",
            lambda: self._writable(spec, written),
            (
                "give the app's identity Storage Blob Data Contributor on the container; "
                "check EBB_ARCHIVE_STORAGE__accountName, and that no policy forbids deleting"
            ),
        )
        yield (
            f"clock beside {spec.sink.container}",
            lambda: self._skew(written),
            "a host of Azure keeps its clock by itself: restart the app",
        )

    def _writable(self, spec: MigrationSpec, written: list[float]) -> str:
        archive = self._ports.archives.open(spec.sink.container, spec.sink.prefix)
        name, body = f"staging/doctor-{self._ports.names.new()}", b"ebb doctor"
        archive.put_if_absent(name, body)
        before_s = self._ports.clock.now_s()
        try:
            written.extend(each.modified_s - before_s for each in archive.stored(name))
            if archive.read(name) != body:
                raise Fault(f"{name} holds other bytes than were written")
        finally:
            archive.delete(name)
        return "a blob was written, read and deleted"

    def _skew(self, written: list[float]) -> str:
        if not written:
            raise Skip("nothing was written there to compare with")
        if abs(written[0]) > SKEW_MAX_S:
            raise Fault(f"the storage's clock is {written[0]:+.0f} s from ours")
        return f"{written[0]:+.0f} s"

    def _factory(self) -> str:
        self._ports.factory.check()
        return "the pipeline is the one this Ebb needs"


def _nothing_registered() -> str:
    raise Skip("none is known, so no source and no sink is either; ebb apply one")


def _found(what: str, look: Look, advice: str) -> Finding:
    try:
        return Finding(what=what, verdict=Verdict.SOUND, seen=look())
    except Skip as skip:
        return Finding(what=what, verdict=Verdict.SKIPPED, seen=str(skip))
    except Fault as fault:
        return Finding(what=what, verdict=Verdict.FAULTY, seen=str(fault), advice=advice)
    except (EbbError, OSError) as error:
        return Finding(what=what, verdict=Verdict.FAULTY, seen=str(error), advice=advice)
    except Exception as error:  # noqa: BLE001 - one fault must not hide what the others found
        # Its text is told nowhere: it may hold a key.
        seen = f"an unexpected {type(error).__name__}, which Ebb should tell better: report it"
        return Finding(what=what, verdict=Verdict.FAULTY, seen=seen, advice=advice)
