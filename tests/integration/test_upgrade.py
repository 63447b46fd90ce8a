"""An upgrade and a rollback in mid-migration: the last release and this one over the same state.

Copying, removing and undoing are each begun by one release, gone on with by the other, killed in
between, and ended: nothing is lost and nothing halts by itself.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sandbox.azurite import start_azurite
from sandbox.processes import Processes, find_node_modules

pytestmark = [pytest.mark.node, pytest.mark.long, pytest.mark.timeout(600)]

HOUSE = Path(__file__).parents[2]
LAST_RELEASE = "37e1f5d"  # what is deployed where this one will be; moves on with each release
STEP = Path(__file__).with_name("upgrade_step.py")
DOCUMENTS = 60
KILLED_CALLS = 6  # of a worker that undoes: it dies before it notes what it did
DAY_S = 86_400
KILLED = 9
SPEC = """
name: sim
source: {account: acct, database: db, container: c, partition_key: /pk}
cold: {older_than: 90d}
sink: {container: archive}
capacity: {ru_per_s_per_partition: 1000, partitions: 1}
slice: {budget_s: 2, in_flight_max: 3, attempts_max: 12, documents_max: 7}
retire_grace: 0
"""
RELEASES = ("last", "this")


@pytest.fixture(scope="session")
def last_release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The last release's tree, out of the repository's own history."""
    tree = tmp_path_factory.mktemp("last-release")
    command = ["git", "archive", "--format=tar", LAST_RELEASE, "shared", "tests", "sandbox"]
    found = subprocess.run(command, cwd=HOUSE, capture_output=True, check=False)
    if found.returncode:
        pytest.fail(
            f"the last release ({LAST_RELEASE}) is not in this repository's history: "
            f"{found.stderr.decode().strip()}; fetch the whole history (git fetch --unshallow, "
            "or fetch-depth: 0 in a workflow), then run this test again"
        )
    with tarfile.open(fileobj=io.BytesIO(found.stdout)) as archive:
        archive.extractall(tree, filter="data")
    return tree


@dataclass(slots=True)
class Story:
    """One state, and the lives of processes over it."""

    trees: dict[str, Path]
    connection: str
    place: Path

    def live(self, release: str, *, dies: bool = False, **told: Any) -> dict[str, Any]:
        """One process of a release, to its end; what it saw last, or nothing where it is killed."""
        asked = {"connection": self.connection, "turns_max": 120, **told}
        command = [sys.executable, str(STEP), json.dumps(asked), str(self.place)]
        ran = subprocess.run(
            command,
            cwd=self.trees[release],
            env={**os.environ, "PYTHONPATH": "", "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            timeout=300,
            check=False,
        )
        expected = KILLED if dies else 0
        assert ran.returncode == expected, ran.stderr.decode()[-3_000:]
        if dies:
            time.sleep(3)  # until the message in its hands is seen again
            return {}
        seen: dict[str, Any] = json.loads(ran.stdout)
        assert seen["halt"] in {None, ""}, seen
        assert seen["state"] in {"running", "completed"}, seen
        assert seen["retirement"] in {"", "running", "done"}, seen
        assert seen["incidents"] == [], "\n".join([release, *seen["incidents"], *seen["said"]])
        return seen

    def source(self) -> dict[str, Any]:
        kept: dict[str, Any] = json.loads(self.place.read_text())
        return {name: (each["pk"], each["body"]) for name, each in kept["documents"].items()}


@pytest.fixture
def story(last_release: Path, tmp_path: Path) -> Iterator[Story]:
    with Processes() as processes:
        azurite = start_azurite(processes, find_node_modules())
        yield Story(
            trees={"last": last_release, "this": HOUSE},
            connection=azurite.connection_string,
            place=tmp_path / "source.json",
        )


def seeds() -> list[dict[str, Any]]:
    now_s = int(time.time())
    return [
        {"id": f"doc-{index:03d}", "ts": now_s - (91 + index) * DAY_S, "body": {"n": index}}
        for index in range(DOCUMENTS)
    ]


@pytest.mark.parametrize("mode", ["delete", "stub"])
@pytest.mark.parametrize("first", RELEASES)
def test_releases_take_turns_over_one_migration_and_nothing_is_lost(
    story: Story, first: str, mode: str
) -> None:
    """Copy, removal and undo, each begun by one release and ended by the other; some are killed."""
    (second,) = set(RELEASES) - {first}
    kept = "stub_keep: /body/n\n" if mode == "stub" else ""
    spec = f"{SPEC}retire: {mode}\n{kept}"
    story.live(first, seed=seeds(), spec=spec, until={"proven": 7})
    before = story.source()
    assert len(before) == DOCUMENTS
    story.live(second, dies=True, kill_at=10, until={"proven": 60})
    story.live(second, until={"proven": 28})
    story.live(first, dies=True, kill_at=10, until={"proven": 60})
    story.live(first, until={"proven": 42})
    seen = story.live(second, until={"state": "completed"})
    assert (seen["state"], seen["proven"], seen["failed"]) == ("completed", DOCUMENTS, 0)

    story.live(first, asked="execute", until={"slices_done": 1})
    story.live(second, dies=True, kill_at=6, until={"removed": 60})
    story.live(second, until={"slices_done": 4})
    story.live(first, dies=True, kill_at=6, until={"removed": 60})
    seen = story.live(first, until={"retirement": "done"})
    assert (seen["retirement"], seen["removed"]) == ("done", DOCUMENTS)
    assert (story.source() == {}) == (mode == "delete")

    story.live(second, asked="undo", until={"slices_done": 1})
    story.live(first, dies=True, kill_at=KILLED_CALLS, until={"restored": 60})
    story.live(first, until={"slices_done": 4})
    seen = story.live(second, until={"retirement": "done"})
    assert story.source() == before
    assert seen["retirement"] == "done"
    # A document that a killed worker had brought back counts as gone, not as restored.
    assert DOCUMENTS - KILLED_CALLS <= seen["restored"] <= DOCUMENTS
