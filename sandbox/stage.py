"""Brings the sandbox's parts up together and takes them down; it does no part's work.

`python -m sandbox.stage` keeps one in the foreground, and can write a local.settings.json.
"""

import argparse
import base64
import json
import secrets
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from sandbox.admin import AdminClient
from sandbox.azurite import Azurite, start_azurite
from sandbox.certificates import Certificates, make_certificates
from sandbox.cosmos.account import History
from sandbox.cosmos.backing import Backing
from sandbox.cosmos.meter import Secrets
from sandbox.errors import SandboxError
from sandbox.factory.admin import FactoryAdmin
from sandbox.factory.conduct import Conduct
from sandbox.identity import IDENTITY_PATH
from sandbox.logs import WORKSPACE_ID
from sandbox.processes import Child, Processes, find_node_modules

RESOURCE_ID = (
    "/subscriptions/00000000-0000-0000-0000-0000000000eb/resourceGroups/rg-sandbox"
    "/providers/Microsoft.DocumentDB/databaseAccounts/cosmos-sandbox"
)
FACTORY_RESOURCE_ID = (
    "/subscriptions/00000000-0000-0000-0000-0000000000eb/resourceGroups/rg-sandbox"
    "/providers/Microsoft.DataFactory/factories/adf-sandbox"
)
PARTITION_RU_PER_S, SERVERLESS_LEAST_RU_PER_S = 5_000.0, 1_000.0
# Room for 2 GB of documents, as objects beside their text; Node takes only what it uses.
NODE_HEAP_MB = 12_288
_AUTHOR_KEY, _AUTHOR = "WrittenBy", "python -m sandbox.stage"


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxOptions:
    """How the account is made, and how its metrics behave."""

    partitions: int = 1
    # Of each physical partition. None: by the lower table for serverless, else 5,000.
    ru_per_s: float | None = None
    ru_per_300_kb: float = 30.0
    lag_s: float = 60.0
    loss_share: float = 0.0
    seed: int = 0
    history: History = field(default_factory=History)
    provisioned: bool = False
    with_logs: bool = True
    # Log Analytics takes 20 seconds to three minutes, by Microsoft's own account.
    logs_lag_s: float = 180.0
    # Azure Cosmos DB gives a token with a last page that is full, and an empty page behind it.
    full_last_page_has_token: bool = True
    # How many documents one page of a COUNT, MIN, MAX or SUM goes over; 0: all.
    aggregate_page_documents: int = 500
    # The first such number in each container meets a 429 behind its first page.
    throttle_numbers_midway: bool = True
    # A missing key, null, "", 0 and false are different keys, and so is each part of a hierarchy.
    keys_have_identity: bool = True
    # In a container with a defaultTtl documents are gone when their time is over.
    documents_expire: bool = True
    with_storage: bool = True
    # None: no Data Factory. Loading its expression engine takes some four seconds.
    factory: Conduct | None = None
    storage_location: Path | None = None
    scratch_dir: Path | None = None
    node_modules: Path | None = None


def default_ru_per_s(options: SandboxOptions) -> float:
    """What one physical partition does where nobody says it.

    A serverless container does 5,000 RU/s on up to five partitions together, and 1,000 more with
    each further one: the lower of the two tables that Microsoft has published.
    """
    if options.provisioned:
        return PARTITION_RU_PER_S
    return max(PARTITION_RU_PER_S / options.partitions, SERVERLESS_LEAST_RU_PER_S)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """A running sandbox: where everything is, and what opens it."""

    cosmos_endpoint: str
    cosmos_key: str
    management_endpoint: str
    identity_endpoint: str
    identity_header: str
    ca_file: Path
    storage: Azurite | None
    backing_url: str
    partitions: int
    resource_id: str
    admin: AdminClient
    processes: Processes
    factory_resource_id: str = ""
    factory_url: str = ""

    @property
    def storage_connection_string(self) -> str:
        """What a storage client needs."""
        if self.storage is None:
            message = "reading the storage connection string: started with with_storage=False"
            raise SandboxError(message)
        return self.storage.connection_string

    @property
    def backing(self) -> Backing:
        """The way past the meter, for seeding."""
        return Backing(url=self.backing_url, partitions=self.partitions)

    @property
    def factory(self) -> FactoryAdmin:
        """The data factory's faults, durations, runs and bill."""
        if not self.factory_url:
            message = "asking for the sandbox's data factory: started without; give it a Conduct"
            raise SandboxError(message)
        return FactoryAdmin(url=self.factory_url)

    def identity_settings(self) -> dict[str, str]:
        """Return what DefaultAzureCredential needs in its environment."""
        return {
            "IDENTITY_ENDPOINT": self.identity_endpoint,
            "IDENTITY_HEADER": self.identity_header,
            "AZURE_TOKEN_CREDENTIALS": "ManagedIdentityCredential",
        }

    def settings(self) -> dict[str, str]:
        """Return the app settings of a function app that runs against this sandbox."""
        return {
            "AzureWebJobsStorage": self.storage_connection_string,
            "EBB_COSMOS_ENDPOINT": self.cosmos_endpoint,
            "EBB_COSMOS_RESOURCE_ID": self.resource_id,
            "EBB_MANAGEMENT_ENDPOINT": self.management_endpoint,
            "EBB_LOGS_ENDPOINT": self.management_endpoint,
            "EBB_LOG_WORKSPACE_ID": WORKSPACE_ID,
            "EBB_CA_FILE": str(self.ca_file),
            "EBB_TICK_SCHEDULE": "*/5 * * * * *",
            "EBB_JANITOR_SCHEDULE": "0 */10 * * * *",
            "EBB_FACTORY_RESOURCE_ID": self.factory_resource_id,
            **self.identity_settings(),
        }


