"""A provider with batches, for tests: OpenAI, Azure, Anthropic and Gemini, as their documentation describes them.

- https://platform.openai.com/docs/api-reference/batch and .../files
- https://learn.microsoft.com/azure/ai-foundry/openai/how-to/batch
- https://platform.claude.com/docs/en/api/messages/batches
- https://ai.google.dev/api/batch-api

`BatchProvider.script` answers the requests of a `server.Server`. It counts what was bought: each row that was answered.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from server import Answer, Request

Json = dict[str, Any]


def text_of(body: Json) -> str:
    """The text of a row's last message, in any format."""
    if "contents" in body:
        return str(body["contents"][-1]["parts"][0]["text"])
    if "input" in body:
        return str(body["input"])
    content = body["messages"][-1]["content"]
    return str(content if isinstance(content, str) else content[0]["text"])


def rfc3339(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


class Batch:
    """A batch at the provider."""

    def __init__(self, id: str, wire: str, rows: list[tuple[str, Json]], about: Json) -> None:
        self.id, self.wire, self.rows, self.about = id, wire, rows, about
        self.status = "in_progress"
        self.errors: list[Json] = []
        self.polls = 0
        self.created = time.time()
        self.results: list[tuple[str, str, Any]] = []
        """For each row: its id, its fate, and the answer or error."""


class BatchProvider:
    """The provider.

    Attributes:
        fate: what becomes of a row, by the number of its batch (from 0), its text and its body: ``"answer"``, ``"expired"``,
            ``"cancelled"``, ``"missing"``, or an error ``(status, code)``.
        end: the status in which a batch ends, by its number, or a list of errors with which it fails at once.
        reply: the text of an answer, by the row's text and its body.
        polls: number of polls after which a batch ends.
        max_enqueued: number of rows of batches that are under way at a time.
        hide: number of lists that do not have the newest batch yet.
        unread: number of looks at a file before it can be used.
        expires_at: time at which Google deletes a file.
    """

    def __init__(self) -> None:
        self.fate: Callable[[int, str, Json], Any] = lambda number, text, body: "answer"
        self.end: Callable[[int], Any] = lambda number: "completed"
        self.reply: Callable[[str, Json], str] = lambda text, body: text.upper()
        self.polls = 1
        self.max_enqueued: int | None = None
        self.hide = 0
        self.unread = 0
        self.expires_at = int(time.time()) + 172_800
        self.files: dict[str, tuple[str, bytes]] = {}
        self.batches: dict[str, Batch] = {}
        self.bought: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self.requests: list[tuple[str, str]] = []

    # Routes.

    def script(self, request: Request) -> Answer:
        path = request.target.split("?")[0]
        self.requests.append((request.method, path))
        parts = path.strip("/").split("/")
        if "messages" in parts:
            return self.anthropic(request, parts[parts.index("batches") + 1 :])
        if parts[-1].endswith(":batchGenerateContent") or "v1beta" in parts:
            return self.gemini(request, parts)
        kind = "files" if "files" in parts else "batches"
        return self.openai(request, kind, parts[parts.index(kind) + 1 :], "azure" if "openai" in parts else "openai")

    def openai(self, request: Request, kind: str, rest: list[str], wire: str) -> Answer:
        if kind == "files":
            if request.method == "POST":
                self.calls["upload"] += 1
                name, content = form_file(request.body)
                id = f"file-{len(self.files)}"
                self.files[id] = (name, content)
                return reply(self.file(id))
            if not rest:
                return reply(
                    {"object": "list", "data": [self.file(id) for id in reversed(self.files)], "has_more": False}
                )
            if len(rest) == 1:
                self.unread -= 1
                return reply(self.file(rest[0]))
            return Answer(body=self.files[rest[0]][1])
        if request.method == "POST" and not rest:
            self.calls["create"] += 1
            asked = request.json
            assert self.unread <= 0, "the file cannot be used yet"
            rows = [json.loads(line) for line in self.files[asked["input_file_id"]][1].splitlines()]
            prefix = "" if wire == "azure" else "/v1"
            assert all(row["url"] == asked["endpoint"] and row["url"].startswith(f"{prefix}/") for row in rows)
            assert asked["completion_window"] == "24h"
            assert len({row["body"]["model"] for row in rows}) == 1
            batch = self.make("batch_", wire, [(row["custom_id"], row["body"]) for row in rows], asked)
            enqueued = sum(len(one.rows) for one in self.batches.values() if one.status == "in_progress")
            if self.max_enqueued is not None and enqueued > self.max_enqueued:
                message = (
                    f"Enqueued token limit reached for {rows[0]['body']['model']} in organization o. Please try again once some "
                    "in_progress batches have been completed."
                )
                self.fail(batch, [{"code": "token_limit_exceeded", "message": message, "line": None, "param": None}])
            return reply(self.openai_batch(batch))
        if not rest:
            return reply(
                {"object": "list", "data": [self.openai_batch(one) for one in self.listed()], "has_more": False}
            )
        batch = self.batches[rest[0]]
        if rest[1:] == ["cancel"]:
            self.finish(batch, "cancelled")
        else:
            self.poll(batch)
        return reply(self.openai_batch(batch))

    def file(self, id: str) -> Json:
        name, content = self.files[id]
        return {
            "id": id,
            "object": "file",
            "bytes": len(content),
            "filename": name,
            "purpose": "batch",
            "status": "pending" if self.unread > 0 else "processed",
            "created_at": 1,
        }

    def openai_batch(self, batch: Batch) -> Json:
        fates = Counter("completed" if fate == "answer" else "failed" for _, fate, _ in batch.results)
        has = {fate for _, fate, _ in batch.results}
        return {
            "id": batch.id,
            "object": "batch",
            "status": batch.status,
            "input_file_id": batch.about["input_file_id"],
            "endpoint": batch.about["endpoint"],
            "metadata": batch.about.get("metadata"),
            "created_at": int(batch.created),
            "completed_at": int(batch.created) + 60 if batch.status != "in_progress" else None,
            "request_counts": {"total": len(batch.rows), "completed": fates["completed"], "failed": fates["failed"]},
            "errors": {"object": "list", "data": batch.errors} if batch.errors else None,
            "output_file_id": f"out-{batch.id}" if "answer" in has else None,
            "error_file_id": f"err-{batch.id}" if has - {"answer"} else None,
        }

    def anthropic(self, request: Request, rest: list[str]) -> Answer:
        if request.method == "POST" and not rest:
            self.calls["create"] += 1
            if self.max_enqueued is not None:
                enqueued = sum(len(one.rows) for one in self.batches.values() if one.status == "in_progress")
                if enqueued + len(request.json["requests"]) > self.max_enqueued:
                    error = {"type": "rate_limit_error", "message": "too many requests in the queue"}
                    return reply({"type": "error", "error": error}, 429)
            rows = [(row["custom_id"], row["params"]) for row in request.json["requests"]]
            assert all(len(id) <= 64 and id.replace("-", "").isalnum() for id, _ in rows)
            return reply(self.anthropic_batch(self.make("msgbatch_", "anthropic", rows, {})))
        if not rest:
            return reply({"data": [self.anthropic_batch(one) for one in self.listed()], "has_more": False})
        batch = self.batches[rest[0]]
        if rest[1:] == ["results"]:
            return Answer(body=self.content(batch, lambda fate: True))
        if rest[1:] == ["cancel"]:
            self.finish(batch, "cancelled")
        self.poll(batch)
        return reply(self.anthropic_batch(batch))

    def anthropic_batch(self, batch: Batch) -> Json:
        fates = Counter(fate if isinstance(fate, str) else "errored" for _, fate, _ in batch.results)
        counts = {
            "processing": len(batch.rows) if not batch.results else 0,
            "succeeded": fates["answer"],
            "errored": fates["errored"],
            "canceled": fates["cancelled"],
            "expired": fates["expired"],
        }
        is_over = batch.status != "in_progress"
        return {
            "id": batch.id,
            "type": "message_batch",
            "processing_status": "ended" if is_over else "in_progress",
            "request_counts": counts,
            "created_at": rfc3339(batch.created),
            "expires_at": rfc3339(batch.created + 86_400),
            "ended_at": rfc3339(batch.created + 60) if is_over else None,
            "cancel_initiated_at": rfc3339(batch.created) if batch.status == "cancelled" else None,
            "results_url": f"https://api.example/v1/messages/batches/{batch.id}/results" if is_over else None,
        }

    def gemini(self, request: Request, parts: list[str]) -> Answer:
        if "files" in parts:
            return self.gemini_file(request, parts)
        if parts[-1].endswith(":cancel"):
            self.finish(self.batches[f"batches/{parts[-1].removesuffix(':cancel')}"], "cancelled")
            return reply({})
        if request.method == "POST":
            self.calls["create"] += 1
            asked = request.json["batch"]
            lines = self.files[asked["inputConfig"]["fileName"]][1].splitlines()
            requests = [json.loads(line) for line in lines]
            if self.max_enqueued is not None:
                enqueued = sum(len(one.rows) for one in self.batches.values() if one.status == "in_progress")
                if enqueued + len(requests) > self.max_enqueued:
                    error = {"code": 429, "message": "Resource has been exhausted", "status": "RESOURCE_EXHAUSTED"}
                    return reply({"error": error}, 429)
            rows = [(one["key"], one["request"]) for one in requests]
            return reply(
                self.gemini_batch(self.make("batches/", "gemini", rows, {"displayName": asked["displayName"]}))
            )
        if parts[-1] == "batches":
            return reply({"operations": [self.gemini_batch(one) for one in self.listed()]})
        batch = self.batches[f"batches/{parts[-1]}"]
        self.poll(batch)
        return reply(self.gemini_batch(batch))

    def gemini_file(self, request: Request, parts: list[str]) -> Answer:
        if request.method == "POST":
            self.calls["upload"] += 1
            assert parts == ["upload", "v1beta", "files"]
            assert request.headers["x-goog-upload-protocol"] == "multipart"
            kind, _, boundary = request.headers["content-type"].partition("; boundary=")
            assert kind == "multipart/related"
            start, about, content, end = request.body.split(f"--{boundary}".encode())
            assert (start, end) == (b"", b"--\r\n")
            about, content = (part.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n") for part in (about, content))
            id = f"files/{len(self.files)}"
            self.files[id] = (json.loads(about)["file"]["displayName"], content)
            return reply({"file": self.google_file(id)})
        if parts[-1] == "files":
            return reply({"files": [self.google_file(id) for id in reversed(self.files)]})
        assert parts[0] == "download" and request.target.endswith(":download?alt=media")
        return Answer(body=self.files[f"files/{parts[-1].removesuffix(':download')}"][1])

    def google_file(self, id: str) -> Json:
        name, content = self.files[id]
        times = {"createTime": rfc3339(1.0), "expirationTime": rfc3339(self.expires_at)}
        return {"name": id, "displayName": name, "sizeBytes": str(len(content)), "state": "ACTIVE", **times}

    def gemini_batch(self, batch: Batch) -> Json:
        states = {"in_progress": "RUNNING", "completed": "SUCCEEDED"}
        metadata = {
            "@type": "type.googleapis.com/google.ai.generativelanguage.v1main.GenerateContentBatch",
            "name": batch.id,
            "displayName": batch.about["displayName"],
            "state": f"BATCH_STATE_{states.get(batch.status, batch.status.upper())}",
            "createTime": rfc3339(batch.created),
            "batchStats": {"requestCount": str(len(batch.rows))},
        }
        found: Json = {"name": batch.id, "metadata": metadata}
        if batch.status == "completed":
            file = batch.id.replace("batches/", "files/out-")
            self.files[file] = ("", self.content(batch, lambda fate: True))
            found |= {"done": True, "response": {"responsesFile": file}}
        return found

    # Life.

    def make(self, prefix: str, wire: str, rows: list[tuple[str, Json]], about: Json) -> Batch:
        batch = Batch(f"{prefix}{len(self.batches)}", wire, rows, about)
        self.batches[batch.id] = batch
        number = len(self.batches) - 1
        if isinstance(errors := self.end(number), list):
            self.fail(batch, errors)
        return batch

    def listed(self) -> list[Batch]:
        """The newest first."""
        found = list(reversed(self.batches.values()))
        for batch in found:
            self.poll(batch)
        if self.hide > 0:
            self.hide -= 1
            return found[1:]
        return found

    def fail(self, batch: Batch, errors: list[Json]) -> None:
        batch.status, batch.errors = "failed", errors

    def poll(self, batch: Batch) -> None:
        batch.polls += 1
        if batch.status == "in_progress" and batch.polls >= self.polls:
            number = list(self.batches).index(batch.id)
            self.finish(batch, self.end(number))

    def finish(self, batch: Batch, status: str) -> None:
        """Ends a batch; its results come in another order than its rows."""
        number = list(self.batches).index(batch.id)
        for id, body in reversed(batch.rows):
            fate = self.fate(number, text_of(body), body)
            answer = self.reply(text_of(body), body) if fate == "answer" else None
            if fate == "answer":
                self.bought[text_of(body)] += 1
            batch.results.append((id, fate, answer))
        batch.status = status
        if batch.wire in ("openai", "azure"):
            for name, is_in in (("out", lambda fate: fate == "answer"), ("err", lambda fate: fate != "answer")):
                self.files[f"{name}-{batch.id}"] = (f"{batch.id}_{name}.jsonl", self.content(batch, is_in))

    def content(self, batch: Batch, is_in: Callable[[Any], bool]) -> bytes:
        lines = [self.line(batch.wire, *one) for one in batch.results if is_in(one[1]) and one[1] != "missing"]
        return "".join(line + "\n" for line in lines).encode()

    def line(self, wire: str, id: str, fate: Any, answer: str | None) -> str:
        found: Json
        if wire == "anthropic":
            results = {
                "answer": {
                    "type": "succeeded",
                    "message": {
                        "id": "msg_1",
                        "type": "message",
                        "role": "assistant",
                        "model": "claude-x",
                        "content": [{"type": "text", "text": answer}],
                        "stop_reason": "end_turn",
                        "usage": {"input_tokens": 10, "output_tokens": 2},
                    },
                },
                "expired": {"type": "expired"},
                "cancelled": {"type": "canceled"},
            }
            error = {"type": fate[1], "message": f"refused: {fate[1]}"}
            result = results.get(fate) if isinstance(fate, str) else None
            found = {
                "custom_id": id,
                "result": result or {"type": "errored", "error": {"type": "error", "error": error}},
            }
        elif wire == "gemini":
            part = {"content": {"parts": [{"text": answer}], "role": "model"}, "finishReason": "STOP"}
            usage = {"promptTokenCount": 10, "candidatesTokenCount": 2, "totalTokenCount": 12}
            found = {"key": id}
            if fate == "answer":
                found["response"] = {"candidates": [part], "usageMetadata": usage}
            else:
                found["error"] = {"code": fate[0], "message": f"refused: {fate[1]}"}
        else:
            found = {"id": f"batch_req_{id}", "custom_id": id, "response": None, "error": None}
            if fate == "answer":
                found["response"] = {"status_code": 200, "request_id": f"req-{id}", "body": completion(answer or "")}
            elif fate in ("expired", "cancelled"):
                found["error"] = {"code": f"batch_{fate}", "message": f"This request was {fate}."}
            else:
                error = {"message": f"refused: {fate[1]}", "type": fate[1], "code": fate[1]}
                found["response"] = {"status_code": fate[0], "request_id": "r", "body": {"error": error}}
        return json.dumps(found)


def completion(text: str) -> Json:
    message = {"role": "assistant", "content": text}
    usage = {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}


def reply(body: Json, status: int = 200) -> Answer:
    return Answer(status, {"content-type": "application/json"}, json.dumps(body).encode())


def form_file(body: bytes) -> tuple[str, bytes]:
    """The name and the content of the file in a form."""
    rest = body.partition(b'name="file"; filename="')[2]
    boundary = body.split(b"\r\n", 1)[0]
    name, _, rest = rest.partition(b'"')
    content = rest.partition(b"\r\n\r\n")[2]
    return name.decode(), content[: content.rindex(b"\r\n" + boundary)]
