"""The app's settings: all faults at once, and never a guess about where to send tokens."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.errors import Fault, Invalid
from shared.settings import SETTINGS, Storage, read_settings

RESOURCE = "/subscriptions/s/resourceGroups/g/providers/Microsoft.DocumentDB/databaseAccounts/Shop"
GOOD = {
    "AzureWebJobsStorage": "UseDevelopmentStorage=true",
    "EBB_COSMOS_ENDPOINT": "https://shop.documents.azure.com:443/",
    "EBB_COSMOS_RESOURCE_ID": RESOURCE,
}


def faults_of(**changes: str) -> tuple[Fault, ...]:
    with pytest.raises(Invalid) as caught:
        read_settings(GOOD | changes)
    return caught.value.faults


def test_the_least_that_is_set_is_enough() -> None:
    """Everything else has a default."""
    settings = read_settings(GOOD)
    assert settings.state_storage.connection_string == "UseDevelopmentStorage=true"
    assert settings.archive_storage == settings.state_storage
    assert settings.cosmos_endpoint == "https://shop.documents.azure.com:443/"
    assert settings.cosmos_account == "shop"
    assert settings.management_endpoint == "https://management.azure.com"
    assert (settings.ca_file, settings.scratch_dir) == (None, None)
    assert settings.metric_settle_s == 60.0


def test_a_workspace_is_a_guid_or_nothing() -> None:
    """Its name or resource id would be refused only when habits are asked for."""
    assert read_settings(GOOD).log_workspace_id == ""
    assert read_settings(GOOD).logs_endpoint == "https://api.loganalytics.io"
    given = "01234567-89AB-cdef-0123-456789abcdef"
    assert read_settings(GOOD | {"EBB_LOG_WORKSPACE_ID": given}).log_workspace_id == given.lower()
    for wrong in ("my-workspace", "/subscriptions/s/resourceGroups/g", given[:-1]):
        faults = faults_of(EBB_LOG_WORKSPACE_ID=wrong)
        assert [fault.path for fault in faults] == ["EBB_LOG_WORKSPACE_ID"]


def test_an_empty_environment_names_everything_missing() -> None:
    """All at once, each with what it is for."""
    with pytest.raises(Invalid) as caught:
        read_settings({})
    assert [fault.path for fault in caught.value.faults] == [
        "EBB_COSMOS_ENDPOINT",
        "EBB_COSMOS_RESOURCE_ID",
        "AzureWebJobsStorage",
    ]
    assert all(fault.seen == "it is missing" and fault.advice for fault in caught.value.faults)


def test_an_empty_value_counts_as_unset() -> None:
    """A template leaves such behind."""
    assert read_settings(GOOD | {"EBB_METRIC_SETTLE_S": ""}).metric_settle_s == 60.0
    assert [fault.path for fault in faults_of(EBB_COSMOS_ENDPOINT="")] == ["EBB_COSMOS_ENDPOINT"]


def test_every_fault_is_reported_together() -> None:
    """A restart per fault would cost minutes each."""
    faults = faults_of(
        EBB_COSMOS_ENDPOINT="shop", EBB_COSMOS_RESOURCE_ID="shop", EBB_METRIC_SETTLE_S="soon"
    )
    assert {fault.path for fault in faults} == {
        "EBB_COSMOS_ENDPOINT",
        "EBB_COSMOS_RESOURCE_ID",
        "EBB_METRIC_SETTLE_S",
    }


@pytest.mark.parametrize(
    "address",
    ["http://shop.documents.azure.com", "ftp://x", "https://", "shop.documents.azure.com", "http://[::1",
     "http://localhost.evil.com", "http://127.0.0.1.evil.com"],
)  # fmt: skip
def test_an_address_that_could_leak_a_token_is_refused(address: str) -> None:
    """Tokens go over https, or stay on this machine."""
    for name in ("EBB_COSMOS_ENDPOINT", "EBB_MANAGEMENT_ENDPOINT", "EBB_LOGS_ENDPOINT"):
        assert [fault.path for fault in faults_of(**{name: address})] == [name]


@pytest.mark.parametrize("host", ["127.0.0.1:8081", "localhost", "[::1]:9"])
def test_plain_http_is_allowed_on_this_machine(host: str) -> None:
    """The sandbox runs there."""
    settings = read_settings(GOOD | {"EBB_COSMOS_ENDPOINT": f"http://{host}/"})
    assert settings.cosmos_endpoint == f"http://{host}/"


@pytest.mark.parametrize("resource", ["x", "/subscriptions/s", RESOURCE + "/more", "/a" * 8])
def test_a_resource_id_has_azures_own_form(resource: str) -> None:
    """Its last part is the account's name, so a wrong one would name another account."""
    assert [f.path for f in faults_of(EBB_COSMOS_RESOURCE_ID=resource)] == [
        "EBB_COSMOS_RESOURCE_ID"
    ]


