"""A whole trial: refuse, make, check, remove, and say what was found; it prints nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from azure.core.credentials import TokenCredential
from azure.core.exceptions import AzureError, HttpResponseError
from azure.data.tables import TableServiceClient
from azure.storage.blob import BlobServiceClient

from shared.errors import EbbError, PermanentError, Refused, TransientError
from shared.trial import clients
from shared.trial.belongings import Belongings
from shared.trial.clients import Place
from shared.trial.findings import Checks, Row, Verdict, skipped
from shared.trial.management import Management
from shared.trial.purse import COST_MAX_USD, Bound, Purse, bound_of
from shared.trial.reasons import REASONS
from shared.trial.runner import Stop, run
from shared.trial.stage import PLANS, PREFIX, TABLE_PREFIX, Stage
from shared.trial.table import CHECKED

NAMES_TOLD = 5
OF_THE_SERVICE = "$"  # $logs, $web, $MetricsHourPrimary…: not the user's data


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Every row of the page, what the trial cost, and what it left behind."""

    rows: tuple[Row, ...]
    left: tuple[str, ...]
    spent_ru: float
    storage_calls: int
    ended_early: bool

    @property
    def is_clean(self) -> bool:
        found = {row.finding.verdict for row in self.rows}
        return Verdict.DIFFERS not in found and not self.left


class Trial:
    def __init__(self, place: Place, credential: TokenCredential, *, name: str) -> None:
        """Open the accounts; `name` marks everything that this trial makes."""
        self._place = place
        self._credential = credential
        self._purse = Purse()
        self._name = name
        self._belongings = Belongings()
        self._management = Management(
            resource_id=place.cosmos_id,
            endpoint=place.management_endpoint,
            credential=credential,
            ca_file=place.ca_file,
        )

    def cost(self, *, minutes: float) -> Bound:
        """The most that it can cost; Refused where that is more than a trial may."""
        facts = self._management.facts()
        cost = bound_of(
            is_serverless=facts.is_serverless,
            containers=len(PLANS),
            regions=facts.regions,
            minutes=minutes,
        )
        if cost.usd > COST_MAX_USD:
            raise Refused(
                f"beginning a trial: it could cost {cost.usd:.2f} USD, more than "
                f"{COST_MAX_USD:.2f}; use a serverless account in one region, or fewer --minutes"
            )
        return cost

    def refuse_others(self) -> None:
        """Raise Refused when the accounts hold anything but trials."""
        others = [name for name in self._management.databases() if not name.startswith(PREFIX)]
        found = [f"database {name}" for name in others]
        try:
            found += [f"blob container {name}" for name in self._blob_containers(others=True)]
            found += [f"table {name}" for name in self._tables(others=True)]
        except AzureError as error:
            raise _storage_fault("listing what storage holds", error) from error
        if found:
            more = f" and {len(found) - NAMES_TOLD} more" if len(found) > NAMES_TOLD else ""
            raise Refused(
                f"beginning a trial: the accounts hold {', '.join(found[:NAMES_TOLD])}{more}; "
                "use empty accounts, or say --beside-others when their owner agrees to the load"
            )

    def run(
        self,
        *,
        minutes: float,
        told: Callable[[str], None],
        only: frozenset[str] = CHECKED,
    ) -> Outcome:
        """Make, check and remove; removes also after a failure or Ctrl-C."""
        stop, rows = Stop(), list[Row]()
        try:
            rows = self._rows(minutes=minutes, only=only, stop=stop, told=told)
        except KeyboardInterrupt:
            stop.set()
        except (EbbError, AzureError) as error:
            left = self._belongings.remove(told)
            known = error if isinstance(error, EbbError) else _storage_fault("preparing", error)
            if left:
                raise PermanentError(f"{known}; left behind: {'; '.join(left)}") from error
            raise known from error
        except BaseException:
            self._belongings.remove(told)
            raise
        left = self._belongings.remove(told)
        excused = [Row(id=id_, title="", finding=skipped(why)) for id_, why in REASONS.items()]
        return Outcome(
            rows=tuple(sorted((*rows, *excused), key=lambda row: row.id)),
            left=left,
            spent_ru=self._purse.spent_ru,
            storage_calls=self._purse.calls,
            ended_early=stop.is_set(),
        )

    def clean(self, told: Callable[[str], None]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Remove what earlier trials left; returns what it found and what is left all the same."""
        found = []
        for name in self._management.databases():
            if name.startswith(PREFIX):
                found.append(f"the database {name}")
                self._belongings.note(found[-1], _call(self._management.remove_database, name))
        blob_service, table_service = self._blob_service(), self._table_service()
        for name in self._blob_containers(others=False):
            found.append(f"the blob container {name}")
            self._belongings.note(found[-1], _call(blob_service.delete_container, name))
        for name in self._tables(others=False):
            found.append(f"the table {name}")
            self._belongings.note(found[-1], _call(table_service.delete_table, name))
        return tuple(found), self._belongings.remove(told)

    def _rows(
        self, *, minutes: float, only: frozenset[str], stop: Stop, told: Callable[[str], None]
    ) -> list[Row]:
        told("making a database, its containers, a blob container and a table …")
        stage = Stage(
            place=self._place,
            credential=self._credential,
            management=self._management,
            facts=self._management.facts(),
            purse=self._purse,
            belongings=self._belongings,
            run=self._name,
        )
        rows = run(_chosen(stage.made(), only), stop=stop, told=told)
        late = _chosen(stage.late(patience_s=minutes * 60, stop=stop), only)
        return rows + run(late, stop=stop, told=told)

    def _blob_service(self) -> BlobServiceClient:
        return clients.blob_service(self._place, self._credential, self._purse)

    def _table_service(self) -> TableServiceClient:
        return clients.table_service(self._place, self._credential, self._purse)

    def _blob_containers(self, *, others: bool) -> list[str]:
        names = [str(each.name) for each in self._blob_service().list_containers()]
        return [each for each in names if _is_other(each, PREFIX) is others]

    def _tables(self, *, others: bool) -> list[str]:
        names = [str(each.name) for each in self._table_service().list_tables()]
        return [each for each in names if _is_other(each, TABLE_PREFIX) is others]


def _chosen(checks: Checks, only: frozenset[str]) -> Checks:
    return {id_: check for id_, check in checks.items() if id_ in only}


def _is_other(name: str, prefix: str) -> bool | None:
    """Whether it is somebody else's; None for the service's own."""
    return None if name.startswith(OF_THE_SERVICE) else not name.startswith(prefix)


def _call(remove: Callable[[str], object], name: str) -> Callable[[], object]:
    return lambda: remove(name)


def _storage_fault(doing: str, error: AzureError) -> EbbError:
    status = error.status_code if isinstance(error, HttpResponseError) else None
    if status in {401, 403}:
        return PermanentError(
            f"{doing}: storage refused ({status}); give yourself 'Storage Blob Data Owner' and "
            "'Storage Table Data Contributor' on it"
        )
    text = " ".join(str(error).split())[:200]
    return TransientError(f"{doing}: {type(error).__name__} ({status or 'no answer'}): {text}")
