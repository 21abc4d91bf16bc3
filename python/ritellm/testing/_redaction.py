"""What must not be in a cassette: keys, tokens, cookies, and the names of accounts."""

from __future__ import annotations

import base64
import binascii
import functools
import json
import os
import re
import warnings
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit, urlunsplit

from ritellm import _core
from ritellm.exceptions import InvalidArgumentError

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
    r"(access|refresh|id|subject|session|security|auth|web_?identity)_?token|client_?secret|client_?assertion|assertion|api_?key"
    r"|password|private_?key|secret(_?access)?_?key|accesskeyid",
    re.IGNORECASE,
)
# Those of AWS, whose servers answer in XML and in JSON: AssumeRole's and GetSessionToken's, and a container's or machine's keys,
# https://docs.aws.amazon.com/STS/latest/APIReference/API_Credentials.html,
# https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-metadata-security-credentials.html.
SECRET_ELEMENTS = re.compile(rb"<(?:SecretAccessKey|SessionToken|AccessKeyId|WebIdentityToken)>([^<]+)</")
AWS_KEYS = ("AccessKeyId", "SecretAccessKey", "Token")
SECRET_QUERY = re.compile(
    r"(api[-_]?)?key|.*token|sig|signature|code|client_secret|x-amz-(credential|signature|security-token)",
    re.IGNORECASE,
)
# The whole body is a token: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html.
TOKEN_PATHS = ("/latest/api/token",)

# Words that look like keys or accounts of a provider, in any text. A mask that stands there already is matched as well: it was
# put there for a secret that is known, and another account's is not.
WORDS = [
    (
        re.compile(
            r"\b(sk|pk|rk|gsk|xai|pplx|hf|ghp|github_pat|r8|nvapi|csk|fw|tgp|voy|pa|jina)[-_][A-Za-z0-9_-]{20,}"
        ),
        MASK,
    ),
    (re.compile(r"\bAIza[A-Za-z0-9_-]{30,}"), MASK),
    (re.compile(r"\bya29\.[A-Za-z0-9_.-]+"), MASK),
    (re.compile(r"\b(AKIA|ASIA|ABSK)[A-Za-z0-9+/=]{16,}"), MASK),
    (re.compile(r"\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]*"), MASK),
    (re.compile(r"\b(org|proj|user|acct|account)([-_])[A-Za-z0-9]{16,}"), r"\1\2***"),
    (
        re.compile(
            r"(arn(?::|%3[Aa])aws[a-z-]*(?::|%3[Aa])[a-z0-9-]*(?::|%3[Aa])[a-z0-9-]*(?::|%3[Aa]))"
            r"(?:[0-9]{12}|\*{3}|%2[Aa]%2[Aa]%2[Aa])(?=:|%3[Aa])"
        ),
        r"\g<1>000000000000",
    ),
    (
        re.compile(r"(projects/)[A-Za-z0-9_.:*-]+(?=/locations|/publishers|/models|/endpoints|/cachedContents)"),
        r"\1redacted",
    ),
    (re.compile(r"(accounts/)(?:[0-9a-f]{32}\b|\*{3})"), r"\1redacted"),
]
# Hosts that begin with the name of an account's resource.
HOSTS = re.compile(
    r"^[a-z0-9.*-]+(?=\.(openai\.azure\.com|services\.ai\.azure\.com|cognitiveservices\.azure\.com|azure-api\.net"
    r"|cloud\.databricks\.com|azuredatabricks\.net|gcp\.databricks\.com|snowflakecomputing\.com|inference\.ml\.azure\.com)$)"
)
# Environment variables of a provider that have a credential or the name of an account. Those of other programs are left alone:
# their values can be everyday words, which would be masked on one machine and not on the next.
VARIABLES = re.compile(
    r".*_(ORG|ORGANIZATION|PROJECT|TENANT|CLIENT|SUBSCRIPTION|ACCOUNT|KEY|SECRET|TOKEN)(_ID|_NUMBER)?|.*_WORKSPACE_ID"
)
_SHORTEST = 8


def own(redact: Any) -> tuple[str | re.Pattern[str], ...]:
    """Returns the texts and patterns of the option ``redact``.

    Raises:
        InvalidArgumentError: it is something else.
    """
    if isinstance(redact, str | re.Pattern):
        redact = (redact,)
    try:
        found = tuple(redact)
    except TypeError:
        found = (redact,)
    for one in found:
        if isinstance(one, re.Pattern) and isinstance(one.pattern, str):
            continue
        if not isinstance(one, str):
            kind = "a pattern of bytes" if isinstance(one, re.Pattern) else type(one).__name__
            raise InvalidArgumentError(f"redact has {kind}: texts, and patterns of text, would be right")
        if not one.strip():
            raise InvalidArgumentError(f"redact has {one!r}: a text that can be taken out would be right")
    return found


