"""Writes the initial inputs of the fuzzer into fuzz/corpus/: one small response of each kind that the decoders support.

python fuzz/seeds.py
"""

from __future__ import annotations

import base64
import json
import struct
import zlib
from pathlib import Path
from typing import Any

CORPUS = Path(__file__).with_name("corpus")

USAGE = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
CALL = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}

ANSWERS: dict[str, Any] = {
    "openai chat": {
        "id": "c",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hi", "tool_calls": [CALL]},
                "finish_reason": "stop",
            }
        ],
        "usage": USAGE,
    },
    "mistral chat": {
        "choices": [
            {
                "index": 0,
                "message": {
                    "content": [
                        {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
                        {"type": "text", "text": "Hi"},
                    ]
                },
                "finish_reason": "stop",
            }
        ]
    },
    "deepseek chat": {"choices": [{"index": 0, "message": {"content": "Hi", "reasoning_content": "hm"}}]},
    "anthropic chat": {
        "id": "m",
        "type": "message",
        "role": "assistant",
        "model": "c",
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": "c2ln"},
            {"type": "redacted_thinking", "data": "AA=="},
            {"type": "text", "text": "Hi", "citations": [{"type": "char_location", "cited_text": "H"}]},
            {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}},
            {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
        ],
        "stop_reason": "tool_use",
        "stop_sequence": None,
        "usage": {"input_tokens": 9, "output_tokens": 3, "cache_read_input_tokens": 1},
    },
    "gemini chat": {
        "candidates": [
            {
                "index": 0,
                "content": {
                    "role": "model",
                    "parts": [
                        {"text": "hm", "thought": True},
                        {"text": "Hi", "thoughtSignature": "AA=="},
                        {"functionCall": {"name": "f", "args": {"a": 1}}},
                        {"inlineData": {"mimeType": "image/png", "data": "AA=="}},
                        {"executableCode": {"language": "PYTHON", "code": "1"}},
                    ],
                },
                "finishReason": "STOP",
                "groundingMetadata": {},
                "safetyRatings": [],
            }
        ],
        "promptFeedback": {"blockReason": "SAFETY"},
        "usageMetadata": {
            "promptTokenCount": 9,
            "candidatesTokenCount": 3,
            "thoughtsTokenCount": 1,
            "totalTokenCount": 13,
        },
        "modelVersion": "g",
        "responseId": "r",
    },
    "bedrock chat": {
        "output": {
            "message": {
                "role": "assistant",
                "content": [
                    {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "s"}}},
                    {"text": "Hi"},
                    {"toolUse": {"toolUseId": "t", "name": "f", "input": {"a": 1}}},
                ],
            }
        },
        "stopReason": "tool_use",
        "usage": {"inputTokens": 9, "outputTokens": 3, "totalTokens": 12},
        "metrics": {"latencyMs": 1},
    },
    "cohere chat": {
        "id": "c",
        "finish_reason": "COMPLETE",
        "message": {
            "role": "assistant",
            "content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "Hi"}],
            "tool_plan": "p",
            "tool_calls": [CALL],
            "citations": [{"start": 0, "end": 1, "text": "H", "sources": []}],
        },
        "usage": {
            "billed_units": {"input_tokens": 9, "output_tokens": 3},
            "tokens": {"input_tokens": 9, "output_tokens": 3},
        },
    },
    "ollama_chat chat": {
        "model": "m",
        "created_at": "2026-01-01T00:00:00Z",
        "message": {
            "role": "assistant",
            "content": "Hi",
            "thinking": "hm",
            "tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}],
        },
        "done": True,
        "done_reason": "stop",
        "prompt_eval_count": 9,
        "eval_count": 3,
    },
    "openai embedding": {"data": [{"index": 0, "embedding": base64.b64encode(struct.pack("<2f", 1, 2)).decode()}]},
    "cohere embedding": {"id": "e", "embeddings": {"float": [[0.5, 1]]}, "meta": {"billed_units": {"input_tokens": 1}}},
    "gemini embedding": {"embeddings": [{"values": [0.5, 1]}]},
    "vertex embedding": {"predictions": [{"embeddings": {"values": [0.5], "statistics": {"token_count": 1}}}]},
    "bedrock embedding": {"embedding": [0.5, 1], "inputTextTokenCount": 1},
    "voyage embedding": {"data": [{"index": 0, "embedding": "AACAPw=="}], "usage": {"total_tokens": 1}},
    "openai responses": {
        "id": "r",
        "output": [{"type": "message", "content": [{"type": "output_text", "text": "Hi"}]}],
    },
}

