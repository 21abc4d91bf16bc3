"""Tests of what is taken out of cassettes, and of what is left."""

from __future__ import annotations

import base64
import json
import re
import warnings
from pathlib import Path
from typing import Any

import pytest
from server import Answer, Server

import ritellm
from ritellm.testing import MockServer, _bodies, cassette
from ritellm.testing._redaction import Redactor, _is_secret_variable, own

MESSAGES = [{"role": "user", "content": "Hi"}]
KEY = "sk-a-key-that-nobody-may-see-0123456789"
ISSUED = {
    "access": "ASIAEXAMPLE123",
    "secret": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "token": "IQoJb3JpZ2luX2VjEXAMPLE//////////wEaCXVz",
}
STS = """<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>
<AccessKeyId>{access}</AccessKeyId><SecretAccessKey>{secret}</SecretAccessKey><SessionToken>{token}</SessionToken>
</Credentials><AssumedRoleUser><Arn>arn:aws:sts::123456789012:assumed-role/r/s</Arn></AssumedRoleUser></AssumeRoleResult></AssumeRoleResponse>"""


def recorded(redactor: Redactor, url: str, body: bytes, headers: Any = ()) -> str:
    """Returns what a cassette has of an answer."""
    redactor.learn(url, headers, body)
    return json.dumps(redactor.value(_bodies.packed(body)), ensure_ascii=False)


@pytest.mark.parametrize(
    ("url", "body"),
    [
        ("https://sts.amazonaws.com/", STS.format(**ISSUED)),
        (
            "http://169.254.170.2/v2/credentials/x",
            json.dumps(
                {"AccessKeyId": ISSUED["access"], "SecretAccessKey": ISSUED["secret"], "Token": ISSUED["token"]}
            ),
        ),
        ("http://169.254.169.254/latest/api/token", ISSUED["token"]),
    ],
    ids=["sts", "container", "machine"],
)
def test_keys_that_aws_issues(url: str, body: str) -> None:
    found = recorded(Redactor(), url, body.encode())
    for secret in (*ISSUED.values(), "123456789012"):
        assert secret not in found
        assert json.dumps(secret)[1:-1] not in found


def test_a_token_of_a_text_is_no_secret() -> None:
    """Of a model's text, as `logprobs` have it."""
    redactor = Redactor()
    body = {
        "choices": [
            {"logprobs": {"content": [{"token": "weather-forecast", "logprob": -1}]}, "text": "weather-forecast"}
        ]
    }
    assert json.loads(recorded(redactor, "https://h/", json.dumps(body).encode())) == {"json": body}


SIGNED = (
    "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE99/20150830/us-east-1/iam/aws4_request, "
    "SignedHeaders=content-type;host;x-amz-date, Signature=5d672d79c15b13162d9279b0855cfba6"
)


@pytest.mark.parametrize(
    ("name", "value", "secrets"),
    [
        ("authorization", SIGNED, {"AKIDEXAMPLE99", "5d672d79c15b13162d9279b0855cfba6"}),
        ("authorization", "Bearer a-long-token-1", {"a-long-token-1"}),
        ("authorization", "a-long-token-1", {"a-long-token-1"}),
        (
            "proxy-authorization",
            "Basic " + base64.b64encode(b"somebody:a-password").decode(),
            {base64.b64encode(b"somebody:a-password").decode(), "somebody", "a-password"},
        ),
        ("authorization", "Basic *not base64*", {"*not base64*"}),
        ("cookie", "session_identifier=value-of-it; theme=dark-mode-1", {"value-of-it", "dark-mode-1"}),
        ("set-cookie", "identifier=value-of-it; Domain=example.com; Path=/everything", {"value-of-it"}),
        ("x-api-key", "a key with spaces", {"a key with spaces"}),
        ("x-aws-ec2-metadata-token-ttl-seconds", "21600", set()),
        ("x-request-id", "0123456789", set()),
    ],
)
def test_secrets_of_fields(name: str, value: str, secrets: set[str]) -> None:
    redactor = Redactor()
    redactor.learn("https://h/", [(name, value)])
    assert redactor._known == secrets