@contextmanager
def start_sandbox(options: SandboxOptions | None = None) -> Iterator[Sandbox]:
    """Start everything, give where it is, and leave nothing running."""
    chosen = options or SandboxOptions()
    if chosen.factory is not None and not chosen.with_storage:
        message = "starting the sandbox: its data factory needs storage; leave with_storage at True"
        raise SandboxError(message)
    node_modules = chosen.node_modules or find_node_modules()
    with Processes(chosen.scratch_dir) as processes:
        certificates = make_certificates(processes.scratch_dir)
        backing = _start_backing(processes, node_modules, chosen)
        meter_secrets = Secrets(
            cosmos_key=base64.b64encode(secrets.token_bytes(64)).decode(),
            identity_header=secrets.token_hex(16),
        )
        # Node takes seconds to load; nothing of the meter waits for Azurite.
        storage = (
            start_azurite(processes, node_modules, location=chosen.storage_location)
            if chosen.with_storage
            else None
        )
        backing_url = f"http://127.0.0.1:{_announced(backing)['port']}"
        meter = _start_meter(processes, chosen, certificates, meter_secrets, backing_url)
        ports = _announced(meter)
        sandbox = Sandbox(
            cosmos_endpoint=f"https://127.0.0.1:{ports['cosmos_port']}/",
            cosmos_key=meter_secrets.cosmos_key,
            management_endpoint=f"https://127.0.0.1:{ports['monitor_port']}",
            identity_endpoint=f"http://127.0.0.1:{ports['identity_port']}{IDENTITY_PATH}",
            identity_header=meter_secrets.identity_header,
            ca_file=certificates.ca_file,
            storage=storage,
            backing_url=backing_url,
            partitions=chosen.partitions,
            resource_id=RESOURCE_ID,
            admin=AdminClient(url=f"http://127.0.0.1:{ports['admin_port']}"),
            processes=processes,
        )
        if chosen.factory is not None and storage is not None:
            url = _start_factory(sandbox, storage, chosen.factory)
            sandbox = replace(sandbox, factory_url=url, factory_resource_id=FACTORY_RESOURCE_ID)
        yield sandbox


