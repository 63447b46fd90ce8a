"""Storage tables: transactions, the order of row keys, and rows that differ by case."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http.client import HTTPException
from typing import Any

from azure.core.exceptions import HttpResponseError
from azure.data.tables import TableClient, TableTransactionError

from shared.trial.findings import Finding, judged

BATCH_MAX = 100
ROW_BYTES = 60_000  # ninety of them are more than 4 MiB
KEYS = ("-", "0", "10", "9", "A", "Z", "_", "a", "b", "~")


def transactions(table: TableClient) -> Finding:
    """A transaction of 100 is done, one with a fault does nothing, and 101 are refused."""
    _submit(table, [_row("whole", f"{n:03}") for n in range(BATCH_MAX)])
    whole = _count(table, "whole")
    _submit(table, [_row("half", "taken")])
    fault = _submit(table, [_row("half", "new"), _row("half", "taken")])
    half = _count(table, "half")
    many = _submit(table, [_row("many", f"{n:03}") for n in range(BATCH_MAX + 1)])
    too_many = _count(table, "many")
    large = _submit(table, [{**_row("large", f"{n:03}"), "v": b"x" * ROW_BYTES} for n in range(90)])
    too_large = _count(table, "large")
    return judged(
        expected="100 rows of 100; of two with a fault none; of 101 none; of more than 4 MiB none",
        seen=f"{whole} of 100; {half - 1} with a fault ({fault}); {too_many} of 101 ({many}); "
        f"{too_large} of more than 4 MiB ({large})",
        holds=(whole, half, too_many, too_large) == (BATCH_MAX, 1, 0, 0)
        and all((fault, many, large)),
    )


def row_order(table: TableClient) -> Finding:
    """Rows come in the order of their keys' characters, and a range has all of them."""
    _submit(table, [_row("order", key) for key in reversed(KEYS)])
    found = [row["RowKey"] for row in table.query_entities("PartitionKey eq 'order'")]
    text = "PartitionKey eq 'order' and RowKey ge 'A' and RowKey lt 'b'"
    between = [row["RowKey"] for row in table.query_entities(text)]
    wanted = [key for key in KEYS if "A" <= key < "b"]
    return judged(
        expected=f"{list(KEYS)}, and {wanted} from A to b",
        seen=f"{found}, and {between}",
        holds=found == list(KEYS) and between == wanted,
    )


def row_case(table: TableClient) -> Finding:
    """Keys that differ by case are different rows."""
    _submit(table, [_row("case", "aB-_"), _row("case", "Ab-_")])
    found = _count(table, "case")
    return judged(expected="2 rows", seen=f"{found} rows", holds=found == 2)  # noqa: PLR2004


def _row(partition: str, key: str) -> dict[str, Any]:
    return {"PartitionKey": partition, "RowKey": key}


def _submit(table: TableClient, rows: list[dict[str, Any]]) -> str:
    """Nothing, or why the transaction was refused."""
    try:
        table.submit_transaction([("create", row) for row in rows])
    except (TableTransactionError, HttpResponseError, HTTPException, ValueError) as error:
        return type(error).__name__
    return ""


def _count(table: TableClient, partition: str) -> int:
    return len(list(table.query_entities(f"PartitionKey eq '{partition}'")))


CHECKS: Mapping[str, Callable[[TableClient], Finding]] = {
    "storage.transactions": transactions,
    "storage.row-order": row_order,
    "storage.row-case": row_case,
}
