"""Who may say that an alert fired: only a token of the issuer, for us, with the role."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from shared.adapters.callers import AnyCaller, EntraCallers, Trust
from shared.errors import Denied, TransientError

AUDIENCE, ROLE, KEY_ID = "ebb-alerts", "ActionGroupsSecureWebhook", "k1"
KEY_BITS = 2048
KEY = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)
FOREIGN = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)


@dataclass(slots=True)
class Issuer:
    """Metadata and keys at a loopback address, as Entra serves them."""

    answers: dict[str, Any] = field(default_factory=dict)
    url: str = ""
    asked: list[str] = field(default_factory=list)

    def told(self, path: str) -> bytes | None:
        self.asked.append(path)
        answer = self.answers.get(path)
        return answer if isinstance(answer, bytes | None) else json.dumps(answer).encode()


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    made = Issuer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = made.told(self.path)
            self.send_response(404 if body is None else 200)
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *_: object) -> None:
            """Keep the tests' output quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.url = f"http://127.0.0.1:{server.server_address[1]}"
    public = RSAAlgorithm.to_jwk(KEY.public_key(), as_dict=True)
    made.answers = {
        "/.well-known/openid-configuration": {"jwks_uri": f"{made.url}/keys"},
        "/keys": {"keys": [{**public, "kid": KEY_ID, "use": "sig", "alg": "RS256"}]},
    }
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield made
    server.shutdown()
    server.server_close()
    thread.join()


def callers(issuer: Issuer) -> EntraCallers:
    return EntraCallers(Trust(issuer=issuer.url, audience=AUDIENCE, role=ROLE), ca_file=None)


def token(issuer: Issuer, *, key: Any = KEY, algorithm: str = "RS256", **changes: Any) -> str:
    now_s = time.time()
    claims: Mapping[str, Any] = {
        "iss": issuer.url,
        "aud": AUDIENCE,
        "roles": [ROLE],
        "iat": now_s,
        "nbf": now_s,
        "exp": now_s + 600,
        **changes,
    }
    kept = {name: value for name, value in claims.items() if value is not None}
    return "Bearer " + jwt.encode(kept, key, algorithm=algorithm, headers={"kid": KEY_ID})


def test_a_token_of_the_issuer_for_us_with_the_role_passes(issuer: Issuer) -> None:
    """And the issuer is asked once for its keys, not at each alert."""
    checked = callers(issuer)
    for _ in range(3):
        checked.check(token(issuer))
    assert issuer.asked == ["/.well-known/openid-configuration", "/keys"]


BAD: dict[str, dict[str, Any]] = {
    "another audience": {"aud": "other"},
    "no audience": {"aud": None},
    "another issuer": {"iss": "https://elsewhere.example"},
    "no issuer": {"iss": None},
    "another role": {"roles": ["Reader"]},
    "no role": {"roles": None},
    "the role as a text": {"roles": ROLE},
    "out of date": {"exp": 1_000_000_000},
    "without an end": {"exp": None},
    "not yet valid": {"nbf": 4_000_000_000},
    "signed by somebody else": {"key": FOREIGN},
    "not signed": {"key": None, "algorithm": "none"},
    "signed with a shared secret": {"key": "x" * 64, "algorithm": "HS256"},
}


@pytest.mark.parametrize("kind", BAD)
def test_a_token_that_is_wrong_in_any_way_is_denied(issuer: Issuer, kind: str) -> None:
    """Each alone is enough."""
    with pytest.raises(Denied, match="checking who calls"):
        callers(issuer).check(token(issuer, **BAD[kind]))


TENANT = "3c1e2b9a-1111-2222-3333-444455556666"
VERSION_2 = f"https://login.microsoftonline.com/{TENANT}/v2.0"
VERSION_1 = f"https://sts.windows.net/{TENANT}/"


@pytest.fixture
def entra(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> EntraCallers:
    """Who trusts Entra's own issuer, whose keys are served at a loopback address."""
    trust = Trust(issuer=VERSION_2, audience=AUDIENCE, role=ROLE)
    monkeypatch.setattr(EntraCallers, "_keys_url", lambda _self: f"{issuer.url}/keys")
    return EntraCallers(trust, ca_file=None)


@pytest.mark.parametrize("iss", [VERSION_2, VERSION_1])
@pytest.mark.parametrize("aud", [AUDIENCE, f"api://{AUDIENCE}"])
def test_tokens_of_both_versions_pass(
    issuer: Issuer, entra: EntraCallers, iss: str, aud: str
) -> None:
    """A new app registration gets tokens of version 1, until somebody asks for the other."""
    entra.check(token(issuer, iss=iss, aud=aud))


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://sts.windows.net/another-tenant/"},
        {"iss": VERSION_1.rstrip("/")},
        {"aud": "api://other"},
        {"aud": f"https://{AUDIENCE}"},
    ],
    ids=str,
)
def test_another_tenants_tokens_of_version_1_are_denied(
    issuer: Issuer, entra: EntraCallers, changes: dict[str, str]
) -> None:
    """The one tenant and the one application, in both spellings, and no more."""
    with pytest.raises(Denied):
        entra.check(token(issuer, **{"iss": VERSION_1, **changes}))


def test_an_issuer_that_is_not_entras_has_one_name() -> None:
    """Only Entra has two versions of tokens."""
    assert Trust(issuer="https://issuer.test", audience="a", role="r").issuers == (
        "https://issuer.test",
    )
    china = Trust(issuer="https://login.partner.microsoftonline.cn/t/v2.0", audience="a", role="r")
    assert china.issuers[1] == "https://sts.chinacloudapi.cn/t/"


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Basic eDp5", "Bearer a.b.c", "x" * 9_000]
)
def test_a_header_that_is_no_token_is_denied(issuer: Issuer, header: str) -> None:
    """Nothing else than Denied comes of it."""
    with pytest.raises(Denied):
        callers(issuer).check(header)


@pytest.mark.parametrize("path", ["/.well-known/openid-configuration", "/keys"])
def test_an_issuer_that_does_not_answer_denies_nobody_for_ever(issuer: Issuer, path: str) -> None:
    """Azure tries again after 503, and then its keys can be read."""
    checked = callers(issuer)
    answer = issuer.answers.pop(path)
    with pytest.raises(TransientError):
        checked.check(token(issuer))
    issuer.answers[path] = answer
    checked.check(token(issuer))


@pytest.mark.parametrize("path", ["/.well-known/openid-configuration", "/keys"])
@pytest.mark.parametrize("answer", [b"<html>proxy</html>", b"\xff", [], {}, {"keys": []}])
def test_an_issuer_that_answers_nonsense_denies_nobody_for_ever(
    issuer: Issuer, path: str, answer: Any
) -> None:
    """A page of some proxy in between; nothing of it is kept."""
    checked = callers(issuer)
    right, issuer.answers[path] = issuer.answers[path], answer
    with pytest.raises(TransientError, match="EBB_ALERT_ISSUER"):
        checked.check(token(issuer))
    issuer.answers[path] = right
    checked.check(token(issuer))


def test_without_an_issuer_the_function_key_is_all() -> None:
    """The host asked for it before."""
    AnyCaller().check("")
