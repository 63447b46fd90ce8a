"""Stores documents of last year in a running sandbox: fill_sandbox.py ENDPOINT COSMOS_KEY [COUNT].

It is for the sandbox only: no real account lets anybody choose a document's `_ts`.
"""

# ruff: noqa: INP001 - a script, not a package
from __future__ import annotations

import random
import sys
import time
import warnings

from azure.cosmos import CosmosClient, PartitionKey

DATABASE, CONTAINER = "appdb", "records"
COUNT = 300
TEXT_CHARS = 20_000
YEAR_S, MONTH_S = 365 * 86_400, 30 * 86_400


def main(endpoint: str, key: str, count: int) -> None:
    # The SDK never verifies a certificate on loopback, and says so at each request.
    warnings.filterwarnings("ignore", message="Unverified HTTPS request")
    client = CosmosClient(endpoint, credential=key)
    database = client.create_database_if_not_exists(DATABASE)
    container = database.create_container_if_not_exists(
        CONTAINER, partition_key=PartitionKey("/customerId")
    )
    seeded = random.Random(1)  # noqa: S311 - made-up documents, and the same ones each time
    oldest_s = int(time.time()) - YEAR_S
    for number in range(count):
        container.upsert_item(
            {
                "id": f"invoice-{number:05d}",
                "customerId": f"c-{seeded.randrange(50)}",
                "total": seeded.randrange(100_000) / 100,
                "text": "lorem ipsum " * (seeded.randrange(TEXT_CHARS) // 12),
                "__sandbox_ts": oldest_s + seeded.randrange(6 * MONTH_S),
            }
        )
    sys.stdout.write(f"{count} documents are in {DATABASE}/{CONTAINER}\n")


if __name__ == "__main__":
    if len(sys.argv) not in {3, 4}:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else COUNT)  # noqa: PLR2004
