"""Fills a container with documents of known sizes and ages, the same for the same seed."""

import base64
import datetime as dt
import json
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from sandbox.cosmos.backing import Backing, StoredDocument

DAY_S = 86_400
KILOBYTE = 1024
PARTITION_KEY = "customerId"
# Just under the 2 MB that Cosmos DB allows, system properties included.
LARGE_KB = 2000
SMALL_KB = 1
_POOL_CHARACTERS = 1 << 22
# About a third of a line, which zstd then takes to about a third of its size.
_LINE_RANDOM_CHARACTERS = 280
_LINE_FACTS = 5000
_REGIONS = ("westeurope", "northeurope", "eastus2", "japaneast", "brazilsouth")
_SERVICES = (
    "Virtual Machines Dv5 Series - D4s v5 - EU West",
    "Standard SSD Managed Disks - E10 LRS - EU West",
    "Bandwidth - Data Transfer Out - Zone 1",
    "Azure Cosmos DB serverless - 1M RUs - JA East",
    "Storage - Block Blob v2 - Hot LRS Data Stored",
    "Functions - Execution Time - Switzerland North",
)
_CUSTOMERS = (
    '{"name":"Smith and Sons Ltd","address":{"city":"Leeds","zip":null}}',
    '{"name":"Škoda & Söhne","address":{"city":"Łódź","zip":null}}',
    '{"name":"Contoso BV","address":{"city":"Utrecht","zip":"3511"}}',
    '{"name":"Fabrikam Inc","address":{"city":"Austin"}}',
    '{"name":"株式会社 🌍","address":{"city":"大阪","zip":""}}',
)
# Text that JSON libraries disagree about; in raw form, because Python would write some differently.
_EDGES = (
    '"numbers":[5e-324,1.7976931348623157e308,-0.0,9007199254740991,9007199254740993,1.0,0.1]',
    '"moreNumbers":[1e21,1e-7,-1,0,9007199254740992,-9007199254740993,100,1e2]',
    '"missing":{},"present":{"value":null},"emptyList":[],"emptyObject":{},"emptyText":""',
    '"unicode":"e\\u0301 é \\ud83c\\udf0d \\u2028 \\u0000 \\" \\\\ \\/","Ünïcödé key ключ":true',
    '"deep":[[[[{"a":[]}]]]]',
    '"dates":["2024-02-29T00:00:00Z","2024-02-29T00:00:00.1Z","2024-02-29T00:00:00.1234567Z"]',
    '"days":["2024-02-29","20240229"]',
    '"nothing":null,"truth":[true,false],"spaces":"  a\\tb\\nc  "',
    '"longNumberText":"9007199254740993"',
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedPlan:
    """What a container is to hold."""

    documents: int
    seed: int = 1
    # The moment that ages count back from; None is now.
    now_s: int | None = None
    usual_kb: int = 300
    # Documents that are not cold; None is as large as the others.
    recent_kb: int | None = None
    large_share: float = 0.01
    small_share: float = 0.04
    cold_share: float = 0.8
    oldest_days: int = 730
    cold_days: int = 91
    # So many cold documents share one second, in the middle of the cold range.
    burst_documents: int = 0
    with_edges: bool = True
    customers: int = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedReport:
    """What was stored."""

    documents: int
    bytes: int
    cold_documents: int
    burst_ts: int | None
    # (id, partition key) of documents younger than the cold range: what a business reads.
    recent_items: tuple[tuple[str, str], ...]
    seconds: float

    @property
    def megabytes_per_s(self) -> float:
        """How fast it went."""
        return self.bytes / 1e6 / max(self.seconds, 1e-9)


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedDocument:
    """One document before it is stored."""

    id: str
    customer: str
    ts: int
    is_cold: bool
    text: bytes


def seed_container(
    backing: Backing, *, database: str, container: str, plan: SeedPlan
) -> SeedReport:
    """Create the container where it is missing, and store the plan's documents in it."""
    backing.create_container(database, container, partition_key_path=f"/{PARTITION_KEY}")
    now_s = plan.now_s or int(time.time())
    recent: list[tuple[str, str]] = []
    cold = 0

    def stored() -> Iterator[StoredDocument]:
        nonlocal cold
        for document in seed_documents(plan, now_s=now_s):
            if document.is_cold:
                cold += 1
            else:
                recent.append((document.id, document.customer))
            yield StoredDocument(key_json=json.dumps([document.customer]), text=document.text)

    started_s = time.monotonic()
    count, total_bytes = backing.store(database, container, stored())
    return SeedReport(
        documents=count,
        bytes=total_bytes,
        cold_documents=cold,
        burst_ts=_burst_ts(plan, now_s) if plan.burst_documents else None,
        recent_items=tuple(recent),
        seconds=time.monotonic() - started_s,
    )


def seed_documents(plan: SeedPlan, *, now_s: int) -> Iterator[SeedDocument]:
    """Yield the plan's documents, in a shuffled order of age, as they would have been written."""
    rng = random.Random(plan.seed)
    pool = base64.urlsafe_b64encode(rng.randbytes(_POOL_CHARACTERS * 3 // 4)).decode()
    facts = [_line_facts(rng) for _ in range(_LINE_FACTS)]
    for index in range(plan.documents):
        ts, is_cold = _age(plan, index, now_s, rng)
        document_id = f"inv-{index:08d}"
        customer = f"customer-{rng.randrange(plan.customers):05d}"
        head = (
            f'{{"id":"{document_id}","{PARTITION_KEY}":"{customer}","__sandbox_ts":{ts},'
            f'"issuedAt":"{_iso(ts, rng)}","type":"invoice"'
        )
        if plan.with_edges and index < len(_EDGES):
            text = f"{head},{_EDGES[index]}}}"
        else:
            text = _invoice(
                head,
                _size_bytes(plan, rng, is_cold=is_cold),
                lambda number: _line(number, pool, facts, rng),
                rng,
            )
        yield SeedDocument(
            id=document_id, customer=customer, ts=ts, is_cold=is_cold, text=text.encode()
        )


def _age(plan: SeedPlan, index: int, now_s: int, rng: random.Random) -> tuple[int, bool]:
    cold_until_s = now_s - plan.cold_days * DAY_S
    if index < plan.burst_documents:
        return _burst_ts(plan, now_s), True
    if rng.random() < plan.cold_share:
        return rng.randrange(now_s - plan.oldest_days * DAY_S, cold_until_s), True
    # Two days clear of the limit, so that nothing turns cold during a rehearsal.
    return rng.randrange(cold_until_s + 2 * DAY_S, now_s - 3600), False


def _burst_ts(plan: SeedPlan, now_s: int) -> int:
    return now_s - (plan.oldest_days + plan.cold_days) // 2 * DAY_S


def _size_bytes(plan: SeedPlan, rng: random.Random, *, is_cold: bool) -> int:
    draw = rng.random()
    if plan.recent_kb is not None and not is_cold:
        return int(plan.recent_kb * KILOBYTE * rng.uniform(0.8, 1.2))
    if draw < plan.large_share:
        return LARGE_KB * KILOBYTE
    if draw < plan.large_share + plan.small_share:
        return SMALL_KB * KILOBYTE
    return int(plan.usual_kb * KILOBYTE * rng.uniform(0.8, 1.2))


def _invoice(head: str, size_bytes: int, line: Callable[[int], str], rng: random.Random) -> str:
    opening = f'{head},"customer":{rng.choice(_CUSTOMERS)},"notes":[],"lines":['
    lines: list[str] = []
    size = len(opening) + 60
    while size < size_bytes:
        lines.append(line(len(lines)))
        size += len(lines[-1]) + 1
    total = rng.randrange(10**9) / 100
    return f'{opening}{",".join(lines)}],"lineCount":{len(lines)},"total":{total}}}'


def _line(number: int, pool: str, facts: Sequence[str], rng: random.Random) -> str:
    # Random text from a shared pool is what keeps the document from compressing to nothing.
    at = int(rng.random() * (_POOL_CHARACTERS - _LINE_RANDOM_CHARACTERS))
    return (
        f'{{"line":{number},"meterId":"{pool[at : at + 36]}",{facts[at % len(facts)]},'
        f'"evidence":"{pool[at + 36 : at + _LINE_RANDOM_CHARACTERS]}"}}'
    )


def _line_facts(rng: random.Random) -> str:
    quantity, cents = rng.randrange(977), rng.randrange(99_991)
    return (
        f'"service":"{rng.choice(_SERVICES)}","region":"{rng.choice(_REGIONS)}",'
        f'"quantity":{quantity / 8},'
        f'"unitPrice":{cents / 1e4},"amount":{quantity * cents / 8e4},"currency":"EUR",'
        f'"usageStart":"2024-{rng.randrange(1, 13):02d}-{rng.randrange(1, 29):02d}'
        f'T{rng.randrange(24):02d}:00:00Z",'
        f'"resourceGroup":"rg-{rng.randrange(10**6)}","tags":{{"env":"prod","cc":"{rng.randrange(10**4)}","discount":null}},'
        f'"description":"Usage of the resource in the billing period, prorated by hour and rounded"'
    )


def _iso(ts: int, rng: random.Random) -> str:
    moment = dt.datetime.fromtimestamp(ts, tz=dt.UTC)
    fraction = rng.choice(("", ".5", ".123", f".{rng.randrange(10**7):07d}"))
    return f"{moment:%Y-%m-%dT%H:%M:%S}{fraction}Z"
