"""Tests of rerank, speech, files and batches: requests and results, sync and async."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import pickle
from collections.abc import Callable
from email import message_from_bytes
from pathlib import Path
from typing import Any, ClassVar

import pytest
from server import Answer, Close, Pause, Request, Server

import ritellm
from ritellm import (
    APIResponseValidationError,
    Client,
    IncompleteStreamError,
    InvalidArgumentError,
    UnsupportedParamsError,
)

Run = Callable[..., Any]


@pytest.fixture(params=["sync", "async"])
def run(request: pytest.FixtureRequest, server: Server) -> Run:
    """Calls a method of a client, or its async twin: ``run("rerank", …)``, ``run("files.retrieve", …)``."""
    client = Client(api_key="k", base_url=server.base_url, max_retries=0)

    def call(name: str, *arguments: Any, **options: Any) -> Any:
        owner, _, method = name.rpartition(".")
        target = getattr(client, owner) if owner else client
        if request.param == "sync":
            result = getattr(target, method)(*arguments, **options)
            return list(result) if options.get("stream") else result

        async def main() -> Any:
            result = await getattr(target, "a" + method)(*arguments, **options)
            return [chunk async for chunk in result] if options.get("stream") else result

        return asyncio.run(main())

    return call


def answer(body: Any, kind: str = "application/json", **more: Any) -> Answer:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Answer(headers=[("content-type", kind)], body=content, **more)


class TestRerank:
    DOCUMENTS = ("red", "green", "blue")

    @pytest.mark.parametrize(
        ("model", "path", "top"),
        [
            ("cohere/rerank-v3.5", "/v2/rerank", "top_n"),
            ("jina/jina-reranker-v2", "/v1/rerank", "top_n"),
            ("voyage/rerank-2.5", "/v1/rerank", "top_k"),
            ("together_ai/Salesforce/Llama-Rank", "/v1/rerank", "top_n"),
            ("vllm/BAAI/bge-reranker", "/v1/rerank", "top_n"),
        ],
    )
    def test_each_host(self, run: Run, server: Server, model: str, path: str, top: str) -> None:
        items = [{"index": 2, "relevance_score": 0.1}, {"index": 0, "relevance_score": 0.9}]
        name = "data" if model.startswith("voyage") else "results"
        server.answer(answer({name: items, "usage": {"total_tokens": 4}}))
        response = run("rerank", model, "a colour", self.DOCUMENTS, top_n=2)
        assert isinstance(response, ritellm.RerankResponse) and isinstance(response.results[0], ritellm.RerankResult)
        assert [(item.index, item.relevance_score) for item in response.results] == [(0, 0.9), (2, 0.1)]
        assert response.usage.total_tokens == 4
        assert response.results[0].document is None
        assert response.meta.provider == model.partition("/")[0]
        request = server.last
        assert request.path == path and request.headers["authorization"] == "Bearer k"
        sent = request.json
        assert sent == {
            "model": model.partition("/")[2],
            "query": "a colour",
            "documents": list(self.DOCUMENTS),
            top: 2,
        }

    @pytest.mark.parametrize(("provider", "is_sent"), [("cohere", False), ("jina", True)])
    def test_documents_are_returned_where_that_is_asked(
        self, run: Run, server: Server, provider: str, is_sent: bool
    ) -> None:
        server.answer(answer({"results": [{"index": 1, "relevance_score": 1}]}))
        response = run("rerank", f"{provider}/m", "q", [{"text": "a"}, "b"], return_documents=True)
        assert response.results[0].document.text == "b"
        assert ("return_documents" in server.last.json) is is_sent

    def test_an_error_under_a_good_status(self, run: Run, server: Server) -> None:
        server.answer(answer({"detail": "no such model"}))
        with pytest.raises(ritellm.RiteLLMError, match="no such model"):
            run("rerank", "jina/m", "q", ["a"])

    def test_what_cannot_be_sent(self, run: Run, server: Server) -> None:
        for query, documents, name in [(None, ["a"], "query"), (7, ["a"], "query"), ("q", "text", "documents")]:
            with pytest.raises(InvalidArgumentError, match=name):
                run("rerank", "jina/m", query, documents)
        with pytest.raises(InvalidArgumentError, match="rankings do not come as a stream"):
            run("rerank", "jina/m", "q", ["a"], stream=True)
        with pytest.raises(UnsupportedParamsError, match=r"anthropic has no rankings; these have: .*cohere"):
            run("rerank", "anthropic/m", "q", ["a"])
        assert not server.requests


class TestSpeech:
    AUDIO = bytes(range(256)) * 40

    def test_whole(self, run: Run, server: Server) -> None:
        server.answer(answer(b"\xef\xbb\xbf" + self.AUDIO, "audio/mpeg"))
        audio = run("speech", "openai/tts-1", "Hello", "alloy", speed=1.5)
        assert isinstance(audio, bytes) and audio == b"\xef\xbb\xbf" + self.AUDIO
        assert audio.content == audio.read() == bytes(audio)
        assert audio.meta.headers["content-type"] == "audio/mpeg"
        assert server.last.path == "/v1/audio/speech"
        assert server.last.headers["accept"] == "*/*"
        assert server.last.json == {"model": "tts-1", "input": "Hello", "speed": 1.5, "voice": "alloy"}
        again = pickle.loads(pickle.dumps(audio))
        assert again == audio and again.meta.provider == "openai"

    def test_to_a_file(self, run: Run, server: Server, tmp_path: Path) -> None:
        server.answer(answer(self.AUDIO, "audio/wav"))
        run("speech", "groq/playai-tts", "Hello", "Fritz").write_to_file(tmp_path / "a.wav")
        assert (tmp_path / "a.wav").read_bytes() == self.AUDIO

    def test_as_it_comes(self, run: Run, server: Server) -> None:
        pieces = [self.AUDIO[:1000], Pause(0.01), self.AUDIO[1000:]]
        server.answer(Answer(headers=[("content-type", "audio/mpeg")], body=pieces, framing="chunked"))
        chunks = run("speech", "openai/tts-1", "Hello", "alloy", stream=True)
        assert all(type(chunk) is bytes for chunk in chunks) and len(chunks) > 1
        assert b"".join(chunks) == self.AUDIO
        assert "stream" not in server.last.json

    def test_one_that_breaks_off_is_incomplete(self, run: Run, server: Server) -> None:
        for framing in ("chunked", "length"):
            pieces = [self.AUDIO, Pause(0.05), Close(), b"more"]
            server.answer(Answer(headers=[("content-type", "audio/mpeg")], body=pieces, framing=framing))  # type: ignore[arg-type]
            with pytest.raises(IncompleteStreamError):
                run("speech", "openai/tts-1", "Hello", "alloy", stream=True)

    def test_json_is_no_audio(self, run: Run, server: Server) -> None:
        server.answer(answer({"error": {"message": "no voice"}}))
        for options in ({}, {"stream": True}):
            with pytest.raises(ritellm.RiteLLMError, match="no voice"):
                run("speech", "openai/tts-1", "Hello", "alloy", **options)
        server.answer(answer({"x": 1}))
        with pytest.raises(APIResponseValidationError):
            run("speech", "openai/tts-1", "Hello", "alloy")

    def test_a_stream_of_bytes_has_no_completion(self, server: Server) -> None:
        server.answer(answer(self.AUDIO, "audio/mpeg"))
        with Client(api_key="k", base_url=server.base_url).speech("openai/m", "x", "v", stream=True) as stream:
            assert b"".join(stream) == self.AUDIO
            assert stream.text == "" and not hasattr(stream, "completion")
            assert stream.meta.provider == "openai"

    def test_on_azure(self, server: Server) -> None:
        server.answer(answer(self.AUDIO, "audio/mpeg"))
        root = server.url
        Client(api_key="k", base_url=root).speech("azure/tts", "x", "v")
        assert server.last.path == "/openai/deployments/tts/audio/speech"
        assert server.last.headers["api-key"] == "k"


def form_of(request: Request) -> dict[str, tuple[str | None, str | None, bytes]]:
    """A form's fields: file name, media type and content of each, as Python's own parser reads them."""
    head = f"content-type: {request.headers['content-type']}\r\n\r\n".encode()
    fields = {}
    for part in message_from_bytes(head + request.body).get_payload():
        assert not isinstance(part, str)
        name = part.get_param("name", header="content-disposition")
        kind = part.get("content-type")
        fields[str(name)] = (part.get_filename(), kind, part.get_payload(decode=True))
    return fields  # type: ignore[return-value]


FILE = {"id": "file-1", "object": "file", "bytes": 3, "filename": "a.jsonl", "purpose": "batch", "status": "processed"}


class TestFiles:
    def test_a_path(self, run: Run, server: Server, tmp_path: Path) -> None:
        path = tmp_path / "rows.jsonl"
        content = os.urandom(700_000)
        path.write_bytes(content)
        server.answer(answer(FILE))
        for file in (str(path), path):
            made = run(
                "files.create", "openai", file, purpose="batch", expires_after={"anchor": "created_at", "seconds": 9}
            )
            assert isinstance(made, ritellm.FileObject) and made.id == "file-1"
            assert (server.last.method, server.last.path) == ("POST", "/v1/files")
            fields = form_of(server.last)
            assert hashlib.sha256(fields["file"][2]).digest() == hashlib.sha256(content).digest()
            assert fields["file"][:2] == ("rows.jsonl", "application/jsonl")
            assert fields["purpose"][2] == b"batch" and fields["expires_after[seconds]"][2] == b"9"

    def test_bytes_and_file_objects(self, run: Run, server: Server, tmp_path: Path) -> None:
        (tmp_path / "b.pdf").write_bytes(b"%PDF")
        server.answer(answer(FILE))
        with open(tmp_path / "b.pdf", "rb") as opened:
            for file, name, kind, content in [
                (b"a", "upload", "application/octet-stream", b"a"),
                (bytearray(b""), "upload", "application/octet-stream", b""),
                (("x.json", b"{}"), "x.json", "application/json", b"{}"),
                (("x", b"{}", "text/x"), "x", "text/x", b"{}"),
                (opened, "b.pdf", "application/pdf", b"%PDF"),
            ]:
                run("files.create", "openai", file, purpose="user_data")
                assert form_of(server.last)["file"] == (name, kind, content)

    def test_what_is_no_file(self, run: Run, server: Server, tmp_path: Path) -> None:
        with open(__file__) as text:
            for file, why in [
                (7, "file is of type int"),
                (tmp_path / "none", "No such file"),
                (tmp_path, "no regular file"),
                (text, "reads no bytes"),
                (("a",), "a tuple of 1"),
                ((7, b""), r"file\[0\] is of type int"),
                (("a", b"", "a\nb"), "no media type"),
                (None, "file is of type NoneType"),
            ]:
                with pytest.raises(InvalidArgumentError, match=why):
                    run("files.create", "openai", file, purpose="batch")
        assert not server.requests

    def test_each_attempt_sends_the_whole_file(self, server: Server, tmp_path: Path) -> None:
        path = tmp_path / "a.bin"
        path.write_bytes(b"0123456789" * 50_000)
        server.answer(answer({"error": {"message": "later"}}, status=503), answer(FILE))
        Client(api_key="k", base_url=server.base_url).files.create("openai", path, purpose="batch")
        assert [len(form_of(request)["file"][2]) for request in server.requests] == [500_000, 500_000]

    def test_a_file_that_has_become_shorter_ends_the_call(self, server: Server, tmp_path: Path) -> None:
        fifo = tmp_path / "a.bin"
        fifo.write_bytes(b"x" * 3_000_000)

        def headers(_: dict[str, Any]) -> dict[str, str]:
            os.truncate(fifo, 1000)
            return {}

        client = Client(api_key="k", base_url=server.base_url, request_headers=headers, timeout=20)
        with pytest.raises(InvalidArgumentError, match="has become shorter"):
            client.files.create("openai", fifo, purpose="batch")

    def test_a_file_of_any_size_takes_no_memory(self, server: Server, tmp_path: Path, run_program: Any) -> None:
        path = tmp_path / "large.bin"
        with open(path, "wb") as file:
            file.truncate(300_000_000)
        program = """
            import resource, socket, sys, threading
            from ritellm import Client
            listening = socket.create_server(("127.0.0.1", 0))
            def serve():
                connection, _ = listening.accept()
                received, head = 0, b""
                while b"\\r\\n\\r\\n" not in head:
                    head += connection.recv(65536)
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\\r\\n")[0])
                received = len(head.partition(b"\\r\\n\\r\\n")[2])
                while received < length:
                    received += len(connection.recv(1 << 20))
                connection.sendall(b'HTTP/1.1 200 OK\\r\\ncontent-length: 10\\r\\n\\r\\n{"id":"f"}')
            threading.Thread(target=serve, daemon=True).start()
            client = Client(api_key="k", base_url=f"http://127.0.0.1:{listening.getsockname()[1]}/v1")
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            assert client.files.create("openai", sys.argv[1], purpose="batch").id == "f"
            print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
        """
        assert int(run_program(program, str(path)).check()) < 30_000

    def test_retrieve_and_delete(self, run: Run, server: Server) -> None:
        server.answer(answer(FILE))
        assert run("files.retrieve", "openai", "file-1").filename == "a.jsonl"
        request = server.last
        assert (request.method, request.target, request.body) == ("GET", "/v1/files/file-1", b"")
        assert "content-type" not in request.headers and "content-length" not in request.headers
        server.answer(answer({"id": "file-1", "object": "file", "deleted": True}))
        assert run("files.delete", "openai", "file-1").deleted is True
        assert server.last.method == "DELETE"

    @pytest.mark.parametrize("file_id", ["", "  ", None, 7, "..", "a/../b"])
    def test_an_id_leads_nowhere_else(self, run: Run, server: Server, file_id: Any) -> None:
        server.answer(answer(FILE))
        try:
            run("files.retrieve", "openai", file_id)
        except InvalidArgumentError:
            assert not server.requests
        else:
            assert server.last.target == "/v1/files/a%2F..%2Fb"

    @pytest.mark.parametrize("kind", ["application/octet-stream", "application/json"])
    def test_content(self, run: Run, server: Server, kind: str) -> None:
        content = b'\xef\xbb\xbf{"error": 1}\n' * 3000
        server.answer(answer(content, kind))
        assert run("files.content", "openai", "f") == content
        assert server.last.target == "/v1/files/f/content"
        assert b"".join(run("files.content", "openai", "f", stream=True)) == content

    def test_pages(self, server: Server) -> None:
        def script(request: Request) -> Answer:
            first = int(request.query.get("after", "0"))
            data = [{"id": str(number), "object": "file"} for number in range(first + 1, first + 3)]
            return answer({"object": "list", "data": data, "has_more": first < 4, "last_id": data[-1]["id"]})

        server.script = script
        client = Client(api_key="k", base_url=server.base_url)
        files = client.files.list("openai", purpose="batch", limit=2)
        assert [file.id for file in files] == ["1", "2", "3", "4", "5", "6"]
        assert all(isinstance(file, ritellm.FileObject) for file in files)
        assert server.requests[0].query == {"purpose": "batch", "limit": "2"}
        assert files.page("2").data[0].id == "3"

        async def main() -> list[str]:
            return [file.id async for file in client.files.list("openai", after="2")]

        assert asyncio.run(main()) == ["3", "4", "5", "6"]

    def test_a_list_that_never_ends_is_left(self, server: Server) -> None:
        server.answer(answer({"data": [{"id": "1"}], "has_more": True, "last_id": "1"}))
        files = Client(api_key="k", base_url=server.base_url).files.list("openai")
        assert [file.id for file in files] == ["1"]

    @pytest.mark.parametrize(
        ("options", "target"),
        [
            ({"api_version": "2025-01-01"}, "/openai/files/f?api-version=2025-01-01"),
            ({"api_version": "v1"}, "/openai/v1/files/f?api-version=v1"),
        ],
    )
    def test_on_azure(self, server: Server, options: dict[str, Any], target: str) -> None:
        server.answer(answer(FILE))
        Client(api_key="k", base_url=server.url).files.retrieve("azure", "f", **options)
        assert server.last.target == target

    def test_who_has_none(self, run: Run) -> None:
        with pytest.raises(UnsupportedParamsError, match="anthropic has no files; these have: openai, groq"):
            run("files.retrieve", "anthropic", "f")
        with pytest.raises(InvalidArgumentError, match='provider is "nobody"'):
            run("files.retrieve", "nobody", "f")


ROWS: list[dict[str, Any]] = [
    {"custom_id": "a", "body": {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 5}},
    {"custom_id": "b", "body": {"model": "m", "messages": [{"role": "user", "content": "Ho"}], "max_tokens": 6}},
]
BATCH = {"id": "batch_1", "object": "batch", "status": "in_progress", "output_file_id": None, "error_file_id": None}


def of_path(**answers: Any) -> Callable[[Request], Answer]:
    """Answers by the request's method and path: ``GET_files`` …, the first that the target holds."""

    def script(request: Request) -> Answer:
        for name, body in answers.items():
            method, _, rest = name.partition("_")
            if request.method == method and rest.replace("_", "/") in request.target:
                return body if isinstance(body, Answer) else answer(body)
        raise AssertionError(f"nobody expected {request.method} {request.target}")

    return script