def write_local_settings(path: Path, values: dict[str, str]) -> None:
    """Write a local.settings.json, and refuse to overwrite one that somebody else wrote."""
    if path.exists() and _author(path) != _AUTHOR:
        message = (
            f"writing {path}: it exists and the sandbox did not write it; "
            "move it away or choose another path"
        )
        raise SandboxError(message)
    settings = {
        _AUTHOR_KEY: _AUTHOR,
        "IsEncrypted": False,
        "Values": {"FUNCTIONS_WORKER_RUNTIME": "python", **values},
    }
    path.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Keep a sandbox in the foreground until Ctrl-C."""
    given = _parser().parse_args(arguments)
    options = SandboxOptions(
        partitions=given.partitions,
        ru_per_s=given.ru_per_s,
        ru_per_300_kb=given.ru_per_300_kb,
        lag_s=given.lag_s,
        loss_share=given.loss_share,
        history=History(minutes=given.history_minutes, ru_per_s=given.history_ru_per_s),
        storage_location=given.storage_location,
        factory=Conduct(time_scale=given.factory_time_scale) if given.factory else None,
    )
    try:
        with start_sandbox(options) as sandbox:
            facts = {
                **sandbox.settings(),
                "cosmos_key": sandbox.cosmos_key,
                "admin": sandbox.admin.url,
                "factory_admin": sandbox.factory_url,
            }
            if given.settings_file:
                write_local_settings(given.settings_file, sandbox.settings())
            sys.stdout.write(json.dumps(facts, indent=2) + "\nCtrl-C ends it.\n")
            sys.stdout.flush()
            threading.Event().wait()
    except KeyboardInterrupt:
        return 0
    except SandboxError as error:
        sys.stderr.write(f"{error}\n")
        return 3
    return 0


def _start_backing(processes: Processes, node_modules: Path, options: SandboxOptions) -> Child:
    server = Path(__file__).parent / "cosmos" / "server.js"
    switches = {
        "fullLastPageHasToken": options.full_last_page_has_token,
        "aggregatePageDocuments": options.aggregate_page_documents,
        "keysHaveIdentity": options.keys_have_identity,
        "documentsExpire": options.documents_expire,
    }
    heap = f"--max-old-space-size={NODE_HEAP_MB}"
    return processes.start(
        "cosmos", ["node", heap, str(server), str(node_modules), json.dumps(switches)]
    )


def _start_meter(
    processes: Processes,
    options: SandboxOptions,
    certificates: Certificates,
    meter_secrets: Secrets,
    backing_url: str,
) -> Child:
    secrets_file = processes.scratch_dir / "meter-secrets.json"
    secrets_file.touch(mode=0o600)
    secrets_file.write_text(json.dumps(asdict(meter_secrets)))
    flags = {
        "backing-url": backing_url,
        "certificate": certificates.server_certificate_file,
        "certificate-key": certificates.server_key_file,
        "secrets-file": secrets_file,
        "resource-id": RESOURCE_ID,
        "partitions": options.partitions,
        "ru-per-s": options.ru_per_s or default_ru_per_s(options),
        "ru-per-300-kb": options.ru_per_300_kb,
        "lag-s": options.lag_s,
        "loss-share": options.loss_share,
        "logs-lag-s": options.logs_lag_s,
        "seed": options.seed,
        "history-minutes": options.history.minutes,
        "history-ru-per-s": options.history.ru_per_s,
        "history-database": options.history.database,
        "history-container": options.history.container,
    }
    arguments = [f"--{name}={value}" for name, value in flags.items()]
    if options.provisioned:
        arguments.append("--provisioned")
    if not options.throttle_numbers_midway:
        arguments.append("--whole-numbers")
    if not options.with_logs:
        arguments.append("--without-logs")
    return processes.start("meter", [sys.executable, "-m", "sandbox.cosmos.meter", *arguments])


def _start_factory(sandbox: Sandbox, storage: Azurite, conduct: Conduct) -> str:
    secrets_file = sandbox.processes.scratch_dir / "factory-secrets.json"
    secrets_file.touch(mode=0o600)
    secrets_file.write_text(
        json.dumps(
            {
                "blob_endpoint": storage.blob_endpoint,
                "connection_string": storage.connection_string,
            }
        )
    )
    flags = {
        "resource-id": FACTORY_RESOURCE_ID,
        "management-endpoint": sandbox.management_endpoint,
        "ca-file": sandbox.ca_file,
        "secrets-file": secrets_file,
        "conduct": json.dumps(asdict(conduct)),
    }
    arguments = [f"--{name}={value}" for name, value in flags.items()]
    child = sandbox.processes.start(
        "factory",
        [sys.executable, "-m", "sandbox.factory", *arguments],
        extra_env=sandbox.identity_settings(),
    )
    url = f"http://127.0.0.1:{_announced(child)['port']}"
    sandbox.admin.open_factory(url)
    return f"{url}/admin"


def _announced(child: Child) -> dict[str, Any]:
    return dict(json.loads(child.wait_for(r"^\{.*\}$")[0]))


def _author(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8")).get(_AUTHOR_KEY)
    except (ValueError, AttributeError):
        return None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sandbox.stage", description=__doc__)
    parser.add_argument("--settings-file", type=Path, help="write a local.settings.json here")
    parser.add_argument("--partitions", type=int, default=1)
    parser.add_argument(
        "--ru-per-s",
        type=float,
        help="per physical partition; without it 5,000 for up to five, and 1,000 for each further",
    )
    parser.add_argument(
        "--ru-per-300-kb", type=float, default=30.0, help="price of a 300 KB point read"
    )
    parser.add_argument("--lag-s", type=float, default=60.0, help="how late metrics are")
    parser.add_argument(
        "--loss-share", type=float, default=0.0, help="share of minutes that never appear"
    )
    parser.add_argument(
        "--history-minutes", type=int, default=0, help="life before the sandbox began"
    )
    parser.add_argument("--history-ru-per-s", type=float, default=0.0)
    parser.add_argument("--factory", action="store_true", help="with a data factory")
    parser.add_argument(
        "--factory-time-scale", type=float, default=1.0, help="1: its waits are as long as Azure's"
    )
    parser.add_argument(
        "--storage-location", type=Path, help="keep Azurite's data here instead of in memory"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
