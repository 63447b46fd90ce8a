"""One Azure table as the adapters use it: point reads, range reads and transactions.

It makes the table when the first write finds it missing, and knows nothing of the records but the
version that each carries: a row of a later one is not given out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal

from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.data.tables import (
    TableClient,
    TableServiceClient,
    TableTransactionError,
    UpdateMode,
)

from shared.adapters.azure_errors import code_of, seen, translated, unless_there
from shared.domain.version import FIELD, STATE_VERSION, check_version
from shared.errors import Conflict, PermanentError

OPERATIONS_MAX = 100  # of one entity-group transaction, by the service's own rule
PAGE_ROWS = 1_000  # of one query answer, by the service's own rule
AFTER_BAR = "}"  # the character after "|": `x|` <= key < `x}` is every key that begins with `x|`
_CHANGED = frozenset({404, 409, 412})
_TABLE_NOT_FOUND = "TableNotFound"
_TABLE_FIXED = frozenset({"TableBeingDeleted"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """An entity as it was read."""

    key: str
    properties: Mapping[str, Any]
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """One operation of a transaction; `thing` is what a person calls the record."""

    kind: Literal["create", "replace", "delete", "put", "drop"]
    key: str
    thing: str
    properties: Mapping[str, Any] = field(default_factory=dict)
    version: str = ""


def stored(key: str, thing: str, properties: Mapping[str, Any], version: str) -> Write:
    """A conditional write: new without a version, unchanged since with one."""
    kind: Literal["create", "replace"] = "replace" if version else "create"
    return Write(kind=kind, key=key, thing=thing, properties=properties, version=version)


def check_size(writes: Sequence[Write], *, thing: str) -> None:
    if len(writes) > OPERATIONS_MAX:
        raise PermanentError(
            f"writing {thing}: {len(writes)} operations in one transaction, and "
            f"{OPERATIONS_MAX} are allowed; nothing was written — cut the change smaller"
        )


class Table:
    def __init__(self, tables: TableServiceClient, name: str) -> None:
        self._tables = tables
        self._name = name
        self._client: TableClient = tables.get_table_client(name)

    def get(self, partition: str, key: str, *, thing: str) -> Row | None:
        """A point read; a table nobody has written to yet holds nothing."""
        with translated("reading", thing):
            try:
                entity = self._client.get_entity(partition, key)
            except ResourceNotFoundError:
                return None
            return _row(entity, thing)

    def between(
        self,
        partition: str,
        low: str,
        high: str,
        *,
        thing: str,
        select: Sequence[str] = (),
        page_rows: int = PAGE_ROWS,
    ) -> Iterator[Row]:
        """Rows of one partition with low <= key < high, in order of key, page by page."""
        with translated("reading", thing), suppress(ResourceNotFoundError):
            entities = self._client.query_entities(
                "PartitionKey eq @partition and RowKey ge @low and RowKey lt @high",
                parameters={"partition": partition, "low": low, "high": high},
                select=["PartitionKey", "RowKey", FIELD, *select] if select else None,
                results_per_page=min(page_rows, PAGE_ROWS),
            )
            for entity in entities:
                yield _row(entity, thing)

    def any_in(self, low: str, high: str, *, thing: str) -> bool:
        """Whether a row stands in a partition with low <= its key < high."""
        with translated("reading", thing), suppress(ResourceNotFoundError):
            entities = self._client.query_entities(
                "PartitionKey ge @low and PartitionKey lt @high",
                parameters={"low": low, "high": high},
                select=["PartitionKey", "RowKey"],
                results_per_page=1,
            )
            return next(iter(entities), None) is not None
        return False

    def submit(self, partition: str, writes: Sequence[Write], *, thing: str) -> tuple[str, ...]:
        """All writes or none, in one call; the new versions in order."""
        check_size(writes, thing=thing)
        if not writes:
            return ()
        operations = [_operation(partition, write) for write in writes]
        with translated("writing", thing):
            try:
                answers = self._submitted(operations)
            except TableTransactionError as error:
                if not _is_conflict(error):
                    raise
                raise Conflict(_changed(writes, error, thing)) from error
        return tuple(str(answer.get("etag") or "") for answer in answers)

    def remove(self, partition: str, keys: Sequence[str], *, thing: str) -> None:
        """Delete rows whatever they hold, a transaction at a time."""
        for start in range(0, len(keys), OPERATIONS_MAX):
            batch = keys[start : start + OPERATIONS_MAX]
            drops = [Write(kind="drop", key=key, thing=thing) for key in batch]
            self.submit(partition, drops, thing=thing)

    def _submitted(self, operations: list[Any]) -> list[Mapping[str, Any]]:
        try:
            return self._client.submit_transaction(operations)
        except HttpResponseError as error:
            if code_of(error) != _TABLE_NOT_FOUND:
                raise
        with unless_there():
            self._tables.create_table(self._name)
        return self._client.submit_transaction(operations)


def _row(entity: Any, thing: str) -> Row:
    check_version(entity.get(FIELD), thing=thing)
    return Row(key=entity["RowKey"], properties=entity, version=entity.metadata["etag"])


def _operation(partition: str, write: Write) -> tuple[str, dict[str, Any], dict[str, Any]]:
    entity = {"PartitionKey": partition, "RowKey": write.key, **write.properties}
    if write.kind not in {"drop", "delete"}:
        entity[FIELD] = STATE_VERSION
    match write.kind:
        case "create":
            return "create", entity, {}
        case "put":
            return "upsert", entity, {"mode": UpdateMode.REPLACE}
        case "drop":
            return "delete", entity, {}
        case "replace":
            return "update", entity, {"mode": UpdateMode.REPLACE, **_unchanged(write)}
        case "delete":
            return "delete", entity, _unchanged(write)


def _unchanged(write: Write) -> dict[str, Any]:
    return {"etag": write.version, "match_condition": MatchConditions.IfNotModified}


def _is_conflict(error: TableTransactionError) -> bool:
    code = code_of(error)
    return error.status_code in _CHANGED and code != _TABLE_NOT_FOUND and code not in _TABLE_FIXED


def _changed(writes: Sequence[Write], error: TableTransactionError, thing: str) -> str:
    index = error.index if 0 <= error.index < len(writes) else 0
    return (
        f"writing {thing}: {writes[index].thing} was changed, made or removed by someone else "
        f"({seen(error)}); nothing was written — read again and decide anew"
    )