@pytest.mark.parametrize("resource", [RESOURCE[1:], RESOURCE + "/", RESOURCE])
def test_slashes_around_a_resource_id_do_not_matter(resource: str) -> None:
    """People copy it in all these ways."""
    assert read_settings(GOOD | {"EBB_COSMOS_RESOURCE_ID": resource}).cosmos_resource_id == RESOURCE


@pytest.mark.parametrize("seconds", ["-1", "181", "240", "nan", "inf", "1m", "1 0"])
def test_the_settling_time_has_bounds(seconds: str) -> None:
    """With more no reading is ever fresh, and nothing would be spent."""
    assert [f.path for f in faults_of(EBB_METRIC_SETTLE_S=seconds)] == ["EBB_METRIC_SETTLE_S"]


@pytest.mark.parametrize("seconds", ["0", "180", "12.5"])
def test_the_bounds_themselves_are_allowed(seconds: str) -> None:
    """Zero serves the sandbox."""
    settings = read_settings(GOOD | {"EBB_METRIC_SETTLE_S": seconds})
    assert settings.metric_settle_s == float(seconds)


@pytest.mark.parametrize("key", ["abc==", " abc==\r\n", "abc==\n"])
def test_a_pasted_key_loses_the_blanks_around_it(key: str) -> None:
    """A line break cannot be sent in a header."""
    found = read_settings(GOOD | {"EBB_CALLBACK_KEY": key, "EBB_ALERT_KEY": key})
    assert (found.callback_key, found.alert_key) == ("abc==", "abc==")


@pytest.mark.parametrize("key", ["abc\u2026", "ab\nc", "ab\x00c"])
def test_a_key_that_cannot_be_sent_is_refused_unseen(key: str) -> None:
    """It is a secret, however wrong."""
    (fault,) = faults_of(EBB_CALLBACK_KEY=key)
    assert (fault.path, fault.seen) == ("EBB_CALLBACK_KEY", f"{len(key)} characters")


def test_the_archive_may_have_its_own_storage() -> None:
    """By connection string or by name."""
    settings = read_settings(GOOD | {"EBB_ARCHIVE_STORAGE__accountName": "cold"})
    assert settings.archive_storage == Storage(
        connection_string="", account_name="cold", suffix="core.windows.net"
    )
    assert settings.archive_storage.endpoint("blob") == "https://cold.blob.core.windows.net"
    settings = read_settings(GOOD | {"EBB_ARCHIVE_STORAGE": "c"})
    assert settings.archive_storage.connection_string == "c"
    assert settings.state_storage.connection_string == "UseDevelopmentStorage=true"


def test_storage_by_name_alone_is_enough() -> None:
    """The app's identity does the rest."""
    values = GOOD | {"AzureWebJobsStorage": "", "AzureWebJobsStorage__accountName": "state"}
    assert read_settings(values).state_storage.account_name == "state"


def test_a_national_cloud_has_its_own_addresses() -> None:
    """Both storages lie in one cloud."""
    values = GOOD | {"AzureWebJobsStorage__accountName": "a", "EBB_STORAGE_SUFFIX": "cloud.example"}
    settings = read_settings(values)
    assert settings.state_storage.endpoint("queue") == "https://a.queue.cloud.example"
    assert settings.archive_storage.suffix == "cloud.example"


def test_folders_and_files_are_taken_as_written() -> None:
    """Empty means the system's."""
    settings = read_settings(GOOD | {"EBB_SCRATCH_DIR": "/tmp/ebb", "EBB_CA_FILE": "/ca.pem"})
    assert (settings.scratch_dir, settings.ca_file) == (Path("/tmp/ebb"), "/ca.pem")


