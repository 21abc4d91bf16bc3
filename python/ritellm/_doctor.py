"""``ritellm doctor``: what calls depend on here, with a line of advice for each thing that is wrong. It shows no key."""

from __future__ import annotations

import os
import platform
import ssl
import sys
from collections.abc import Iterator
from importlib import metadata
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from ritellm import __version__, _core
from ritellm.exceptions import (
    APIConnectionError,
    AuthenticationError,
    InvalidArgumentError,
    PermissionDeniedError,
    RateLimitError,
    RiteLLMError,
    Timeout,
)

#: Packages that extras use, and what for.
PACKAGES = {
    "numpy": "vectors as arrays",
    "pydantic": "structured output",
    "genai-prices": "costs",
    "opentelemetry-api": "ritellm.otel",
    "pyarrow": "Parquet",
    "xllamacpp": "the local model",
}
#: Features of processors that the fast paths use.
FEATURES = ("sse4_2", "avx2", "aes", "pclmulqdq", "asimd", "crc32")
#: Files with certificate authorities, by system.
BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
#: A model that no provider has: the refusal tells whether the key is accepted, and costs nothing.
NO_MODEL = "ritellm-doctor-asks-for-no-model"
#: Number of open files below which many calls at once have to wait for connections.
FEW_FILES = 1024


class Finding(NamedTuple):
    """One thing that was looked at."""

    topic: str
    text: str
    advice: str | None = None
    """What to do about it; `None` if nothing is wrong."""


def findings(models: list[str], timeout: float) -> Iterator[Finding]:
    """Looks at everything, and asks the providers of ``models``: ``provider`` or ``provider/model``."""
    yield from _versions()
    yield from _processor()
    yield from _files()
    yield from _certificates()
    yield from _proxies()
    yield from _configuration()
    yield from _keys()
    for model in models:
        yield _answer(model, timeout)


def _versions() -> Iterator[Finding]:
    system = f"{platform.python_implementation()} {platform.python_version()}, {platform.platform()}"
    old = "Python 3.10 and later are right" if sys.version_info < (3, 10) else None
    yield Finding("versions", f"ritellm {__version__}, {system}", old)
    found = []
    for name, purpose in PACKAGES.items():
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            found.append(f"no {name} ({purpose})")
    yield Finding("packages", ", ".join(found))


def _processor() -> Iterator[Finding]:
    flags: set[str] = set()
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.lower().startswith(("flags", "features")):
                    flags = set(line.split(":", 1)[1].split())
                    break
    except OSError:
        pass
    shown = ", ".join(name for name in FEATURES if name in flags) or "features are not told by this system"
    yield Finding("processor", f"{platform.machine()}, {os.cpu_count()} processors: {shown}")


def _files() -> Iterator[Finding]:
    try:
        import resource
    except ImportError:
        return
    soft, hard = (
        None if limit == resource.RLIM_INFINITY else limit for limit in resource.getrlimit(resource.RLIMIT_NOFILE)
    )
    if soft is None:
        yield Finding("open files", "no limit (ulimit -n)")
        return
    most = 65_536 if hard is None else min(hard, 65_536)
    advice = f"`ulimit -n {most}` lets more calls be in flight" if soft < FEW_FILES < most else None
    yield Finding("open files", f"at most {soft} (ulimit -n)", advice)


def _certificates() -> Iterator[Finding]:
    names = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
    given = [(name, os.environ[name]) for name in names if os.environ.get(name)]
    for name, value in given:
        # Of these, only the one for folders may name several.
        for path in filter(None, value.split(os.pathsep) if name == "SSL_CERT_DIR" else [value]):
            yield _bundle(f"{name}={path}", path)
    if given:
        return
    paths = [ssl.get_default_verify_paths().cafile, *BUNDLES]
    found = next((path for path in paths if path and os.path.exists(path)), None)
    if found is not None:
        yield _bundle(found, found)
    elif sys.platform in ("darwin", "win32"):
        yield Finding("certificates", "those of the system")
    else:
        yield Finding("certificates", "the system has none: Mozilla's of this release are used")


def _bundle(name: str, path: str) -> Finding:
    try:
        if os.path.isdir(path):
            count = len(os.listdir(path))
            return Finding("certificates", f"{name}: {count} files", None if count else "the folder is empty")
        with open(path, "rb") as file:
            count = file.read().count(b"BEGIN CERTIFICATE")
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        return Finding("certificates", name, f"it cannot be read ({why}): unset the variable, or mend the path")
    return Finding("certificates", f"{name}: {count} authorities", None if count else "there is no certificate in it")


