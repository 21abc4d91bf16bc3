"""Tests of Bedrock against a loopback server that checks requests with AWS's own library.

botocore verifies each signature on its own (it canonicalises and signs the request again), and its service model of
Converse says whether the request is one. Credentials here are made up.
"""

import base64
import hmac
import json
import struct
import urllib.parse
import zlib

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import botocore.loaders
import botocore.model
import botocore.validate
import pytest

import ritellm
from ritellm.testing import MockServer

ACCESS_KEY, SECRET_KEY, TOKEN = "AKIAMADEUP", "made/up+secret", "made-up-token=="
MODEL = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
MODELS = botocore.model.ServiceModel(botocore.loaders.Loader().load_service_model("bedrock-runtime", "service-2"))


def frame(payload, **headers):
    """One frame of an AWS event stream."""
    head = b"".join(
        bytes([len(name)]) + name.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode()
        for name, value in ((":" + name.replace("_", "-"), value) for name, value in headers.items())
    )
    body = json.dumps(payload).encode()
    prelude = struct.pack(">II", len(head) + len(body) + 16, len(head))
    prelude += struct.pack(">I", zlib.crc32(prelude))
    whole = prelude + head + body
    return whole + struct.pack(">I", zlib.crc32(whole))


def events(*named):
    return b"".join(frame(payload, message_type="event", event_type=name) for name, payload in named)


def exception(name, payload):
    return frame(payload, message_type="exception", exception_type=name)


def verify_signature(headers, address, body):
    """Checks with botocore that the request was signed with the secret key."""
    fields = {name.lower(): value for name, value in headers.items()}
    algorithm, rest = fields["authorization"].split(" ", 1)
    assert algorithm == "AWS4-HMAC-SHA256"
    said = dict(part.strip().split("=", 1) for part in rest.split(","))
    access_key, _date, region, service, _ = said["Credential"].split("/")
    signed = said["SignedHeaders"].split(";")
    request = botocore.awsrequest.AWSRequest("POST", address, {name: fields[name] for name in signed}, body)
    request.context["timestamp"] = fields["x-amz-date"]
    signer = botocore.auth.SigV4Auth(
        botocore.credentials.Credentials(access_key, SECRET_KEY, fields.get("x-amz-security-token")), service, region
    )
    canonical = signer.canonical_request(request)
    expected = signer.signature(signer.string_to_sign(request, canonical), request)
    assert hmac.compare_digest(expected, said["Signature"])
    assert access_key == ACCESS_KEY and service == "bedrock"
    assert {"host", "x-amz-date", "content-type"} <= set(signed)
    assert fields.get("x-amz-security-token") is None or "x-amz-security-token" in signed
    return region


def with_bytes(value, shape):
    """JSON as botocore's validator wants it: binary members are bytes."""
    if shape.type_name == "structure" and not getattr(shape, "is_document_type", False):
        return {
            name: with_bytes(member, shape.members[name]) if name in shape.members else member
            for name, member in value.items()
        }
    if shape.type_name == "list":
        return [with_bytes(member, shape.member) for member in value]
    if shape.type_name == "blob":
        return base64.b64decode(value, validate=True)
    return value


def validate_request(model, body):
    shape = MODELS.operation_model("Converse").input_shape
    report = botocore.validate.ParamValidator().validate({"modelId": model, **with_bytes(body, shape)}, shape)
    assert not report.has_errors(), report.generate_report()


class Stub:
    """Answers with what a test says, in turn."""

    def __init__(self, server):
        self.server, self.address = server, server.url

    def will_answer(self, body, status=200, **headers):
        kind = "application/vnd.amazon.eventstream" if isinstance(body, bytes) else "application/json"
        content = body if isinstance(body, bytes) else json.dumps(body, separators=(",", ":"))
        fields = {"content-type": kind, "x-amzn-requestid": "request-1", **headers}
        self.server.reply(body=content, status=status, headers=fields, times=1)

    @property
    def sent(self):
        """What came, with the region that a signature is for, or what is wrong with it."""
        found = []
        for request in self.server.requests:
            path = request.url.removeprefix(self.address)
            sent = {"path": path, "headers": request.headers, "body": request.json}
            if "AWS4" in request.headers["authorization"]:
                try:
                    sent["region"] = verify_signature(request.headers, request.url, request.body)
                except AssertionError as error:
                    sent["refused"] = repr(error)
            found.append(sent)
        return found


@pytest.fixture
def stub(monkeypatch):
    for name in (
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_PROFILE",
        "AWS_BEARER_TOKEN_BEDROCK",
        "AWS_REGION_NAME",
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
    ):
        monkeypatch.delenv(name, raising=False)
    with MockServer(intercept=False) as server:
        yield Stub(server)


