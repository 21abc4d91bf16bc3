"""Tests of admission: `max_in_flight`, file descriptors, the timeout `queue`; and of idle connections."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest
from server import KEY, MESSAGES, Answer, Pause, Server, Stall, chunks_of, completion_of, events, plain, stream_of

from ritellm import Client, InvalidArgumentError, RateLimitError, Timeout


def client_of(server: Server, **settings: Any) -> Client:
    return Client(**{"base_url": server.base_url, "api_key": KEY, "max_retries": 0, **settings})


def late(pause: float) -> Answer:
    answer = plain()
    answer.before = [Pause(pause)]
    return answer


async def until(holds: Any) -> None:
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


class TestMaxInFlight:
    async def test_never_more(self, server: Server) -> None:
        server.answer(late(0.02))
        client = client_of(server, max_in_flight=3)
        await asyncio.gather(*(client.acompletion("openai/m", MESSAGES) for _ in range(20)))
        assert server.connections <= 3
        assert client.stats()["calls"] == 20

    async def test_who_waits_is_counted_apart(self, server: Server) -> None:
        server.answer(Answer(before=[Stall()]))
        client = client_of(server, max_in_flight=2)
        calls = [asyncio.create_task(client.acompletion("openai/m", MESSAGES)) for _ in range(5)]
        await until(lambda: len(server.requests) == 2)
        stats = client.stats()
        assert (stats["in_flight"], stats["waiting"]) == (2, 3)
        assert (stats["by_provider"]["openai"]["in_flight"], stats["by_provider"]["openai"]["waiting"]) == (2, 3)
        # One that waits, and one that does not: the next in line has its place.
        calls[0].cancel()
        calls[4].cancel()
        await until(lambda: len(server.requests) == 3)
        assert client.stats()["waiting"] == 1
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        await until(lambda: client.stats()["in_flight"] == 0)
        assert client.stats()["waiting"] == 0

    async def test_a_stream_has_its_place_until_its_end(self, server: Server) -> None:
        server.answer(stream_of(*events(chunks_of("a"))), plain())
        client = client_of(server, max_in_flight=1, timeout={"queue": 0.2})
        stream = await client.acompletion("openai/m", MESSAGES, stream=True)
        async for _ in stream:
            pass
        assert await client.acompletion("openai/m", MESSAGES) == completion_of()

    @pytest.mark.parametrize("part", ["queue", "pool"])
    async def test_waiting_has_its_own_limit(self, server: Server, part: str) -> None:
        server.answer(Answer(before=[Stall()]))
        client = client_of(server, max_in_flight=1, max_retries=2)
        first = asyncio.create_task(client.acompletion("openai/m", MESSAGES))
        await until(lambda: server.requests)
        with pytest.raises(Timeout, match=r"queue timeout of 0.1 s: all 1 calls that max_in_flight allows") as caught:
            await client.acompletion("openai/m", MESSAGES, timeout={part: 0.1})
        assert (caught.value.retries, caught.value.provider) == (0, "openai")
        first.cancel()

    @pytest.mark.parametrize("setting", ["max_in_flight", "max_connections"])
    @pytest.mark.parametrize("timeout", [0.9, {"first_token": 0.9}])
    async def test_time_in_line_is_not_the_call_s(self, server: Server, setting: str, timeout: Any) -> None:
        """Four calls of a quarter of a second each, one after the other."""
        server.answer(late(0.25))
        client = client_of(server, **{setting: 1})
        calls = (client.acompletion("openai/m", MESSAGES, timeout=timeout) for _ in range(4))
        assert await asyncio.gather(*calls) == [completion_of()] * 4

    @pytest.mark.parametrize("value", [0, -1, 1.5, True, "many"])
    def test_what_is_none(self, value: Any) -> None:
        with pytest.raises(InvalidArgumentError, match="max_in_flight"):
            Client(max_in_flight=value)


class TestMaxRetryAfter:
    def test_a_longer_pause_is_not_waited_for(self, server: Server) -> None:
        server.answer(Answer(429, headers={"retry-after": "0.3"}), plain())
        with pytest.raises(RateLimitError) as caught:
            client_of(server, max_retries=2, max_retry_after=0.2).completion("openai/m", MESSAGES)
        assert caught.value.retry_after == 0.3
        server.answer(Answer(429, headers={"retry-after": "0.3"}), plain())
        client = client_of(server, max_retries=2, max_retry_after=0.2)
        assert client.completion("openai/m", MESSAGES, max_retry_after=0.4) == completion_of()

    def test_as_long_as_the_deadline_allows(self, server: Server) -> None:
        server.answer(Answer(429, headers={"retry-after": "3600"}))
        client = client_of(server, max_retries=2, max_retry_after=7200)
        with pytest.raises(RateLimitError):
            client.completion("openai/m", MESSAGES, timeout=3000)
        with pytest.raises(InvalidArgumentError, match="max_retry_after"):
            Client(max_retry_after="long")  # type: ignore[arg-type]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="descriptors are counted there")
class TestDescriptors:
    PROGRAM = """
        import asyncio, json, os, resource, sys
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
        from ritellm import Client
        messages = [{"role": "user", "content": "Hi"}]
        urls = sys.argv[1:]
        clients = [Client(base_url=url, api_key="k", max_retries=0) for url in urls]

        async def main():
            # Idle connections of another client and to another server are closed for those who need them.
            await asyncio.gather(*(clients[1].acompletion("openai/m", messages) for _ in range(50)))
            files = [open("/dev/null") for _ in range(10)]
            calls = [asyncio.ensure_future(clients[0].acompletion("openai/m", messages)) for _ in range(200)]
            await asyncio.sleep(0)
            # Others may open things meanwhile.
            for _ in range(10):
                open("/dev/null").close()
                await asyncio.sleep(0.01)
            await asyncio.gather(*calls)
            # All that are left, for a while: an idle connection is closed for the call, or it waits.
            held = []
            try:
                while True:
                    held.append(os.open("/dev/null", os.O_RDONLY))
            except OSError:
                pass
            call = asyncio.ensure_future(Client(base_url=urls[0], api_key="k", max_retries=0).acompletion("openai/m", messages))
            await asyncio.sleep(0.2)
            for number in held:
                os.close(number)
            await call
            print(json.dumps([client.stats() for client in clients]))

        asyncio.run(main())
    """

    UNSTARTED = """
        import asyncio, os, resource, sys
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
        import ritellm
        messages = [{"role": "user", "content": "Hi"}]
        asked = {"base_url": sys.argv[1], "api_key": "k", "max_retries": 0}

        async def main():
            await asyncio.sleep(0)
            held = []
            try:
                while True:
                    held.append(os.open("/dev/null", os.O_RDONLY))
            except OSError:
                pass
            for stream, free in ((False, 0), (True, 0), (False, 1), (True, 0)):
                for _ in range(free):
                    os.close(held.pop())
                try:
                    answer = await ritellm.acompletion("openai/m", messages, stream=stream, **asked)
                    answer = [chunk async for chunk in answer]
                except ritellm.APIConnectionError as error:
                    print(error.message)
            try:
                ritellm.completion("openai/m", messages, **asked)
            except ritellm.APIConnectionError as error:
                print(error.message)
            for number in held:
                os.close(number)
            answer = await ritellm.acompletion("openai/m", messages, **asked)
            print(answer.choices[0].message.content)

        asyncio.run(main())
    """

    def test_the_first_call_finds_none(self, server: Server, tmp_path: Path) -> None:
        server.answer(late(0))
        program = tmp_path / "program.py"
        program.write_text(textwrap.dedent(self.UNSTARTED))
        arguments = [sys.executable, str(program), server.base_url]
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=30)
        *refusals, answer = done.stdout.splitlines() or [done.stderr]
        loop, thread = "the event loop cannot be told of answers", "the network thread cannot be started"
        said = [f"{what}: Too many open files (os error 24)" for what in (loop, loop, thread, thread, thread)]
        assert refusals == said, done.stderr
        assert answer == "Hello!"
        assert not done.stderr

    async def test_calls_wait_for_them(self, server: Server, tmp_path: Path) -> None:
        server.answer(late(0.02))
        other = Server()
        other.answer(late(0.02))
        program = tmp_path / "program.py"
        program.write_text(textwrap.dedent(self.PROGRAM))
        done = await asyncio.create_subprocess_exec(
            sys.executable, str(program), server.base_url, other.base_url, stdout=-1, stderr=-1
        )
        out, err = await asyncio.wait_for(done.communicate(), 60)
        other.close()
        assert done.returncode == 0, err.decode()
        ours, theirs = json.loads(out)
        assert ours["calls"] == 200 and ours["retries"] == 0
        assert theirs["connections_open"] < 50


class TestIdleConnections:
    async def test_what_the_server_closes_is_closed(self, server: Server) -> None:
        """Without a call's help."""
        server.answer(plain())
        client = client_of(server)
        await asyncio.gather(*(client.acompletion("openai/m", MESSAGES) for _ in range(5)))
        assert client.stats()["connections_idle"] > 0
        server.close()
        await until(lambda: client.stats()["connections_open"] == 0)
        assert client.stats()["connections_idle"] == 0
