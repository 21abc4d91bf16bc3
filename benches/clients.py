"""The Python clients being compared, each used as its documentation shows.

Every client makes the same request (`request.json`) with one shared connection pool and reads the
text of every answer. The hand-written ones get no limit on connections; the libraries keep their
own defaults, as their users do.
"""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

KEY = "sk-bench"
REQUEST: dict[str, Any] = json.loads(Path(__file__).with_name("request.json").read_text())


@dataclass
class Tally:
    """What came back, to show that everything did."""

    chunks: int = 0
    characters: int = 0

    def read(self, content: str | None) -> None:
        """Count a streamed chunk and the text of its delta."""
        self.chunks += 1
        if content:
            self.characters += len(content)


class Client(ABC):
    """One client: how to call it, and roughly what it costs.

    The costs (CPU per plain call and per streamed chunk, in µs) only decide how many calls make up
    a measurement. Imports belong in `__init__`, so that a process holds no client but its own.
    """

    title: ClassVar[str]
    distributions: ClassVar[tuple[str, ...]]
    call_us: ClassVar[float]
    chunk_us: ClassVar[float]
    streams_only: ClassVar[bool] = False

    @abstractmethod
    def __init__(self, base_url: str) -> None: ...

    @abstractmethod
    async def plain(self) -> Any:
        """Make a plain call and return the answer's text, a `str`."""

    @abstractmethod
    async def stream(self, tally: Tally) -> None:
        """Make a streamed call and give every chunk's text to the tally."""


class RiteLLM(Client):
    title = "RiteLLM"
    distributions = ("ritellm",)
    call_us, chunk_us = 25.0, 1.0

    def __init__(self, base_url: str) -> None:
        from ritellm import acompletion

        self._acompletion = acompletion
        self._arguments = {
            **REQUEST,
            "model": f"openai/{REQUEST['model']}",
            "base_url": base_url,
            "api_key": KEY,
        }

    async def plain(self) -> Any:
        response = await self._acompletion(**self._arguments)
        return response["choices"][0]["message"]["content"]

    async def stream(self, tally: Tally) -> None:
        async for chunk in await self._acompletion(**self._arguments, stream=True):
            if chunk["choices"]:
                tally.read(chunk["choices"][0]["delta"].get("content"))


class Aiohttp(Client):
    title = "aiohttp + orjson"
    distributions = ("aiohttp", "orjson")
    call_us, chunk_us = 90.0, 5.0

    def __init__(self, base_url: str) -> None:
        import aiohttp
        import orjson

        self._dumps, self._loads = orjson.dumps, orjson.loads
        self._url = f"{base_url}/chat/completions"
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            headers={"content-type": "application/json", "authorization": f"Bearer {KEY}"},
        )

    async def plain(self) -> Any:
        async with self._session.post(self._url, data=self._dumps(REQUEST)) as response:
            response.raise_for_status()
            body = self._loads(await response.read())
        return body["choices"][0]["message"]["content"]

    async def stream(self, tally: Tally) -> None:
        request = self._dumps({**REQUEST, "stream": True})
        async with self._session.post(self._url, data=request) as response:
            response.raise_for_status()
            async for line in response.content:
                if line.startswith(b"data: {"):
                    chunk = self._loads(line[6:])
                    tally.read(chunk["choices"][0]["delta"].get("content"))


class AiohttpSplit(Aiohttp):
    """The same, with the lines cut by hand: less code of aiohttp's runs for each chunk."""

    title = "aiohttp + orjson, lines cut by hand"
    call_us, chunk_us = 90.0, 2.5
    streams_only = True

    async def stream(self, tally: Tally) -> None:
        request = self._dumps({**REQUEST, "stream": True})
        rest = b""
        async with self._session.post(self._url, data=request) as response:
            response.raise_for_status()
            async for data in response.content.iter_any():
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    if line.startswith(b"data: {"):
                        chunk = self._loads(line[6:])
                        tally.read(chunk["choices"][0]["delta"].get("content"))


class Httpx(Client):
    title = "httpx"
    distributions = ("httpx",)
    call_us, chunk_us = 5500.0, 60.0

    def __init__(self, base_url: str) -> None:
        import httpx

        self._client = httpx.AsyncClient(
            base_url=base_url,
            headers={"authorization": f"Bearer {KEY}"},
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=None),
            timeout=None,
        )

    async def plain(self) -> Any:
        response = await self._client.post("/chat/completions", json=REQUEST)
        response.raise_for_status()
        return response.json()["choices"][0]["message"]["content"]

    async def stream(self, tally: Tally) -> None:
        request = {**REQUEST, "stream": True}
        async with self._client.stream("POST", "/chat/completions", json=request) as response:
            response.raise_for_status()
            async for line in response.aiter_lines():
                if line.startswith("data: {"):
                    chunk = json.loads(line[6:])
                    tally.read(chunk["choices"][0]["delta"].get("content"))


class OpenAI(Client):
    title = "openai"
    distributions = ("openai",)
    call_us, chunk_us = 5500.0, 75.0

    def __init__(self, base_url: str) -> None:
        from openai import AsyncOpenAI

        self._create = AsyncOpenAI(api_key=KEY, base_url=base_url).chat.completions.create

    async def plain(self) -> Any:
        response = await self._create(**REQUEST)
        return response.choices[0].message.content

    async def stream(self, tally: Tally) -> None:
        async for chunk in await self._create(**REQUEST, stream=True):
            if chunk.choices:
                tally.read(chunk.choices[0].delta.content)


class LiteLLM(Client):
    title = "litellm"
    distributions = ("litellm",)
    call_us, chunk_us = 2200.0, 330.0

    def __init__(self, base_url: str) -> None:
        # Without it the import fetches a table of prices from the network.
        os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
        import litellm

        self._acompletion = litellm.acompletion
        self._arguments = {
            **REQUEST,
            "model": f"openai/{REQUEST['model']}",
            "api_base": base_url,
            "api_key": KEY,
        }

    async def plain(self) -> Any:
        response = await self._acompletion(**self._arguments)
        return response.choices[0].message.content

    async def stream(self, tally: Tally) -> None:
        async for chunk in await self._acompletion(**self._arguments, stream=True):
            if chunk.choices:
                tally.read(chunk.choices[0].delta.content)


class LiterLLM(Client):
    title = "liter-llm"
    distributions = ("liter-llm",)
    call_us, chunk_us = 130.0, 70.0

    def __init__(self, base_url: str) -> None:
        import liter_llm

        self._chat: Any = liter_llm.chat
        self._chat_stream: Any = liter_llm.chat_stream
        self._client = liter_llm.create_client(api_key=KEY, base_url=base_url)
        self._new_request = liter_llm.ChatCompletionRequest
        self._arguments = {**REQUEST, "model": f"openai/{REQUEST['model']}"}

    async def plain(self) -> Any:
        response = await self._chat(self._client, self._new_request(**self._arguments))
        return str(response.choices[0].message.content)

    async def stream(self, tally: Tally) -> None:
        request = self._new_request(**self._arguments)
        async for chunk in self._chat_stream(self._client, request):
            if chunk.choices:
                tally.read(chunk.choices[0].delta.content)


CLIENTS: dict[str, type[Client]] = {
    "ritellm": RiteLLM,
    "aiohttp": Aiohttp,
    "aiohttp-split": AiohttpSplit,
    "httpx": Httpx,
    "liter-llm": LiterLLM,
    "openai": OpenAI,
    "litellm": LiteLLM,
}