class TestBatchesInFiles:
    def test_rows_are_uploaded_and_the_batch_made(self, run: Run, server: Server) -> None:
        server.script = of_path(POST_v1_files=FILE, POST_v1_batches=BATCH)
        rows = [{**row, "body": {**row["body"], "model": "openai/m"}} for row in ROWS]
        batch = run("batches.create", "openai", requests=iter(rows), metadata={"x": "y"})
        assert isinstance(batch, ritellm.Batch) and batch.status == "in_progress"
        upload, made = server.requests
        name, kind, content = form_of(upload)["file"]
        assert (name, kind) == ("requests.jsonl", "application/jsonl")
        lines = [json.loads(line) for line in content.splitlines()]
        expected = [{"method": "POST", "url": "/v1/chat/completions", **row} for row in ROWS]
        assert lines == expected
        assert made.json == {
            "metadata": {"x": "y"},
            "input_file_id": "file-1",
            "endpoint": "/v1/chat/completions",
            "completion_window": "24h",
        }

    def test_a_file_that_is_there(self, run: Run, server: Server) -> None:
        server.answer(answer(BATCH))
        run("batches.create", "groq", input_file_id="f", endpoint="/v1/embeddings")
        assert server.last.json["endpoint"] == "/v1/embeddings"

    def test_what_is_no_batch(self, run: Run, server: Server) -> None:
        for options, why in [
            ({}, "requests is None"),
            ({"requests": ROWS, "input_file_id": "f"}, "give one"),
            ({"requests": []}, "requests is empty"),
            ({"requests": [{"custom_id": "a"}]}, r"requests\[0\] is no row"),
            ({"requests": [ROWS[0], ROWS[0]]}, r"requests\[1\] has the custom_id 'a'"),
        ]:
            with pytest.raises(InvalidArgumentError, match=why):
                run("batches.create", "openai", **options)
        assert not server.requests

    def test_states(self, run: Run, server: Server) -> None:
        server.answer(answer(BATCH))
        assert run("batches.retrieve", "openai", "batch_1").id == "batch_1"
        assert (server.last.method, server.last.path) == ("GET", "/v1/batches/batch_1")
        assert run("batches.cancel", "openai", "batch_1").id == "batch_1"
        assert (server.last.method, server.last.path) == ("POST", "/v1/batches/batch_1/cancel")
        assert server.last.body == b"" and server.last.headers["content-length"] == "0"

    def test_list(self, server: Server) -> None:
        server.answer(answer({"object": "list", "data": [BATCH], "has_more": False}))
        (batch,) = Client(api_key="k", base_url=server.base_url).batches.list("openai", limit=3)
        assert isinstance(batch, ritellm.Batch)
        assert server.last.target == "/v1/batches?limit=3"

    def test_wait_and_results(self, server: Server) -> None:
        done = {**BATCH, "status": "completed", "output_file_id": "out", "error_file_id": "err"}
        lines = [{"custom_id": "a", "response": {"status_code": 200, "body": {"choices": []}}, "error": None}]
        states = iter([BATCH, BATCH, done, done, BATCH, done, done])
        others = of_path(
            GET_files_out=answer(b"\n".join(json.dumps(line).encode() for line in lines), "application/octet-stream"),
            GET_files_err=answer(b'{"custom_id":"b","response":null,"error":{"code":"x"}}\n', "application/json"),
        )
        server.script = lambda request: answer(next(states)) if "batches" in request.target else others(request)
        client = Client(api_key="k", base_url=server.base_url)
        batch = client.batches.wait("openai", "batch_1", poll=0.01)
        assert batch.status == "completed"
        expected = [("a", None), ("b", "x")]
        assert [
            (line.custom_id, line.error and line.error.code) for line in client.batches.results("openai", batch)
        ] == expected
        assert [line.custom_id for line in client.batches.results("openai", "batch_1")] == ["a", "b"]

        async def main() -> list[str]:
            batch = await client.batches.await_("openai", "batch_1", poll=0.01)
            first = [line.custom_id async for line in client.batches.aresults("openai", batch)]
            return first + [line.custom_id async for line in client.batches.aresults("openai", "batch_1")]

        assert asyncio.run(main()) == ["a", "b", "a", "b"]

    def test_one_that_has_not_ended(self, server: Server) -> None:
        server.answer(answer(BATCH))
        client = Client(api_key="k", base_url=server.base_url)
        with pytest.raises(InvalidArgumentError, match="in_progress"):
            list(client.batches.results("openai", "batch_1"))
        with pytest.raises(ritellm.Timeout, match="max_wait"):
            client.batches.wait("openai", "batch_1", poll=0.01, max_wait=0.05)