def call(stub, messages, model=MODEL, **arguments):
    settings = dict(
        base_url=stub.address,
        aws_region_name="us-east-1",
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        max_retries=0,
    )
    return ritellm.completion(f"bedrock/{model}", messages, **{**settings, **arguments})


HELLO = [{"role": "user", "content": "Hi"}]
USAGE = {"inputTokens": 3, "outputTokens": 5, "totalTokens": 8}


def answer(*content, stop="end_turn"):
    return {
        "output": {"message": {"role": "assistant", "content": list(content)}},
        "stopReason": stop,
        "usage": USAGE,
        "metrics": {"latencyMs": 12},
    }


def test_a_request_is_signed(stub):
    stub.will_answer(answer({"text": "Hello"}))
    response = call(stub, HELLO, aws_session_token=TOKEN)
    (sent,) = stub.sent
    assert "refused" not in sent and sent["region"] == "us-east-1"
    assert sent["path"] == f"/model/{urllib.parse.quote(MODEL, safe='')}/converse"
    validate_request(MODEL, sent["body"])
    assert response.choices[0].message.content == "Hello"
    assert response.id == response.meta.request_id == "request-1"


def test_an_arn_and_a_query_are_signed(stub):
    stub.will_answer(answer({"text": "Hello"}))
    arn = "arn:aws:bedrock:eu-west-1:123456789012:application-inference-profile/abc123"
    call(stub, HELLO, model=f"converse/{arn}", extra_query={"a b": "c/d"})
    (sent,) = stub.sent
    assert "refused" not in sent and sent["region"] == "eu-west-1"
    assert sent["path"].split("?")[0] == f"/model/{urllib.parse.quote(arn, safe='')}/converse"


def test_every_attempt_is_signed(stub):
    stub.will_answer(
        {"message": "slow down"},
        status=429,
        **{"x-amzn-errortype": "ThrottlingException:http://x/", "retry-after": "0"},
    )
    stub.will_answer(answer({"text": "Hello"}))
    call(stub, HELLO, aws_session_token=TOKEN, max_retries=1)
    assert len(stub.sent) == 2 and all("refused" not in sent for sent in stub.sent)


def test_a_wrong_secret_is_noticed_here(stub):
    stub.will_answer(answer({"text": "Hello"}))
    call(stub, HELLO, aws_secret_access_key="another")
    assert "refused" in stub.sent[0]


def test_a_bearer_key(stub, monkeypatch):
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "made-up-bearer")
    stub.will_answer(answer({"text": "Hello"}))
    call(stub, HELLO, aws_access_key_id=None, aws_secret_access_key=None)
    assert stub.sent[0]["headers"]["authorization"] == "Bearer made-up-bearer"


def test_no_credentials_and_no_region(stub):
    with pytest.raises(ritellm.AuthenticationError, match="AWS_ACCESS_KEY_ID"):
        call(stub, HELLO, aws_access_key_id=None, aws_secret_access_key=None)
    with pytest.raises(ritellm.AuthenticationError, match="no AWS profile"):
        call(stub, HELLO, aws_access_key_id=None, aws_secret_access_key=None, aws_profile_name="another-account")
    with pytest.raises(ritellm.RiteLLMError, match="AWS_REGION"):
        call(stub, HELLO, aws_region_name=None)
    assert not stub.sent


PNG = "data:image/png;base64,iVBORw0KGgo="
PDF = "data:application/pdf;base64,JVBERi0xLjQ="
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        "strict": True,
    },
}