def test_a_fault_never_shows_a_connection_string() -> None:
    """Other settings' faults are no reason to print a key."""
    with pytest.raises(Invalid) as caught:
        read_settings({"AzureWebJobsStorage": "AccountKey=secret"})
    assert "secret" not in str(caught.value)


def test_every_setting_has_one_name_and_a_meaning() -> None:
    """The documentation is generated from them."""
    names = [setting.name for setting in SETTINGS]
    assert len(names) == len(set(names))
    assert all(setting.meaning.endswith(".") for setting in SETTINGS)


def test_webhooks_are_names_with_addresses() -> None:
    """Each in the shape that its receiver wants; none is set by default."""
    assert read_settings(GOOD).webhooks == {}
    assert read_settings(GOOD).runbook_url == "docs/runbook.md"
    text = '{"ops": "https://x.example/a?sig=s", "team-1": "teams+https://y.example/b"}'
    webhooks = read_settings(GOOD | {"EBB_WEBHOOKS": text}).webhooks
    assert [each.shape for each in webhooks.values()] == ["json", "teams"]
    assert webhooks["team-1"].url == "https://y.example/b"


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("{", "EBB_WEBHOOKS"),
        ("https://x.example/SECRET", "EBB_WEBHOOKS"),
        ('["https://x.example/SECRET"]', "EBB_WEBHOOKS"),
        ('{"ops": {"url": "https://x.example/SECRET"}}', "EBB_WEBHOOKS"),
        ('{"Ops Team": "https://x.example/SECRET"}', "EBB_WEBHOOKS"),
        ('{"ops": "http://x.example/SECRET"}', "EBB_WEBHOOKS.ops"),
        ('{"ops": "http://127.0.0.1:8080/SECRET"}', "EBB_WEBHOOKS.ops"),
        ('{"ops": "https://x.example:SECRET/a"}', "EBB_WEBHOOKS.ops"),
    ],
)
def test_a_faulty_webhook_is_named_without_its_address(text: str, path: str) -> None:
    """Faults are logged and answered, and an address is a secret."""
    (fault,) = faults_of(EBB_WEBHOOKS=text)
    assert fault.path == path
    assert "SECRET" not in str(fault)
    assert "x.example" not in str(fault)


def test_plain_http_is_for_named_loopback_places_only() -> None:
    """The sandbox's receiver has no certificate; nobody else is told in the clear."""
    given = {"EBB_WEBHOOKS": '{"ops": "http://127.0.0.1:8080/a"}'}
    settings = read_settings(GOOD | given | {"EBB_WEBHOOK_HOSTS": "127.0.0.1:8080"})
    assert settings.webhooks["ops"].url == "http://127.0.0.1:8080/a"
    (fault,) = faults_of(EBB_WEBHOOK_HOSTS="x.example:80")
    assert fault.path == "EBB_WEBHOOK_HOSTS"


def test_application_insights_is_a_connection_string_or_nothing() -> None:
    """Anything else would fail only at the first invocation; its key is not told."""
    key = "01234567-89AB-cdef-0123-456789abcdef"
    name = "APPLICATIONINSIGHTS_CONNECTION_STRING"
    assert read_settings(GOOD).insights == ""
    for text in (f"InstrumentationKey={key}", f"A=b;InstrumentationKey={key};C=https://x.example/"):
        assert read_settings(GOOD | {name: text}).insights == text
    for wrong in (key, f"InstrumentationKey={key[:-1]}", "https://x.example/"):
        (fault,) = faults_of(**{name: wrong})
        assert fault.path == name
        assert wrong not in str(fault)


def test_endpoint_and_resource_id_are_of_one_account() -> None:
    """Else one account's use would be read, and another's request units spent."""
    (fault,) = faults_of(EBB_COSMOS_ENDPOINT="https://dev.documents.azure.com:443/")
    assert fault.path == "EBB_COSMOS_ENDPOINT"
    assert "'dev'" in fault.seen
    assert "'shop'" in fault.advice
    for same in ("https://SHOP.documents.azure.com/", "https://shop.documents.azure.cn:443/"):
        assert read_settings(GOOD | {"EBB_COSMOS_ENDPOINT": same}).cosmos_account == "shop"


def test_a_stand_in_on_loopback_serves_any_account() -> None:
    """Its address has no account in it."""
    settings = read_settings(GOOD | {"EBB_COSMOS_ENDPOINT": "https://127.0.0.1:8081/"})
    assert settings.cosmos_account == "shop"