def test_a_signed_call_keeps_its_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the signature's own syntax are everyday words."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE99")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", ISSUED["secret"])
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.delenv("AWS_BEARER_TOKEN_BEDROCK", raising=False)
    words = "Signature, Credential, content-type, SignedHeaders, us-east-1, bedrock, aws4_request"
    messages = [{"role": "user", "content": words}]
    with MockServer(intercept=False) as server, cassette(tmp_path / "a.json") as tape:
        server.reply(words)
        client = ritellm.Client(base_url=server.url)
        answer = client.completion("bedrock/anthropic.claude-3-haiku-20240307-v1:0", messages)
        assert "Credential=AKIDEXAMPLE99" in server.requests[0].headers["authorization"]
    assert answer.choices[0].message.content == words
    assert tape.recorded == 1
    (call,) = json.loads((tmp_path / "a.json").read_text())["calls"]
    assert call["request"]["json"]["messages"][0]["content"] == [{"text": words}]
    assert call["response"]["json"]["output"]["message"]["content"] == [{"text": words}]
    assert call["response"]["headers"]["content-type"] == "application/json"


def test_a_secret_that_is_learnt_late_is_taken_out_of_earlier_calls(tmp_path: Path) -> None:
    secret = "issued-in-plain-sight-0123456789"
    server = Server()
    server.answer(
        Answer(400, body=json.dumps({"error": {"message": f"use {secret} from now on"}}).encode()),
        Answer(400, body=b'{"error": {"message": "thank you"}}'),
    )
    client = ritellm.Client(api_key=KEY, base_url=server.base_url, max_retries=0)
    with cassette(tmp_path / "a.json"):
        with pytest.raises(ritellm.BadRequestError):
            client.completion("openai/m", MESSAGES)
        with pytest.raises(ritellm.BadRequestError):
            client.completion("openai/m", MESSAGES, extra_headers={"x-session-token": secret})
    server.close()
    text = (tmp_path / "a.json").read_text()
    assert secret not in text
    assert "use *** from now on" in text


def test_addresses() -> None:
    redactor = Redactor(own(["acme", "42"]))
    redactor.learn("https://h/", [("authorization", f"Bearer {KEY}")])
    for url, expected in [
        (f"https://acme.example/a?team=acme&q=x{KEY}&n=1%202", "https://***.example/a?team=***&q=x***&n=1%202"),
        ("https://h/v1?api_key=1&b=", "https://h/v1?api_key=***&b="),
        ("https://my-res.openai.azure.com/openai", "https://redacted.openai.azure.com/openai"),
        ("https://user:pass@h:81/x", "https://h:81/x"),
        ("http://[::1]:8000/v1/42", "http://[::1]:8000/v1/***"),
    ]:
        assert redactor.url(url) == expected
        assert redactor.url(expected) == expected


def test_own_texts_and_patterns() -> None:
    redactor = Redactor(own(iter(["Bob", "two\nlines", re.compile(r"\d{3}-\d{4}"), re.compile("x*", re.IGNORECASE)])))
    body = {"a": 'Bob said "two\nlines" 555-1234', "Bob": ["Bobby", 5551234], "b": "bob XX."}
    assert json.loads(recorded(redactor, "https://h/", json.dumps(body).encode())) == {
        "json": {"a": '*** said "***" ***', "***": ["***by", 5551234], "b": "bob ***."}
    }


def test_a_bare_text_is_one_text() -> None:
    assert own("Nightingale") == ("Nightingale",)
    pattern = re.compile("N")
    assert own(pattern) == (pattern,)


@pytest.mark.parametrize(
    ("redact", "message"),
    [
        ([b"text"], "redact has bytes"),
        ([re.compile(b"text")], "redact has a pattern of bytes"),
        ([""], "redact has ''"),
        (7, "redact has int"),
    ],
)
def test_options_that_are_no_texts(tmp_path: Path, redact: Any, message: str) -> None:
    with pytest.raises(ritellm.InvalidArgumentError, match=message):
        cassette(tmp_path / "a.json", redact=redact)