def _proxies() -> Iterator[Finding]:
    found = False
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"):
        # Lower case wins, as in curl.
        variable = next((key for key in (name.lower(), name) if os.environ.get(key)), None)
        if variable is None:
            continue
        found = True
        url = os.environ[variable]
        shown = _shown(url if "://" in url else f"http://{url}")
        is_right = shown.startswith(("http://", "https://", "socks5://", "socks5h://"))
        advice = None if is_right else "http://host:port, https://, socks5:// or socks5h:// would be right"
        yield Finding("proxy", f"{variable}={shown}", advice)
    if found:
        skipped = os.environ.get("no_proxy") or os.environ.get("NO_PROXY")
        yield Finding("proxy", f"not for {skipped}" if skipped else "for all hosts (NO_PROXY is not set)")
    else:
        yield Finding("proxy", "none")


def _configuration() -> Iterator[Finding]:
    path = os.environ.get("RITELLM_CONFIG")
    if not path:
        return
    from ritellm import _files as files

    try:
        files.client_settings("RITELLM_CONFIG", path)
    except RiteLLMError as error:
        yield Finding("configuration", f"RITELLM_CONFIG={path}", str(error))
    else:
        yield Finding("configuration", f"RITELLM_CONFIG={path}")


def _keys() -> Iterator[Finding]:
    found = False
    for row in _core.providers():
        # The first that is not empty is used.
        known = [variable for variable in row["key_variables"] if variable in os.environ]
        for variable in sorted(known, key=lambda variable: not os.environ[variable])[:1]:
            found = True
            yield Finding("key", f"{row['name']}: {variable} is set", _wrong_key(os.environ[variable]))
        for variable in filter(os.environ.get, row["base_url_variables"]):
            shown = _shown(os.environ[variable])
            is_right = shown.startswith(("http://", "https://", "http+unix://"))
            advice = None if is_right else "an address begins with https:// or http://, and a host follows"
            yield Finding("address", f"{row['name']}: {variable}={shown}", advice)
    if not found:
        advice = "set the variable of your provider (`ritellm providers` lists them), or pass api_key="
        yield Finding("key", "no provider's variable is set", advice)


def _shown(url: str) -> str:
    """Returns an address without user, password and query; asterisks for what is none, whose parts nobody can tell apart."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return "***"
    # A path with an @ is the rest of a password with a slash.
    if not parts.scheme or not host or "@" in parts.path:
        return "***"
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{host}{'' if port is None else f':{port}'}{parts.path}"


def _wrong_key(key: str) -> str | None:
    """Returns what is wrong with the form of a key, which is not shown."""
    if not key.strip():
        return "it is empty: unset it, or put the key there"
    if key != key.strip():
        return "it begins or ends with white space: was a line break pasted along?"
    if key[0] in "\"'" and key[-1] == key[0]:
        return "it is in quotes, which are part of the value: take them out"
    if not key.isascii() or any(character.isspace() for character in key):
        return "it has characters that no key has"
    if set(key) <= set("xX.-*…") or "your" in key.lower() or key.endswith("..."):
        return "it looks like a placeholder"
    return None


def _answer(model: str, timeout: float) -> Finding:
    """Asks a provider. A name without a model asks for one that there is not, which costs nothing."""
    from ritellm import completion

    provider, _, name = model.partition("/")
    messages = [{"role": "user", "content": "Say hi."}]
    try:
        response = completion(
            f"{provider}/{name or NO_MODEL}", messages, max_tokens=16, timeout=timeout, max_retries=0, drop_params=True
        )
    except (AuthenticationError, PermissionDeniedError) as error:
        return Finding("answer", f"{model}: {_first_line(error)}", "check the key, and whether it may use this model")
    except RateLimitError as error:
        return Finding("answer", f"{model}: {_first_line(error)}", "wait, or look at the account's limits and credit")
    except Timeout as error:
        return Finding("answer", f"{model}: {_first_line(error)}", "a proxy or firewall may swallow it; see --timeout")
    except APIConnectionError as error:
        advice = "look at the network, the proxy and the certificates above"
        return Finding("answer", f"{model}: {_first_line(error)}", advice)
    except InvalidArgumentError as error:
        return Finding("answer", f"{model}: {_first_line(error)}", "name a provider that `ritellm providers` lists")
    except RiteLLMError as error:
        status: Any = getattr(error, "status_code", None)
        if not name and status in (400, 404, 422):
            seconds = error.attempts[-1]["latency"] if error.attempts else 0.0
            return Finding("answer", f"{model}: answers ({status}, in {seconds:.3f} s), and did not refuse the key")
        advice = "see the provider's status page" if status and status >= 500 else "check the model's name"
        return Finding("answer", f"{model}: {_first_line(error)}", advice)
    return Finding("answer", f"{model}: answers ({response.meta.status_code}, in {response.meta.latency:.3f} s)")


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