ERRORS: dict[str, Any] = {
    "openai chat 429": {
        "error": {"message": "no", "type": "insufficient_quota", "code": "insufficient_quota", "param": None}
    },
    "anthropic chat 529": {"type": "error", "error": {"type": "overloaded_error", "message": "no"}, "request_id": "r"},
    "gemini chat 400": [
        {"error": {"code": 400, "message": "no", "status": "INVALID_ARGUMENT", "details": [{"retryDelay": "3s"}]}}
    ],
    "bedrock chat 400": {"__type": "x#ValidationException", "message": "no"},
    "cohere chat 422": {"message": "no", "id": "e"},
    "azure chat 400": {
        "error": {"code": "content_filter", "message": "no", "innererror": {"code": "ResponsibleAIPolicyViolation"}}
    },
    "ollama_chat chat 404": {"error": "no"},
    "groq chat 413": {"detail": [{"msg": "no", "loc": ["body"]}]},
}


def sse(*events: Any, names: bool = False) -> bytes:
    written = b""
    for event in events:
        if names:
            written += f"event: {event['type']}\n".encode()
        written += b"data: " + (event if isinstance(event, bytes) else dumped(event)) + b"\n\n"
    return written


def dumped(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def chunk(**delta: Any) -> Any:
    return {"id": "c", "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}


def named(*events: tuple[str, Any]) -> bytes:
    return b"\n".join(name.encode() + b"\t" + dumped(data) for name, data in events)


STREAMS: dict[str, bytes] = {
    "openai chat": sse(
        chunk(role="assistant", content=""),
        chunk(content="Hi"),
        chunk(tool_calls=[CALL]),
        {"id": "c", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": USAGE},
        b"[DONE]",
    ),
    "mistral chat": sse(
        chunk(content=[{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]),
        chunk(content="Hi"),
        b"[DONE]",
    ),
    "groq chat": sse(chunk(reasoning="hm"), chunk(content="Hi"), {"error": {"message": "no", "code": 500}}),
    "openai responses": sse(
        {"type": "response.created", "response": {"id": "r"}},
        {"type": "response.output_text.delta", "delta": "Hi"},
        {"type": "response.completed", "response": {"id": "r", "output": []}},
        names=True,
    ),
    "anthropic chat": sse(
        {"type": "message_start", "message": {"id": "m", "model": "c", "usage": {"input_tokens": 9}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "hm"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "s"}},
        {"type": "content_block_stop", "index": 0},
        {
            "type": "content_block_start",
            "index": 1,
            "content_block": {"type": "tool_use", "id": "t", "name": "f", "input": {}},
        },
        {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": '{"a":1}'}},
        {"type": "content_block_stop", "index": 1},
        {"type": "content_block_start", "index": 2, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 2, "delta": {"type": "text_delta", "text": "Hi"}},
        {"type": "ping"},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 3}},
        {"type": "message_stop"},
        names=True,
    ),
    "gemini chat": sse(ANSWERS["gemini chat"], ANSWERS["gemini chat"]),
    "cohere chat": sse(
        {"type": "message-start", "id": "c", "delta": {"message": {"role": "assistant"}}},
        {"type": "content-start", "index": 0, "delta": {"message": {"content": {"type": "text", "text": ""}}}},
        {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": "Hi"}}}},
        {"type": "content-end", "index": 0},
        {"type": "tool-call-start", "index": 0, "delta": {"message": {"tool_calls": CALL}}},
        {
            "type": "tool-call-delta",
            "index": 0,
            "delta": {"message": {"tool_calls": {"function": {"arguments": "{}"}}}},
        },
        {"type": "citation-start", "index": 0, "delta": {"message": {"citations": {"start": 0, "end": 1}}}},
        {"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": {"tokens": {"input_tokens": 9}}}},
        names=True,
    ),
    "ollama_chat chat": b"\n".join(
        dumped({**ANSWERS["ollama_chat chat"], "done": done, "done_reason": "stop" if done else None})
        for done in (False, True)
    ),
    "bedrock chat": named(
        ("messageStart", {"role": "assistant"}),
        ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"reasoningContent": {"text": "hm"}}}),
        ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"reasoningContent": {"signature": "s"}}}),
        ("contentBlockStop", {"contentBlockIndex": 0}),
        ("contentBlockStart", {"contentBlockIndex": 1, "start": {"toolUse": {"toolUseId": "t", "name": "f"}}}),
        ("contentBlockDelta", {"contentBlockIndex": 1, "delta": {"toolUse": {"input": '{"a":1}'}}}),
        ("contentBlockDelta", {"contentBlockIndex": 2, "delta": {"text": "Hi"}}),
        ("messageStop", {"stopReason": "end_turn"}),
        ("metadata", {"usage": {"inputTokens": 9, "outputTokens": 3, "totalTokens": 12}}),
    ),
}


