"""Whether a spec and the state are this Ebb's to work on: its account's, and of its version.

Who is refused here changes nothing, halts nothing and quarantines nothing; it holds.
"""

from __future__ import annotations

from contextlib import suppress

from shared.application.bundle import Ports
from shared.domain.spec import MigrationSpec, parse_spec
from shared.errors import Conflict, OtherAccount, OtherVersion
from shared.ports import Incident, IncidentKind

NOTED_EVERY_S = 3_600.0  # one incident an hour says as much as one a tick


def check_account(ports: Ports, spec: MigrationSpec) -> None:
    """OtherAccount where the spec, or the state that it is from, belongs to another one."""
    mine = ports.sources.account
    if spec.source.account != mine:
        raise _other(f"migration {spec.name} is", spec.source.account, mine)
    _check_state(ports.ledger.account(), mine)


def claim_state(ports: Ports) -> None:
    """Write into new state whose it is, once; OtherAccount where it is another's already."""
    mine = ports.sources.account
    stated = ports.ledger.account()
    if stated is None:
        for each in ports.ledger.migrations():
            theirs = parse_spec(each.spec_text).source.account
            if theirs != mine:
                raise _other(f"migration {each.name} is", theirs, mine)
        with suppress(Conflict):
            ports.ledger.put_account(mine)
        stated = ports.ledger.account()
    _check_state(stated, mine)


def note_hold(ports: Ports, error: OtherAccount | OtherVersion) -> None:
    """An operator finds why nothing goes on."""
    is_version = isinstance(error, OtherVersion)
    kind = IncidentKind.VERSION if is_version else IncidentKind.ACCOUNT
    at_s = ports.clock.now_s() // NOTED_EVERY_S * NOTED_EVERY_S
    ports.incidents.record(Incident(at_s=at_s, kind=kind, text=str(error)))


def _check_state(stated: str | None, mine: str) -> None:
    """State that nobody claimed yet is claimed by the next tick."""
    if stated not in {None, mine}:
        raise _other("the state in AzureWebJobsStorage is", stated or "", mine)


def _other(subject: str, theirs: str, mine: str) -> OtherAccount:
    return OtherAccount(
        f"{subject} of the account {theirs!r}, and this Ebb serves {mine!r}; nothing was done — "
        f"set EBB_COSMOS_ENDPOINT and EBB_COSMOS_RESOURCE_ID to {theirs!r}, or "
        f"AzureWebJobsStorage to the state of {mine!r}"
    )