class Redactor:
    """Takes out what must not be in a cassette.

    Args:
        own: texts and patterns of the user that are taken out, too.

    Attributes:
        version: changes when a secret is learnt.
    """

    def __init__(self, own: Iterable[str | re.Pattern[str]] = ()) -> None:
        self._texts = [text for text in own if isinstance(text, str)]
        self._patterns = [re.compile(re.escape(text)) for text in self._texts]
        self._patterns += [pattern for pattern in own if isinstance(pattern, re.Pattern)]
        self._known: set[str] = set()

    @property
    def version(self) -> int:
        return len(self._known)

    def learn(self, url: str, headers: Iterable[tuple[str, str]], body: bytes = b"") -> None:
        """Remembers the secrets of a request or of an answer."""
        found = [
            secret
            for name, value in headers
            if SECRET_FIELDS.fullmatch(name) and not KEPT.fullmatch(name)
            for secret in _secrets_of_field(name, value)
        ]
        address = urlsplit(url)
        found += [value for name, value in parse_qsl(address.query) if SECRET_QUERY.fullmatch(name)]
        if address.path in TOKEN_PATHS:
            found.append(body.decode("latin-1").strip())
        if any(word in body for word in (b"oken", b"ecret", b"assertion", b"password")) or b"key" in body.lower():
            found += _members(body)
        self._known.update(secret for secret in found if len(secret) >= _SHORTEST)

    def strings(self, texts: list[str]) -> list[str]:
        """Returns texts without secrets."""
        # All at once, which is one search. The end of a text of a server may be the beginning of a secret, which the native
        # function takes out: not so the end of each string.
        separator = "\0"
        while any(separator in text for text in texts):
            separator += "\1"
        secrets = self._secrets()

        def redacted(*texts: str) -> list[str]:
            joined = separator.join((*texts, "")).encode("utf-8", "surrogatepass")
            return _core.redact(joined, secrets).decode("utf-8", "surrogatepass").split(separator)[:-1]

        found = redacted(*texts)
        if len(found) != len(texts):
            # A secret of the user has a separator.
            found = ["".join(redacted(text)) for text in texts]
        return [self._searched(text) for text in found]

    def text(self, text: str) -> str:
        """Returns a text without secrets."""
        return self.strings([text])[0]

    def value(self, value: Any) -> Any:
        """Returns a part of a cassette without secrets. Each string of its bodies and fields is searched, and bytes in base64."""
        texts: dict[str, None] = {}
        for text in _strings(value):
            texts[text] = None
        clean = dict(zip(texts, self.strings(list(texts)), strict=True))
        self._warn_of_patterns_over_strings(value)
        return self._rebuilt(value, clean)

    def url(self, url: str) -> str:
        """Returns an address without secrets."""
        parts = urlsplit(url)
        query = parse_qsl(parts.query, keep_blank_values=True)
        path, host, *rest = self.strings(
            [parts.path, (parts.hostname or "").lower(), *(text for pair in query for text in pair)]
        )
        host = HOSTS.sub("redacted", host)
        host = f"[{host}]" if ":" in host else host
        pairs = zip(rest[::2], rest[1::2], strict=True)
        shown = "&".join(
            f"{quote(name, safe='*')}={MASK if SECRET_QUERY.fullmatch(name) else quote(value, safe='/*')}"
            for name, value in pairs
        )
        return urlunsplit((parts.scheme, f"{host}:{parts.port}" if parts.port else host, path, shown, ""))

    def headers(self, headers: Iterable[tuple[str, str]]) -> dict[str, str]:
        """Returns the header fields that are kept, without secrets."""
        kept = [(name, value) for name, value in headers if KEPT.fullmatch(name)]
        return dict(zip([name for name, _ in kept], self.strings([value for _, value in kept]), strict=True))

    def _secrets(self) -> list[str]:
        values = (value for name, value in os.environ.items() if _is_secret_variable(name))
        return sorted({value for value in (*self._known, *values) if len(value) >= _SHORTEST} | {*self._texts})

    def _searched(self, text: str) -> str:
        for pattern in self._patterns:
            text = pattern.sub(lambda found: MASK if found[0] else "", text)
        for pattern, replacement in WORDS:
            text = pattern.sub(replacement, text)
        return text

    def _bytes(self, body: bytes) -> bytes:
        body = _core.redact(body, self._secrets())
        return self._searched(body.decode("latin-1")).encode("latin-1")

    def _rebuilt(self, value: Any, clean: dict[str, str], is_body: bool = False) -> Any:
        if isinstance(value, dict):
            found = {
                clean[name] if is_body else name: member
                if not is_body and name in _WORDS
                else self._rebuilt(member, clean, is_body or name in _BODIES)
                for name, member in value.items()
            }
            if not is_body and isinstance(value.get("base64"), str):
                try:
                    body = base64.b64decode(value["base64"], validate=True)
                except binascii.Error:
                    return found
                found["base64"] = base64.b64encode(self._bytes(body)).decode()
            return found
        if isinstance(value, list):
            return [self._rebuilt(member, clean, is_body) for member in value]
        return clean[value] if isinstance(value, str) else value

    def _warn_of_patterns_over_strings(self, value: Any) -> None:
        """Warns if a pattern is made for the JSON as it is written: it finds nothing, and what it was to hide is kept."""
        written = [pattern for pattern in self._patterns if '"' in pattern.pattern]
        if written and isinstance(value, dict) and "json" in value:
            text = json.dumps(value["json"], ensure_ascii=False)
            compact = json.dumps(value["json"], ensure_ascii=False, separators=(",", ":"))
            for pattern in written:
                if pattern.search(text) or pattern.search(compact):
                    warnings.warn(
                        f"redact has the pattern {pattern.pattern!r}, which fits JSON as it is written, but each of its strings "
                        "is searched alone: before_record= can change a whole call",
                        UserWarning,
                        stacklevel=2,
                    )


