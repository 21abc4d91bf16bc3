"""The Python clients being compared, each used as its documentation shows.

Every client makes the same request (`request.json`) with one shared connection pool and reads the
text of every answer. aiohttp gets no limit on connections, with which it is fastest; the others keep
their own defaults, as their users do: httpx is twice as fast with the 20 connections that it keeps by
default as with more.
"""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    import ssl

KEY = "sk-bench"
REQUEST: dict[str, Any] = json.loads(Path(__file__).with_name("request.json").read_text())


@dataclass
class Tally:
    """Counts of what arrived, to check that everything did."""

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
    #: What it can do, of `plain`, `streams`, `threads` (blocking plain calls), `tls` and `h2`.
    kinds: ClassVar[frozenset[str]]

    @abstractmethod
    def __init__(self, base_url: str, ca: str | None) -> None:
        """`ca` is the PEM file of the authority to trust, for https."""

    async def plain(self) -> Any:
        """Make a plain call and return the answer's text, a `str`."""
        raise NotImplementedError

    async def stream(self, tally: Tally) -> None:
        """Make a streamed call and give every chunk's text to the tally."""
        raise NotImplementedError

    def blocking(self) -> Any:
        """Make a plain call that blocks its thread and return the answer's text, a `str`."""
        raise NotImplementedError


def context_of(ca: str | None) -> ssl.SSLContext | None:
    """Returns the TLS context that Python clients use for an authority's file."""
    if ca is None:
        return None
    import ssl

    return ssl.create_default_context(cafile=ca)


class RiteLLM(Client):
    title = "RiteLLM"
    distributions = ("ritellm",)
    call_us, chunk_us = 25.0, 1.0
    kinds = frozenset({"plain", "streams", "threads", "tls", "h2"})

    def __init__(self, base_url: str, ca: str | None) -> None:
        import ritellm

        of = ritellm.Client(ca_bundle=ca) if ca else ritellm
        self._acompletion, self._completion = of.acompletion, of.completion
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

    def blocking(self) -> Any:
        return self._completion(**self._arguments)["choices"][0]["message"]["content"]


class Aiohttp(Client):
    title = "aiohttp + orjson"
    distributions = ("aiohttp", "orjson")
    call_us, chunk_us = 90.0, 5.0
    kinds = frozenset({"plain", "streams", "tls"})

    def __init__(self, base_url: str, ca: str | None) -> None:
        import aiohttp
        import orjson

        self._dumps, self._loads = orjson.dumps, orjson.loads
        self._url = f"{base_url}/chat/completions"
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=context_of(ca) or True),
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
    """The same client, with the lines split by hand, so that less of aiohttp's code runs for each chunk."""

    title = "aiohttp + orjson, lines cut by hand"
    call_us, chunk_us = 90.0, 2.5
    kinds = frozenset({"streams", "tls"})

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
    call_us, chunk_us = 2500.0, 60.0
    kinds = frozenset({"plain", "streams", "threads", "tls", "h2"})

    def __init__(self, base_url: str, ca: str | None) -> None:
        httpx = self.package()
        arguments: dict[str, Any] = {
            "base_url": base_url,
            "headers": {"authorization": f"Bearer {KEY}"},
            "timeout": None,
            "http2": ca is not None,
        }
        if ca:
            arguments["verify"] = context_of(ca)
        self._client = httpx.AsyncClient(**arguments)
        self._blocking = httpx.Client(**arguments)

    def package(self) -> ModuleType:
        import httpx

        return httpx

    async def plain(self) -> Any:
        response = await self._client.post("/chat/completions", json=REQUEST)
        return self.content(response)

    async def stream(self, tally: Tally) -> None:
        request = {**REQUEST, "stream": True}
        async with self._client.stream("POST", "/chat/completions", json=request) as response:
            response.raise_for_status()
            async for line in response.aiter_lines():
                if line.startswith("data: {"):
                    chunk = json.loads(line[6:])
                    tally.read(chunk["choices"][0]["delta"].get("content"))

    def blocking(self) -> Any:
        return self.content(self._blocking.post("/chat/completions", json=REQUEST))

    def content(self, response: Any) -> Any:
        response.raise_for_status()
        return response.json()["choices"][0]["message"]["content"]


class Httpx2(Httpx):
    """The HTTP client that newer versions of the openai package use."""

    title = "httpx2"
    distributions = ("httpx2",)

    def package(self) -> ModuleType:
        import httpx2

        return httpx2


class OpenAI(Client):
    title = "openai"
    distributions = ("openai",)
    call_us, chunk_us = 1500.0, 75.0
    kinds = frozenset({"plain", "streams", "threads", "tls"})

    def __init__(self, base_url: str, ca: str | None) -> None:
        import openai

        settings: dict[str, Any] = {"api_key": KEY, "base_url": base_url}
        asynchronous, blocking = dict(settings), dict(settings)
        if ca:
            asynchronous["http_client"] = openai.DefaultAsyncHttpxClient(verify=context_of(ca))
            blocking["http_client"] = openai.DefaultHttpxClient(verify=context_of(ca))
        self._create = openai.AsyncOpenAI(**asynchronous).chat.completions.create
        self._create_blocking = openai.OpenAI(**blocking).chat.completions.create

    async def plain(self) -> Any:
        response = await self._create(**REQUEST)
        return response.choices[0].message.content

    async def stream(self, tally: Tally) -> None:
        async for chunk in await self._create(**REQUEST, stream=True):
            if chunk.choices:
                tally.read(chunk.choices[0].delta.content)

    def blocking(self) -> Any:
        return self._create_blocking(**REQUEST).choices[0].message.content


class LiteLLM(Client):
    title = "litellm"
    distributions = ("litellm",)
    call_us, chunk_us = 2200.0, 330.0
    kinds = frozenset({"plain", "streams", "threads", "tls"})

    def __init__(self, base_url: str, ca: str | None) -> None:
        # Otherwise the import fetches a table of prices from the network.
        os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
        if ca:
            os.environ["SSL_CERT_FILE"] = ca
        import litellm

        self._acompletion, self._completion = litellm.acompletion, litellm.completion
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

    def blocking(self) -> Any:
        return self._completion(**self._arguments).choices[0].message.content


class LiterLLM(Client):
    title = "liter-llm"
    distributions = ("liter-llm",)
    call_us, chunk_us = 130.0, 70.0
    # Without `tls`: it trusts only the authorities that are compiled into it.
    kinds = frozenset({"plain", "streams"})

    def __init__(self, base_url: str, ca: str | None) -> None:
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


class Aimux(Client):
    """Its calls block; its documentation uses threads for concurrent calls."""

    title = "aimux"
    distributions = ("arcships-aimux",)
    call_us, chunk_us = 150.0, 50.0
    kinds = frozenset({"threads"})

    def __init__(self, base_url: str, ca: str | None) -> None:
        import aimux

        self._generate_text: Any = aimux.generate_text_as_openai
        self._model = aimux.openai(KEY, REQUEST["model"], base_url)

    def blocking(self) -> Any:
        return self._generate_text(self._model, REQUEST["messages"])["choices"][0]["message"]["content"]


CLIENTS: dict[str, type[Client]] = {
    "ritellm": RiteLLM,
    "aiohttp": Aiohttp,
    "aiohttp-split": AiohttpSplit,
    "httpx": Httpx,
    "httpx2": Httpx2,
    "liter-llm": LiterLLM,
    "openai": OpenAI,
    "litellm": LiteLLM,
    "aimux": Aimux,
}