def test_words_of_the_file_itself_are_kept() -> None:
    redactor = Redactor(own(["json", "data", "event", "headers", "text", "POST", "connection"]))
    rows = _bodies.events(
        "text/event-stream", [(0.5, b'event: x\ndata: {"data": "json"}\n\n'), (1.0, b"data: text\n\n")]
    )
    assert redactor.value(rows) == [
        {"at": 0.5, "event": "x", "data": {"***": "***"}},
        {"at": 1.0, "data": "***"},
    ]
    call = {"request": {"method": "POST", "headers": {"a": "b"}}, "response": {"failure": {"kind": "connection"}}}
    assert redactor.value(call) == call


def test_an_iterator_of_options_serves_every_call_of_a_decorated_function(tmp_path: Path) -> None:
    tape = cassette(tmp_path / "a.json", redact=iter(["Nightingale"]), ignore=iter(["user"]), match_on=iter(["body"]))

    @tape
    def ask(text: str, user: str) -> Any:
        client = ritellm.Client(api_key=KEY, base_url=server.url + "/v1")
        return client.completion("openai/m", [{"role": "user", "content": text}], user=user)

    with MockServer(intercept=False) as server:
        ask("Project Nightingale", "a")
        ask("Project Nightingale", "b")
        assert len(server.requests) == 1
    assert "Nightingale" not in (tmp_path / "a.json").read_text()


def test_a_pattern_for_written_json_says_that_it_finds_nothing() -> None:
    redactor = Redactor(own([re.compile(r'"user": ?"[^"]*"')]))
    with pytest.warns(UserWarning, match="each of its strings is searched alone"):
        assert redactor.value({"json": {"user": "u", "n": 1}}) == {"json": {"user": "u", "n": 1}}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        redactor.value({"json": {"text": 'they wrote "user" here'}})


def test_a_key_behind_a_line_break() -> None:
    """In JSON as it is written a letter stands before it: `\\nsk-…`."""
    found = recorded(Redactor(), "https://h/", json.dumps({"text": f"my key:\n{KEY}"}).encode())
    assert json.loads(found) == {"json": {"text": "my key:\n***"}}


@pytest.mark.parametrize("text", ["a\0b", "\1", "\0\1", "a\0", "\ud800 lone", ""])
def test_separators_in_texts(text: str) -> None:
    redactor = Redactor(own(["secret words", "nul\0in it"]))
    assert redactor.strings([text, "the secret words", text, "a nul\0in it"]) == [text, "the ***", text, "a ***"]


def test_beginnings_of_secrets_at_the_end_of_strings_are_kept() -> None:
    redactor = Redactor()
    redactor.learn("https://h/", [("authorization", "Bearer weather-service-key-1")])
    assert redactor.value({"json": {"a": "weather", "b": "the weather-service-key-1"}}) == {
        "json": {"a": "weather", "b": "the ***"}
    }


def test_bytes_are_searched() -> None:
    redactor = Redactor()
    redactor.learn("https://h/", [("authorization", f"Bearer {KEY}")])
    row = _bodies.packed(b"\xff\x00" + KEY.encode() + b"\xfe")
    assert _bodies.unpacked(redactor.value(row)) == b"\xff\x00***\xfe"
    not_base64 = {"json": {"base64": "not base64!"}}
    assert redactor.value(not_base64) == not_base64


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/v1/projects/my-project-7/locations/x", "/v1/projects/redacted/locations/x"),
        ("/v1/projects/***/locations/x", "/v1/projects/redacted/locations/x"),
        (
            "arn:aws:bedrock:us-east-1:123456789012:inference-profile/p",
            "arn:aws:bedrock:us-east-1:000000000000:inference-profile/p",
        ),
        (
            "arn:aws:bedrock:us-east-1:***:inference-profile/p",
            "arn:aws:bedrock:us-east-1:000000000000:inference-profile/p",
        ),
        ("arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Ax", "arn%3Aaws%3Abedrock%3Aus-east-1%3A000000000000%3Ax"),
        ("arn:aws:s3:::bucket", "arn:aws:s3:::bucket"),
        ("/client/v4/accounts/0123456789abcdef0123456789abcdef/ai", "/client/v4/accounts/redacted/ai"),
        ("/client/v4/accounts/***/ai", "/client/v4/accounts/redacted/ai"),
    ],
)
def test_accounts_in_addresses(text: str, expected: str) -> None:
    """Those that are known from the environment, and masked before, end as those that are not."""
    assert Redactor().text(text) == expected
    assert Redactor().text(expected) == expected


