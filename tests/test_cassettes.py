"""Tests of `ritellm.testing.cassette`: recording against a mock server, playing, matching, and what is not in the file."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gzip
import json
import re
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from server import Answer, Gate, Reset, Server, free_port
from test_mock_server import MODELS

import ritellm
from ritellm import _core
from ritellm.testing import Cassette, MockServer, cassette
from ritellm.testing._cassette import _answer

MESSAGES = [{"role": "user", "content": "Hi"}]
KEY = "sk-a-key-that-nobody-may-see-0123456789"

COMPLETION = json.dumps(
    {
        "id": "c",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
    }
).encode()


@pytest.fixture
def mock() -> Any:
    with MockServer(intercept=False) as server:
        server.reply("Hello there!")
        yield server


def client_of(mock: MockServer, **settings: Any) -> ritellm.Client:
    return ritellm.Client(api_key=KEY, base_url=mock.url + "/v1", **settings)


def said(response: Any) -> str:
    content: str = response.choices[0].message.content
    return content


@pytest.mark.parametrize("endpoint", MODELS)
def test_every_format_is_recorded_and_played(
    mock: MockServer, tmp_path: Path, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, path = MODELS[endpoint], "/v1" if endpoint == "chat" else ""
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    client = ritellm.Client(api_key=KEY, base_url=mock.url + path)
    file = tmp_path / "new" / "calls.json"
    mock.reply("Grüße!", tool_calls=[{"name": "f", "arguments": {"x": 1.5}}], reasoning="hm")

    def calls() -> list[Any]:
        answers = [client.completion(model, MESSAGES), *client.completion(model, MESSAGES, stream=True)]
        # Those of a format without ids are our own.
        return [{name: value for name, value in answer.items() if name not in ("id", "created")} for answer in answers]

    with cassette(file) as tape:
        recorded = calls()
    assert (tape.recorded, tape.played) == (2, 0)
    count = len(mock.requests)
    with cassette(file) as tape:
        played = calls()
    assert (tape.recorded, tape.played) == (0, 2)
    assert played == recorded
    assert len(mock.requests) == count == 2
    text = file.read_text()
    assert KEY not in text
    # A person can read it: structured, an event a line, and nothing in base64.
    assert "base64" not in text
    assert '"content": "Hi"' in text or '"text": "Hi"' in text
    assert "Grüße" in text


def test_other_operations(mock: MockServer, tmp_path: Path) -> None:
    mock.on(path="/audio/speech").reply(body=b"\xff\xfb\x00sound", headers={"content-type": "audio/mpeg"})
    mock.on(path="/files").reply(
        json={"id": "file-1", "object": "file", "bytes": 2, "created_at": 1, "filename": "a.jsonl", "purpose": "batch"}
    )
    client = client_of(mock)
    file = tmp_path / "calls.json"

    def calls() -> list[Any]:
        return [
            client.responses("openai/gpt-4o", "Hi"),
            list(client.responses("openai/gpt-4o", "Hi", stream=True)),
            client.embedding("openai/text-embedding-3-small", ["a", "b"], dimensions=4),
            client.speech("openai/tts-1", "Hi", voice="alloy").content,
            client.files.create("openai", file=("a.jsonl", b"{}"), purpose="batch"),
        ]

    with cassette(file):
        recorded = calls()
    mock.fail(500)
    with cassette(file, mode="none") as tape:
        assert calls() == recorded
    assert tape.played == 5


def test_errors_are_played(mock: MockServer, tmp_path: Path) -> None:
    mock.fail(429, "slow down", retry_after=0, times=1)
    client = client_of(mock)
    with cassette(tmp_path / "a.json") as tape:
        assert client.completion("openai/m", MESSAGES).meta.retries == 1
    assert tape.recorded == 2
    with cassette(tmp_path / "a.json"):
        assert client.completion("openai/m", MESSAGES).meta.retries == 1


def test_a_stream_that_broke_breaks_again(mock: MockServer, tmp_path: Path) -> None:
    client = client_of(mock, max_retries=0)
    mock.cut(after_chunks=2, times=1)
    for _ in range(2):
        with cassette(tmp_path / "a.json"):
            stream = client.completion("openai/m", MESSAGES, stream=True)
            with pytest.raises(ritellm.APIConnectionError):
                list(stream)
    assert len(mock.requests) == 1


class TestFailuresOfConnections:
    def test_one_that_broke_before_an_answer_and_the_answer_after_it(self, tmp_path: Path) -> None:
        with contextlib.closing(Server()) as server:
            server.answer(Answer(before=[Reset()]), Answer(body=COMPLETION))
            client = ritellm.Client(api_key=KEY, base_url=server.base_url, max_retries=0)

            def calls() -> None:
                with pytest.raises(ritellm.APIConnectionError, match="broke before an answer came"):
                    client.completion("openai/m", MESSAGES)
                assert said(client.completion("openai/m", MESSAGES)) == "Hi"

            with cassette(tmp_path / "a.json") as tape:
                calls()
            assert tape.recorded == 2
        first, second = json.loads((tmp_path / "a.json").read_text())["calls"]
        assert first["response"]["failure"]["kind"] == "connection"
        assert second["response"]["status"] == 200
        with cassette(tmp_path / "a.json") as tape:
            calls()
        assert (tape.played, tape.unplayed) == (2, 0)

    def test_one_that_is_refused(self, tmp_path: Path) -> None:
        """By nobody's port in the first run; in the second there is a server, which is not asked."""
        port = free_port()
        client = ritellm.Client(api_key=KEY, base_url=f"http://127.0.0.1:{port}/v1", max_retries=0)

        def message() -> str:
            with cassette(tmp_path / "a.json"), pytest.raises(ritellm.APIConnectionError) as caught:
                client.completion("openai/m", MESSAGES)
            return str(caught.value)

        recorded = message()
        assert f"cannot connect to 127.0.0.1:{port}: Connection refused" in recorded
        with MockServer(port=port, intercept=False) as server:
            assert message() == recorded
            assert server.requests == []

    def test_one_that_the_program_has_not_dealt_with_is_not_kept(self, mock: MockServer, tmp_path: Path) -> None:
        """So the first run of a test without a network records nothing, and its second run records."""
        gone = ritellm.Client(api_key=KEY, base_url=f"http://127.0.0.1:{free_port()}/v1", max_retries=0)
        with pytest.raises(ritellm.APIConnectionError), cassette(tmp_path / "a.json"):
            gone.completion("openai/m", MESSAGES)
        assert not (tmp_path / "a.json").exists()
        with pytest.raises(ritellm.APIConnectionError), cassette(tmp_path / "a.json"):
            client_of(mock).completion("openai/m", MESSAGES)
            gone.completion("openai/m", MESSAGES)
        (call,) = json.loads((tmp_path / "a.json").read_text())["calls"]
        assert call["response"]["status"] == 200

    def test_a_client_with_a_cassette_keeps_those_before_an_answer(self, tmp_path: Path) -> None:
        with contextlib.closing(Server()) as server:
            server.answer(Answer(before=[Reset()]), Answer(body=COMPLETION), Answer(before=[Reset()]))
            client = ritellm.Client(api_key=KEY, base_url=server.base_url, cassette=tmp_path / "a.json", max_retries=0)
            with pytest.raises(ritellm.APIConnectionError):
                client.completion("openai/m", MESSAGES)
            client.completion("openai/m", MESSAGES)
            with pytest.raises(ritellm.APIConnectionError):
                client.completion("openai/m", MESSAGES)
        calls = json.loads((tmp_path / "a.json").read_text())["calls"]
        assert ["failure" in call["response"] for call in calls] == [True, False]

    def test_silence_until_the_caller_gave_up(self, mock: MockServer, tmp_path: Path) -> None:
        client = client_of(mock, max_retries=0)
        mock.stall(times=1)
        for _ in range(2):
            with cassette(tmp_path / "a.json"), pytest.raises(ritellm.Timeout):
                client.completion("openai/m", MESSAGES, timeout=0.15)
        assert len(mock.requests) == 1
        (call,) = json.loads((tmp_path / "a.json").read_text())["calls"]
        assert call["response"]["failure"] == {"kind": "silence", "message": ""}

    def test_a_stream_that_fell_silent(self, mock: MockServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("ritellm.testing._cassette.PATIENCE", 0.1)
        client = client_of(mock, max_retries=0)
        mock.reply("one two three")
        mock.stall(after_chunks=2, times=1)

        def call() -> None:
            with pytest.raises(ritellm.Timeout):
                list(client.completion("openai/m", MESSAGES, stream=True, timeout={"idle": 0.05}))

        with pytest.warns(RuntimeWarning, match="recorded as far as they came"), cassette(tmp_path / "a.json"):
            call()
        response = json.loads((tmp_path / "a.json").read_text())["calls"][0]["response"]
        assert (response["silent"], len(response["events"])) == (True, 2)
        with cassette(tmp_path / "a.json"):
            call()
        assert len(mock.requests) == 1

    @pytest.mark.parametrize(
        ("kind", "error"),
        [
            ("timeout", ritellm.Timeout),
            ("connection", ritellm.APIConnectionError),
            ("unsent", ritellm.APIConnectionError),
            ("refused", ritellm.APIConnectionError),
            ("unexpected", ritellm.UnexpectedCallError),
        ],
    )
    def test_kinds_written_by_hand(self, mock: MockServer, tmp_path: Path, kind: str, error: Any) -> None:
        client = client_of(mock, max_retries=0)
        with cassette(tmp_path / "a.json"):
            client.completion("openai/m", MESSAGES)
        file = json.loads((tmp_path / "a.json").read_text())
        file["calls"][0]["response"] = {"failure": {"kind": kind, "message": "by hand,\nin lines"}}
        (tmp_path / "a.json").write_text(json.dumps(file))
        with cassette(tmp_path / "a.json"), pytest.raises(error, match="by hand, in lines"):
            client.completion("openai/m", MESSAGES)

    def test_a_call_that_is_forbidden_is_no_failure(self, tmp_path: Path) -> None:
        key = _core.enter_offline("this test calls {}", [])
        try:
            client = ritellm.Client(api_key=KEY, base_url="https://192.0.2.1/v1", max_retries=0)
            with (
                cassette(tmp_path / "a.json"),
                pytest.raises(ritellm.UnexpectedCallError, match=r"calls 192\.0\.2\.1:443"),
            ):
                client.completion("openai/m", MESSAGES)
        finally:
            _core.leave_detour(key)
        assert not (tmp_path / "a.json").exists()


def test_others_on_this_machine_cannot_call_through_a_cassette(mock: MockServer, tmp_path: Path) -> None:
    request = f"POST {mock.url}/v1/chat/completions HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\n{{}}"
    with cassette(tmp_path / "a.json") as tape:
        client_of(mock).completion("openai/m", MESSAGES)
        with socket.create_connection(("127.0.0.1", tape._port())) as other:
            other.sendall(request.encode())
            answer = other.makefile("rb").readline()
        assert answer.startswith(
            b"RITELLM-NO-ANSWER unexpected a cassette records the calls of the process that opened it"
        )
        assert len(mock.requests) == 1
    assert tape.recorded == 1


def test_an_end_that_waits_for_an_answer_holds_up_nobody(tmp_path: Path) -> None:
    """Its port can be read meanwhile, by a thread that has the GIL, which the recorder needs."""
    gate = Gate()
    with contextlib.closing(Server()) as server:
        server.answer(
            Answer(body=[b"data: 1\n\n", gate, b"data: [DONE]\n\n"], headers={"content-type": "text/event-stream"})
        )
        client = ritellm.Client(api_key=KEY, base_url=server.base_url)
        tape = cassette(tmp_path / "a.json")
        tape.__enter__()
        client.completion("openai/m", MESSAGES, stream=True).close()
        relay = tape._relay
        assert relay is not None
        closed: list[bool] = []
        waiting = threading.Thread(target=lambda: closed.append(relay.close(10.0)))
        waiting.start()
        # Until it waits. If it does not yet, this test sees less.
        time.sleep(0.02)
        gate.open()
        assert relay.port > 0
        waiting.join()
        assert closed == [True]
        tape.close()
    assert tape.recorded == 1


def test_the_loop_can_serve_what_the_end_waits_for(tmp_path: Path) -> None:
    """The rest of a stream that its caller left early, for one."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")
        writer.write(b'data: {"id": "c", "object": "chat.completion.chunk", "choices": []}\n\n')
        await left.wait()
        # Some turns of the loop later.
        for _ in range(20):
            await asyncio.sleep(0)
        writer.write(b"data: [DONE]\n\n")
        writer.close()

    async def main() -> None:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            client = ritellm.Client(api_key=KEY, base_url=f"http://127.0.0.1:{port}/v1")
            async with cassette(tmp_path / "a.json"):
                stream = await client.acompletion("openai/m", MESSAGES, stream=True)
                await stream.aclose()
                left.set()

    left = asyncio.Event()
    asyncio.run(main())
    (call,) = json.loads((tmp_path / "a.json").read_text())["calls"]
    assert [event["data"] for event in call["response"]["events"]][1:] == ["[DONE]"]
    assert "silent" not in call["response"]


class TestWhatOthersReported:
    def test_many_equal_calls_at_once(self, mock: MockServer, tmp_path: Path) -> None:
        """Each answer is played once, whatever the order."""
        client = client_of(mock)

        async def calls() -> list[str]:
            texts = [[{"role": "user", "content": f"Hi {number % 5}"}] for number in range(40)]
            answers = await asyncio.gather(*(client.acompletion("openai/m", messages) for messages in texts))
            return sorted(answer.id for answer in answers)

        with cassette(tmp_path / "a.json"):
            recorded = asyncio.run(calls())
        assert len(set(recorded)) == 40
        with cassette(tmp_path / "a.json", mode="none") as tape:
            assert asyncio.run(calls()) == recorded
        assert tape.unplayed == 0

    def test_a_call_that_its_program_cancels(self, mock: MockServer, tmp_path: Path) -> None:
        """It is cancelled again, rather than answered: ruby-vcr's issue 650 has nothing of it in the file."""
        client = client_of(mock)
        mock.stall(times=1)

        async def cancel(tape: Cassette) -> None:
            call = asyncio.ensure_future(client.acompletion("openai/m", MESSAGES))
            while not (tape.played or mock.requests):
                await asyncio.sleep(0.001)
            await asyncio.sleep(0.01)
            assert not call.done()
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call

        for played in (0, 1):
            with cassette(tmp_path / "a.json") as tape:
                asyncio.run(cancel(tape))
            assert (tape.played, tape.recorded) == (played, 1 - played)
            mock.reset()

    def test_an_answer_without_a_body(self, mock: MockServer, tmp_path: Path) -> None:
        client = client_of(mock, max_retries=0)
        mock.on(path="/chat/completions").reply(body=b"", times=1)
        for _ in range(2):
            with cassette(tmp_path / "a.json"), pytest.raises(ritellm.APIResponseValidationError, match="empty body"):
                client.completion("openai/m", MESSAGES)
        assert len(mock.requests) == 1

    def test_a_redirect(self, mock: MockServer, tmp_path: Path) -> None:
        """What it leads to is the answer."""
        client = client_of(mock, max_retries=0)
        mock.on(path="/chat/completions").reply(status=307, body=b"", headers={"location": mock.url + "/v1/moved"})
        mock.on(path="/v1/moved").reply(body=COMPLETION)
        for _ in range(2):
            with cassette(tmp_path / "a.json") as tape:
                assert said(client.completion("openai/m", MESSAGES)) == "Hi"
        assert (tape.played, len(mock.requests)) == (1, 2)

    def test_a_cassette_that_is_entered_again(self, mock: MockServer, tmp_path: Path) -> None:
        client, tape = client_of(mock), cassette(tmp_path / "a.json")
        for _ in range(2):
            with tape:
                client.completion("openai/m", MESSAGES)
        assert (tape.played, tape.recorded, len(mock.requests)) == (1, 1, 1)

    def test_an_interrupt_keeps_what_was_recorded(self, mock: MockServer, tmp_path: Path) -> None:
        client = client_of(mock)
        with pytest.raises(KeyboardInterrupt), cassette(tmp_path / "a.json"):
            client.completion("openai/m", MESSAGES)
            raise KeyboardInterrupt
        with cassette(tmp_path / "a.json", mode="none"):
            client.completion("openai/m", MESSAGES)

    def test_an_empty_body_that_is_compressed(self, tmp_path: Path) -> None:
        """kevin1024/vcrpy#661."""
        pytest.importorskip("yaml")
        text = VCRPY.replace("string: BODY", "string: ''").replace("code: 200", "code: 503", 1)
        (tmp_path / "a.yaml").write_text(text)
        with cassette(tmp_path / "a.yaml"), pytest.raises(ritellm.InternalServerError):
            ritellm.Client(api_key="k", max_retries=0).completion("openai/gpt-4o", MESSAGES)

    def test_keys_are_not_in_a_file_that_is_written_again_nor_in_messages(
        self, mock: MockServer, tmp_path: Path
    ) -> None:
        """kevin1024/vcrpy#961, vcr/vcr#487."""
        client, file = client_of(mock), tmp_path / "a.json"
        for text in ("a", "b"):
            with cassette(file, mode="new_episodes", redact=["Ada"]):
                messages = [{"role": "user", "content": f"{text} of Ada"}]
                client.completion("openai/m", messages, extra_query={"app_token": KEY})
            assert KEY not in file.read_text() and "Ada" not in file.read_text()
        messages = [{"role": "user", "content": "c of Ada"}]
        with cassette(file, redact=["Ada"]), pytest.raises(ritellm.UnexpectedCallError) as raised:
            client.completion("openai/m", messages, extra_query={"app_token": KEY})
        assert KEY not in str(raised.value) and "Ada" not in str(raised.value)

    def test_a_secret_in_a_prompt_is_taken_out_of_both_sides(self, mock: MockServer, tmp_path: Path) -> None:
        """So what is played is compared to what is asked: php-vcr's issue 503."""
        client = client_of(mock)
        for text in ("I am Ada, 555-0100", "I am Ada, 555-0199"):
            with cassette(tmp_path / "a.json", redact=["Ada", re.compile(r"\d{3}-\d{4}")]):
                client.completion("openai/m", [{"role": "user", "content": text}])
        assert len(mock.requests) == 1
        assert "I am ***, ***" in (tmp_path / "a.json").read_text()


def test_a_file_that_was_edited(mock: MockServer, tmp_path: Path) -> None:
    """With a mark of its encoding, other line ends, and events without a time."""
    client = client_of(mock)
    with cassette(tmp_path / "a.json"):
        list(client.completion("openai/m", MESSAGES, stream=True))
    file = json.loads((tmp_path / "a.json").read_text())
    for event in file["calls"][0]["response"]["events"]:
        del event["at"]
    (tmp_path / "a.json").write_bytes(b"\xef\xbb\xbf" + json.dumps(file, indent=1).replace("\n", "\r\n").encode())
    with cassette(tmp_path / "a.json", mode="none", timing=True):
        assert len(list(client.completion("openai/m", MESSAGES, stream=True))) > 2


def test_a_failed_filter_is_raised_at_the_end(mock: MockServer, tmp_path: Path) -> None:
    """The call has its answer; nothing is lost in silence."""
    for change, error in [(lambda call: call["nothing"], KeyError), (lambda call: 7, TypeError)]:
        with pytest.raises(error), cassette(tmp_path / "a.json", before_record=change):
            assert said(client_of(mock).completion("openai/m", MESSAGES)) == "Hello there!"


def test_a_stream_left_early_is_recorded_whole(mock: MockServer, tmp_path: Path) -> None:
    client = client_of(mock)
    mock.reply("one two three four")
    mock.latency(chunk=0.002)
    with cassette(tmp_path / "a.json"), client.completion("openai/m", MESSAGES, stream=True) as stream:
        next(iter(stream))
    with cassette(tmp_path / "a.json", mode="none"):
        chunks = list(client.completion("openai/m", MESSAGES, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "one two three four"


def test_times_are_kept(mock: MockServer, tmp_path: Path) -> None:
    client = client_of(mock)
    mock.latency(first=0.02, chunk=0.01)
    mock.reply("one two three")
    with cassette(tmp_path / "a.json"):
        list(client.completion("openai/m", MESSAGES, stream=True))
    events = json.loads((tmp_path / "a.json").read_text())["calls"][0]["response"]["events"]
    times = [event["at"] for event in events]
    assert times == sorted(times)
    assert times[-1] >= 0.05
    began = time.monotonic()
    with cassette(tmp_path / "a.json", timing=True):
        assert len(list(client.completion("openai/m", MESSAGES, stream=True))) == 5
    # At least as long: a machine that is busy takes more.
    assert time.monotonic() - began >= times[-1]
    at_once = _answer({"status": 200, "headers": {}, "events": events}, timing=False)
    assert [at for at, _ in at_once[2]] == [0.0] * len(events)


class TestModes:
    def test_once_plays_only_what_it_has(self, mock: MockServer, tmp_path: Path) -> None:
        client = client_of(mock)
        with cassette(tmp_path / "a.json"):
            client.completion("openai/m", MESSAGES)
        with cassette(tmp_path / "a.json"), pytest.raises(ritellm.UnexpectedCallError) as caught:
            client.completion("openai/n", MESSAGES)
        message = str(caught.value)
        assert f"{tmp_path / 'a.json'} has no answer to POST {mock.url}/v1/chat/completions (model n)" in message
        assert 'number 1, differs in body (model is "n", not "m")' in message
        assert len(mock.requests) == 1

    def test_none_records_nothing(self, tmp_path: Path) -> None:
        with pytest.raises(ritellm.InvalidArgumentError, match=r"a\.json is missing"):
            cassette(tmp_path / "a.json", mode="none").__enter__()

    def test_new_episodes_adds(self, mock: MockServer, tmp_path: Path) -> None:
        client = client_of(mock)
        for models, recorded in ((["a"], 1), (["a", "b"], 1), (["b", "a"], 0)):
            with cassette(tmp_path / "a.json", mode="new_episodes") as tape:
                for model in models:
                    client.completion(f"openai/{model}", MESSAGES)
            assert tape.recorded == recorded
        assert len(mock.requests) == 2

    def test_all_records_anew(self, mock: MockServer, tmp_path: Path) -> None:
        client = client_of(mock)
        for text in ("old", "new"):
            mock.reply(text)
            with cassette(tmp_path / "a.json", mode="all"):
                assert said(client.completion("openai/m", MESSAGES)) == text
        with cassette(tmp_path / "a.json"):
            assert said(client.completion("openai/m", MESSAGES)) == "new"

    def test_equal_calls_are_played_in_turn(self, mock: MockServer, tmp_path: Path) -> None:
        client = client_of(mock)
        mock.reply("1", "2")
        with cassette(tmp_path / "a.json"):
            assert [said(client.completion("openai/m", MESSAGES)) for _ in range(2)] == ["1", "2"]
        with cassette(tmp_path / "a.json"):
            assert [said(client.completion("openai/m", MESSAGES)) for _ in range(2)] == ["1", "2"]
            with pytest.raises(ritellm.UnexpectedCallError, match="played already"):
                client.completion("openai/m", MESSAGES)
        with cassette(tmp_path / "a.json", allow_repeats=True):
            assert [said(client.completion("openai/m", MESSAGES)) for _ in range(3)] == ["1", "2", "2"]


class TestMatching:
    @pytest.fixture
    def file(self, mock: MockServer, tmp_path: Path) -> Path:
        client = client_of(mock)
        with cassette(tmp_path / "a.json"):
            for model in ("a", "b"):
                mock.reply(model)
                client.completion(f"openai/{model}", MESSAGES, temperature=0.5, user="u1")
        return tmp_path / "a.json"

    def test_the_order_of_members_does_not_matter(self, mock: MockServer, file: Path) -> None:
        with cassette(file):
            assert said(client_of(mock).completion("openai/b", MESSAGES, user="u1", temperature=0.5)) == "b"

    def test_members_can_be_ignored(self, mock: MockServer, file: Path) -> None:
        client = client_of(mock)
        with cassette(file), pytest.raises(ritellm.UnexpectedCallError, match="user is missing"):
            client.completion("openai/a", MESSAGES, temperature=0.5)
        with cassette(file, ignore=["user", "temperature"]):
            assert said(client.completion("openai/b", MESSAGES)) == "b"

    def test_as_vcrpy_does(self, mock: MockServer, file: Path) -> None:
        with cassette(file, match_on=["method", "uri"]):
            assert said(client_of(mock).completion("openai/other", MESSAGES)) == "a"

    def test_by_a_function(self, mock: MockServer, file: Path) -> None:
        def first_letter(request: dict[str, Any]) -> str:
            letter: str = request["json"]["model"][0]
            return letter

        with cassette(file, match_on=["method", first_letter]):
            assert said(client_of(mock).completion("openai/bert", MESSAGES)) == "b"
            with pytest.raises(
                ritellm.UnexpectedCallError, match=r'differs in first_letter\(\) \(it is "c", not "a"\)'
            ):
                client_of(mock).completion("openai/clara", MESSAGES)

    def test_strict_order(self, mock: MockServer, file: Path) -> None:
        with cassette(file, order="strict"), pytest.raises(ritellm.UnexpectedCallError, match="turn has not come"):
            client_of(mock).completion("openai/b", MESSAGES, temperature=0.5, user="u1")

    def test_another_host_is_another_call(self, mock: MockServer, file: Path) -> None:
        client = ritellm.Client(api_key=KEY, base_url="http://127.0.0.1:9/v1")
        with cassette(file), pytest.raises(ritellm.UnexpectedCallError, match=r"differs in port \(it is 9, not \d+\)"):
            client.completion("openai/a", MESSAGES, temperature=0.5, user="u1")
        with cassette(file, match_on=["method", "path", "body"]):
            assert said(client.completion("openai/a", MESSAGES, temperature=0.5, user="u1")) == "a"

    def test_another_query_is_named(self, mock: MockServer, file: Path) -> None:
        call = {"temperature": 0.5, "user": "u1", "extra_query": {"api-version": "2"}}
        wrong = r"differs in query \(it has 1 elements, not 0\)"
        with cassette(file), pytest.raises(ritellm.UnexpectedCallError, match=wrong):
            client_of(mock).completion("openai/a", MESSAGES, **call)


def test_a_failure_is_not_repeated_nor_fallen_back_from(
    mock: MockServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    with cassette(tmp_path / "a.json"):
        client_of(mock).completion("openai/m", MESSAGES)
    router = ritellm.Router({"g": ["openai/one", "anthropic/two"]})
    with cassette(tmp_path / "a.json"), pytest.raises(ritellm.UnexpectedCallError):
        router.completion("g", MESSAGES)


def test_client_with_a_cassette(mock: MockServer, tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    client = client_of(mock, cassette=file)
    other = client_of(mock)

    async def main() -> list[str]:
        return [
            said(await client.acompletion("openai/m", MESSAGES)),
            said(await other.acompletion("openai/x", MESSAGES)),
        ]

    assert asyncio.run(main()) == ["Hello there!"] * 2
    assert [call["request"]["json"]["model"] for call in json.loads(file.read_text())["calls"]] == ["m"]
    tape = cassette(file, mode="none")
    mock.fail(500)
    assert said(client_of(mock, cassette=tape).completion("openai/m", MESSAGES)) == "Hello there!"
    assert tape.played == 1
    tape.close()
    with pytest.raises(ritellm.InvalidArgumentError, match="cassette is int"):
        ritellm.Client(cassette=7)


def test_keys_are_not_needed_to_play(mock: MockServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", mock.url + "/v1")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with cassette(tmp_path / "a.json"):
        ritellm.completion("openai/m", MESSAGES)
    monkeypatch.delenv("OPENAI_API_KEY")
    with cassette(tmp_path / "a.json"):
        assert said(ritellm.completion("openai/m", MESSAGES)) == "Hello there!"


SECRETS = {
    "key": KEY,
    "cookie": "__cf_bm-session-cookie-987654",
    "organization": "org-Ab12Cd34Ef56Gh78Ij90",
    "project": "proj_Xq3vTn8LwK2mBz5RfYc7Hd1A",
    "account": "123456789012",
    "token": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.sig-nature_0123456789",
    "uuid": "7c41e9d0-5b8f-4a36-a2d8-c1f700000001",
    "own": "Internal Project Nightingale",
}


@pytest.mark.parametrize("encoded", [False, True])
def test_secrets_are_not_in_the_file(tmp_path: Path, encoded: bool) -> None:
    """Neither in fields, nor in addresses, nor in what a server repeats, as it is or encoded."""
    server = Server()
    shown = base64.b64encode(KEY.encode()).decode() if encoded else KEY
    error = {
        "error": {
            "message": f"Incorrect API key provided: {shown}. In organization {SECRETS['organization']} and {SECRETS['project']}: "
            f"arn:aws:bedrock:us-east-1:{SECRETS['account']}:inference-profile/x, {SECRETS['token']}, {SECRETS['own']}, {SECRETS['uuid']}"
        }
    }
    headers = {
        "set-cookie": f"__cf_bm={SECRETS['cookie']}; path=/",
        "openai-organization": SECRETS["organization"],
        "anthropic-organization-id": SECRETS["uuid"],
        "x-request-id": f"req_1 {SECRETS['cookie']}",
        "content-type": "application/json",
    }
    server.answer(Answer(400, headers, json.dumps(error).encode()))
    client = ritellm.Client(api_key=KEY, base_url=server.base_url, headers={"cookie": f"a={SECRETS['cookie']}"})
    with cassette(tmp_path / "a.json", redact=[re.compile(r"Internal \w+ Nightingale")]) as tape:
        with pytest.raises(ritellm.AuthenticationError):
            client.completion(
                "openai/m", [{"role": "user", "content": f"My key is {shown}"}], extra_query={"api_key": KEY}
            )
        assert tape.recorded == 1
    text = (tmp_path / "a.json").read_text()
    for name, secret in SECRETS.items():
        assert secret not in text, name
        assert base64.b64encode(secret.encode()).decode().rstrip("=") not in text, name
    # And the same call finds its answer.
    with cassette(tmp_path / "a.json", mode="none"), pytest.raises(ritellm.AuthenticationError):
        client.completion("openai/m", [{"role": "user", "content": f"My key is {shown}"}], extra_query={"api_key": KEY})
    server.close()


def test_calls_can_be_changed_or_left_out(mock: MockServer, tmp_path: Path) -> None:
    def change(call: dict[str, Any]) -> dict[str, Any] | None:
        call["response"]["json"]["choices"][0]["message"]["content"] = "changed"
        return call if call["request"]["json"]["model"] == "kept" else None

    with cassette(tmp_path / "a.json", before_record=change):
        client_of(mock).completion("openai/kept", MESSAGES)
        client_of(mock).completion("openai/left-out", MESSAGES)
    with cassette(tmp_path / "a.json") as tape:
        assert said(client_of(mock).completion("openai/kept", MESSAGES)) == "changed"
        assert len(tape._calls) == 1


def test_bodies_come_back_as_they_were() -> None:
    from ritellm.testing import _bodies

    for body in (
        b'{"a": 1.10}',
        b'{"a":1,"a":2}',
        b'{"a":1e400}',
        b"plain",
        b"\xff\x00",
        b"",
        b'{"a": [1, "\\u00e9 \\n"]}',
        b"[1,2]",
    ):
        packed = json.loads(json.dumps(_bodies.packed(body)))
        back = _bodies.unpacked(packed)
        assert back == body or json.loads(back) == json.loads(body)
    assert _bodies.packed(b'{"a": 1.10}') == {"text": '{"a": 1.10}'}
    assert _bodies.packed(b'{ "a": [1.5] }') == {"json": {"a": [1.5]}}


VCRPY = """interactions:
- request:
    body: '{"model":"gpt-4o","messages":[]}'
    headers:
      authorization: [Bearer sk-recorded]
    method: POST
    uri: https://api.openai.com/v1/chat/completions
  response:
    body:
      string: BODY
    headers:
      Content-Type: [application/json]
      Content-Encoding: [gzip]
      Transfer-Encoding: [chunked]
    status: {code: 200, message: OK}
- request:
    body: '{}'
    headers: {}
    method: POST
    uri: https://api.openai.com/v1/chat/completions
  response:
    body: {string: "data: {\\"id\\":\\"c\\",\\"object\\":\\"chat.completion.chunk\\",\\"created\\":1,\\"model\\":\\"m\\",\\"choices\\":[{\\"index\\":0,\\"delta\\":{\\"content\\":\\"streamed\\"},\\"finish_reason\\":\\"stop\\"}]}\\n\\ndata: [DONE]\\n\\n"}
    headers:
      content-type: [text/event-stream]
    status: {code: 200, message: OK}
version: 1
"""
BODY = json.dumps(
    {
        "id": "c",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-4o",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "recorded"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }
)


@pytest.mark.parametrize("body", ["!!binary " + base64.b64encode(gzip.compress(BODY.encode())).decode(), f"'{BODY}'"])
def test_cassettes_of_vcrpy_are_played(tmp_path: Path, body: str) -> None:
    """A body that was recorded compressed, one that was decoded by vcrpy, and a stream."""
    pytest.importorskip("yaml")
    (tmp_path / "a.yaml").write_text(VCRPY.replace("BODY", body))
    client = ritellm.Client(api_key="k")
    with cassette(tmp_path / "a.yaml") as tape:
        assert said(client.completion("openai/gpt-4o", MESSAGES)) == "recorded"
        chunks = list(client.completion("openai/gpt-4o", MESSAGES, stream=True))
        assert chunks[0].choices[0].delta.content == "streamed"
    assert tape.played == 2


def test_cassettes_of_vcrpy_in_json_and_with_parsed_bodies(tmp_path: Path) -> None:
    value = {
        "version": 1,
        "interactions": [
            {
                "request": {
                    "method": "POST",
                    "uri": "https://api.anthropic.com/v1/messages",
                    "headers": {},
                    "parsed_body": {},
                },
                "response": {
                    "status": {"code": 429, "message": "Too Many Requests"},
                    "headers": {"retry-after": ["7"], "content-type": ["application/json"]},
                    "parsed_body": {"type": "error", "error": {"type": "rate_limit_error", "message": "slow"}},
                },
            }
        ],
    }
    (tmp_path / "a.json").write_text(json.dumps(value))
    client = ritellm.Client(api_key="k", max_retries=0)
    with cassette(tmp_path / "a.json", match_on=["method", "uri"]), pytest.raises(ritellm.RateLimitError) as caught:
        client.completion("anthropic/claude-sonnet-4-5", MESSAGES)
    assert caught.value.retry_after == 7


def test_the_older_form_of_vcrpys_answers(tmp_path: Path) -> None:
    """That of httpx before version 6: kevin1024/vcrpy pull request 649."""
    request = {"method": "POST", "uri": "https://api.openai.com/v1/chat/completions", "headers": {}, "body": "{}"}
    response = {"status_code": 200, "http_version": "HTTP/1.1", "headers": {"Content-Type": ["application/json"]}}
    row = {"request": request, "response": {**response, "content": BODY}}
    (tmp_path / "a.json").write_text(json.dumps({"version": 1, "interactions": [row]}))
    with cassette(tmp_path / "a.json", match_on=["uri"]):
        assert said(ritellm.Client(api_key="k").completion("openai/gpt-4o", MESSAGES)) == "recorded"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.yaml", "a: !!python/object/apply:os.system ['true']", "has the tag .*python"),
        ("a.yaml", "a: !!set {b}", "has the tag .*set"),
        ("a.yaml", "a: [", "is no YAML"),
        ("a.yaml", "a: 1", "is no cassette of vcrpy"),
        ("a.json", "{", "is no JSON"),
        ("a.json", "{}", "is no cassette"),
        ("a.json", '{"ritellm_cassette": 99, "calls": []}', "is of version 99"),
        ("a.json", '{"ritellm_cassette": 1, "calls": [{"request": {"url": "/"}}]}', "is no cassette: KeyError"),
        ("a.json", '{"ritellm_cassette": 1, "calls": [{"response": {}}]}', "the response of call 1 has no status"),
    ],
)
def test_files_that_are_no_cassettes(tmp_path: Path, name: str, text: str, message: str) -> None:
    if name.endswith("yaml"):
        pytest.importorskip("yaml")
    (tmp_path / name).write_text(text)
    with pytest.raises(ritellm.InvalidArgumentError, match=message):
        cassette(tmp_path / name).__enter__()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "sometimes"}, "mode is 'sometimes'"),
        ({"match_on": ["model"]}, "match_on has 'model'"),
        ({"match_on": ["path", 7]}, "match_on has int"),
        ({"order": "random"}, "order is 'random'"),
    ],
)
def test_bad_options_are_named(tmp_path: Path, options: Any, message: str) -> None:
    with pytest.raises(ritellm.InvalidArgumentError, match=message):
        cassette(tmp_path / "a.json", **options)
    with pytest.raises(ritellm.InvalidArgumentError, match="cassettes of vcrpy are played, and not written"):
        cassette(tmp_path / "a.yaml").__enter__()


def test_as_a_decorator(mock: MockServer, tmp_path: Path) -> None:
    client = client_of(mock)

    @cassette(tmp_path / "a.json")
    def ask(model: str) -> str:
        return said(client.completion(model, MESSAGES))

    @cassette(tmp_path / "a.json", mode="none")
    async def aask(model: str) -> str:
        return said(await client.acompletion(model, MESSAGES))

    assert ask("openai/m") == ask("openai/m") == "Hello there!"
    assert asyncio.run(aask("openai/m")) == "Hello there!"
    assert len(mock.requests) == 1


def test_a_mock_server_can_be_what_is_recorded(mock: MockServer, tmp_path: Path) -> None:
    """Of two detours the inner one is taken first."""
    with MockServer() as outer:
        outer.reply("outer")
        with cassette(tmp_path / "a.json") as tape:
            assert said(ritellm.completion("anthropic/claude-sonnet-4-5", MESSAGES)) == "outer"
        assert (tape.recorded, tape.unplayed) == (1, 0)
    with cassette(tmp_path / "a.json") as tape:
        assert tape.unplayed == 1
        assert said(ritellm.completion("anthropic/claude-sonnet-4-5", MESSAGES)) == "outer"
        assert tape.unplayed == 0


def test_tokens_of_a_token_server_are_not_in_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the refresh token that is sent, nor the access token that comes and is sent with the call."""
    secrets = [
        "refresh-token-of-a-person-0123456789",
        "access-token-of-a-person-0123456789",
        "client-secret-0123456789",
    ]
    credentials = {
        "type": "authorized_user",
        "client_id": "id.example",
        "client_secret": secrets[2],
        "refresh_token": secrets[0],
    }
    (tmp_path / "credentials.json").write_text(json.dumps(credentials))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "credentials.json"))
    options: dict[str, Any] = {"vertex_project": "project-of-a-person", "vertex_location": "us-central1"}
    with MockServer() as google:
        google.on(path="/token").reply(json={"access_token": secrets[1], "token_type": "Bearer", "expires_in": 3600})
        google.reply(f"{secrets[1]} is yours")
        with cassette(tmp_path / "a.json") as tape:
            ritellm.Client().completion("vertex/gemini-2.5-flash", MESSAGES, **options)
            assert any(secrets[1] in request.headers.get("authorization", "") for request in google.requests)
        assert tape.recorded == 2
    text = (tmp_path / "a.json").read_text()
    for secret in [*secrets, "project-of-a-person"]:
        assert secret not in text
    with cassette(tmp_path / "a.json", mode="none"):
        answer = ritellm.Client().completion("vertex/gemini-2.5-flash", MESSAGES, **options)
    assert said(answer) == "*** is yours"