def test_requests_are_what_the_service_model_says(stub):
    messages = [
        {
            "role": "system",
            "content": [{"type": "text", "text": "Be short.", "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
        },
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Look"},
                {"type": "image_url", "image_url": {"url": PNG}},
                {"type": "file", "file": {"file_data": PDF, "filename": "the_report.v2.pdf"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "image_url", "image_url": "s3://bucket/a.jpg"},
                {"guardContent": {"text": {"text": "g"}}},
                {"type": "video_url", "video_url": {"url": "s3://bucket/v.mp4"}},
            ],
        },
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [
                {"id": "t1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Paris"}'}},
                {"id": "t2", "type": "function", "function": {"name": "weather", "arguments": ""}},
            ],
        },
        {"role": "tool", "tool_call_id": "t1", "content": "sunny"},
        {
            "role": "tool",
            "tool_call_id": "t2",
            "content": [{"type": "text", "text": "a"}, {"json": {"x": 1}}, {"type": "image_url", "image_url": PNG}],
            "status": "error",
        },
        {"role": "user", "content": "So?", "cache_control": {"type": "ephemeral"}},
    ]
    arguments = dict(
        tools=[TOOL, {"cachePoint": {"type": "default"}}],
        tool_choice="required",
        max_tokens=100,
        temperature=0.5,
        top_p=0.9,
        stop="END",
        service_tier="flex",
        response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}},
        metadata={"team": "x"},
        guardrailConfig={"guardrailIdentifier": "abc", "guardrailVersion": "DRAFT"},
        performanceConfig={"latency": "optimized"},
        additionalModelResponseFieldPaths=["/stop_sequence"],
        top_k=20,
    )
    stub.will_answer(answer({"text": "Hello"}))
    call(stub, messages, **arguments)
    body = stub.sent[0]["body"]
    assert "refused" not in stub.sent[0]
    validate_request(MODEL, body)
    assert [turn["role"] for turn in body["messages"]] == ["user", "assistant", "user"]
    assert body["system"] == [{"text": "Be short."}, {"cachePoint": {"type": "default", "ttl": "1h"}}]
    user = body["messages"][0]["content"]
    assert user[1] == {"image": {"format": "png", "source": {"bytes": "iVBORw0KGgo="}}}
    assert user[2]["document"]["name"] == "the report v2" and user[2]["document"]["format"] == "pdf"
    assert user[3] == {"image": {"format": "jpeg", "source": {"s3Location": {"uri": "s3://bucket/a.jpg"}}}}
    assert body["messages"][1]["content"] == [
        {"toolUse": {"toolUseId": "t1", "name": "weather", "input": {"city": "Paris"}}},
        {"toolUse": {"toolUseId": "t2", "name": "weather", "input": {}}},
    ]
    results = body["messages"][2]["content"]
    assert results[0] == {"toolResult": {"toolUseId": "t1", "content": [{"text": "sunny"}]}}
    assert results[1]["toolResult"]["status"] == "error" and results[1]["toolResult"]["content"][1] == {
        "json": {"x": 1}
    }
    assert results[2:] == [{"text": "So?"}, {"cachePoint": {"type": "default"}}]
    assert (
        body["toolConfig"]["toolChoice"] == {"any": {}} and body["toolConfig"]["tools"][0]["toolSpec"]["strict"] is True
    )
    assert body["inferenceConfig"] == {"maxTokens": 100, "temperature": 0.5, "topP": 0.9, "stopSequences": ["END"]}
    # Closed, as structured output wants it.
    assert json.loads(body["outputConfig"]["textFormat"]["structure"]["jsonSchema"]["schema"]) == {
        "type": "object",
        "additionalProperties": False,
    }
    assert body["serviceTier"] == {"type": "flex"} and body["requestMetadata"] == {"team": "x"}
    assert body["additionalModelRequestFields"] == {"top_k": 20}


SIGNED = [
    {"reasoningContent": {"reasoningText": {"text": "hm, well", "signature": "c2ln"}}},
    {"text": "Let me look."},
    {"toolUse": {"toolUseId": "t1", "name": "weather", "input": {"city": "Paris"}}},
    {"toolUse": {"toolUseId": "t2", "name": "now", "input": {}}},
]
SIGNED_EVENTS = events(
    ("messageStart", {"role": "assistant", "p": "abc"}),
    ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"reasoningContent": {"text": "hm, "}}}),
    ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"reasoningContent": {"text": "well"}}}),
    ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"reasoningContent": {"signature": "c2ln"}}}),
    ("contentBlockStop", {"contentBlockIndex": 0}),
    ("contentBlockDelta", {"contentBlockIndex": 1, "delta": {"text": "Let me "}}),
    ("contentBlockDelta", {"contentBlockIndex": 1, "delta": {"text": "look."}}),
    ("contentBlockStop", {"contentBlockIndex": 1}),
    ("contentBlockStart", {"contentBlockIndex": 2, "start": {"toolUse": {"toolUseId": "t1", "name": "weather"}}}),
    ("contentBlockDelta", {"contentBlockIndex": 2, "delta": {"toolUse": {"input": '{"city":'}}}),
    ("contentBlockDelta", {"contentBlockIndex": 2, "delta": {"toolUse": {"input": '"Paris"}'}}}),
    ("contentBlockStop", {"contentBlockIndex": 2}),
    ("contentBlockStart", {"contentBlockIndex": 3, "start": {"toolUse": {"toolUseId": "t2", "name": "now"}}}),
    ("contentBlockDelta", {"contentBlockIndex": 3, "delta": {"toolUse": {"input": ""}}}),
    ("contentBlockStop", {"contentBlockIndex": 3}),
    ("messageStop", {"stopReason": "tool_use"}),
    ("metadata", {"usage": USAGE, "metrics": {"latencyMs": 12}}),
)


