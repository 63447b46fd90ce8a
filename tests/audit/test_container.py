"""An archive in a blob container is proven by URL and SAS alone, and the SAS is told to nobody."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from azure.storage.blob import (
    BlobServiceClient,
    ContainerSasPermissions,
    generate_container_sas,
)

from sandbox.azurite import ACCOUNT_KEY, ACCOUNT_NAME, start_azurite
from sandbox.certificates import make_certificates
from sandbox.processes import Processes, find_node_modules
from tests.audit.archives import audited, told
from tests.audit.blob_server import Blobs, served
from tests.audit.forging import Forger, flip
from tools import audit

SECRET = "s3cr3t"
ODD_PREFIX = "a b/größe=1%"


@pytest.fixture(autouse=True)
def _small_pages_and_no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "PAGE_NAMES", 5)
    monkeypatch.setattr(audit, "WAITS_S", (0.0, 0.0))


@pytest.fixture
def blobs(folder: Path) -> Iterator[Blobs]:
    """The plain archive behind HTTP."""
    with served(folder) as serving:
        yield serving


@pytest.fixture(scope="module")
def azurite() -> Iterator[BlobServiceClient]:
    with Processes() as processes:
        found = start_azurite(processes, find_node_modules())
        with BlobServiceClient.from_connection_string(found.connection_string) as client:
            yield client


def uploaded(client: BlobServiceClient, name: str, folder: Path) -> str:
    """A container with the archive under a prefix; returns the URL with a SAS to it."""
    container = client.create_container(name)
    for path in folder.rglob("*"):
        if path.is_file():
            blob = f"{ODD_PREFIX}/{path.relative_to(folder).as_posix()}"
            container.upload_blob(blob, path.read_bytes())
    container.upload_blob("elsewhere/receipts/x.json", b"{}")
    sas = generate_container_sas(
        ACCOUNT_NAME,
        name,
        account_key=ACCOUNT_KEY,
        permission=ContainerSasPermissions(read=True, list=True),
        expiry=dt.datetime.now(dt.UTC) + dt.timedelta(hours=1),
    )
    return f"{client.url.rstrip('/')}/{name}/a%20b/gr%C3%B6%C3%9Fe=1%25?{sas}"


@pytest.mark.node
@pytest.mark.parametrize("shape", ["plain", "rich"])
def test_an_archive_in_azurite_is_proven_as_in_its_folder(
    azurite: BlobServiceClient, originals: dict[str, Path], shape: str
) -> None:
    """Over several pages of the list, with a real SAS, below an odd prefix."""
    url = uploaded(azurite, f"sound-{shape}", originals[shape])
    code, report = audited(url)
    assert (code, report) == (audit.PROVEN, audited(originals[shape])[1])
    assert sum(path.is_file() for path in originals[shape].rglob("*")) > 2 * audit.PAGE_NAMES


@pytest.mark.node
def test_a_harmed_blob_in_azurite_is_named(azurite: BlobServiceClient, folder: Path) -> None:
    """The same faults as in a folder, and a wrong SAS gives no verdict."""
    forger = Forger(folder)
    forger.change(forger.data(forger.slices()[1]), flip)
    url = uploaded(azurite, "harmed", folder)
    code, report = audited(url)
    assert (code, report) == (audit.FAULTY, audited(folder)[1])
    code, out, errors = told(url[:-9] + "AAAAAAAA%3D")
    assert (code, out) == (audit.UNREACHABLE, "")
    assert "the service answered 403" in errors


def test_passing_troubles_are_waited_out(blobs: Blobs) -> None:
    """Busy answers, broken bodies and throttles, each at another blob."""
    blobs.statuses += [503, 500, 200, 200, 429, 200, 408]
    blobs.shares += [1.0] * 12 + [0.5, 0.0, 1.0, 0.9]
    assert audited(blobs.url)[0] == audit.PROVEN
    assert blobs.statuses == blobs.shares == []


@pytest.mark.parametrize("status", [503, 403, 404, 400, 302, 307])
def test_lasting_troubles_give_no_verdict_and_no_secret(blobs: Blobs, status: int) -> None:
    """Three attempts where that may help; a redirect is not followed."""
    blobs.statuses += [status] * 9
    code, out, errors = told(blobs.url)
    assert (code, out) == (audit.UNREACHABLE, "")
    assert f"NO VERDICT: reading the list of blobs: the service answered {status}" in errors
    assert SECRET not in errors
    assert len(blobs.asked) == (3 if status == 503 else 1)


def test_a_body_that_always_breaks_off_gives_no_verdict(blobs: Blobs) -> None:
    """Half a blob is never taken for a whole one."""
    blobs.shares += [1.0] * 8 + [0.5] * 99
    code, _, errors = told(blobs.url)
    assert code == audit.UNREACHABLE
    assert "IncompleteRead" in errors
    assert SECRET not in errors


def test_nobody_listening_gives_no_verdict(tmp_path: Path) -> None:
    """A closed port is no fault of the archive."""
    with served(tmp_path) as gone:
        pass
    code, _, errors = told(gone.url)
    assert (code, SECRET in errors) == (audit.UNREACHABLE, False)
    assert "ConnectionRefusedError" in errors


@pytest.mark.parametrize("listing", [b"<a", b"<a><Blob><Name>x</Name></Blob></a>", b"\xff", b"{}"])
def test_a_list_that_is_none_gives_no_verdict(blobs: Blobs, listing: bytes) -> None:
    """Some other server answered."""
    blobs.listing = listing
    assert "the answer is no list of blobs" in told(blobs.url)[2]


def test_a_list_without_end_is_ended(blobs: Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that gives the same marker for ever does not hold us."""
    monkeypatch.setattr(audit, "PAGES_MAX", 7)
    blobs.listing = b"<E><Blobs/><NextMarker>x</NextMarker></E>"
    code, _, errors = told(blobs.url)
    assert (code, len(blobs.asked)) == (audit.UNREACHABLE, 7)
    assert "no end within 7 pages" in errors


