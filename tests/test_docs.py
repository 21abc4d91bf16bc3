"""The documentation's Python examples, run as they stand.

Every block that is marked ``python`` in README.md and docs/*.md is executed, page by page from top to bottom in one
namespace, against a server that answers as a model would; `await` outside a function is taken. A block that cannot run
has a comment above it that says why: ``<!-- not run: it needs a GPU -->``.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from providers import FORMATS
from server import KEY, Answer, Json, Piece, Request, Server, chunk_of, chunks_of, events, plain, stream_of

import ritellm.local
from ritellm import _core

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@dataclass
class Block:
    """One example."""

    page: Path
    line: int
    source: str
    reason: str | None
    """The reason why it is not run, or `None`."""

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks_of(page: Path) -> list[Block]:
    blocks: list[Block] = []
    lines = page.read_text().splitlines()
    opened: tuple[int, str, str] | None = None
    source: list[str] = []
    comment = ""
    for number, line in enumerate(lines, 1):
        fence = re.match(r"(\s*)(`{3,}|~{3,})\s*(\w*)", line)
        if opened is not None:
            if fence and fence[2].startswith(opened[1]) and not fence[3]:
                if opened[2] in ("python", "py"):
                    not_run = re.search(r"<!--\s*not run:\s*(.*?)\s*-->", comment)
                    blocks.append(Block(page, opened[0], "\n".join(source) + "\n", not_run[1] if not_run else None))
                opened, comment = None, ""
            else:
                source.append(line)
        elif fence:
            opened, source = (number, fence[2], fence[3].lower()), []
        elif line.strip():
            comment = line
    return blocks


BLOCKS = [block for page in PAGES if page.exists() for block in blocks_of(page)]


NATIVE = {
    ("anthropic", "/messages"),
    ("gemini", ":generateContent"),
    ("bedrock", "/converse"),
    ("cohere", "/v2/chat"),
    ("ollama_chat", "/api/chat"),
}
"""Providers with a format that no other has, and how the paths of their chats end."""


def native_answer(path: str) -> Answer | None:
    """Returns the answer of the fuzz targets' seeds in the format of this path, if it is not OpenAI's."""
    for provider, end in NATIVE:
        if path.partition("?")[0].endswith(end):
            seeds = json.loads((ROOT / "tests/answers.json").read_text())
            chats = (each for each in seeds if each["provider"] == provider and not each["stream"])
            return Answer(body=json.dumps(next(chats)["events"][0]["data"]).encode())
    return None


def answer_as_a_model(request: Request) -> Answer:
    """Returns a tool call if tools are offered and none was used yet, JSON if it is requested, and text otherwise."""
    if (native := native_answer(request.path)) is not None:
        return native
    path = request.path.rsplit("/v1", 1)[-1]
    if path.startswith("/files") or "/batches" in path:
        return resource_of(request, path)
    asked = request.json
    if path.endswith("/audio/speech"):
        return Answer(headers=[("content-type", "audio/mpeg")], body=b"ID3" * 400)
    if path.endswith("/rerank"):
        results = [{"index": index, "relevance_score": 1 / (index + 1)} for index in range(len(asked["documents"]))]
        return Answer(body=json.dumps({"results": results}).encode())
    if request.path.endswith("/embeddings"):
        return embeddings_of(asked)
    if request.path.endswith("/responses"):
        return response_of(asked)
    schema = ((asked.get("response_format") or {}).get("json_schema") or {}).get("schema")
    used = any(message["role"] == "tool" for message in asked["messages"])
    tools = [tool["function"] for tool in asked.get("tools") or [] if tool.get("type") == "function"]
    if tools and not used and asked.get("tool_choice") != "none":
        arguments = json.dumps(example_of(tools[0].get("parameters") or {}))
        call = {"id": "call_1", "type": "function", "function": {"name": tools[0]["name"], "arguments": arguments}}
        if request.wants_stream:
            deltas: list[Json] = [{"role": "assistant", "content": None, "tool_calls": [{"index": 0, **call}]}]
            return stream_of(*events([*map(chunk_of, deltas), chunk_of({}, "tool_calls")]))
        return plain(None, message={"tool_calls": [call]}, choice={"finish_reason": "tool_calls"})
    wants_json = (asked.get("response_format") or {}).get("type", "text") != "text"
    text = json.dumps(example_of(schema or {"type": "object"})) if wants_json else "Of course: here you are."
    reasoning: Json = {"reasoning_content": "Let me think."} if asked.get("reasoning_effort") else {}
    headers = {"x-request-id": "req_1", "x-ratelimit-remaining-requests": "99"}
    if request.wants_stream:
        chunks = chunks_of(*re.findall(r"\S+\s*", text))
        if reasoning:
            chunks.insert(1, chunk_of(reasoning))
        pieces: list[Piece] = events(chunks)
        return stream_of(*pieces, headers=headers)
    return plain(text, message=reasoning, headers=headers)


def resource_of(request: Request, path: str) -> Answer:
    """Returns files in OpenAI's format and batches in Anthropic's, which have ended as soon as they are created."""
    if path.endswith("/content"):
        return Answer(headers=[("content-type", "application/octet-stream")], body=b"{}\n")
    if path.endswith("/results"):
        message = {"id": "m", "type": "message", "role": "assistant", "content": [{"type": "text", "text": "Seven."}]}
        lines = [{"custom_id": str(n), "result": {"type": "succeeded", "message": message}} for n in range(2)]
        return Answer(body="\n".join(map(json.dumps, lines)).encode())
    if "/batches" in path:
        body: Json = {"id": "msgbatch_1", "processing_status": "ended", "results_url": "https://h/results"}
        return Answer(body=json.dumps(body).encode())
    file = {"id": "file-1", "object": "file", "filename": "rows.jsonl", "deleted": True}
    is_list = path == "/files" and request.method == "GET"
    return Answer(body=json.dumps({"data": [file], "has_more": False} if is_list else file).encode())


def embeddings_of(asked: Json) -> Answer:
    count = 1 if isinstance(asked["input"], str) else len(asked["input"])
    vector = [1.0] + [0.0] * (asked.get("dimensions", 4) - 1)
    data = [{"object": "embedding", "index": index, "embedding": vector} for index in range(count)]
    body = {"object": "list", "data": data, "model": "m", "usage": {"prompt_tokens": count, "total_tokens": count}}
    return Answer(body=json.dumps(body).encode())


def response_of(asked: Json) -> Answer:
    content = [{"type": "output_text", "text": "Seven.", "annotations": []}]
    output = [{"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": content}]
    usage = {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}
    response = {"id": "resp_1", "object": "response", "status": "completed", "output": output, "usage": usage}
    if not asked.get("stream"):
        return Answer(body=json.dumps(response).encode())
    delta = {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": "Seven."}
    return stream_of(*events([delta, {"type": "response.completed", "response": response}], done=False))


def example_of(schema: Json, root: Json | None = None) -> Any:
    """A value that a JSON schema allows."""
    root = root or schema
    if "$ref" in schema:
        return example_of(root["$defs"][schema["$ref"].removeprefix("#/$defs/")], root)
    if "enum" in schema:
        return schema["enum"][0]
    match schema.get("type"):
        case "string":
            return "Paris"
        case "integer" | "number":
            return 7
        case "boolean":
            return True
        case "array":
            return [example_of(schema.get("items") or {}, root)]
        case _:
            return {name: example_of(inner, root) for name, inner in (schema.get("properties") or {}).items()}


@dataclass
class Run:
    """The state of a page whose examples were run so far: later examples use the names of earlier ones."""

    namespace: Json = field(default_factory=lambda: {"__name__": "__main__"})
    done: list[Block] = field(default_factory=list)


RUNS: dict[Path, Run] = {}


def execute(block: Block, namespace: Json) -> None:
    # Line numbers in a traceback are the page's.
    source = "\n" * block.line + block.source
    code = compile(source, str(block.page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    if code.co_flags & inspect.CO_COROUTINE:

        async def main() -> None:
            await eval(code, namespace)

        asyncio.run(main())
    else:
        exec(code, namespace)


@pytest.fixture(scope="module")
def model() -> Iterator[Server]:
    server = Server()
    server.script = answer_as_a_model
    yield server
    server.close()
    assert not server.failures


@pytest.fixture
def every_provider(model: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sends the calls of every provider to the server, including the local model's."""
    for row in _core.providers():
        for name in row["base_url_variables"]:
            monkeypatch.setenv(name, model.base_url)
        for name in row["key_variables"]:
            monkeypatch.setenv(name, KEY)

    async def abase_url(_: str) -> str:
        return model.base_url

    monkeypatch.setattr(ritellm.local, "base_url", lambda _: model.base_url)
    monkeypatch.setattr(ritellm.local, "abase_url", abase_url)


