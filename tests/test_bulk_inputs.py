"""Rows of every kind through a whole job: what the server is asked, and what becomes of the rows that cannot be asked."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from server import Answer, Request, Server

import ritellm
from ritellm import Client
from ritellm.exceptions import InvalidArgumentError


def answer(request: Request) -> Answer:
    message = {"role": "assistant", "content": "ok"}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    whole = {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}
    return Answer(body=json.dumps(whole).encode())


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    server.script = answer
    yield server
    server.close()


@pytest.fixture
def run(server: Server, tmp_path: Path) -> Any:
    """Runs a job and returns the bodies that the server was asked with, and the failures' messages."""
    count = 0

    def run(rows: Any, **arguments: Any) -> tuple[list[Any], list[str]]:
        nonlocal count
        count += 1
        client = Client(base_url=server.base_url, api_key="key-of-a-test")
        before = len(server.requests)
        job = ritellm.bulk(rows, **{"model": "openai/m", "client": client, "out": tmp_path / f"job{count}"} | arguments)
        job.run(progress=False)
        asked = [request.json for request in server.requests[before:]]
        return asked, [str(failure.error) for failure in job.failures()]

    return run


def texts(bodies: list[Any]) -> list[str]:
    return sorted(body["messages"][-1]["content"] for body in bodies)


