"""The composition root: settings to adapters to application, once per process, at first use."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from azure.core.credentials import TokenCredential
from azure.data.tables import TableServiceClient
from azure.identity import DefaultAzureCredential
from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueServiceClient

from shared.adapters.archive import BlobArchives
from shared.adapters.boards import TableBoards
from shared.adapters.callbacks import WebCallbacks
from shared.adapters.callers import AnyCaller, EntraCallers, Trust
from shared.adapters.clock import RandomNames, SystemClock
from shared.adapters.cosmos import CosmosSources
from shared.adapters.datafactory import AzureFactory, FactoryPlace, NoFactory
from shared.adapters.frontdoor import NoFrontDoor, WebFrontDoor
from shared.adapters.history import LogHistory, NoHistory
from shared.adapters.incidents import TableIncidents
from shared.adapters.journal import TableJournal
from shared.adapters.lease import BlobLease
from shared.adapters.ledger import TableLedger
from shared.adapters.mail import StorageMail
from shared.adapters.memories import TableMemories
from shared.adapters.metering import TableMetering
from shared.adapters.monitor import AzureMonitor
from shared.adapters.parquet import GROUP_BYTES_MAX, ParquetFormat
from shared.adapters.pointers import TablePointers
from shared.adapters.scratch import TempScratch
from shared.adapters.silence import Silence
from shared.adapters.tellings import TableTellings
from shared.adapters.threads import Threads
from shared.adapters.webhooks import WebWebhooks
from shared.application.alerting import Alerting
from shared.application.bundle import Ports
from shared.application.burying import Burying
from shared.application.controller import Controller
from shared.application.copying import Copying
from shared.application.examining import Examining
from shared.application.janitor import Janitor
from shared.application.notifying import Notifying
from shared.application.operating import Operating
from shared.application.picturing import Picturing
from shared.application.pressing import Pressing
from shared.application.proving import Proving
from shared.application.receiving import Receiving
from shared.application.retirements import Retirements
from shared.application.retiring import Retiring
from shared.application.surveying import Surveying
from shared.application.validating import Validating
from shared.application.verifying import Verifying
from shared.ports import Callers, Factory, FrontDoor, History, Telemetry
from shared.settings import Settings, Storage, read_settings

USER_AGENT = "ebb/0.1"
DOWNLOAD_BYTES = 4 << 20  # a blob is read in pieces of this size; the SDK's 32 MB are kept whole
# The first piece holds the longest row group, compressed or not: a look-up is one request.
FIRST_BYTES = GROUP_BYTES_MAX + (1 << 20)


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """What the faces may call."""

    ports: Ports
    controller: Controller
    copying: Copying
    receiving: Receiving
    validating: Validating
    retiring: Retiring
    retirements: Retirements
    burying: Burying
    notifying: Notifying
    operating: Operating
    picturing: Picturing
    pressing: Pressing
    alerting: Alerting
    verifying: Verifying
    proving: Proving
    surveying: Surveying
    examining: Examining
    janitor: Janitor
    operator_key: str = ""
    """Asked for by what can take documents away from the business; empty: it is not."""


_lock = threading.Lock()
_apps: list[App] = []


def app() -> App:
    """This process's application, built from the environment at the first call."""
    with _lock:
        if not _apps:
            _apps.append(build(os.environ))
        return _apps[0]


def build(values: Mapping[str, str]) -> App:
    """An application from settings; raises Invalid with every fault, and calls nobody."""
    settings = read_settings(values)
    # The SDKs tell every request at INFO: thousands of lines a minute, with ids in their addresses.
    logging.getLogger("azure").setLevel(logging.WARNING)
    made = assemble(azure_ports(settings), settings.metric_settle_s)
    return replace(made, operator_key=settings.operator_key)


def assemble(ports: Ports, metric_settle_s: float) -> App:
    """The application over any ports."""
    return App(
        ports=ports,
        controller=Controller(ports, metric_settle_s=metric_settle_s),
        copying=Copying(ports),
        receiving=Receiving(ports),
        validating=Validating(ports),
        retiring=Retiring(ports),
        retirements=Retirements(ports),
        burying=Burying(ports),
        notifying=Notifying(ports),
        operating=Operating(ports),
        picturing=Picturing(ports),
        pressing=Pressing(ports),
        alerting=Alerting(ports),
        verifying=Verifying(ports),
        proving=Proving(ports),
        surveying=Surveying(ports, metric_settle_s=metric_settle_s),
        examining=Examining(ports),
        janitor=Janitor(ports),
    )


