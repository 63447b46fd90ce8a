"""Decides whether a request may pass, by the account's key or a token; it knows no roles."""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote

from sandbox.identity import TokenCheck, TokenIssuer

# The SDK asks for the account's own host first, and for the common audience when that is refused.
COMMON_AUDIENCE = "https://cosmos.azure.com"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """What opens the account."""

    key: str
    issuer: TokenIssuer
    audiences: frozenset[str]

    def check(
        self, method: str, raw_path: str, headers: Mapping[str, str], *, now_s: float
    ) -> TokenCheck:
        """Say whether the Authorization header opens this path."""
        # A base64 signature holds '+', which a form decoder would take for a space.
        parts = dict(parse_qsl(unquote(headers.get("authorization", "")).replace("+", "%2B")))
        if parts.get("type") == "aad":
            return self.issuer.check(parts.get("sig", ""), audiences=self.audiences, now_s=now_s)
        if parts.get("type") != "master":
            return TokenCheck(
                accepted=False, reason="no Authorization header of type aad or master"
            )
        expected = key_signature(self.key, method, raw_path, headers.get("x-ms-date", ""))
        if hmac.compare_digest(parts.get("sig", ""), expected):
            return TokenCheck(accepted=True, reason="signed with the account's key")
        return TokenCheck(
            accepted=False, reason="the signature does not come from this account's key"
        )


def is_token(headers: Mapping[str, str]) -> bool:
    """Whether a request comes with a token, which stands for data roles, and not with the key."""
    return unquote(headers.get("authorization", "")).startswith("type=aad")


def key_signature(key: str, method: str, raw_path: str, date: str) -> str:
    """Sign a request as Cosmos DB documents it for account keys."""
    segments = [unquote(part) for part in raw_path.partition("?")[0].split("/") if part]
    # A path of even length names a resource, one of odd length names the list of a type.
    kind = segments[-1] if len(segments) % 2 else (segments[-2] if segments else "")
    link = "/".join(segments[:-1] if len(segments) % 2 else segments)
    payload = f"{method.lower()}\n{kind.lower()}\n{link}\n{date.lower()}\n\n"
    return base64.b64encode(
        hmac.new(base64.b64decode(key), payload.encode(), hashlib.sha256).digest()
    ).decode()