# <https://platform.claude.com/docs/en/api/messages/batches/retrieve>
CLAUDE_BATCH = {
    "id": "msgbatch_1",
    "type": "message_batch",
    "processing_status": "ended",
    "request_counts": {"processing": 0, "succeeded": 1, "errored": 1, "canceled": 0, "expired": 1},
    "created_at": "2024-08-20T18:37:24.100435Z",
    "expires_at": "2024-08-21T18:37:24.100435Z",
    "ended_at": "2024-08-20T19:37:24Z",
    "cancel_initiated_at": None,
    "archived_at": None,
    "results_url": "https://api.anthropic.com/v1/messages/batches/msgbatch_1/results",
}
MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-x",
    "content": [{"type": "text", "text": "Hello!"}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 3, "output_tokens": 2},
}


class TestBatchesOfAnthropic:
    def test_rows_are_in_the_batch(self, run: Run, server: Server) -> None:
        server.answer(answer({**CLAUDE_BATCH, "processing_status": "in_progress", "results_url": None}))
        batch = run("batches.create", "anthropic", requests=ROWS)
        assert (server.last.method, server.last.path) == ("POST", "/v1/messages/batches")
        assert server.last.headers["x-api-key"] == "k" and server.last.headers["anthropic-version"]
        rows = server.last.json["requests"]
        assert [row["custom_id"] for row in rows] == ["a", "b"]
        assert rows[0]["params"]["max_tokens"] == 5 and rows[0]["params"]["model"] == "m"
        assert rows[1]["params"]["messages"][0]["role"] == "user"
        assert (batch.id, batch.status, batch.output_file_id) == ("msgbatch_1", "in_progress", None)
        assert batch.provider_specific_fields["anthropic"]["type"] == "message_batch"

    def test_states(self, run: Run, server: Server) -> None:
        server.answer(answer(CLAUDE_BATCH))
        batch = run("batches.retrieve", "anthropic", "msgbatch_1")
        assert (server.last.method, server.last.path) == ("GET", "/v1/messages/batches/msgbatch_1")
        assert (batch.status, batch.output_file_id) == ("completed", "msgbatch_1")
        assert batch.request_counts == {"total": 3, "completed": 1, "failed": 2}
        assert (batch.created_at, batch.completed_at) == (1724179044, 1724182644)
        server.answer(
            answer({**CLAUDE_BATCH, "processing_status": "canceling", "cancel_initiated_at": "2024-08-20T18:40:00Z"})
        )
        assert run("batches.cancel", "anthropic", "msgbatch_1").status == "cancelling"
        assert (server.last.method, server.last.path) == ("POST", "/v1/messages/batches/msgbatch_1/cancel")

    def test_list(self, server: Server) -> None:
        def script(request: Request) -> Answer:
            last = "after_id" in request.query
            one = {**CLAUDE_BATCH, "id": "msgbatch_2" if last else "msgbatch_1"}
            return answer({"data": [one], "has_more": not last, "first_id": one["id"], "last_id": one["id"]})

        server.script = script
        client = Client(api_key="k", base_url=server.base_url)
        assert [batch.id for batch in client.batches.list("anthropic", limit=1)] == ["msgbatch_1", "msgbatch_2"]
        assert server.requests[1].query == {"limit": "1", "after_id": "msgbatch_1"}

    def test_results(self, server: Server) -> None:
        lines = [
            {"custom_id": "a", "result": {"type": "succeeded", "message": MESSAGE}},
            {
                "custom_id": "b",
                "result": {
                    "type": "errored",
                    "error": {"type": "error", "error": {"type": "invalid_request_error", "message": "no"}},
                },
            },
            {"custom_id": "c", "result": {"type": "expired"}},
        ]
        body = b"\n".join(json.dumps(line).encode() for line in lines)
        server.script = of_path(
            GET_batches_msgbatch_1_results=answer(body, "application/x-jsonl"), GET_batches_msgbatch_1=CLAUDE_BATCH
        )
        # `of_path` takes underscores for slashes.
        server.script = lambda request: (
            answer(body, "application/x-jsonl") if request.target.endswith("/results") else answer(CLAUDE_BATCH)
        )
        client = Client(api_key="k", base_url=server.base_url)
        results = {line.custom_id: line for line in client.batches.results("anthropic", "msgbatch_1")}
        completion = results["a"].response.body
        assert completion.choices[0].message.content == "Hello!"
        assert completion.choices[0].finish_reason == "stop" and completion.usage.total_tokens == 5
        assert results["b"].response is None
        assert results["b"].error == {"code": "invalid_request_error", "message": "no"}
        assert results["c"].error.code == "batch_expired"

    def test_a_row_that_cannot_be_sent_is_named(self, run: Run, server: Server) -> None:
        rows = [{"custom_id": "q", "body": {"model": "claude-x", "messages": [], "logit_bias": {"1": 1}}}]
        with pytest.raises(UnsupportedParamsError, match=r'the row "q": .*logit_bias'):
            run("batches.create", "anthropic", requests=rows)
        assert not server.requests


