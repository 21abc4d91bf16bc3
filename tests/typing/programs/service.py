"""A web service."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from typing_extensions import assert_type

import ritellm
from ritellm import ChatCompletion, Client, Message

MODEL = "openai/gpt-4o-mini"
client = Client(timeout={"total": 60}, max_in_flight=100)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
    yield
    await client.aclose(timeout=30)


app = FastAPI(lifespan=lifespan)


class Question(BaseModel):
    messages: list[Message]
    options: dict[str, Any] = {}


class Ticket(BaseModel):
    title: str


@app.exception_handler(ritellm.RiteLLMError)
async def failed(_: Request, error: Exception) -> JSONResponse:
    reply = ritellm.http_error(error)
    assert_type(reply.status, int)
    return JSONResponse(reply.body, reply.status, reply.headers)


@app.post("/chat")
async def chat(question: Question, request: Request) -> ChatCompletion:
    response = await ritellm.while_connected(request, client.acompletion(MODEL, question.messages, temperature=0))
    assert_type(response, ChatCompletion)
    return response


@app.post("/stream", response_model=None)
async def stream(question: Question) -> Response:
    return ritellm.sse(client.acompletion(MODEL, question.messages, stream=True), keep_alive=15)


@app.post("/lines", response_model=None)
async def lines(text: str) -> ritellm.EventStream:
    async def words() -> AsyncIterator[dict[str, str]]:
        async for chunk in await client.acompletion(MODEL, [Message.user(text)], stream=True):
            yield {"text": chunk.choices[0].delta.content or ""}

    return ritellm.ndjson(words())


@app.post("/tickets")
async def ticket(text: str, request: Request) -> Ticket:
    call = client.acompletion(MODEL, [Message.user(text)], response_format=Ticket, validation_retries=1)
    answer = await ritellm.while_connected(request, call)
    assert_type(answer.parsed, Ticket)
    return answer.parsed


@app.get("/stats")
async def stats() -> dict[str, int]:
    counts = client.stats()
    return {"calls": counts["calls"], "openai": counts["by_provider"]["openai"]["retries"]}
