"""Tests of credentials from files, programs and servers, against loopback servers that imitate AWS and Google.

One server plays every part: it tells by path and body what it is asked for, keeps what it was sent, and the Bedrock part
keeps who signed. Nothing here is real; every address in the environment leads to the server.
"""

from __future__ import annotations

import asyncio
import base64
import contextvars
import datetime
import http.server
import json
import logging
import os
import pathlib
import stat
import sys
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from limited import Processes
from server import eventually

import ritellm

HELLO = [{"role": "user", "content": "Hi"}]
BEDROCK_ANSWER = {
    "output": {"message": {"role": "assistant", "content": [{"text": "Hello"}]}},
    "stopReason": "end_turn",
    "usage": {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2},
}

Request = dict[str, Any]
Answer = tuple[int, Any] | tuple[int, Any, dict[str, str]]


class Cloud(http.server.ThreadingHTTPServer):
    """Answers each path with what a test has set, and keeps what it was asked."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server_port}"
        self.asked: list[Request] = []
        self.parts: dict[tuple[str, str], Callable[[Request], Answer]] = {}

    def on(self, method: str, path: str, answer: Callable[[Request], Answer] | Answer) -> None:
        self.parts[method, path] = answer if callable(answer) else lambda _request: answer

    def times(self, part: str) -> int:
        return sum(part in request["path"] + request["body"] for request in self.asked)

    def calls(self) -> list[Request]:
        """The requests that the models received."""
        return [request for request in self.asked if "/model/" in request["path"] or "/models/" in request["path"]]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Cloud

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
        path = self.path.split("?")[0]
        request = {
            "method": self.command,
            "path": self.path,
            "headers": {name.lower(): value for name, value in self.headers.items()},
            "body": body,
        }
        self.server.asked.append(request)
        part = self.server.parts.get((self.command, path))
        if part is None and path.startswith("/model/"):
            part = lambda _request: (200, BEDROCK_ANSWER)  # noqa: E731
        status, answer, *rest = part(request) if part else (404, "nothing here")
        data = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
        self.send_response(status)
        for name, value in {
            "content-type": "application/json",
            "content-length": str(len(data)),
            **(rest[0] if rest else {}),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_PUT = do_POST = answer

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> Iterator[Cloud]:
    for name in list(os.environ):
        if name.startswith(("AWS_", "GOOGLE_", "VERTEX", "GCE_", "CLOUDSDK_")):
            monkeypatch.delenv(name)
    cloud = Cloud()
    threading.Thread(target=cloud.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", cloud.address)
    monkeypatch.setenv("AWS_BEDROCK_RUNTIME_ENDPOINT", cloud.address)
    monkeypatch.setenv("GCE_METADATA_HOST", cloud.address.removeprefix("http://"))
    yield cloud
    cloud.shutdown()
    cloud.server_close()


def ask(client: ritellm.Client | None = None, **arguments: Any) -> Any:
    """One call of Bedrock; with a client of its own unless one is given, so that nothing is remembered."""
    return (client or ritellm.Client()).completion("bedrock/a.b", HELLO, **{"max_retries": 0, **arguments})


def signer(request: Request) -> tuple[str, str, str | None]:
    """Returns the id of the key that signed a request, the region and the session token."""
    credential = request["headers"]["authorization"].split("Credential=")[1].split(",")[0].split("/")
    return credential[0], credential[2], request["headers"].get("x-amz-security-token")


def soon(seconds: float = 3600) -> str:
    return (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)).strftime(
        "%Y-%m-%dT%H:%M:%SZ"
    )


def write(path: pathlib.Path, text: str) -> pathlib.Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def sts(keys: dict[str, str]) -> Callable[[Request], Answer]:
    """An STS that gives each role its key."""

    def answer(request: Request) -> Answer:
        asked = dict(urllib.parse.parse_qsl(request["body"]))
        key = keys.get(asked["RoleArn"])
        if key is None:
            return (
                403,
                f"<ErrorResponse><Error><Code>AccessDenied</Code><Message>not you, {asked.get('WebIdentityToken')}</Message></Error></ErrorResponse>",
            )
        action = asked["Action"]
        return 200, (
            f"<{action}Response><{action}Result><Credentials><AccessKeyId>{key}</AccessKeyId><SecretAccessKey>secret-of-{key}</SecretAccessKey>"
            f"<SessionToken>token-of-{key}</SessionToken><Expiration>{soon()}</Expiration></Credentials></{action}Result></{action}Response>"
        )

    return answer


# --- AWS: where each value comes from


def test_keys_that_are_arguments_come_alone(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ENVIRONMENT")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token-of-environment")
    ask()
    assert signer(cloud.asked[-1]) == ("ENVIRONMENT", "us-east-1", "token-of-environment")
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "bearer-of-environment")
    ask()
    assert cloud.asked[-1]["headers"]["authorization"] == "Bearer bearer-of-environment"
    ask(aws_access_key_id="ARGUMENT", aws_secret_access_key="secret")
    assert signer(cloud.asked[-1]) == ("ARGUMENT", "us-east-1", None)
    ask(api_key="bearer-of-argument")
    assert cloud.asked[-1]["headers"]["authorization"] == "Bearer bearer-of-argument"
    with pytest.raises(ritellm.AuthenticationError, match="aws_secret_access_key"):
        ask(aws_access_key_id="ARGUMENT")
    assert len(cloud.asked) == 4


def test_a_profile_has_keys_and_a_region(cloud: Cloud, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    write(
        tmp_path / ".aws/credentials",
        "[default]\naws_access_key_id = DEFAULT\naws_secret_access_key = s\n[work]\naws_access_key_id = WORK\naws_secret_access_key = s\naws_session_token = t\n",
    )
    write(
        tmp_path / ".aws/config",
        "[default]\nregion = eu-west-1\n[profile work]\nregion = eu-west-2\n[profile empty]\nregion = eu-west-3\n",
    )
    monkeypatch.delenv("AWS_REGION")
    ask()
    assert signer(cloud.asked[-1]) == ("DEFAULT", "eu-west-1", None)
    ask(aws_profile_name="work")
    assert signer(cloud.asked[-1]) == ("WORK", "eu-west-2", "t")
    ask(aws_profile_name="work", aws_region_name="us-west-2")
    assert signer(cloud.asked[-1]) == ("WORK", "us-west-2", "t")
    # Keys of the environment go before a profile of the environment, and after one that is an argument.
    monkeypatch.setenv("AWS_PROFILE", "work")
    ask()
    assert signer(cloud.asked[-1])[0] == "WORK"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ENVIRONMENT")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    ask()
    assert signer(cloud.asked[-1]) == ("ENVIRONMENT", "eu-west-2", None)
    ask(aws_profile_name="default")
    assert signer(cloud.asked[-1]) == ("DEFAULT", "eu-west-1", None)
    with pytest.raises(ritellm.AuthenticationError, match=r"nobody"):
        ask(aws_profile_name="nobody")
    with pytest.raises(ritellm.AuthenticationError, match="no credentials for AWS"):
        ask(aws_profile_name="empty")


@pytest.mark.parametrize(
    ("scope", "own", "is_kept"),
    [("account", {}, False), ("shared", {}, True), ("account", {"aws_access_key_id": "I"}, True)],
)
def test_answers_in_a_redis_are_of_known_accounts(
    cloud: Cloud, tmp_path: pathlib.Path, scope: Any, own: dict[str, str], is_kept: bool
) -> None:
    """Two machines look in the same place, and find the keys of two accounts."""
    own = {**own, "aws_secret_access_key": "s"} if own else {}
    with Processes() as processes:
        url = processes.redis().url
        for number in range(2):
            keys = f"[default]\naws_access_key_id = KEY{number}\naws_secret_access_key = s\n"
            write(tmp_path / ".aws/credentials", keys)
            client = ritellm.Client(cache=ritellm.Cache.redis(url, scope=scope))
            answer = ask(client, **own)
            assert answer.meta.cached == (is_kept and number == 1)
            if is_kept and number == 0:
                eventually(lambda client=client: bool(ask(client, **own).meta.cached))


def test_files_may_be_elsewhere(cloud: Cloud, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    monkeypatch.setenv(
        "AWS_SHARED_CREDENTIALS_FILE",
        str(write(tmp_path / "keys", "[p]\naws_access_key_id = ELSEWHERE\naws_secret_access_key = s\n")),
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", "~/settings")
    write(tmp_path / "settings", "[profile p]\nregion = eu-north-1\n")
    monkeypatch.setenv("AWS_PROFILE", "p")
    monkeypatch.delenv("AWS_REGION")
    ask()
    assert signer(cloud.asked[-1]) == ("ELSEWHERE", "eu-north-1", None)


def test_a_role_is_assumed_with_another_profile(cloud: Cloud, tmp_path: pathlib.Path) -> None:
    cloud.on("POST", "/", sts({"arn:aws:iam::1:role/first": "FIRST", "arn:aws:iam::2:role/second": "SECOND"}))
    write(
        tmp_path / ".aws/config",
        (
            "[profile base]\naws_access_key_id = BASE\naws_secret_access_key = s\n"
            "[profile first]\nrole_arn = arn:aws:iam::1:role/first\nsource_profile = base\nexternal_id = e x\nrole_session_name = me\n"
            "[profile second]\nrole_arn = arn:aws:iam::2:role/second\nsource_profile = first\n"
            "[profile a]\nrole_arn = x\nsource_profile = b\n[profile b]\nrole_arn = x\nsource_profile = a\n"
            "[profile mfa]\nrole_arn = x\nsource_profile = base\nmfa_serial = arn:mfa\n"
            "[profile sso]\nsso_session = s\nsso_account_id = 1\n"
        ),
    )
    ask(aws_profile_name="second")
    first, second, call = cloud.asked
    assert signer(first)[0] == "BASE" and signer(second) == ("FIRST", "us-east-1", "token-of-FIRST")
    assert signer(call) == ("SECOND", "us-east-1", "token-of-SECOND")
    asked = dict(urllib.parse.parse_qsl(first["body"]))
    assert asked["ExternalId"] == "e x" and asked["RoleSessionName"] == "me" and asked["Version"] == "2011-06-15"
    for profile, why in [("a", "each other's source"), ("mfa", "second factor"), ("sso", "credential_process")]:
        with pytest.raises(ritellm.AuthenticationError, match=why):
            ask(aws_profile_name=profile)


def test_the_request_for_a_role_is_signed(cloud: Cloud) -> None:
    botocore_auth = pytest.importorskip("botocore.auth")
    AWSRequest = pytest.importorskip("botocore.awsrequest").AWSRequest
    Credentials = pytest.importorskip("botocore.credentials").Credentials

    cloud.on("POST", "/", sts({"arn:aws:iam::1:role/r": "ROLE"}))
    ask(
        aws_access_key_id="BASE",
        aws_secret_access_key="made-up",
        aws_session_token="t/+=",
        aws_role_name="arn:aws:iam::1:role/r",
        aws_session_name="n",
    )
    asked, call = cloud.asked
    assert signer(call)[0] == "ROLE" and signer(asked) == ("BASE", "us-east-1", "t/+=")
    said = dict(part.strip().split("=", 1) for part in asked["headers"]["authorization"].split(" ", 1)[1].split(","))
    request = AWSRequest(
        "POST",
        cloud.address + "/",
        {name: asked["headers"][name] for name in said["SignedHeaders"].split(";")},
        asked["body"].encode(),
    )
    request.context["timestamp"] = asked["headers"]["x-amz-date"]
    auth = botocore_auth.SigV4Auth(Credentials("BASE", "made-up", "t/+="), "sts", "us-east-1")
    assert auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request) == said["Signature"]


def test_a_role_that_is_refused(cloud: Cloud) -> None:
    cloud.on("POST", "/", sts({}))
    with pytest.raises(ritellm.PermissionDeniedError, match="AccessDenied") as caught:
        ask(aws_access_key_id="BASE", aws_secret_access_key="made-up", aws_role_name="arn:r")
    assert caught.value.status_code == 403 and caught.value.provider == "bedrock"
    cloud.on("POST", "/", (503, ""))
    with pytest.raises(ritellm.ServiceUnavailableError):
        ask(aws_access_key_id="BASE", aws_secret_access_key="made-up", aws_role_name="arn:r", max_retries=1)
    assert len(cloud.asked) == 3 and not cloud.calls()


def test_a_program_prints_keys(cloud: Cloud, tmp_path: pathlib.Path) -> None:
    printed = {
        "Version": 1,
        "AccessKeyId": "PRINTED",
        "SecretAccessKey": "s",
        "SessionToken": "t",
        "Expiration": soon(),
    }
    program = write(
        tmp_path / "a program",
        f"#!{sys.executable}\nimport sys\nprint({json.dumps(json.dumps(printed))} if sys.argv[1:] == ['a b'] else 'sesame')\n",
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    write(
        tmp_path / ".aws/config",
        f"[default]\ncredential_process = '{program}' \"a b\"\n[profile bad]\ncredential_process = '{program}'\n[profile none]\ncredential_process = /nowhere/at-all\n",
    )
    ask()
    assert signer(cloud.asked[-1]) == ("PRINTED", "us-east-1", "t")
    for profile in ["bad", "none"]:
        with pytest.raises(ritellm.AuthenticationError, match="credential_process") as caught:
            ask(aws_profile_name=profile)
        assert "sesame" not in str(caught.value)


def test_a_web_identity(cloud: Cloud, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    cloud.on("POST", "/", sts({"arn:pod": "POD"}))
    token = write(tmp_path / "token", "eyJ.made.up\n")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(token))
    with pytest.raises(ritellm.AuthenticationError, match="AWS_ROLE_ARN"):
        ask()
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:pod")
    ask()
    asked = dict(urllib.parse.parse_qsl(cloud.asked[0]["body"]))
    assert asked["Action"] == "AssumeRoleWithWebIdentity" and asked["WebIdentityToken"] == "eyJ.made.up"
    assert "authorization" not in cloud.asked[0]["headers"]
    assert signer(cloud.asked[1]) == ("POD", "us-east-1", "token-of-POD")
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:not-mine")
    with pytest.raises(ritellm.PermissionDeniedError) as caught:
        ask()
    assert "eyJ" not in str(caught.value)


def test_a_container(cloud: Cloud, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    cloud.on(
        "GET",
        "/v1/credentials",
        lambda request: (
            (200, {"AccessKeyId": "CONTAINER", "SecretAccessKey": "s", "Token": "t", "Expiration": soon()})
            if request["headers"].get("authorization") == "pod token"
            else (401, {"code": "no", "message": request["headers"].get("authorization")})
        ),
    )
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", cloud.address + "/v1/credentials")
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "another")
    with pytest.raises(ritellm.AuthenticationError, match="agent answered 401") as caught:
        ask()
    assert "another" not in str(caught.value)
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", str(write(tmp_path / "token", "pod token\n")))
    ask()
    assert signer(cloud.asked[-1]) == ("CONTAINER", "us-east-1", "t")
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://example.com/v1/credentials")
    with pytest.raises(ritellm.AuthenticationError, match="encryption"):
        ask()


def instance(cloud: Cloud, seconds: float = 3600) -> None:
    """The metadata of an instance, which gives a new key at each question."""
    numbers = iter(range(1000))

    def with_token(answer: Callable[[], Any]) -> Callable[[Request], Answer]:
        return lambda request: (
            (200, answer()) if request["headers"].get("x-aws-ec2-metadata-token") == "imds" else (401, "")
        )

    cloud.on(
        "PUT",
        "/latest/api/token",
        lambda request: (
            (200, "imds") if request["headers"]["x-aws-ec2-metadata-token-ttl-seconds"] == "21600" else (400, "")
        ),
    )
    cloud.on("GET", "/latest/meta-data/iam/security-credentials/", with_token(lambda: "role"))
    keys = with_token(
        lambda: {
            "Code": "Success",
            "AccessKeyId": f"INSTANCE{next(numbers)}",
            "SecretAccessKey": "s",
            "Token": "t",
            "Expiration": soon(seconds),
        }
    )
    cloud.on("GET", "/latest/meta-data/iam/security-credentials/role", keys)


def test_an_instance(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", cloud.address + "/")
    with pytest.raises(ritellm.AuthenticationError, match="no credentials for AWS"):
        ask()
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
    with pytest.raises(ritellm.AuthenticationError, match="no credentials for AWS"):
        ask()
    instance(cloud)
    ask()
    assert signer(cloud.asked[-1]) == ("INSTANCE0", "us-east-1", "t")
    assert [request["method"] for request in cloud.asked] == ["PUT", "PUT", "GET", "GET", "POST"]
    # Nobody listens: that is no instance, and no error of a connection.
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(ritellm.AuthenticationError, match="no credentials for AWS"):
        ask()


def test_many_calls_share_one_search(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", cloud.address)
    instance(cloud)
    client = ritellm.Client()

    async def main() -> None:
        await asyncio.gather(*(client.acompletion("bedrock/a.b", HELLO) for _ in range(32)))

    asyncio.run(main())
    ask(client)
    assert {signer(request)[0] for request in cloud.calls()} == {"INSTANCE0"} and len(cloud.calls()) == 33
    assert cloud.times("/latest/api/token") == 1
    ask(ritellm.Client())
    assert signer(cloud.asked[-1])[0] == "INSTANCE1"


def test_keys_are_renewed_before_they_expire(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", cloud.address)
    instance(cloud, seconds=4)
    client = ritellm.Client()
    ask(client)
    ask(client)
    assert {signer(request)[0] for request in cloud.calls()} == {"INSTANCE0"}
    time.sleep(2.5)
    ask(client)
    assert signer(cloud.asked[-1])[0] == "INSTANCE1"
    # The service is away: the keys are good for a while yet.
    cloud.on("PUT", "/latest/api/token", (500, ""))
    time.sleep(1.5)
    ask(client)
    assert signer(cloud.asked[-1])[0] == "INSTANCE1"


def test_streams_have_credentials_too(cloud: Cloud, tmp_path: pathlib.Path) -> None:
    write(tmp_path / ".aws/credentials", "[default]\naws_access_key_id = DEFAULT\naws_secret_access_key = s\n")
    with pytest.raises(ritellm.RiteLLMError):
        list(ritellm.Client().completion("bedrock/a.b", HELLO, stream=True, max_retries=0))
    assert cloud.calls()[0]["path"].endswith("/converse-stream") and signer(cloud.calls()[0])[0] == "DEFAULT"


async def test_records_of_a_call_that_looks_for_credentials_are_its_own(
    cloud: Cloud,
) -> None:
    cloud.on("POST", "/", sts({"arn:aws:iam::1:role/a": "A", "arn:aws:iam::1:role/b": "B"}))
    name: contextvars.ContextVar[str] = contextvars.ContextVar("name", default="-")
    seen: list[tuple[str, str]] = []

    class Handler(logging.Handler):
        def emit(self, record: Any) -> None:
            seen.append((name.get(), record.model))

    client = ritellm.Client()

    async def ask_as(role: str, number: int) -> None:
        name.set(f"m.{role}{number}")
        keys = {"aws_access_key_id": "I", "aws_secret_access_key": "s"}
        more: dict[str, Any] = {"aws_role_name": f"arn:aws:iam::1:role/{role}", "max_retries": 0, **keys}
        await client.acompletion(f"bedrock/m.{role}{number}", HELLO, **more)

    for role in "ab":
        for number in range(5):
            path = f"/model/m.{role}{number}/converse"
            cloud.on("POST", path, lambda _request: (200, BEDROCK_ANSWER))
    logger, handler = logging.getLogger("ritellm"), Handler()
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        await asyncio.gather(*(ask_as(role, number) for number in range(5) for role in "ab"))
    finally:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)
    assert len(seen) >= 10 and [own for own, model in seen if own != model] == []


def test_no_secret_is_shown_when_a_host_repeats_it(cloud: Cloud) -> None:
    cloud.on(
        "POST",
        "/model/a.b/converse",
        lambda request: (400, {"message": f"sesame-open {request['headers'].get('x-amz-security-token')}"}),
    )
    with pytest.raises(ritellm.BadRequestError) as caught:
        ask(aws_access_key_id="A", aws_secret_access_key="sesame-open", aws_session_token="token-close")
    shown = f"{caught.value} {caught.value.body!r} {caught.value!r}"
    assert "sesame" not in shown and "close" not in shown and "***" in shown


def test_an_authorization_of_the_callers_own(cloud: Cloud) -> None:
    ask(extra_headers={"authorization": "Bearer mine"})
    assert cloud.asked[0]["headers"]["authorization"] == "Bearer mine"


def test_a_call_with_a_deadline_does_not_wait_for_credentials(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", cloud.address + "/slow")

    def slow(_request: Request) -> Answer:
        time.sleep(2)
        return 200, {}

    cloud.on("GET", "/slow", slow)
    began = time.monotonic()
    with pytest.raises(ritellm.Timeout):
        ask(timeout=0.3)
    assert time.monotonic() - began < 1.5


# --- Google

VERTEX_ANSWER = {
    "candidates": [{"content": {"role": "model", "parts": [{"text": "Hello"}]}, "finishReason": "STOP"}],
    "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2},
}
SCOPE = "https://www.googleapis.com/auth/cloud-platform"


def ask_vertex(cloud: Cloud, client: ritellm.Client | None = None, **arguments: Any) -> Request:
    """One call of Vertex AI; the request that came of it."""
    project = arguments.get("vertex_project", "p")
    for name in (project, "p", "from-file", "from-machine", "quota"):
        cloud.on(
            "POST",
            f"/v1/projects/{name}/locations/global/publishers/google/models/m:generateContent",
            (200, VERTEX_ANSWER),
        )
    (client or ritellm.Client()).completion(
        "vertex/m", HELLO, base_url=cloud.address, **{"max_retries": 0, **arguments}
    )
    return cloud.asked[-1]


def segment(text: str) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    return parsed


@pytest.fixture(scope="module")
def private_key() -> Any:
    rsa = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.rsa")
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def test_a_service_account(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path, private_key: Any
) -> None:
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import padding

    tokens = iter(["one", "two", "three", "four"])
    cloud.on(
        "POST",
        "/token",
        lambda _request: (200, {"access_token": next(tokens), "expires_in": 3599, "token_type": "Bearer"}),
    )
    pem = private_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    account = {
        "type": "service_account",
        "client_email": "me@p.iam.gserviceaccount.com",
        "private_key": pem,
        "private_key_id": "k1",
        "project_id": "from-file",
        "token_uri": cloud.address + "/token",
    }
    path = write(tmp_path / "account.json", json.dumps(account))

    client = ritellm.Client()
    request = ask_vertex(cloud, client, vertex_credentials=str(path))
    assert request["headers"]["authorization"] == "Bearer one" and "/projects/from-file/" in request["path"]
    assert "x-goog-user-project" not in request["headers"]
    asked = dict(urllib.parse.parse_qsl(cloud.asked[0]["body"]))
    assert asked["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
    header, claims, signature = asked["assertion"].split(".")
    signed = f"{header}.{claims}".encode()
    private_key.public_key().verify(
        base64.urlsafe_b64decode(signature + "=="), signed, padding.PKCS1v15(), hashes.SHA256()
    )
    assert segment(header) == {"alg": "RS256", "typ": "JWT", "kid": "k1"}
    said = segment(claims)
    assert (said["iss"], said["aud"], said["scope"]) == (account["client_email"], account["token_uri"], SCOPE)
    assert said["exp"] - said["iat"] == 3600 and abs(said["iat"] - time.time()) < 60

    assert ask_vertex(cloud, client, vertex_credentials=str(path))["headers"]["authorization"] == "Bearer one"
    assert (
        ask_vertex(cloud, client, vertex_credentials=json.dumps(account), vertex_project="p")["headers"][
            "authorization"
        ]
        == "Bearer two"
    )
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    assert ask_vertex(cloud)["headers"]["authorization"] == "Bearer three"
    # A token that is an argument comes alone.
    assert (
        ask_vertex(cloud, vertex_access_token="mine", vertex_project="p")["headers"]["authorization"] == "Bearer mine"
    )
    monkeypatch.setenv("VERTEX_ACCESS_TOKEN", "environment")
    assert ask_vertex(cloud, vertex_credentials=str(path))["headers"]["authorization"] == "Bearer four"


def test_a_user(cloud: Cloud, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    user = {
        "type": "authorized_user",
        "client_id": "c",
        "client_secret": "client-sesame",
        "refresh_token": "1//refresh",
        "quota_project_id": "quota",
        "token_uri": cloud.address + "/token",
    }
    write(tmp_path / ".config/gcloud/application_default_credentials.json", json.dumps(user))
    monkeypatch.delenv("CLOUDSDK_CONFIG", raising=False)
    cloud.on("POST", "/token", (200, {"access_token": "users", "expires_in": 3599}))
    request = ask_vertex(cloud)
    assert (
        request["headers"]["authorization"] == "Bearer users" and request["headers"]["x-goog-user-project"] == "quota"
    )
    assert "/projects/quota/" in request["path"] and "refresh_token=1%2F%2Frefresh" in cloud.asked[0]["body"]
    cloud.on(
        "POST",
        "/token",
        (400, {"error": "invalid_grant", "error_description": "1//refresh with client-sesame is over"}),
    )
    with pytest.raises(ritellm.AuthenticationError, match="invalid_grant") as caught:
        ask_vertex(cloud)
    assert "sesame" not in str(caught.value) and "//refresh" not in str(caught.value)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "elsewhere"))
    with pytest.raises(ritellm.AuthenticationError, match="no credentials for Google Cloud"):
        ask_vertex(cloud)


def test_another_identity_provider(cloud: Cloud, tmp_path: pathlib.Path) -> None:
    write(tmp_path / "subject", json.dumps({"id_token": "subject-token"}))
    account = {
        "type": "external_account",
        "audience": "//iam.googleapis.com/x",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": cloud.address + "/exchange",
        "credential_source": {
            "file": str(tmp_path / "subject"),
            "format": {"type": "json", "subject_token_field_name": "id_token"},
        },
    }
    cloud.on(
        "POST",
        "/exchange",
        (200, {"access_token": "federated", "expires_in": 3600, "issued_token_type": "x", "token_type": "Bearer"}),
    )
    assert (
        ask_vertex(cloud, vertex_credentials=json.dumps(account), vertex_project="p")["headers"]["authorization"]
        == "Bearer federated"
    )
    asked = dict(urllib.parse.parse_qsl(cloud.asked[0]["body"]))
    assert (
        asked["subject_token"] == "subject-token"
        and asked["audience"] == account["audience"]
        and asked["scope"] == SCOPE
    )

    cloud.on(
        "GET",
        "/subject",
        lambda request: (200, "from-a-server\n") if request["headers"].get("metadata") == "True" else (400, ""),
    )
    cloud.on(
        "POST",
        "/sa:generateAccessToken",
        lambda request: (
            (200, {"accessToken": "impersonated", "expireTime": soon()})
            if request["headers"]["authorization"] == "Bearer federated"
            else (403, {})
        ),
    )
    account |= {
        "credential_source": {"url": cloud.address + "/subject", "headers": {"Metadata": "True"}},
        "service_account_impersonation_url": cloud.address + "/sa:generateAccessToken",
    }
    assert (
        ask_vertex(cloud, vertex_credentials=json.dumps(account), vertex_project="p")["headers"]["authorization"]
        == "Bearer impersonated"
    )
    assert "subject_token=from-a-server" in "".join(request["body"] for request in cloud.asked)

    impersonated = {
        "type": "impersonated_service_account",
        "service_account_impersonation_url": cloud.address + "/sa:generateAccessToken",
        "delegates": ["d"],
        "source_credentials": {
            "type": "external_account_authorized_user",
            "client_id": "c",
            "client_secret": "s",
            "refresh_token": "r",
            "token_url": cloud.address + "/exchange",
            "audience": "a",
        },
    }
    assert (
        ask_vertex(cloud, vertex_credentials=json.dumps(impersonated), vertex_project="p")["headers"]["authorization"]
        == "Bearer impersonated"
    )
    exchange, generate = cloud.asked[-3:-1]
    assert exchange["headers"]["authorization"] == "Basic " + base64.b64encode(b"c:s").decode()
    assert json.loads(generate["body"]) == {"scope": [SCOPE], "lifetime": "3600s", "delegates": ["d"]}

    account["credential_source"] = {"executable": {"command": "/bin/true"}}
    with pytest.raises(ritellm.AuthenticationError, match="executable"):
        ask_vertex(cloud, vertex_credentials=json.dumps(account))


def test_the_metadata_server(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    flavor = {"metadata-flavor": "Google"}
    cloud.on(
        "GET",
        "/computeMetadata/v1/project/project-id",
        lambda request: (
            (200, "from-machine", flavor) if request["headers"].get("metadata-flavor") == "Google" else (403, "")
        ),
    )
    cloud.on(
        "GET",
        "/computeMetadata/v1/instance/service-accounts/default/token",
        (200, {"access_token": "machines", "expires_in": 3000, "token_type": "Bearer"}, flavor),
    )
    request = ask_vertex(cloud)
    assert request["headers"]["authorization"] == "Bearer machines" and "/projects/from-machine/" in request["path"]
    assert urllib.parse.quote(SCOPE, safe="") in cloud.asked[1]["path"].replace("%2D", "-").replace("%2E", ".")
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "p")
    assert "/projects/p/" in ask_vertex(cloud)["path"]
    # Another cloud's server stands at the same address.
    cloud.on("GET", "/computeMetadata/v1/project/project-id", (200, "p"))
    with pytest.raises(ritellm.AuthenticationError, match="no credentials for Google Cloud"):
        ask_vertex(cloud)


def test_files_that_are_none(cloud: Cloud, tmp_path: pathlib.Path) -> None:
    for given, why in [
        (str(tmp_path / "nowhere.json"), "nowhere.json"),
        ("{sesame", "no JSON"),
        ('{"type": "service_account", "private_key": "sesame"}', "client_email"),
        ('{"type": "unheard-of"}', "unheard-of"),
    ]:
        with pytest.raises(ritellm.AuthenticationError, match=why) as caught:
            ask_vertex(cloud, vertex_credentials=given, vertex_project="p")
        assert "sesame" not in str(caught.value)
    pem = "-----BEGIN PRIVATE KEY-----\nc2VzYW1l\n-----END PRIVATE KEY-----\n"
    with pytest.raises(ritellm.AuthenticationError, match="private_key"):
        ask_vertex(
            cloud, vertex_credentials=json.dumps({"type": "service_account", "client_email": "e", "private_key": pem})
        )
    assert not cloud.asked
