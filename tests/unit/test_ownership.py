"""A spec or a state of another account: whatever is asked of it is refused, and nothing changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from shared.adapters.memory import MemoryLedger
from shared.application.bundle import Ports
from shared.application.dispatching import message_of
from shared.application.index_rebuild import IndexRebuild
from shared.application.restoration import Wanted
from shared.domain.slices import MigrationState
from shared.errors import OtherAccount
from shared.ports import COPY_QUEUE, RETIRE_QUEUE, IncidentKind
from shared.wiring import App, assemble
from tests.simulation.retirees import archived
from tests.simulation.runs import SPEC
from tests.simulation.sources import MemorySource, MemorySources
from tests.simulation.world import SETTLE_S, World, make_world


def of_account(world: World, account: str) -> tuple[Ports, MemorySource]:
    """The same state from an Ebb that serves another account, with a container of that name."""
    source = MemorySource(clock=world.clock)
    return replace(world.ports, sources=MemorySources(source=source, account=account)), source


@pytest.fixture
def removed() -> World:
    """A migration whose twelve documents are removed."""
    retiree = archived(1, "delete", documents=12)
    retiree.world.calm.retirements.execute("sim", {})
    retiree.finish()
    assert retiree.world.source.documents == {}
    return retiree.world


def slice_id(world: World) -> str:
    return next(iter(world.ports.ledger.done_slices("sim"))).id


ASKED: dict[str, Callable[[App, World], object]] = {
    "restore": lambda app, _: _restoration(app).many("sim", Wanted(), execute=True),
    "reindex": lambda app, _: IndexRebuild(app.ports).run("sim", execute=True),
    "find": lambda app, _: _consulting(app).run("sim", "doc-001", ()),
    "verify": lambda app, _: app.verifying.run("sim"),
    "assess": lambda app, _: app.retirements.assess("sim"),
    "retire": lambda app, w: app.retiring.run(message_of("sim", slice_id(w))),
    "tick": lambda app, _: app.controller.tick(),
}


def _restoration(app: App) -> Any:
    from shared.application.restoration import Restoration

    return Restoration(app.ports)


def _consulting(app: App) -> Any:
    from shared.application.consulting import Consulting

    return Consulting(app.ports)


@pytest.mark.parametrize("asked", ASKED)
def test_another_accounts_migration_is_refused(removed: World, asked: str) -> None:
    """The message names both accounts and the settings; documents and pointers are untouched."""
    ports, source = of_account(removed, "dev")
    standing = dict(removed.ports.pointers.standing)  # type: ignore[attr-defined]
    assert standing
    with pytest.raises(OtherAccount, match=r"'acct'.*serves 'dev'.*EBB_COSMOS_ENDPOINT"):
        ASKED[asked](assemble(ports, SETTLE_S), removed)
    assert source.documents == {}
    assert removed.ports.pointers.standing == standing  # type: ignore[attr-defined]
    assert removed.ports.ledger.account() == "acct"


def working() -> World:
    """A migration with a slice that waits for a worker."""
    world = make_world(3)
    world.source.put("doc", ts=1_700_000_000, body=1)
    world.calm.operating.apply(SPEC)
    world.calm.operating.start("sim")
    while not world.ports.ledger.open_slices("sim"):
        world.calm.controller.tick()
        world.clock.advance(30)
    return world


def test_a_tick_over_another_accounts_state_halts_nothing() -> None:
    """It fails and leaves one incident an hour; the owner's Ebb goes on as if nothing had been."""
    world = working()
    ports, _ = of_account(world, "dev")
    before = world.ports.ledger.migration("sim")
    for _ in range(3):
        with pytest.raises(OtherAccount):
            assemble(ports, SETTLE_S).controller.tick()
    assert world.ports.ledger.migration("sim") == before
    kinds = [each.kind for each in world.ports.incidents.latest(limit=10)]
    assert kinds == [IncidentKind.ACCOUNT]
    world.clock.advance(30)
    assert world.calm.controller.tick() != ()


@pytest.mark.parametrize("queue", [COPY_QUEUE, RETIRE_QUEUE])
def test_a_message_for_another_accounts_ebb_is_left_alone(queue: str) -> None:
    """It is not poison: its slice is neither failed nor quarantined, and a tick sends it again."""
    world = working()
    ports, _ = of_account(world, "dev")
    app = assemble(ports, SETTLE_S)
    before = world.ports.ledger.open_slices("sim")
    work = app.copying.run if queue == COPY_QUEUE else app.retiring.run
    said = app.burying.guarded(queue, message_of("sim", before[0].id).encode(), work)
    assert "left alone" in said
    assert world.mail.take(f"{queue}-poison") is None
    assert world.ports.ledger.open_slices("sim") == before


def test_new_state_is_claimed_once_and_not_over_another_accounts_migrations() -> None:
    """State from before accounts were noted tells by its migrations whose it is."""
    world = working()
    ledger = MemoryLedger()
    ledger.put_migration(replace(world.ports.ledger.migration("sim"), version=""))
    ports, _ = of_account(world, "dev")
    with pytest.raises(OtherAccount, match="migration sim is of the account 'acct'"):
        assemble(replace(ports, ledger=ledger), SETTLE_S).controller.tick()
    assert ledger.account() is None
    assemble(replace(world.ports, ledger=ledger), SETTLE_S).controller.tick()
    assert ledger.account() == "acct"


def test_two_who_claim_new_state_at_once_agree() -> None:
    """Whoever comes second finds the first one's claim, and is refused unless it is the same."""
    world = make_world(1)
    real = world.ports.ledger

    class Raced(SimpleNamespace):
        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

        def put_account(self, account: str) -> None:
            if real.account() is None:
                real.put_account("acct")
            real.put_account(account)

    mine = assemble(replace(world.ports, ledger=Raced()), SETTLE_S)
    assert mine.controller.tick() == ()
    ports, _ = of_account(world, "dev")
    with pytest.raises(OtherAccount, match="the state in AzureWebJobsStorage"):
        assemble(replace(ports, ledger=Raced()), SETTLE_S).controller.tick()


def test_the_janitor_sweeps_nothing_of_another_account() -> None:
    """It says so among its troubles."""
    world = working()
    ports, _ = of_account(world, "dev")
    swept = assemble(ports, SETTLE_S).janitor.sweep()
    assert swept.blobs == 0
    assert "serves 'dev'" in swept.troubles[0]
    assert world.ports.ledger.migration("sim").state is MigrationState.RUNNING