def azure_ports(settings: Settings) -> Ports:
    """The real adapters; clients connect when they are first used."""
    credential = DefaultAzureCredential()
    tables = _tables(settings.state_storage, credential)
    state_blobs = _blobs(settings.state_storage, credential)
    account = settings.cosmos_account
    sources = CosmosSources(
        account=account,
        endpoint=settings.cosmos_endpoint,
        credential=credential,
        user_agent=USER_AGENT,
        ca_file=settings.ca_file,
    )
    clock = SystemClock()
    return Ports(
        clock=clock,
        names=RandomNames(),
        together=Threads(),
        ledger=TableLedger(tables),
        pointers=TablePointers(tables),
        boards=TableBoards(tables, account),
        memories=TableMemories(tables, account),
        journal=TableJournal(tables, account),
        incidents=TableIncidents(tables, account),
        metering=TableMetering(tables, account),
        monitor=AzureMonitor(
            resource_id=settings.cosmos_resource_id,
            management_endpoint=settings.management_endpoint,
            credential=credential,
            ca_file=settings.ca_file,
        ),
        history=_history(settings, credential),
        lease=BlobLease(state_blobs, account=account),
        mail=StorageMail(_queues(settings.state_storage, credential)),
        sources=sources,
        factory=_factory(settings, credential),
        callers=_callers(settings),
        front_door=_front_door(settings),
        callbacks=WebCallbacks(hosts=settings.callback_hosts, ca_file=settings.ca_file),
        archives=BlobArchives(_blobs(settings.archive_storage, credential), clock=clock),
        table_format=ParquetFormat(),
        scratch=TempScratch(settings.scratch_dir),
        webhooks=WebWebhooks(
            settings.webhooks, runbook=settings.runbook_url, ca_file=settings.ca_file
        ),
        tellings=TableTellings(tables),
        telemetry=_telemetry(settings.insights),
    )


def _callers(settings: Settings) -> Callers:
    if not settings.alert_issuer:
        return AnyCaller()
    trust = Trust(
        issuer=settings.alert_issuer, audience=settings.alert_audience, role=settings.alert_role
    )
    return EntraCallers(trust, ca_file=settings.ca_file)


def _front_door(settings: Settings) -> FrontDoor:
    if not settings.callback_url or not settings.alert_key:
        return NoFrontDoor("EBB_CALLBACK_URL and EBB_ALERT_KEY are not both set")
    return WebFrontDoor(
        settings.callback_url,
        settings.alert_key,
        guarded=bool(settings.alert_issuer),
        ca_file=settings.ca_file,
    )


def _factory(settings: Settings, credential: TokenCredential) -> Factory:
    if not settings.factory_resource_id or not settings.callback_url:
        return NoFactory()
    place = FactoryPlace(
        resource_id=settings.factory_resource_id,
        management_endpoint=settings.management_endpoint,
        callback_url=settings.callback_url,
        callback_key=settings.callback_key,
        cosmos_endpoint=settings.cosmos_endpoint,
        blob_endpoint=_blobs(settings.archive_storage, credential).url,
    )
    return AzureFactory(place, credential=credential, ca_file=settings.ca_file)


def _telemetry(connection_string: str) -> Telemetry:
    if not connection_string:
        return Silence()
    from shared.adapters.telemetry import to_application_insights

    return to_application_insights(connection_string)


def _history(settings: Settings, credential: TokenCredential) -> History:
    if not settings.log_workspace_id:
        return NoHistory()
    return LogHistory(
        workspace_id=settings.log_workspace_id,
        endpoint=settings.logs_endpoint,
        credential=credential,
        ca_file=settings.ca_file,
    )


def _tables(storage: Storage, credential: TokenCredential) -> TableServiceClient:
    if storage.connection_string:
        return TableServiceClient.from_connection_string(storage.connection_string)
    return TableServiceClient(storage.endpoint("table"), credential=credential)


def _blobs(storage: Storage, credential: TokenCredential) -> BlobServiceClient:
    options: dict[str, Any] = {
        "retry_total": 3,
        "max_single_get_size": FIRST_BYTES,
        "max_chunk_get_size": DOWNLOAD_BYTES,
    }
    if storage.connection_string:
        return BlobServiceClient.from_connection_string(storage.connection_string, **options)
    return BlobServiceClient(storage.endpoint("blob"), credential=credential, **options)


def _queues(storage: Storage, credential: TokenCredential) -> QueueServiceClient:
    if storage.connection_string:
        return QueueServiceClient.from_connection_string(storage.connection_string)
    return QueueServiceClient(storage.endpoint("queue"), credential=credential)
