"""A small HTTP API over one container, to show that the archive changes one line of it.

GET, PUT and DELETE /records/{customer}/{id}. PUT with If-Match writes only over that version.
"""

# ruff: noqa: INP001 - a script, not a package
from __future__ import annotations

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

from azure.core import MatchConditions
from azure.cosmos import CosmosClient
from azure.cosmos.exceptions import CosmosHttpResponseError
from azure.data.tables import TableServiceClient
from azure.identity import DefaultAzureCredential
from azure.storage.blob import BlobServiceClient

from shared.tiered import ColdStore, TieredContainer

SYSTEM = ("_rid", "_self", "_attachments", "_ts", "_etag")
BODY_BYTES_MAX = 2 << 20  # what Cosmos DB takes


def serve(container: Any, *, port: int) -> ThreadingHTTPServer:
    """A server over any container: azure-cosmos's own, or a tiered one."""

    class Handler(RecordsHandler):
        pass

    Handler.container = container
    return ThreadingHTTPServer(("127.0.0.1", port), Handler)


class RecordsHandler(BaseHTTPRequestHandler):
    """One request about one record."""

    container: Any
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answered(self._get)

    def do_PUT(self) -> None:
        self._answered(self._put)

    def do_DELETE(self) -> None:
        self._answered(self._delete)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its base class's name
        """Nothing is logged: a path names a customer."""

    def _get(self, customer: str, name: str) -> tuple[int, Any]:
        return 200, self.container.read_item(name, customer)

    def _put(self, customer: str, name: str) -> tuple[int, Any]:
        length = min(int(self.headers.get("Content-Length", "0")), BODY_BYTES_MAX)
        body = json.loads(self.rfile.read(length)) | {"id": name, "customerId": customer}
        etag = self.headers.get("If-Match")
        if etag is None:
            return 200, self.container.upsert_item(body)
        condition = {"etag": etag, "match_condition": MatchConditions.IfNotModified}
        return 200, self.container.replace_item(name, body, **condition)

    def _delete(self, customer: str, name: str) -> tuple[int, Any]:
        self.container.delete_item(name, customer)
        return 204, None

    def _answered(self, act: Any) -> None:
        parts = [unquote(part) for part in urlsplit(self.path).path.split("/")[1:]]
        if len(parts) != 3 or parts[0] != "records":  # noqa: PLR2004 - records, customer, id
            self._send(404, {"error": "no such path"})
            return
        try:
            status, document = act(parts[1], parts[2])
        except CosmosHttpResponseError as error:
            self._send(int(error.status_code or 503), {"error": type(error).__name__})
            return
        except ValueError:
            self._send(400, {"error": "the body is not JSON"})
            return
        self._send(status, document)

    def _send(self, status: int, document: Any) -> None:
        shown = (
            {key: value for key, value in document.items() if key not in SYSTEM}
            if document is not None
            else None
        )
        data = b"" if shown is None else json.dumps(shown).encode()
        self.send_response(status)
        if document is not None and "_etag" in document:
            self.send_header("ETag", document["_etag"])
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def main() -> None:
    credential = DefaultAzureCredential()
    client = CosmosClient(os.environ["COSMOS_ENDPOINT"], credential)
    container: Any = client.get_database_client("sales").get_container_client("orders")
    cold = ColdStore.connect(
        "sales/orders",
        tables=TableServiceClient(os.environ["EBB_TABLES"], credential=credential),
        blobs=BlobServiceClient(os.environ["EBB_BLOBS"], credential=credential),
    )
    container = TieredContainer(container, cold)  # the one line
    serve(container, port=8080).serve_forever()


if __name__ == "__main__":
    main()