def test_a_damaged_file_costs_its_damaged_lines_only(run: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    lines = [
        b'\xef\xbb\xbf{"text": "first", "score": NaN}',
        b"",
        b'{"text": "caf\xe9"}',
        b'{"text": "a\xe2\x80\xa8b"}\r',
        b'{"text": "cut off',
        b'{"txt": "x"}',
        b'["text"]',
        b"\0\0\0\0",
        b'{"text": "{score} and {text}"}',
    ]
    path.write_bytes(gzip.compress(b"\n".join(lines)))
    asked, failures = run(path, prompt='Say {"label": "…"} of {text}')
    told = 'Say {"label": "…"} of '
    assert texts(asked) == sorted(told + text for text in ["first", "a\u2028b", "{score} and {text}"])
    right = [
        "line 3 is no UTF-8",
        "line 5 is no JSON",
        'line 6 has no column "text"',
        "line 7 is no JSON object",
        "line 8 holds a NUL",
    ]
    assert len(failures) == len(right)
    for failure, start in zip(failures, right, strict=True):
        assert failure.startswith(f"{path}, {start}"), failure


def test_csv(run: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b'\xef\xbb\xbfid;text\r\n1;"x\r\n""y"""\r\n2;z;1\r\n3;\r\n')
    asked, failures = run(path, prompt="<{text}>", id_column="id")
    assert texts(asked) == ["<>", '<x\r\n"y">']
    assert failures == [f"{path}, line 4 has 3 fields, and the header 2"]


def test_batch_lines(run: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    body = {"model": "openai/other", "messages": [{"role": "user", "content": "a"}], "temperature": 0.25}
    lines = [
        {"custom_id": "1", "method": "POST", "url": "/v1/chat/completions", "body": body},
        {"custom_id": "2", "method": "POST", "url": "/v1/chat/completions", "body": {**body, "stream": True}},
        {"custom_id": "3", "params": body},
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    asked, failures = run(path, model=None, seed=7)
    assert asked == [{**body, "model": "other", "seed": 7}]
    assert [failure.partition(" has ")[2] for failure in failures] == [
        '"stream": answers of a job are whole',
        '"params", as Anthropic\'s batches do: the "body" of OpenAI\'s batch lines would be right',
    ]


@pytest.mark.parametrize("is_file", [True, False])
@pytest.mark.parametrize("response_format", [None, {"type": "object", "properties": {"a": {"type": "integer"}}}])
def test_batch_lines_have_answers_of_their_own_operation(
    is_file: bool, response_format: Any, server: Server, tmp_path: Path
) -> None:
    def answered(request: Request) -> Answer:
        usage = {"prompt_tokens": 1, "input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
        if request.path.endswith("/embeddings"):
            data = [{"object": "embedding", "index": 0, "embedding": [0.5, 1.0]}]
            body: dict[str, Any] = {"object": "list", "data": data, "model": "m", "usage": usage}
        elif request.path.endswith("/responses"):
            content = [{"type": "output_text", "text": '{"a": 1}', "annotations": []}]
            message = {"type": "message", "id": "m", "role": "assistant", "status": "completed", "content": content}
            body = {"id": "r", "object": "response", "status": "completed", "output": [message], "usage": usage}
        else:
            message = {"role": "assistant", "content": '{"a": 2}'}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            body = {"id": "c", "object": "chat.completion", "choices": [choice], "usage": usage}
        return Answer(body=json.dumps(body).encode())

    server.script = answered
    lines: list[dict[str, Any]] = [
        {"custom_id": "chat", "url": "/v1/chat/completions", "body": {"messages": [{"role": "user", "content": "a"}]}},
        {"custom_id": "vector", "url": "/v1/embeddings", "body": {"input": "a"}},
        {"custom_id": "response", "url": "/v1/responses", "body": {"input": "a"}},
    ]
    path = tmp_path / "lines.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    client = Client(base_url=server.base_url, api_key="key-of-a-test")
    rows = path if is_file else iter(lines)
    job = ritellm.bulk(rows, model="openai/m", client=client, response_format=response_format)
    job.run(progress=False)
    assert job.failures() == []
    found = {row["custom_id"]: answer for row, answer in job.results()}
    assert isinstance(found["chat"], ritellm.types.ChatCompletion)
    assert isinstance(found["vector"], ritellm.types.EmbeddingResponse)
    assert isinstance(found["response"], ritellm.types.Response)
    assert found["vector"].data[0].embedding == [0.5, 1.0] and found["vector"].meta.model == "m"
    assert found["response"].output_text == '{"a": 1}' and found["chat"].choices[0].message.content == '{"a": 2}'
    frame = job.to_arrow().to_pylist()
    assert sorted((row["answer"] or "", row["embedding"] or []) for row in frame) == [
        ("", [0.5, 1.0]),
        ('{"a": 1}', []),
        ('{"a": 2}', []),
    ]
    if response_format is not None:
        assert found["response"].parsed == {"a": 1} and found["chat"].parsed == {"a": 2}
        assert [row["parsed"] for row in frame].count(None) == 1


def test_two_rows_with_one_id_are_found_before_the_first_call(run: Any, server: Server) -> None:
    rows = [{"custom_id": "x", "text": "a"}, {"custom_id": "y", "text": "b"}, {"custom_id": "x", "text": "c"}]
    with pytest.raises(
        InvalidArgumentError, match='row 2 has the id "x" of an earlier row, which asks for something else'
    ):
        run(rows, prompt="{text}")
    assert len(server.requests) == 0
    # An iterator cannot be looked through.
    asked, failures = run(iter(rows), prompt="{text}")
    assert texts(asked) == ["a", "b"]
    assert failures == ['row 2 has the id "x" of an earlier row, which asks for something else']


def test_a_slip_in_the_prompt_is_found_before_the_first_call(run: Any, server: Server) -> None:
    with pytest.raises(InvalidArgumentError, match=r'prompt names the column "txet": .* Is "text" meant'):
        run([{"text": "a", "label": "b"}], prompt="{label} {txet}")
    assert len(server.requests) == 0


def test_pictures_by_path(run: Any, tmp_path: Path) -> None:
    picture = b"\x89PNG\r\n\x1a\nx"
    (tmp_path / "a b.jpg").write_bytes(picture)
    part = {"type": "image_url", "image_url": {"url": "{picture}"}}
    rows = [
        {"picture": str(tmp_path / "a b.jpg")},
        {"picture": "https://h/b.png"},
        {"picture": picture},
        {"picture": "/none.png"},
    ]
    asked, failures = run(rows, messages=[{"role": "user", "content": [{"type": "text", "text": "What?"}, part]}])
    urls = sorted(body["messages"][0]["content"][1]["image_url"]["url"] for body in asked)
    data = f"data:image/png;base64,{base64.b64encode(picture).decode()}"
    assert urls == [data, data, "https://h/b.png"]
    assert len(failures) == 1
    assert failures[0].startswith('row 3 names the file "/none.png", which cannot be read')


def test_a_column_of_messages(run: Any) -> None:
    chat = [{"role": "system", "content": "s"}, {"role": "user", "content": "{chat}"}]
    asked, failures = run([{"chat": chat}, {"chat": json.dumps(chat)}, {"chat": "text"}], messages="{chat}")
    assert [body["messages"] for body in asked] == [chat, chat]
    assert failures == ['row 2 has no list of messages in the column "chat"']


def test_frames(run: Any) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(
        {"text": ["a", None], "n": [1.5, float("nan")], "when": pandas.to_datetime(["2026-01-02", None])}
    )
    asked, failures = run(frame, prompt="{text}|{n}|{when}")
    assert texts(asked) == ["a|1.5|2026-01-02T00:00:00", "||"]
    assert failures == []
