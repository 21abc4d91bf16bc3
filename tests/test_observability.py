"""Tests of logging under the name ``ritellm``, and of ``stats()``."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest
from conftest import Call, RunProgram
from server import MESSAGES, MODEL, Answer, Close, Server, Stall, eventually, plain, refusal, stream_of, streamed

import ritellm
from ritellm import Client, IncompleteStreamError, RateLimitError

Lines = Callable[[], list[Any]]


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Lines:
    """The log records."""
    caplog.set_level(logging.DEBUG, "ritellm")
    return lambda: [record for record in caplog.get_records("call") if record.name == "ritellm"]


class TestLogging:
    def test_a_line_per_attempt(self, call: Call, at_openai: Server, lines: Lines) -> None:
        at_openai.answer(
            refusal(429, "slow down", headers={"retry-after-ms": "20", "x-request-id": "req_1"}),
            Answer(headers={"content-length": "99"}, framing="close", body=[b"{", Close()]),
            plain(headers={"x-request-id": "req_3"}),
        )
        call(max_retries=2)
        first, second, third = lines()
        assert {line.levelno for line in lines()} == {logging.DEBUG}
        for line, number in zip(lines(), (1, 2, 3), strict=True):
            assert line.getMessage().startswith(f"openai/gpt-4o-mini attempt {number}: ")
            assert (line.provider, line.model, line.attempt) == ("openai", "gpt-4o-mini", number)
            assert 0 < line.latency < 30
        assert [(line.status, line.request_id) for line in lines()] == [(429, "req_1"), (None, None), (200, "req_3")]
        assert (
            "429, RateLimitError: openai answered 429: slow down after 0." in first.getMessage()
            and ", again in 0.020 s" in first.getMessage()
        )
        assert "APIConnectionError" in second.getMessage() and ", again in " in second.getMessage()
        assert third.getMessage().endswith("request id req_3") and "again" not in third.getMessage()

    def test_a_call_that_fails(self, call: Call, at_openai: Server, lines: Lines) -> None:
        at_openai.answer(refusal(429, headers={"retry-after-ms": "1"}))
        with pytest.raises(RateLimitError):
            call(max_retries=1)
        assert ["again" in line.getMessage() for line in lines()] == [True, False]

    def test_a_stream(self, read: Call, at_openai: Server, lines: Lines) -> None:
        at_openai.answer(refusal(503, headers={"retry-after-ms": "1"}), streamed("Hi"))
        read()
        assert [line.status for line in lines()] == [503, 200]

    def test_a_stream_that_is_opened_again(self, read: Call, at_openai: Server, lines: Lines) -> None:
        at_openai.answer(stream_of(Close()), streamed("Hi"))
        read()
        said = [line.getMessage().partition(" attempt ")[2][: len("1: 200")] for line in lines()]
        assert said == ["1: 200", "1: Inc", "2: 200"]

    def test_a_stream_that_breaks(self, read: Call, at_openai: Server, lines: Lines) -> None:
        at_openai.answer(stream_of(*streamed("Hi").pieces()[:2], Close()))
        with pytest.raises(IncompleteStreamError):
            read()
        assert "IncompleteStreamError" in lines()[-1].getMessage()

    async def test_a_task_that_is_cancelled(self, at_openai: Server, lines: Lines) -> None:
        at_openai.answer(Answer(before=[Stall()]))
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(ritellm.acompletion(MODEL, MESSAGES), 0.1)
        (line,) = lines()
        assert "attempt 1: given up by its caller after 0." in line.getMessage()

    def test_many_at_once_each_say_their_own(self, at_openai: Server, lines: Lines) -> None:
        at_openai.answer(plain())

        async def main() -> None:
            await asyncio.gather(*(ritellm.acompletion(f"openai/m{number}", MESSAGES) for number in range(50)))

        asyncio.run(main())
        # On a busy machine, attempts that take long say so meanwhile.
        ended = [line.model for line in lines() if line.status == 200]
        assert sorted(ended) == sorted(f"m{number}" for number in range(50))
        assert {line.model for line in lines()} == set(ended)

    async def test_each_record_is_made_in_its_calls_context(self, at_openai: Server) -> None:
        at_openai.answer(refusal(503, headers={"retry-after-ms": "1"}), plain(), plain(), streamed("Hi"), plain())
        request: contextvars.ContextVar[str] = contextvars.ContextVar("request", default="-")
        seen: list[tuple[str, str]] = []

        class Handler(logging.Handler):
            def emit(self, record: Any) -> None:
                seen.append((request.get(), record.model))

        async def ask(name: str, how: str) -> None:
            request.set(name)
            if how == "sync":
                await asyncio.to_thread(ritellm.completion, f"openai/{name}", MESSAGES)
            elif how == "stream":
                async for _ in await ritellm.acompletion(f"openai/{name}", MESSAGES, stream=True):
                    pass
            else:
                await ritellm.acompletion(f"openai/{name}", MESSAGES)

        logger = logging.getLogger("ritellm")
        handler = Handler()
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
        try:
            for name, how in (("a", "async"), ("b", "async"), ("c", "stream"), ("d", "sync")):
                await asyncio.create_task(ask(name, how))
            await asyncio.gather(*(ask(f"g{number}", "async") for number in range(20)))
        finally:
            logger.removeHandler(handler)
            logger.setLevel(logging.NOTSET)
        assert len(seen) == 25
        assert [own for own, model in seen if own != model] == []

    @pytest.mark.parametrize("how", ["sync", "async"])
    def test_an_attempt_that_hangs_is_in_the_log_meanwhile(self, at_openai: Server, lines: Lines, how: str) -> None:
        at_openai.answer(refusal(503, headers={"retry-after-ms": "1"}), Answer(before=[Stall()]))
        failed: list[Any] = []

        def ask() -> None:
            try:
                if how == "sync":
                    ritellm.completion(MODEL, MESSAGES, timeout=1.5, max_retries=1)
                else:
                    asyncio.run(ritellm.acompletion(MODEL, MESSAGES, timeout=1.5, max_retries=1))
            except ritellm.Timeout as error:
                failed.append(error)

        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        eventually(lambda: len(lines()) == 2)
        assert thread.is_alive() and failed == []
        thread.join()
        first, second = [line.getMessage() for line in lines()][:2]
        assert "attempt 1: 503" in first and "attempt 2: no answer yet after 0." in second

    @pytest.mark.parametrize("level", [logging.INFO, logging.WARNING])
    def test_nothing_above_debug(
        self, call: Call, at_openai: Server, caplog: pytest.LogCaptureFixture, level: int
    ) -> None:
        caplog.set_level(level, "ritellm")
        at_openai.answer(refusal(500, headers={"retry-after-ms": "1"}), plain())
        call()
        assert caplog.records == []

    def test_a_handler_that_fails_is_not_the_calls_matter(
        self, call: Call, at_openai: Server, lines: Lines, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        at_openai.answer(plain())

        def fail(_record: logging.LogRecord) -> bool:
            raise ValueError("as this test wants it")

        logger = logging.getLogger("ritellm")
        logger.addFilter(fail)
        unraised: list[Any] = []
        monkeypatch.setattr("sys.unraisablehook", lambda unraisable: unraised.append(unraisable.exc_value))
        try:
            assert call().choices[0].message.content == "Hello!"
        finally:
            logger.removeFilter(fail)
        assert [str(error) for error in unraised] == ["as this test wants it"]

    def test_a_handler_that_makes_calls(self, call: Call, at_openai: Server, lines: Lines) -> None:
        at_openai.answer(plain())
        inside: list[Any] = []

        class Calling(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                if not inside:
                    inside.append(None)
                    inside.append(ritellm.completion("openai/inside", MESSAGES))

        handler = Calling()
        logging.getLogger("ritellm").addHandler(handler)
        try:
            call()
        finally:
            logging.getLogger("ritellm").removeHandler(handler)
        assert inside[1].choices[0].message.content == "Hello!"

    def test_nothing_unless_it_is_wanted(self, run_program: RunProgram, at_openai: Server) -> None:
        """Not even the import of `logging`, and nothing on stdout or stderr."""
        at_openai.answer(refusal(500, headers={"retry-after-ms": "1"}), plain())
        source = """
            import sys, ritellm
            ritellm.completion("openai/m", [{"role": "user", "content": "Hi"}])
            assert "logging" not in sys.modules
            import logging
            ritellm.completion("openai/m", [{"role": "user", "content": "Hi"}])
        """
        assert run_program(source).check() == ""

    def test_all_of_it_goes_where_the_program_says(self, run_program: RunProgram, at_openai: Server) -> None:
        at_openai.answer(plain())
        source = """
            import logging, ritellm
            logging.basicConfig(level="DEBUG", format="%(name)s:%(message)s")
            ritellm.completion("openai/m", [{"role": "user", "content": "Hi"}])
        """
        program = run_program(source)
        assert program.output == ""
        assert program.errors.startswith("ritellm:openai/m attempt 1: 200 in 0.")


class TestStats:
    def test_a_client_that_did_nothing(self) -> None:
        stats = Client().stats()
        assert stats.pop("by_provider") == {}
        assert stats.pop("hooks") == {"dropped": 0, "failed": 0}
        assert set(stats) == {
            "calls",
            "in_flight",
            "waiting",
            "retries",
            "connections_open",
            "connections_idle",
            "bytes_sent",
            "bytes_received",
        }
        assert set(stats.values()) == {0}

    def test_calls_retries_and_bytes(self, call: Call, at_openai: Server) -> None:
        client = Client()
        at_openai.answer(refusal(500, headers={"retry-after-ms": "1"}), plain())
        call(client=client)
        call(client=client)
        stats = client.stats()
        assert (stats["calls"], stats["retries"], stats["in_flight"]) == (2, 1, 0)
        assert (stats["connections_open"], stats["connections_idle"]) == (1, 1)
        bodies = sum(len(request.body) for request in at_openai.requests)
        assert bodies + 3 * 100 < stats["bytes_sent"] < bodies + 3 * 400
        assert stats["bytes_received"] > 2 * len(plain().pieces()[0])  # type: ignore[arg-type]
        assert stats["by_provider"] == {
            "openai": {key: stats[key] for key in stats if key not in ("by_provider", "hooks")}
        }

    def test_by_provider(self, server: Server) -> None:
        server.answer(plain())
        other = Server()
        other.answer(plain())
        client = Client(api_key="k")
        for _ in range(2):
            client.completion("groq/m", MESSAGES, base_url=server.base_url)
        client.completion("mistral/m", MESSAGES, base_url=other.base_url)
        stats = client.stats()
        calls = {name: (of["calls"], of["connections_open"]) for name, of in stats["by_provider"].items()}
        assert calls == {"groq": (2, 1), "mistral": (1, 1)}
        assert stats["calls"] == 3 and stats["connections_open"] == 2
        other.close()

    async def test_in_flight(self, at_openai: Server) -> None:
        client = Client()
        at_openai.answer(Answer(before=[Stall()]))
        tasks = [asyncio.ensure_future(client.acompletion(MODEL, MESSAGES)) for _ in range(7)]
        await asyncio.to_thread(at_openai.wait_for_requests, 7)
        stats = client.stats()
        assert (stats["in_flight"], stats["connections_open"], stats["connections_idle"]) == (7, 7, 0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.to_thread(eventually, lambda: client.stats()["in_flight"] == 0)
        await asyncio.to_thread(eventually, lambda: client.stats()["connections_open"] == 0)

    def test_a_stream_is_in_flight_until_its_end(self, at_openai: Server) -> None:
        client = Client()
        at_openai.answer(stream_of(*streamed("Hi").pieces()[:2], Stall()))
        stream = client.completion(MODEL, MESSAGES, stream=True)
        next(stream)
        assert client.stats()["in_flight"] == 1
        stream.close()
        eventually(lambda: client.stats()["in_flight"] == 0 and client.stats()["connections_open"] == 0)

    def test_a_call_that_failed_is_over(self, call: Call, at_openai: Server) -> None:
        client = Client()
        at_openai.answer(refusal(400))
        with pytest.raises(ritellm.BadRequestError):
            call(client=client)
        assert client.stats()["in_flight"] == 0

    def test_the_package_s_own(self, call: Call, at_openai: Server) -> None:
        at_openai.answer(plain())
        before = ritellm.stats()["calls"]
        call()
        assert ritellm.stats()["calls"] == before + 1

    def test_from_a_thread_without_a_loop_while_another_calls(self, at_openai: Server) -> None:
        at_openai.answer(plain())
        client = Client()

        async def main() -> list[int]:
            calls = asyncio.gather(*(client.acompletion(MODEL, MESSAGES) for _ in range(200)))
            seen = []
            while not calls.done():
                seen.append(await asyncio.to_thread(lambda: client.stats()["calls"]))
            await calls
            return seen

        seen = asyncio.run(main())
        assert seen == sorted(seen) and client.stats()["calls"] == 200
        gc.collect()


class TestMetrics:
    def test_in_prometheus_format(self, at_openai: Server) -> None:
        from prometheus_client.parser import text_string_to_metric_families

        at_openai.answer(refusal(500, headers={"retry-after-ms": "1"}), plain())
        router = ritellm.Router({'a "b"': ["openai/x", "openai/y"]}, strategy="ordered", limits={"openai": {"rpm": 60}})
        router.completion('a "b"', MESSAGES)
        families = {family.name: family for family in text_string_to_metric_families(router.metrics({"client": "c"}))}
        (calls,) = families["ritellm_calls"].samples
        assert (calls.labels, calls.value) == ({"client": "c", "provider": "openai"}, 2)
        assert families["ritellm_calls"].type == "counter" and families["ritellm_calls_in_flight"].type == "gauge"
        failures = {
            sample.labels["deployment"]: sample.value for sample in families["ritellm_deployment_failures"].samples
        }
        assert failures == {"openai/x": 1, "openai/y": 0}
        assert families["ritellm_deployment_attempts"].samples[0].labels["group"] == 'a "b"'
        (limit,) = families["ritellm_quota_limit"].samples
        assert (limit.labels["unit"], limit.labels["seconds"], limit.value) == ("requests", "60", 60)
        assert families["ritellm_quota_used"].samples[0].value == 2

    def test_of_the_package_s_functions(self) -> None:
        assert "ritellm_hook_failures_total 0" in ritellm.metrics()
        for name in ("a b", "größe"):
            with pytest.raises(ritellm.InvalidArgumentError, match="labels"):
                ritellm.metrics({name: "c"})