@pytest.mark.parametrize(
    ("name", "is_secret"),
    [
        ("OPENAI_API_KEY", True),
        ("OPENAI_ORG_ID", True),
        ("OPENAI_PROJECT_ID", True),
        ("GOOGLE_CLOUD_PROJECT", True),
        ("GOOGLE_CLOUD_QUOTA_PROJECT", True),
        ("VERTEXAI_PROJECT", True),
        ("AWS_ACCESS_KEY_ID", True),
        ("AWS_SECRET_ACCESS_KEY", True),
        ("AWS_SESSION_TOKEN", True),
        ("AWS_ACCOUNT_ID", True),
        ("AZURE_TENANT_ID", True),
        ("AZURE_CLIENT_SECRET", True),
        ("AZURE_AD_TOKEN", True),
        ("DATABRICKS_CLIENT_ID", True),
        ("AWS_REGION", False),
        ("AWS_PROFILE", False),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", False),
        ("GITHUB_WORKSPACE", False),
        ("OPENAI_BASE_URL", False),
        ("COMPOSE_PROJECT", False),
        ("PATH", False),
    ],
)
def test_variables(name: str, is_secret: bool) -> None:
    assert _is_secret_variable(name) is is_secret


def test_a_project_that_is_known_here_and_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Recorded with an account's own key, played where there is none, on a machine of nobody's."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    pem = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    account = {
        "type": "service_account",
        "client_email": "me@corp.example",
        "private_key": pem.decode(),
        "project_id": "our-project",
    }
    (tmp_path / "credentials.json").write_text(json.dumps(account))
    for name in ("VERTEXAI_PROJECT", "VERTEXAI_LOCATION", "GOOGLE_CLOUD_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    with MockServer() as google, monkeypatch.context() as here:
        here.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "credentials.json"))
        here.setenv("VERTEXAI_PROJECT", "our-project")
        here.setenv("VERTEXAI_LOCATION", "us-central1")
        google.reply("from our project")
        with cassette(tmp_path / "a.json") as tape:
            ritellm.Client().completion("vertex/gemini-2.5-flash", MESSAGES)
        assert tape.recorded == 2
    assert "our-project" not in (tmp_path / "a.json").read_text().replace("from our project", "")
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    with cassette(tmp_path / "a.json", mode="none"):
        answer = ritellm.Client().completion("vertex/gemini-2.5-flash", MESSAGES)
        assert answer.choices[0].message.content == "from our project"
        # A second client needs a token once more than was recorded, and gets it.
        with pytest.raises(ritellm.UnexpectedCallError, match="generateContent 1 times, but it was played already"):
            ritellm.Client().completion("vertex/gemini-2.5-flash", MESSAGES)


FRAME = _bodies._frame({":event-type": "messageStart"}, b'{"role":"assistant"}')


@pytest.mark.parametrize(
    "frame",
    [
        FRAME[:4] + (9999).to_bytes(4, "big") + FRAME[8:],
        FRAME[:12] + b"\xff" + FRAME[13:],
        FRAME[:13] + b"\xff" * 5 + FRAME[18:],
        (16).to_bytes(4, "big") + (0).to_bytes(4, "big") + b"\0" * 8,
    ],
    ids=["length of headers", "length of a name", "no text", "empty"],
)
def test_damaged_frames_are_kept_as_they_are(frame: bytes) -> None:
    media_type = "application/vnd.amazon.eventstream"
    rows = _bodies.events(media_type, [(0.0, frame)])
    assert b"".join(_bodies.event_bytes(media_type, row) for row in rows) == frame
    (row,) = _bodies.events(media_type, [(0.0, FRAME)])
    assert row["data"] == {"role": "assistant"}


def test_an_event_with_a_name_that_is_no_text() -> None:
    (row,) = _bodies.events("text/event-stream", [(0.0, b"event: \xff\ndata: {}\n\n")])
    assert _bodies.event_bytes("text/event-stream", row) == b"event: \xff\ndata: {}\n\n"
