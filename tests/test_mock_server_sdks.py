"""The mock server's formats, read by the providers' own packages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from ritellm.testing import MockServer

MESSAGES: Any = [{"role": "user", "content": "Hi"}]
CALL: Any = {"name": "weather", "arguments": {"city": "Oslo"}}


@pytest.fixture
def server() -> Iterator[MockServer]:
    with MockServer(intercept=False) as server:
        server.reply("Hello there!", tool_calls=[CALL], usage={"prompt_tokens": 5, "completion_tokens": 3})
        yield server


def test_openai(server: MockServer) -> None:
    openai = pytest.importorskip("openai")
    with openai.OpenAI(api_key="k", base_url=server.url + "/v1", max_retries=0) as client:
        plain = client.chat.completions.create(model="m", messages=MESSAGES)
        assert plain.choices[0].message.content == "Hello there!"
        assert plain.choices[0].message.tool_calls[0].function.arguments == '{"city":"Oslo"}'
        with client.chat.completions.stream(
            model="m", messages=MESSAGES, stream_options={"include_usage": True}
        ) as stream:
            final = stream.get_final_completion()
        assert final.choices[0].message.content == "Hello there!"
        assert final.choices[0].finish_reason == "tool_calls"
        assert final.usage.total_tokens == 8
        with client.responses.stream(model="m", input="Hi") as events:
            response = events.get_final_response()
        assert response.output_text == client.responses.create(model="m", input="Hi").output_text == "Hello there!"
        assert response.output[1].arguments == '{"city":"Oslo"}'
        # This client asks for base64.
        vectors = client.embeddings.create(model="m", input=["a", "b"], dimensions=4).data
        assert [len(row.embedding) for row in vectors] == [4, 4]
        server.fail(429, retry_after=0, times=1)
        with pytest.raises(openai.RateLimitError, match="told to fail"):
            client.chat.completions.create(model="m", messages=MESSAGES)


def test_anthropic(server: MockServer) -> None:
    anthropic = pytest.importorskip("anthropic")
    with anthropic.Anthropic(api_key="k", base_url=server.url, max_retries=0) as client:
        plain = client.messages.create(model="m", max_tokens=9, messages=MESSAGES)
        with client.messages.stream(model="m", max_tokens=9, messages=MESSAGES) as stream:
            streamed = stream.get_final_message()
        for message in (plain, streamed):
            assert message.content[0].text == "Hello there!"
            assert message.content[1].input == {"city": "Oslo"}
            assert (message.stop_reason, message.usage.output_tokens) == ("tool_use", 3)
        server.fail(529, times=1)
        with pytest.raises(anthropic.InternalServerError, match="overloaded_error"):
            client.messages.create(model="m", max_tokens=9, messages=MESSAGES)


def test_gemini(server: MockServer) -> None:
    genai = pytest.importorskip("google.genai")
    client = genai.Client(api_key="k", http_options={"base_url": server.url})
    plain = client.models.generate_content(model="m", contents="Hi")
    assert plain.candidates[0].content.parts[0].text == "Hello there!"
    assert plain.function_calls[0].args == {"city": "Oslo"}
    pieces = list(client.models.generate_content_stream(model="m", contents="Hi"))
    texts = [part.text or "" for piece in pieces for part in piece.candidates[0].content.parts]
    assert "".join(texts) == "Hello there!"
    assert pieces[-1].candidates[0].finish_reason.name == "STOP"
    vectors = client.models.embed_content(model="m", contents=["a", "b"]).embeddings
    assert len(vectors) == 2
    server.fail(429, times=1, retry_after=3)
    with pytest.raises(genai.errors.ClientError, match="RESOURCE_EXHAUSTED"):
        client.models.generate_content(model="m", contents="Hi")
    client.close()


def test_cohere(server: MockServer) -> None:
    cohere, httpx = pytest.importorskip("cohere"), pytest.importorskip("httpx")
    with httpx.Client() as connections:
        check_cohere(cohere.ClientV2(api_key="k", base_url=server.url, httpx_client=connections))


def check_cohere(client: Any) -> None:
    plain = client.chat(model="m", messages=MESSAGES)
    assert plain.message.content[0].text == "Hello there!"
    assert plain.message.tool_calls[0].function.arguments == '{"city":"Oslo"}'
    events = list(client.chat_stream(model="m", messages=MESSAGES))
    texts = [event.delta.message.content.text for event in events if event.type == "content-delta"]
    assert "".join(texts) == "Hello there!"
    assert events[-1].delta.finish_reason == "TOOL_CALL"
    vectors = client.embed(model="m", input_type="search_query", texts=["a"], embedding_types=["float"])
    assert len(vectors.embeddings.float_) == 1


def test_ollama(server: MockServer) -> None:
    ollama = pytest.importorskip("ollama")
    client = ollama.Client(host=server.url)
    with closing(client._client):
        check_ollama(client)


def check_ollama(client: Any) -> None:
    plain = client.chat(model="m", messages=MESSAGES)
    assert plain.message.content == "Hello there!"
    assert plain.message.tool_calls[0].function.arguments == {"city": "Oslo"}
    pieces = list(client.chat(model="m", messages=MESSAGES, stream=True))
    assert "".join(piece.message.content for piece in pieces) == "Hello there!"
    assert pieces[-1].done
    assert len(client.embed(model="m", input=["a", "b"]).embeddings) == 2


def test_bedrock(server: MockServer) -> None:
    session = pytest.importorskip("botocore.session").get_session()
    session.set_credentials("AKIAEXAMPLE", "secret")
    client = session.create_client("bedrock-runtime", region_name="us-east-1", endpoint_url=server.url)
    messages = [{"role": "user", "content": [{"text": "Hi"}]}]
    plain = client.converse(modelId="m", messages=messages)
    assert plain["output"]["message"]["content"][0] == {"text": "Hello there!"}
    assert plain["output"]["message"]["content"][1]["toolUse"]["input"] == {"city": "Oslo"}
    events = list(client.converse_stream(modelId="m", messages=messages)["stream"])
    texts = [event["contentBlockDelta"]["delta"].get("text", "") for event in events if "contentBlockDelta" in event]
    assert "".join(texts) == "Hello there!"
    assert events[-1]["metadata"]["usage"]["outputTokens"] == 3
    server.fail(400, times=1)
    with pytest.raises(client.exceptions.ValidationException, match="told to fail"):
        client.converse(modelId="m", messages=messages)
    client.close()