# <https://ai.google.dev/gemini-api/docs/batch-api>
GEMINI_BATCH: dict[str, Any] = {
    "name": "batches/123",
    "metadata": {
        "@type": "type.googleapis.com/google.ai.generativelanguage.v1main.GenerateContentBatch",
        "model": "models/gemini-2.5-flash",
        "displayName": "ritellm",
        "createTime": "2025-07-10T23:00:00.5Z",
        "endTime": "2025-07-10T23:10:00Z",
        "batchStats": {"requestCount": "2", "successfulRequestCount": "1", "failedRequestCount": "1"},
        "state": "BATCH_STATE_SUCCEEDED",
        "name": "batches/123",
    },
    "done": True,
    "response": {
        "inlinedResponses": {
            "inlinedResponses": [
                {
                    "response": {
                        "candidates": [
                            {
                                "content": {"role": "model", "parts": [{"text": "Hello!"}]},
                                "finishReason": "STOP",
                                "index": 0,
                            }
                        ],
                        "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 2, "totalTokenCount": 5},
                        "modelVersion": "gemini-2.5-flash",
                    },
                    "metadata": {"key": "a"},
                },
                {"error": {"code": 3, "message": "no"}, "metadata": {"key": "b"}},
            ]
        }
    },
}


class TestFilesOfGemini:
    FILE: ClassVar = {
        "name": "files/a1",
        "displayName": "rows.jsonl",
        "mimeType": "application/jsonl",
        "sizeBytes": "12",
        "createTime": "2026-01-01T00:00:00Z",
        "expirationTime": "2026-01-03T00:00:00Z",
        "state": "ACTIVE",
    }

    def test_an_upload_is_one_request(self, run: Run, server: Server) -> None:
        server.answer(answer({"file": self.FILE}))
        file = run("files.create", "gemini", ("rows.jsonl", b'{"key": "a"}'), purpose="batch")
        assert (server.last.method, server.last.target) == ("POST", "/upload/v1/files")
        assert server.last.headers["x-goog-upload-protocol"] == "multipart"
        kind, _, boundary = server.last.headers["content-type"].partition("; boundary=")
        assert kind == "multipart/related"
        assert (
            server.last.body
            == (
                f"--{boundary}\r\nContent-Type: application/json; charset=utf-8\r\n\r\n"
                '{"file":{"displayName":"rows.jsonl"}}'
                f"\r\n--{boundary}\r\nContent-Type: application/jsonl\r\n\r\n"
                f'{{"key": "a"}}\r\n--{boundary}--\r\n'
            ).encode()
        )
        assert (file.id, file.filename, file.bytes, file.status) == ("files/a1", "rows.jsonl", 12, "processed")
        assert file.expires_at - file.created_at == 2 * 86_400
        server.answer(answer({"file": {}}))
        with pytest.raises(APIResponseValidationError, match="something that is no file"):
            run("files.create", "gemini", ("rows.jsonl", b""), purpose="batch")

    def test_states_lists_and_deletions(self, run: Run, server: Server) -> None:
        server.answer(answer({**self.FILE, "state": "PROCESSING"}))
        assert run("files.retrieve", "gemini", "a1").status == "pending"
        assert (server.last.method, server.last.target) == ("GET", "/v1/files/a1")
        server.answer(answer({}))
        assert run("files.delete", "gemini", "files/a1") == {"id": "files/a1", "object": "file", "deleted": True}
        assert (server.last.method, server.last.target) == ("DELETE", "/v1/files/a1")

    def test_list(self, server: Server) -> None:
        def script(request: Request) -> Answer:
            last = "pageToken" in request.query
            return answer(
                {"files": [{"name": "files/2" if last else "files/1"}], **({} if last else {"nextPageToken": "t"})}
            )

        server.script = script
        files = Client(api_key="k", base_url=server.base_url).files.list("gemini", limit=1)
        assert [file.id for file in files] == ["files/1", "files/2"]
        assert server.requests[1].query == {"pageSize": "1", "pageToken": "t"}

    def test_a_batch_of_a_file(self, run: Run, server: Server) -> None:
        server.answer(answer({"name": "batches/1", "metadata": {"state": "BATCH_STATE_PENDING"}}))
        options = {"input_file_id": "files/a1", "batch_model": "gemini-2.5-flash", "display_name": "mine"}
        assert run("batches.create", "gemini", **options).id == "batches/1"
        assert server.last.target == "/v1/models/gemini-2.5-flash:batchGenerateContent"
        assert server.last.json == {"batch": {"displayName": "mine", "inputConfig": {"fileName": "files/a1"}}}
        with pytest.raises(InvalidArgumentError, match="batch_model"):
            run("batches.create", "gemini", input_file_id="files/a1")