HTTP1 = [
    b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\nhi\r\n0\r\nx: y\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
    b"HTTP/1.0 200 OK\nconnection: keep-alive\nx: a\n b\n\nhi",
    b"HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n",
    b"HTTP/1.1 200\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\nA\r\n0123456789\r\n0\r\n\r\n",
]


def frame(name: str, content: bytes) -> bytes:
    """https://smithy.io/2.0/aws/amazon-eventstream.html"""

    def header(key: str, value: str) -> bytes:
        return bytes([len(key)]) + key.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode()

    headers = (
        header(":message-type", "event") + header(":event-type", name) + header(":content-type", "application/json")
    )
    prelude = struct.pack(">II", len(headers) + len(content) + 16, len(headers))
    begun = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + content
    return begun + struct.pack(">I", zlib.crc32(begun))


def main() -> None:
    # An input of these targets begins with the byte that chooses where the body is split.
    write("sse", "plain", b"\x01" + STREAMS["anthropic chat"])
    write("sse", "odd", b"\x02\xef\xbb\xbf: comment\r\nretry: 1\r\nid: 2\rdata: a\rdata:b\r\n\r\nevent: x\n\ndata\n\n")
    batch = {"custom_id": "a", "method": "POST", "url": "/v1/embeddings", "body": {"model": "m", "input": "x"}}
    body = {"messages": [{"role": "user", "content": "caf\u00e9"}], "temperature": 0.0}
    lines = "".join(json.dumps(row) + "\n" for row in (batch, body, body, {"custom_id": "a", **body}))
    write("rows", "lines", b"\x01" + lines.encode())
    write("rows", "csv", b'\x02custom_id,input\na,"x, y"\n\nb,"a ""b""\nc"\n')
    write("ndjson", "plain", b"\x03" + STREAMS["ollama_chat chat"] + b"\r\n\n{}")
    frames = [
        frame("messageStart", b'{"role":"assistant"}'),
        frame("contentBlockDelta", b'{"contentBlockIndex":0,"delta":{"text":"Hi"}}'),
    ]
    write("event_stream", "plain", b"\x04" + b"".join(frames))
    for number, answer in enumerate(HTTP1):
        write("http1", str(number), b"\x07" + answer)
        write("http1_peers", str(number), b"\x00" + answer)
        # With an odd first byte, the other bytes choose the parts of a response.
        write("http1_peers", f"made-{number}", bytes((number * step + 1) % 256 for step in range(1, 48)))
    for number in range(32):
        write("mutants", str(number), bytes([number, number * 7, 0, number]))
    choices = bytes(range(34))
    for number, (name, error) in enumerate(ERRORS.items()):
        said = dumped(error).replace(b'"no"', b'"no \0"')
        write("secrets", name, f"{name}\n".encode() + choices + bytes([number, 0]) + said)
    for number, name in enumerate(STREAMS):
        said = STREAMS[name].replace(b'"Hi"', b'"\0"', 1)
        write("secrets", f"stream {name}", f"{name} 5\n".encode() + choices + bytes([number, 0]) + said)
    for name, answer in ANSWERS.items():
        write("answers", name, f"{name} 200\n".encode() + dumped(answer))
    for name, error in ERRORS.items():
        write("answers", name, f"{name}\n".encode() + dumped(error))
    for name, stream in STREAMS.items():
        write("streams", name, f"{name} 5\n".encode() + stream)
    for number, text in enumerate(
        [
            '{"a":[1,-2.5e3,true,false,null,"\\u00e9\\ud83d\\ude00\\n"],"a":{"b":{}}}',
            "[" * 50 + "]" * 50,
            "123456789012345678901234567890",
            "[1e999,-0.0,1E-400,0.1]",
            '"\\ud800"',
            '"é😀"',
        ]
    ):
        write("objects", str(number), text.encode())
    write("objects", "answer", dumped(ANSWERS["openai chat"]))


def write(target: str, name: str, content: bytes) -> None:
    folder = CORPUS / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"seed-{name.replace(' ', '-')}").write_bytes(content)


if __name__ == "__main__":
    main()