@pytest.fixture
def logger_as_before() -> Iterator[None]:
    logger = logging.getLogger("ritellm")
    level = logger.level
    yield
    logger.setLevel(level)


@pytest.mark.parametrize("block", BLOCKS, ids=str)
@pytest.mark.usefixtures("logger_as_before")
def test_example(
    block: Block, every_provider: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any
) -> None:
    if block.reason is not None:
        assert block.reason, f"{block} is not run, and does not say why"
        compile(block.source, str(block), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        pytest.skip(f"not run: {block.reason}")
    monkeypatch.chdir(tmp_path)
    run = RUNS.setdefault(block.page, Run())
    for earlier in BLOCKS:
        if (
            earlier.page == block.page
            and earlier.line < block.line
            and earlier.reason is None
            and earlier not in run.done
        ):
            run.done.append(earlier)
            execute(earlier, run.namespace)
    run.done.append(block)
    environment = dict(os.environ)
    execute(block, run.namespace)
    added = set(os.environ.keys() - environment.keys())
    for name in added:
        monkeypatch.delenv(name)


def test_the_example_of_a_router() -> None:
    example = subprocess.run(
        [sys.executable, str(ROOT / "examples/limits_and_router.py"), "1"], capture_output=True, text=True, timeout=60
    )
    assert (example.returncode, example.stderr) == (0, "")
    state = r"primary: \d+ calls, \d+ refused, .+  secondary: \d+ calls, 0 refused, open *"
    without, declared = re.findall(rf"20 calls a second, (.+):\n{state}\n", example.stdout)
    assert (without, declared) == ("without limits", "with the primary's limit declared")


def test_blocks_are_found(tmp_path: Path) -> None:
    """Checks the parser of examples that the test above relies on."""
    page = tmp_path / "page.md"
    page.write_text(
        "```python\na = 1\n```\n\n<!-- not run: slow -->\n\n```python\nb\n```\n```sh\nls\n```\n````py\nc = '''\n```\n'''\n````\n"
    )
    found = [(block.source, block.reason) for block in blocks_of(page)]
    assert found == [("a = 1\n", None), ("b\n", "slow"), ("c = '''\n```\n'''\n", None)]


def test_every_format_has_an_answer_here() -> None:
    assert {provider for provider, _ in NATIVE} == FORMATS


def test_every_page_that_should_be_there_is() -> None:
    assert (ROOT / "README.md").exists()
