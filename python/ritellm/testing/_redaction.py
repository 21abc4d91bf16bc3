"""What must not be in a cassette: keys, tokens, cookies, and the names of accounts."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit, urlunsplit

from ritellm import _core

MASK = "***"

# Header fields that are kept; all others are left out, since any of them may name an account.
KEPT = re.compile(
    r"content-type|retry-after(-ms)?|.*ratelimit.*|x-should-retry|x-request-id|request-id|x-amzn-(requestid|errortype)"
    r"|apim-request-id|anthropic-(version|beta)|openai-(version|beta|processing-ms)|accept"
)
# Header fields whose values are secret wherever they stand.
SECRET_FIELDS = re.compile(
    r"(proxy-)?authorization|.*cookie.*|.*api-?key.*|.*token.*|.*secret.*|.*organization.*|.*project.*|.*account.*|.*subscription.*"
)
# Members of JSON and of forms that hold a credential.
SECRET_MEMBERS = re.compile(
    r"(access|refresh|id|subject|session|security|auth)_?token|client_?secret|client_?assertion|assertion|api_?key|password"
    r"|private_?key|secret(_?access)?_?key|accesskeyid|sessiontoken",
    re.IGNORECASE,
)
SECRET_QUERY = re.compile(
    r"(api[-_]?)?key|.*token|sig|signature|code|client_secret|x-amz-(credential|signature|security-token)", re.I
)

# Words that look like keys or accounts of a provider, in any text.
WORDS = [
    (
        re.compile(
            rb"\b(sk|pk|rk|gsk|xai|pplx|hf|ghp|github_pat|r8|nvapi|csk|fw|tgp|voy|pa|jina)[-_][A-Za-z0-9_-]{20,}"
        ),
        rb"***",
    ),
    (re.compile(rb"\bAIza[A-Za-z0-9_-]{30,}"), rb"***"),
    (re.compile(rb"\bya29\.[A-Za-z0-9_.-]+"), rb"***"),
    (re.compile(rb"\b(AKIA|ASIA|ABSK)[A-Za-z0-9+/=]{16,}"), rb"***"),
    (re.compile(rb"\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]*"), rb"***"),
    (re.compile(rb"\b(org|proj|user|acct|account)([-_])[A-Za-z0-9]{16,}"), rb"\1\2***"),
    (
        re.compile(rb"(arn(?::|%3[Aa])aws[a-z-]*(?::|%3[Aa])[a-z0-9-]*(?::|%3[Aa])[a-z0-9-]*(?::|%3[Aa]))\d{12}"),
        rb"\g<1>000000000000",
    ),
    (
        re.compile(rb"(projects/)[A-Za-z0-9_.:-]+(?=/locations|/publishers|/models|/endpoints|/cachedContents)"),
        rb"\1redacted",
    ),
    (re.compile(rb"(accounts/)[0-9a-f]{32}\b"), rb"\1redacted"),
]
# Hosts that begin with the name of an account's resource.
HOSTS = re.compile(
    r"^[a-z0-9.-]+(?=\.(openai\.azure\.com|services\.ai\.azure\.com|cognitiveservices\.azure\.com|azure-api\.net"
    r"|cloud\.databricks\.com|azuredatabricks\.net|gcp\.databricks\.com|snowflakecomputing\.com|inference\.ml\.azure\.com)$)"
)
ACCOUNTS = (
    "OPENAI_ORG_ID",
    "OPENAI_ORGANIZATION",
    "OPENAI_PROJECT_ID",
    "GOOGLE_CLOUD_PROJECT",
    "VERTEXAI_PROJECT",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_ACCOUNT_ID",
    "AZURE_TENANT_ID",
    "AZURE_CLIENT_ID",
    "AZURE_CLIENT_SECRET",
    "AZURE_SUBSCRIPTION_ID",
)
_SHORTEST = 8


class Redactor:
    """Takes out what must not be in a cassette.

    Args:
        own: texts and patterns of the user that are taken out, too.
    """

    def __init__(self, own: Iterable[str | re.Pattern[str]] = ()) -> None:
        own = list(own)
        self._texts = [text for text in own if isinstance(text, str)]
        self._patterns = [
            re.compile(one.pattern.encode(), one.flags & ~re.UNICODE) for one in own if not isinstance(one, str)
        ]
        self._known: set[str] = set()

    def learn(self, url: str, headers: Iterable[tuple[str, str]], body: bytes = b"") -> None:
        """Remembers the secrets of a request or of an answer."""
        for name, value in headers:
            if SECRET_FIELDS.fullmatch(name) and not KEPT.fullmatch(name):
                self._known.update(part for part in re.split(r"[\s,;=]+", value) if len(part) >= _SHORTEST)
                self._known.add(value)
        self._known.update(value for name, value in parse_qsl(urlsplit(url).query) if SECRET_QUERY.fullmatch(name))
        if (
            b"token" in body
            or b"secret" in body
            or b"assertion" in body
            or b"password" in body
            or b"key" in body.lower()
        ):
            self._known.update(_members(body))

    def text(self, body: bytes) -> bytes:
        """Returns a body without secrets."""
        names = (name for row in _core.providers() for name in (*row["key_variables"], *()))
        values = (os.environ.get(name, "") for name in (*names, *ACCOUNTS))
        secrets = sorted(
            {
                value
                for value in (*self._known, *self._texts, *values)
                if len(value) >= _SHORTEST or value in self._texts
            }
        )
        body = _core.redact(body, secrets)
        for pattern in self._patterns:
            body = pattern.sub(MASK.encode(), body)
        for pattern, replacement in WORDS:
            body = pattern.sub(replacement, body)
        return body

    def url(self, url: str) -> str:
        """Returns an address without secrets."""
        parts = urlsplit(url)
        host = HOSTS.sub("redacted", (parts.hostname or "").lower())
        netloc = f"{host}:{parts.port}" if parts.port else host
        query = "&".join(
            f"{quote(name)}={MASK if SECRET_QUERY.fullmatch(name) else quote(value)}"
            for name, value in parse_qsl(parts.query, keep_blank_values=True)
        )
        path = self.text(parts.path.encode()).decode()
        return urlunsplit((parts.scheme, netloc, path, query, ""))

    def headers(self, headers: Iterable[tuple[str, str]]) -> dict[str, str]:
        """Returns the header fields that are kept, without secrets."""
        return {name: self.text(value.encode()).decode() for name, value in headers if KEPT.fullmatch(name)}


def _members(body: bytes) -> set[str]:
    """Returns the credentials in a JSON text or a form."""
    found: set[str] = set()

    def search(value: Any) -> None:
        if isinstance(value, dict):
            for name, member in value.items():
                if isinstance(member, str) and SECRET_MEMBERS.fullmatch(name) and len(member) >= _SHORTEST:
                    found.add(member)
                search(member)
        elif isinstance(value, list):
            for member in value:
                search(member)

    try:
        search(json.loads(body))
    except (ValueError, RecursionError):
        if b"\n" not in body.strip() and b"=" in body and b'"' not in body:
            form = parse_qsl(body.decode("latin-1"))
            found.update(value for name, value in form if SECRET_MEMBERS.fullmatch(name) and len(value) >= _SHORTEST)
    return found