class TestBatchesOfGemini:
    def test_rows_are_in_the_batch(self, run: Run, server: Server) -> None:
        server.answer(answer({"name": "batches/123", "metadata": {"state": "BATCH_STATE_PENDING"}}))
        rows = [{**row, "body": {**row["body"], "model": "gemini/gemini-2.5-flash"}} for row in ROWS]
        batch = run("batches.create", "gemini", requests=rows)
        assert server.last.target == "/v1/models/gemini-2.5-flash:batchGenerateContent"
        sent = server.last.json["batch"]["inputConfig"]["requests"]["requests"]
        assert [row["metadata"]["key"] for row in sent] == ["a", "b"]
        assert sent[0]["request"]["contents"][0]["parts"] == [{"text": "Hi"}]
        assert (batch.id, batch.status) == ("batches/123", "validating")
        rows[1]["body"]["model"] = "gemini-2.0-flash"
        with pytest.raises(InvalidArgumentError, match=r"requests\[1\] is for gemini-2.0-flash"):
            run("batches.create", "gemini", requests=rows)

    def test_states(self, run: Run, server: Server) -> None:
        server.answer(answer(GEMINI_BATCH))
        for batch_id in ("batches/123", "123"):
            batch = run("batches.retrieve", "gemini", batch_id)
            assert (server.last.method, server.last.path) == ("GET", "/v1/batches/123")
        assert (batch.status, batch.output_file_id) == ("completed", "batches/123")
        assert batch.request_counts == {"total": 2, "completed": 1, "failed": 1}
        assert batch.created_at == 1752188400
        server.answer(answer({}))
        assert run("batches.cancel", "gemini", "batches/123").status == "cancelling"
        assert (server.last.method, server.last.path) == ("POST", "/v1/batches/123:cancel")

    def test_list(self, server: Server) -> None:
        def script(request: Request) -> Answer:
            last = "pageToken" in request.query
            one = {**GEMINI_BATCH, "name": "batches/2" if last else "batches/1"}
            return answer({"operations": [one], **({} if last else {"nextPageToken": "t"})})

        server.script = script
        batches = Client(api_key="k", base_url=server.base_url).batches.list("gemini", limit=1)
        assert [batch.id for batch in batches] == ["batches/1", "batches/2"]
        assert server.requests[1].query == {"pageSize": "1", "pageToken": "t"}

    def test_results_in_the_batch(self, server: Server) -> None:
        server.answer(answer(GEMINI_BATCH))
        client = Client(api_key="k", base_url=server.base_url)
        results = {line.custom_id: line for line in client.batches.results("gemini", "batches/123")}
        assert results["a"].response.body.choices[0].message.content == "Hello!"
        assert results["b"].error == {"code": 3, "message": "no"}

    def test_results_in_a_file(self, server: Server) -> None:
        inlined = GEMINI_BATCH["response"]["inlinedResponses"]["inlinedResponses"]
        lines = [
            {"key": line["metadata"]["key"], **{k: v for k, v in line.items() if k != "metadata"}} for line in inlined
        ]
        body = b"\n".join(json.dumps(line).encode() for line in lines) + b"\n"
        batch = {**GEMINI_BATCH, "response": {"responsesFile": "files/out"}}
        server.script = lambda request: (
            answer(body, "application/json") if request.target.startswith("/download/") else answer(batch)
        )
        client = Client(api_key="k", base_url=server.base_url)
        results = {line.custom_id: line for line in client.batches.results("gemini", "123")}
        assert server.last.target == "/download/v1/files/out:download?alt=media"
        assert results["a"].response.body.usage.total_tokens == 5 and results["b"].error.message == "no"


def test_every_operation_has_a_provider_and_every_name_is_known() -> None:
    names = {name for row in ritellm._core.providers() for name in row["operations"]}
    assert {"chat", "embedding", "responses", "rerank", "speech", "file_create", "batch_results"} <= names
    with pytest.raises(ValueError, match='no operation "sing"'):
        Client(api_key="k").call("sing", "openai/m", "x", {})
