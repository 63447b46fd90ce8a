"""Issues bearer tokens as App Service does for a managed identity; it knows no people."""

import base64
import hashlib
import hmac
import json
import secrets
import time
from dataclasses import dataclass
from typing import Any

from aiohttp import web

# Real managed identity tokens live up to a day.
LIFETIME_S = 24 * 3600
IDENTITY_PATH = "/msi/token"
_API_VERSION = "2019-08-01"
PRINCIPAL_ID = "ebb-sandbox-function-app"


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenCheck:
    """Whether a token is good, and why not."""

    accepted: bool
    reason: str


class TokenIssuer:
    """Signs tokens with a key that nobody else has, and knows its own again."""

    def __init__(self, *, lifetime_s: int = LIFETIME_S) -> None:
        """Draw a new signing key."""
        self._key = secrets.token_bytes(32)
        self._lifetime_s = lifetime_s

    def issue(self, audience: str, *, now_s: float) -> tuple[str, int]:
        """Return a token for an audience and when it ends."""
        expires_s = int(now_s) + self._lifetime_s
        head = _encoded({"alg": "HS256", "typ": "JWT"})
        body = _encoded(
            {
                "aud": audience,
                "exp": expires_s,
                "iss": "ebb-sandbox",
                "oid": PRINCIPAL_ID,
            }
        )
        return f"{head}.{body}.{self._signature(f'{head}.{body}')}", expires_s

    def check(self, token: str, *, audiences: frozenset[str], now_s: float) -> TokenCheck:
        """Say whether a token is ours, for one of the audiences, and not over."""
        signed, _, signature = token.rpartition(".")
        if not hmac.compare_digest(signature, self._signature(signed)):
            return TokenCheck(
                accepted=False, reason="the token was not issued by the sandbox's identity endpoint"
            )
        claims = json.loads(base64.urlsafe_b64decode(signed.partition(".")[2] + "=="))
        if claims["aud"].rstrip("/") not in audiences:
            reason = (
                f"the token is for {claims['aud']!r}, accepted here: {', '.join(sorted(audiences))}"
            )
            return TokenCheck(accepted=False, reason=reason)
        if claims["exp"] <= now_s:
            return TokenCheck(accepted=False, reason="the token is over")
        return TokenCheck(accepted=True, reason="signed here, for this audience, not over")

    def _signature(self, text: str) -> str:
        digest = hmac.new(self._key, text.encode(), hashlib.sha256).digest()
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def identity_app(issuer: TokenIssuer, *, header_secret: str) -> web.Application:
    """Serve the IDENTITY_ENDPOINT contract of App Service and Functions."""

    async def token(request: web.Request) -> web.Response:
        if request.headers.get("X-IDENTITY-HEADER") != header_secret:
            return _refused(
                401, "X-IDENTITY-HEADER is not the secret of this sandbox: take it from settings()"
            )
        resource = request.query.get("resource")
        if request.query.get("api-version") != _API_VERSION or not resource:
            return _refused(
                400,
                f"api-version={_API_VERSION} and resource are needed, got {dict(request.query)!r}",
            )
        value, expires_s = issuer.issue(resource, now_s=time.time())
        return web.json_response(
            {
                "access_token": value,
                "expires_on": str(expires_s),
                "resource": resource,
                "token_type": "Bearer",
                "client_id": "00000000-0000-0000-0000-0000000000eb",
            }
        )

    app = web.Application()
    app.router.add_get(IDENTITY_PATH, token)
    return app


def _encoded(value: dict[str, Any]) -> str:
    return (
        base64.urlsafe_b64encode(json.dumps(value, separators=(",", ":")).encode())
        .decode()
        .rstrip("=")
    )


def _refused(status: int, message: str) -> web.Response:
    return web.json_response({"statusCode": status, "message": message}, status=status)
