"""Checks who calls, by the Entra token that a secure webhook of Azure Monitor brings."""

from __future__ import annotations

import json
import re
import ssl
import threading
import urllib.request
from dataclasses import dataclass
from typing import Any

import jwt

from shared.errors import Denied, TransientError

TIMEOUT_S = 5
KEYS_KEPT_S = 3_600
LEEWAY_S = 60  # clocks differ
METADATA_BYTES_MAX = 100_000
_ALGORITHMS = ("RS256",)
_NEEDED = ["exp", "iss", "aud"]
_DOING = "checking who calls"
# A new app registration asks for tokens of version 1, whatever the version of who trusts them.
_VERSION_2 = re.compile(r"https://(?P<host>[^/]+)/(?P<tenant>[^/]+)/v2\.0")
_VERSION_1_CHINA = "sts.chinacloudapi.cn"
_VERSION_1 = "sts.windows.net"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """Whose tokens are taken: from this issuer, for this audience, with this app role."""

    issuer: str
    audience: str
    role: str

    @property
    def issuers(self) -> tuple[str, ...]:
        """The issuer as tokens of version 2 name it, and the same tenant as version 1 does."""
        known = _VERSION_2.fullmatch(self.issuer)
        if known is None:
            return (self.issuer,)
        host = _VERSION_1_CHINA if known["host"].endswith(".cn") else _VERSION_1
        return (self.issuer, f"https://{host}/{known['tenant']}/")

    @property
    def audiences(self) -> tuple[str, ...]:
        """Version 2 names the application's id, version 1 the address that was asked for."""
        return (self.audience, f"api://{self.audience}")


class AnyCaller:
    """Whoever has the function key: no issuer is configured."""

    def check(self, authorization: str) -> None:
        del authorization


class _Keys(jwt.PyJWKClient):
    """The issuer's keys; an answer that holds none is trouble of the issuer, not of who calls."""

    def fetch_data(self) -> Any:
        try:
            return super().fetch_data()
        except (jwt.PyJWTError, OSError, ValueError) as error:
            raise TransientError(
                f"{_DOING}: reading {self.uri}: {type(error).__name__}, where the issuer's keys "
                "should be; correct EBB_ALERT_ISSUER, or try again"
            ) from error


class EntraCallers:
    """Tokens signed by the issuer's own keys, which are fetched when first needed."""

    def __init__(self, trust: Trust, *, ca_file: str | None) -> None:
        self._trust = trust
        self._tls = ssl.create_default_context(cafile=ca_file)
        self._lock = threading.Lock()
        self._keys: _Keys | None = None

    def check(self, authorization: str) -> None:
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Denied(f"{_DOING}: no bearer token came; use a secure webhook, not a plain one")
        claims = self._claims(token)
        roles = claims.get("roles")
        if not isinstance(roles, list) or self._trust.role not in roles:
            raise Denied(
                f"{_DOING}: its token lacks the app role {self._trust.role!r}; give that role to "
                "the service principal of Azure's action groups"
            )

    def _claims(self, token: str) -> dict[str, Any]:
        try:
            key = self._signing_keys().get_signing_key_from_jwt(token)
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=list(_ALGORITHMS),
                audience=self._trust.audiences,
                issuer=self._trust.issuers,
                leeway=LEEWAY_S,
                options={"require": _NEEDED},
            )
        except jwt.PyJWTError as error:
            raise Denied(f"{_DOING}: its token is refused ({error})") from error
        return claims

    def _signing_keys(self) -> _Keys:
        with self._lock:
            if self._keys is None:
                self._keys = _Keys(
                    self._keys_url(),
                    lifespan=KEYS_KEPT_S,
                    timeout=TIMEOUT_S,
                    ssl_context=self._tls,
                )
            return self._keys

    def _keys_url(self) -> str:
        url = f"{self._trust.issuer}/.well-known/openid-configuration"
        tls = self._tls if url.startswith("https:") else None
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT_S, context=tls) as answer:  # noqa: S310 - the setting is https, or loopback
                return str(json.loads(answer.read(METADATA_BYTES_MAX))["jwks_uri"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise TransientError(
                f"{_DOING}: reading {url}: {type(error).__name__}; correct EBB_ALERT_ISSUER, or "
                "try again"
            ) from error
