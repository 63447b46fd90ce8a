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

from shared.domain.addresses import why_unaddressable
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

    def _get(self, customer: str, name: str, _body: bytes) -> tuple[int, Any]:
        return 200, self.container.read_item(name, customer)

    def _put(self, customer: str, name: str, body: bytes) -> tuple[int, Any]:
        record = _object_in(body) | {"id": name, "customerId": customer}
        etag = self.headers.get("If-Match")
        if etag is None:
            return 200, self.container.upsert_item(record)
        condition = {"etag": etag, "match_condition": MatchConditions.IfNotModified}
        return 200, self.container.replace_item(name, record, **condition)

    def _delete(self, customer: str, name: str, _body: bytes) -> tuple[int, Any]:
        self.container.delete_item(name, customer)
        return 204, None

    def _answered(self, act: Any) -> None:
        try:
            body = self._body()
            customer, name = _named_in(self.path)
            status, document = act(customer, name, body)
        except _Refused as refusal:
            status, document = refusal.status, {"error": refusal.why}
        except CosmosHttpResponseError as error:
            status, document = int(error.status_code or 503), {"error": type(error).__name__}
        self._send(status, document)

    def _body(self) -> bytes:
        """Read before anything is refused: what is left would be taken for the next request."""
        length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not (length.isascii() and length.isdecimal()):
            self.close_connection = True
            raise _Refused(411, "a body needs its Content-Length")
        if int(length) > BODY_BYTES_MAX:
            self.close_connection = True
            raise _Refused(413, f"a record has at most {BODY_BYTES_MAX} bytes")
        return self.rfile.read(int(length))

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
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(data)


class _Refused(Exception):
    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status
        self.why = why


def _named_in(path: str) -> tuple[str, str]:
    """Customer and id; such as no address can hold, `..` among them, would lead elsewhere."""
    parts = [unquote(part) for part in urlsplit(path).path.split("/")[1:]]
    if len(parts) != 3 or parts[0] != "records":  # noqa: PLR2004 - records, customer, id
        raise _Refused(404, "no such path")
    _, customer, name = parts
    why = why_unaddressable((json.dumps([customer]), name))
    if why:
        raise _Refused(400, why)
    return customer, name


def _object_in(body: bytes) -> dict[str, Any]:
    try:
        record = json.loads(body)
    except (ValueError, RecursionError):
        record = None
    if not isinstance(record, dict):
        raise _Refused(400, "the body is no JSON object")
    return record


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
