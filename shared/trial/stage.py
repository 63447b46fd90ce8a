"""Makes what a trial needs, and hands each kind of check the clients of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

from azure.core.credentials import TokenCredential
from azure.cosmos import ContainerProxy, CosmosClient, DatabaseProxy
from azure.mgmt.monitor import MonitorManagementClient
from azure.monitor.query import LogsQueryClient

from shared.adapters.cosmos import CosmosSource
from shared.errors import PermanentError
from shared.trial import clients
from shared.trial.belongings import Belongings
from shared.trial.checks import (
    account,
    blobs,
    keys,
    limits,
    logs,
    metrics,
    reading,
    tables,
    values,
    writes,
)
from shared.trial.clients import Place
from shared.trial.findings import Checks, bound
from shared.trial.management import AccountFacts, ContainerPlan, Management
from shared.trial.purse import CosmosTransport, Purse
from shared.trial.runner import Stop

PREFIX = "ebb-trial-"
TABLE_PREFIX = "ebbtrial"  # a table's name has no hyphens
DOCUMENTS = 40
BIG_IS_NOT_INDEXED = {
    "indexingPolicy": {
        "indexingMode": "consistent",
        "includedPaths": [{"path": "/*"}],
        "excludedPaths": [{"path": "/big/?"}],
    }
}
QUOTED = "o'brien"
PLANS = (
    ContainerPlan(name="known"),
    ContainerPlan(name="used", extra=BIG_IS_NOT_INDEXED),
    ContainerPlan(name="flooded", extra=BIG_IS_NOT_INDEXED),
    ContainerPlan(name="levels", paths=("/a", "/b")),
    ContainerPlan(name="unique", unique=("/u",), extra={"defaultTtl": -1}),
    ContainerPlan(name=QUOTED, is_optional=True),
    ContainerPlan(name="idle"),
    ContainerPlan(name="doomed"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Accounts, and how they are asked; everything that it makes is noted before it is made."""

    place: Place
    credential: TokenCredential
    management: Management
    facts: AccountFacts
    purse: Purse
    belongings: Belongings
    run: str
    unmade: set[str] = field(default_factory=set)
    """Optional containers that could not be made."""

    @property
    def database(self) -> str:
        return f"{PREFIX}{self.run}"

    def made(self) -> Checks:
        """Make everything; the checks that need no waiting."""
        self._make()
        client = self._client(CosmosTransport(self.purse))
        database = client.get_database_client(self.database)
        used = database.get_container_client("used")
        known = database.get_container_client("known")
        ids = _seeded(known)
        if QUOTED not in self.unmade:
            database.get_container_client(QUOTED).upsert_item({"id": "used", "pk": "once"})
        levels = database.get_container_client("levels")
        return {
            **bound(reading.CHECKS, self._reading(known, ids)),
            **bound(values.CHECKS, used),
            **bound(writes.CHECKS, used),
            **bound(keys.CHECKS_SESSION, used),
            **bound(keys.CHECKS_ACROSS, used, self._another("used")),
            **bound(keys.CHECKS_UNIQUE, database.get_container_client("unique")),
            **bound(keys.CHECKS_LEVELS, CosmosSource(levels, "levels")),
            **bound(keys.CHECKS_GONE, used, self._doomed(database)),
            **bound(limits.CHECKS_WAIT, self._flood()),
            **bound(limits.CHECKS_SENT, self._flood()),
            **bound(account.CHECKS, self._entry(used)),
            **self._storage(),
        }

    def late(self, *, patience_s: float, stop: Stop) -> Checks:
        """The checks of what appears minutes after it was done."""
        place = self.place
        options = {"connection_verify": place.ca_file} if place.ca_file else {}
        client = MonitorManagementClient(
            self.credential,
            place.cosmos_id.split("/")[2],
            base_url=place.management_endpoint,
            credential_scopes=[f"{place.management_endpoint}/.default"],
            **options,
        )
        watched = metrics.Watched(
            metrics=metrics.Metrics(client, place.cosmos_id),
            database=self.database,
            used="used",
            quoted=None if QUOTED in self.unmade else QUOTED,
            flooded="flooded",
            idle="idle",
            spent=self.purse.minutes_of,
            partitions=self._partitions,
            is_serverless=self.facts.is_serverless,
            patience_s=patience_s,
            ended=stop.wait,
        )
        return {**bound(metrics.CHECKS, watched), **bound(logs.CHECKS, self._workspace())}

    def _make(self) -> None:
        self.belongings.note(
            f"the database {self.database}", partial(self.management.remove_database, self.database)
        )
        self.management.make_database(self.database)
        for plan in PLANS:
            try:
                self.management.make_container(self.database, plan)
            except PermanentError:
                if not plan.is_optional:
                    raise
                self.unmade.add(plan.name)

    def _storage(self) -> Checks:
        service = clients.blob_service(self.place, self.credential, self.purse)
        container = service.get_container_client(self.database)
        self.belongings.note(f"the blob container {self.database}", container.delete_container)
        container.create_container()
        table_services = clients.table_service(self.place, self.credential, self.purse)
        table = table_services.get_table_client(f"{TABLE_PREFIX}{self.run}")
        self.belongings.note(f"the table {table.table_name}", table.delete_table)
        table.create_table()
        opened = blobs.Blobs(service=service, container=container, uses_token=self.place.uses_token)
        return {**bound(blobs.CHECKS, opened), **bound(tables.CHECKS, table)}

    def _client(self, transport: CosmosTransport, *, patient: bool = True) -> CosmosClient:
        return clients.cosmos_client(
            self.facts.endpoint,
            self.credential,
            transport,
            ca_file=self.place.ca_file,
            patient=patient,
        )

    def _another(self, container: str) -> ContainerProxy:
        client = self._client(CosmosTransport(self.purse))
        return client.get_database_client(self.database).get_container_client(container)

    def _reading(self, known: ContainerProxy, ids: tuple[str, ...]) -> reading.Reading:
        return reading.Reading(
            source=CosmosSource(known, "known"),
            container=known,
            another=partial(self._another, "known"),
            ids=ids,
        )

    def _flood(self) -> limits.Flood:
        transport = CosmosTransport(self.purse)
        client = self._client(transport, patient=False)
        database = client.get_database_client(self.database)
        return limits.Flood(
            container=database.get_container_client("flooded"), sent=lambda: transport.sent
        )

    def _doomed(self, database: DatabaseProxy) -> keys.Doomed:
        return keys.Doomed(
            container=database.get_container_client("doomed"),
            remove=partial(self.management.remove_container, self.database, "doomed"),
        )

    def _entry(self, used: ContainerProxy) -> account.Entry:
        def write_and_remove() -> None:
            used.create_item({"id": "role", "pk": "account"})
            used.replace_item("role", {"id": "role", "pk": "account", "n": 1})
            used.delete_item("role", "account")

        principal = partial(clients.principal_of, self.credential, self.place.management_endpoint)
        return account.Entry(
            endpoint=self.facts.endpoint,
            roles=lambda: self.management.roles_of(principal()),
            write_and_remove=write_and_remove,
            write_regions=(self.facts.write_regions, self._write_regions),
            make_database=self._make_by_token,
            connect=lambda address: clients.cosmos_client(
                address,
                self.credential,
                CosmosTransport(self.purse),
                ca_file=self.place.ca_file,
            ),
        )

    def _make_by_token(self) -> None:
        name = f"{self.database}-by-token"
        self.belongings.note(f"the database {name}", partial(self.management.remove_database, name))
        self._client(CosmosTransport(self.purse)).create_database(name)

    def _write_regions(self) -> int:
        account = self._client(CosmosTransport(self.purse)).get_database_account()
        return len(account.WritableLocations)

    def _partitions(self) -> frozenset[str]:
        source = CosmosSource(self._another("used"), "used")
        found: Mapping[str, tuple[str, ...]] = source.partitions_of(source.ranges())
        return frozenset(name for names in found.values() for name in names)

    def _workspace(self) -> logs.Workspace | None:
        if not self.place.log_workspace_id:
            return None
        options = {"connection_verify": self.place.ca_file} if self.place.ca_file else {}
        client = LogsQueryClient(
            self.credential, endpoint=self.place.logs_endpoint.rstrip("/"), **options
        )
        return logs.Workspace(client=client, id=self.place.log_workspace_id)


def _seeded(container: ContainerProxy) -> tuple[str, ...]:
    """Documents over several partition keys, most of them in one, so that pages go on."""
    documents = [
        {"id": f"d{n:03}", "pk": "most" if n % 4 else f"pk{n}", "n": n} for n in range(DOCUMENTS)
    ]
    for each in documents:
        container.upsert_item(each)
    return tuple(str(each["id"]) for each in documents)
