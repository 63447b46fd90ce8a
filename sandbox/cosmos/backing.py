"""Stores documents past the meter, free of charge; it reads none back."""

import http.client
import json
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue
from urllib.parse import urlsplit

from sandbox.cosmos.partitions import backing_name, partition_of
from sandbox.errors import SandboxError

# The server has one thread; four connections keep it busy while the others build their documents.
_CONNECTIONS = 4
_IN_FLIGHT_MAX = 64
_TIMEOUT_S = 60.0
_CREATED, _CONFLICT = 201, 409


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredDocument:
    """A document as text, and its partition key value as text: '["a"]'."""

    key_json: str
    text: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Backing:
    """One backing server, and over how many physical partitions its documents are spread."""

    url: str
    partitions: int

    def create_container(self, database: str, container: str, *, partition_key_path: str) -> None:
        """Create the database and the container's collections where they are missing."""
        connection = self._connect()
        self._post(connection, "/dbs", json.dumps({"id": database}).encode(), {})
        definition = {"paths": [partition_key_path], "kind": "Hash", "version": 2}
        for partition in range(self.partitions):
            facts = {"id": backing_name(container, partition), "partitionKey": definition}
            self._post(connection, f"/dbs/{database}/colls", json.dumps(facts).encode(), {})
        connection.close()

    def store(
        self, database: str, container: str, documents: Iterable[StoredDocument]
    ) -> tuple[int, int]:
        """Store documents and return how many and how many bytes."""
        idle: SimpleQueue[http.client.HTTPConnection] = SimpleQueue()
        for _ in range(_CONNECTIONS):
            idle.put(self._connect())

        def send(document: StoredDocument) -> int:
            partition = partition_of(
                document.key_json, kind="Hash", version=2, count=self.partitions
            )
            path = f"/dbs/{database}/colls/{backing_name(container, partition)}/docs"
            headers = {
                "prefer": "return=minimal",
                "x-ms-documentdb-partitionkey": document.key_json,
            }
            connection = idle.get()
            try:
                self._post(connection, path, document.text, headers)
            finally:
                idle.put(connection)
            return len(document.text)

        count = total_bytes = 0
        in_flight: deque[Future[int]] = deque()
        with ThreadPoolExecutor(_CONNECTIONS) as pool:
            for document in documents:
                in_flight.append(pool.submit(send, document))
                count += 1
                if len(in_flight) >= _IN_FLIGHT_MAX:
                    total_bytes += in_flight.popleft().result()
            total_bytes += sum(future.result() for future in in_flight)
        while not idle.empty():
            idle.get().close()
        return count, total_bytes

    def _connect(self) -> http.client.HTTPConnection:
        where = urlsplit(self.url)
        return http.client.HTTPConnection(where.hostname or "", where.port, timeout=_TIMEOUT_S)

    def _post(
        self,
        connection: http.client.HTTPConnection,
        path: str,
        body: bytes,
        headers: dict[str, str],
    ) -> None:
        connection.request("POST", path, body, {"content-type": "application/json", **headers})
        response = connection.getresponse()
        text = response.read()
        is_definition = not path.endswith("/docs")
        if response.status != _CREATED and not (response.status == _CONFLICT and is_definition):
            message = (
                f"seeding {path} of {self.url}: refused with {response.status}: {text[:200]!r}; "
                "start from an empty sandbox"
            )
            raise SandboxError(message)
