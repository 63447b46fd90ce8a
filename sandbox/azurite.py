"""Starts Azurite and gives its connection string; what is stored there is not its business."""

from dataclasses import dataclass
from pathlib import Path

from sandbox.processes import Processes

ACCOUNT_NAME = "devstoreaccount1"
# Azurite's published development key: it opens nothing but an Azurite.
ACCOUNT_KEY = (
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)
_SERVICES = ("Blob", "Queue", "Table")


@dataclass(frozen=True, slots=True, kw_only=True)
class Azurite:
    """Where a running Azurite listens."""

    blob_endpoint: str
    queue_endpoint: str
    table_endpoint: str

    @property
    def connection_string(self) -> str:
        """What a storage client needs, key included."""
        return (
            f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT_NAME};AccountKey={ACCOUNT_KEY};"
            f"BlobEndpoint={self.blob_endpoint};QueueEndpoint={self.queue_endpoint};TableEndpoint={self.table_endpoint};"
        )


def start_azurite(
    processes: Processes, node_modules: Path, *, location: Path | None = None
) -> Azurite:
    """Start Azurite on free ports, in memory unless a location is given."""
    launcher = Path(__file__).with_name("azurite_launcher.js")
    where = ["--location", str(location)] if location else ["--inMemoryPersistence"]
    ports = [option for service in _SERVICES for option in (f"--{service.lower()}Port", "0")]
    child = processes.start(
        "azurite",
        [
            "node",
            str(launcher),
            str(node_modules),
            "--silent",
            "--disableTelemetry",
            "--skipApiVersionCheck",
            *where,
            *ports,
        ],
        cwd=processes.scratch_dir,
    )
    found = {
        service: child.wait_for(
            rf"Azurite {service} service is successfully listening at (http://127\.0\.0\.1:\d+)"
        )[1]
        for service in _SERVICES
    }
    return Azurite(
        blob_endpoint=f"{found['Blob']}/{ACCOUNT_NAME}",
        queue_endpoint=f"{found['Queue']}/{ACCOUNT_NAME}",
        table_endpoint=f"{found['Table']}/{ACCOUNT_NAME}",
    )