def plain(value):
    return json.loads(json.dumps(value))


def test_a_stream_says_what_the_plain_call_says(stub):
    stub.will_answer(answer(*SIGNED, stop="tool_use"))
    stub.will_answer(SIGNED_EVENTS)
    whole = plain(call(stub, HELLO))
    stream = call(stub, HELLO, stream=True)
    chunks = list(stream)
    assert stub.sent[1]["path"].endswith("/converse-stream") and "refused" not in stub.sent[1]
    assert all(chunk["choices"] for chunk in chunks), "the usage was not asked for"
    accumulated = plain(stream.completion)
    for response in (plain(ritellm.stream_chunk_builder(chunks)), accumulated):
        assert response["choices"] == whole["choices"]
    assert accumulated["usage"] == whole["usage"]
    assert accumulated["provider_specific_fields"] == whole["provider_specific_fields"]
    assert whole["choices"][0]["message"]["provider_specific_fields"]["bedrock"]["content"] == SIGNED


def test_what_the_model_said_goes_back_as_it_came(stub):
    stub.will_answer(answer(*SIGNED, stop="tool_use"))
    message = call(stub, HELLO).choices[0].message
    results = [{"role": "tool", "tool_call_id": one["id"], "content": "42"} for one in message.tool_calls]

    stub.will_answer(answer({"text": "ok"}))
    call(stub, [*HELLO, message, *results], tools=[TOOL])
    assert stub.sent[-1]["body"]["messages"][1] == {"role": "assistant", "content": SIGNED}
    validate_request(MODEL, stub.sent[-1]["body"])

    # The caller's version wins; the signed reasoning stays.
    changed = plain(message)
    changed["content"] = "I looked."
    stub.will_answer(answer({"text": "ok"}))
    call(stub, [*HELLO, changed, *results], tools=[TOOL])
    assert stub.sent[-1]["body"]["messages"][1]["content"] == [SIGNED[0], {"text": "I looked."}, *SIGNED[2:]]
    validate_request(MODEL, stub.sent[-1]["body"])


def test_a_fault_inside_a_stream(stub):
    begun = events(
        ("messageStart", {"role": "assistant"}),
        ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "Hel"}}),
    )
    stub.will_answer(begun + exception("throttlingException", {"message": "slow down"}))
    with pytest.raises(ritellm.RateLimitError, match="slow down"):
        list(call(stub, HELLO, stream=True))
    stub.will_answer(begun)
    with pytest.raises(ritellm.IncompleteStreamError):
        list(call(stub, HELLO, stream=True))
    damaged = bytearray(begun)
    damaged[-6] ^= 1
    stub.will_answer(bytes(damaged))
    with pytest.raises(ritellm.APIResponseValidationError, match="damaged"):
        list(call(stub, HELLO, stream=True))


def test_faults_have_their_classes(stub):
    for status, fault, kind in [
        (403, "AccessDeniedException", ritellm.PermissionDeniedError),
        (403, "ExpiredTokenException", ritellm.AuthenticationError),
        (429, "ThrottlingException", ritellm.RateLimitError),
        (408, "ModelTimeoutException", ritellm.Timeout),
        (503, "ServiceUnavailableException", ritellm.ServiceUnavailableError),
    ]:
        stub.will_answer({"message": "no"}, status=status, **{"x-amzn-errortype": fault})
        with pytest.raises(kind) as raised:
            call(stub, HELLO)
        assert raised.value.request_id == "request-1" and raised.value.status_code == status
    stub.will_answer(
        {"message": "Input is too long for requested model."}, status=400, **{"x-amzn-errortype": "ValidationException"}
    )
    with pytest.raises(ritellm.ContextWindowExceededError):
        call(stub, HELLO)


def test_what_converse_lacks_is_refused_or_dropped(stub):
    with pytest.raises(ritellm.UnsupportedParamsError, match="seed"):
        call(stub, HELLO, seed=1)
    stub.will_answer(answer({"text": "ok"}))
    response = call(stub, HELLO, seed=1, response_format={"type": "json_object"}, n=1, drop_params=True)
    assert sorted(response.meta.dropped_params) == ["response_format", "seed"]
    assert stub.sent[0]["body"] == {"messages": [{"role": "user", "content": [{"text": "Hi"}]}]}