def test_a_folder_of_a_hierarchical_account_is_no_stranger(blobs: Blobs) -> None:
    """Such accounts list folders beside blobs."""
    properties = "<ResourceType>directory</ResourceType><Content-Length>0</Content-Length>"
    named = "<Name>deep/data/db</Name>"
    blobs.extra = f"<Blob>{named}<Properties>{properties}</Properties></Blob>"
    assert audited(blobs.url)[0] == audit.PROVEN


def test_a_body_longer_than_listed_is_not_taken_in(blobs: Blobs, folder: Path) -> None:
    """What a hostile service pours out ends one chunk after the promised size."""
    name = Forger(folder).data(Forger(folder).slices()[1])
    size = (folder / name).stat().st_size
    row = f"<Blob><Name>deep/{name}</Name><Properties><Content-Length>{size}</Content-Length>"
    blobs.extra = f"{row}</Properties></Blob>"
    (folder / name).write_bytes((folder / name).read_bytes() + b"\0" * (8 << 20))
    assert "bytes" in audited(blobs.url)[1]["faults"]
    with audit.Container(blobs.url, None).open(name) as file:
        assert size < len(file.read()) <= size + audit.CHUNK_BYTES


def test_a_private_authority_must_be_named(folder: Path, tmp_path: Path) -> None:
    """Without its certificate nothing is read; with it everything is."""
    certificates = make_certificates(tmp_path)
    with served(folder, certificates) as blobs:
        code, _, errors = told(blobs.url)
        assert code == audit.UNREACHABLE
        assert "--ca-file" in errors
        assert blobs.asked == []
        code, report = audited(blobs.url, "--ca-file", str(certificates.ca_file))
        assert (code, report["faults"]) == (audit.PROVEN, {})


@pytest.mark.parametrize(
    "url",
    [
        f"http://example.invalid/box?sig={SECRET}",
        f"http://10.0.0.1/account/box?sig={SECRET}",
        f"https:///box?sig={SECRET}",
        f"https://127.0.0.1/account?sig={SECRET}",
        f"https://account.blob.example.invalid/?sig={SECRET}",
        f"https://account.blob.example.invalid/a//b?sig={SECRET}",
        f"https://[/box?sig={SECRET}",
    ],
)
def test_an_address_that_is_no_archives_is_wrong_use(url: str) -> None:
    """Plain HTTP beyond this machine would show the SAS to the network."""
    code, out, errors = told(url)
    assert (code, out, SECRET in errors) == (2, "", False)


def test_a_mistyped_command_does_not_repeat_the_secret(tmp_path: Path) -> None:
    """Not even where a URL stands in the wrong place, or a file is none."""
    url = f"https://account.blob.example.invalid/box?sv=1&sig={SECRET}"
    for arguments in (["x", url], [url, "--fingerprint", url], [f"--nothing={url}"]):
        code, out, errors = told(*arguments)
        assert (code, out, SECRET in errors) == (2, "", False)
    code, _, errors = told(url, "--ca-file", str(tmp_path / "none.pem"))
    assert (code, SECRET in errors, "none.pem" in errors) == (2, False, True)


def test_no_report_shows_the_secret(blobs: Blobs) -> None:
    """Neither a proof nor faults."""
    for options in ((), ("--json",)):
        code, out, errors = told(blobs.url, *options)
        assert (code, SECRET in out + errors) == (audit.PROVEN, False)
    (blobs.folder / "owner.json").write_text(json.dumps({}))
    code, out, errors = told(blobs.url)
    assert (code, SECRET in out + errors) == (audit.FAULTY, False)
    assert all(f"sig={SECRET}" in asked for asked in blobs.asked)