@functools.cache
def _variables_of_providers() -> tuple[set[str], set[str]]:
    """Returns the environment variables with keys, and the first words of the variables of providers."""
    rows = _core.providers()
    keys = {name for row in rows for name in row["key_variables"]}
    addresses = {name for row in rows for name in row["base_url_variables"]}
    return keys, {name.partition("_")[0] for name in keys | addresses} | {"VERTEXAI"}


@functools.cache
def _is_secret_variable(name: str) -> bool:
    """Returns true if an environment variable has a credential or the name of an account of a provider."""
    keys, vendors = _variables_of_providers()
    return name in keys or (name.partition("_")[0] in vendors and VARIABLES.fullmatch(name) is not None)


def _secrets_of_field(name: str, value: str) -> list[str]:
    """Returns the secrets in a header field, without the words around them."""
    if name.endswith("authorization"):
        scheme, _, rest = value.partition(" ")
        if scheme.upper().startswith("AWS4-"):
            # AWS4-HMAC-SHA256 Credential=ID/date/region/service/aws4_request, SignedHeaders=host;x-amz-date, Signature=hex
            parts = dict(re.findall(r"(\w+)=([^,\s]+)", rest))
            return [parts.get("Credential", "").partition("/")[0], parts.get("Signature", "")]
        if scheme.lower() == "basic":
            try:
                user, _, password = base64.b64decode(rest).decode("latin-1").partition(":")
            except binascii.Error:
                return [rest]
            return [rest, user, password]
        return [rest.strip() or value]
    if "cookie" in name:
        # Behind the first pair of a set-cookie stand its attributes.
        pairs = value.split(";")[:1] if name.startswith("set-") else value.split(";")
        return [pair.partition("=")[2].strip() for pair in pairs]
    return [value]


# Members of a cassette that hold a server's or a caller's JSON, whose names are theirs, and members that are words of ours.
_BODIES = ("json", "data")
_WORDS = ("method", "kind")


def _strings(value: Any, is_body: bool = False) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, member in value.items():
            if is_body:
                yield name
            yield from _strings(member, is_body or name in _BODIES)
    elif isinstance(value, list):
        for member in value:
            yield from _strings(member, is_body)


def _members(body: bytes) -> set[str]:
    """Returns the credentials in a text of JSON or XML, or in a form."""
    found: set[str] = set()

    def search(value: Any) -> None:
        if isinstance(value, dict):
            found.update(
                value[name] for name in AWS_KEYS if "SecretAccessKey" in value and isinstance(value.get(name), str)
            )
            for name, member in value.items():
                if isinstance(member, str) and SECRET_MEMBERS.fullmatch(name):
                    found.add(member)
                search(member)
        elif isinstance(value, list):
            for member in value:
                search(member)

    try:
        search(json.loads(body))
    except (ValueError, RecursionError):
        if body.lstrip().startswith(b"<"):
            found.update(secret.decode("latin-1").strip() for secret in SECRET_ELEMENTS.findall(body))
        elif b"\n" not in body.strip() and b"=" in body and b'"' not in body:
            form = parse_qsl(body.decode("latin-1"))
            found.update(value for name, value in form if SECRET_MEMBERS.fullmatch(name))
    return found
