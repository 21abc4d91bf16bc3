"""Tests that no argument, and no change to the classes, crashes the process: it works, or it raises."""

from __future__ import annotations

import gc
import json
import re
import sys
import threading
from typing import Any

import pytest
from conftest import RunProgram
from server import (
    MESSAGES,
    Answer,
    Pause,
    Piece,
    Request,
    Server,
    chunk_of,
    chunks_of,
    completion_of,
    dumped,
    event,
    events,
    plain,
    plain_or_streamed,
    stream_of,
)

import ritellm
from ritellm import ChatCompletion, InvalidArgumentError, Message, Object, _core


class Subclass(Message):
    """A program's own, which has a `__dict__`."""


class WithSlot(Message):
    __slots__ = ("slot",)


KINDS: dict[str, list[Any]] = {
    "of objects": [Message],
    "of objects with a slot": [ChatCompletion],
    "of a subclass": [Subclass],
    "of a subclass with a slot": [WithSlot],
    "of objects, lists, dicts and tuples": [Message, list, dict, tuple, Object],
    "of all kinds": [Message, ChatCompletion, Subclass, WithSlot, list, Object],
}


def nested(depth: int, kinds: list[Any]) -> Any:
    value: Any = None
    for at in range(depth):
        kind = kinds[at % len(kinds)]
        value = kind(part=value) if issubclass(kind, dict) else kind([value])
    return value


class TestFreeing:
    @pytest.mark.parametrize("kinds", KINDS.values(), ids=KINDS)
    def test_a_chain_of_any_length_is_freed(self, kinds: list[Any]) -> None:
        chain = nested(100_000, kinds)
        del chain

    def test_on_a_thread_with_a_small_stack(self) -> None:
        before = threading.stack_size(128 * 1024)
        try:
            thread = threading.Thread(target=lambda: nested(100_000, [Message, Object]) and None)
            thread.start()
        finally:
            threading.stack_size(before)
        thread.join()

    def test_everything_of_a_tree_is_freed(self) -> None:
        freed: list[int] = []

        class Leaf:
            def __del__(self) -> None:
                freed.append(1)

        tree: Any = [Message(part=nested(70, [Message]), leaf=Leaf()) for _ in range(100)]
        for _ in range(100):
            tree = Message(part=tree, leaf=Leaf())
        del tree
        assert len(freed) == 200

    def test_a_finaliser_that_is_set_on_a_class_runs(self, monkeypatch: pytest.MonkeyPatch) -> None:
        finalised: list[Any] = []
        monkeypatch.setattr(Message, "__del__", lambda message: finalised.append(message.number), raising=False)
        chain = None
        for number in range(200):
            chain = Message(number=number, part=chain)
        del chain
        assert sorted(finalised) == list(range(200))

    def test_an_object_that_its_finaliser_keeps_lives_on(self, monkeypatch: pytest.MonkeyPatch) -> None:
        kept: list[Any] = []
        monkeypatch.setattr(Message, "__del__", lambda message: kept.append(message), raising=False)
        message = Message(number=1)
        del message
        gc.collect()
        assert kept == [{"number": 1}]
        monkeypatch.undo()
        kept.clear()


class TestCollecting:
    def test_an_object_of_strings_is_not_looked_at_until_it_holds_more(self) -> None:
        message = _core.from_json(b'{"message": {"content": "Hi", "number": 1.5}}').message
        message.itself = message
        assert gc.is_tracked(message)

    @pytest.mark.parametrize("name", ["choices", "message", "other"])
    def test_a_cycle_is_collected(self, name: str) -> None:
        class Part:
            pass

        gc.collect()
        before = sum(isinstance(found, Object) for found in gc.get_objects())
        for _ in range(10):
            found = _core.from_json(b'{"%s": {"content": "Hi"}}' % name.encode())[name]
            found["part"] = part = Part()
            part.owner = found  # type: ignore[attr-defined]
        del found, part
        gc.collect()
        assert sum(isinstance(found, Object) for found in gc.get_objects()) == before


class TestClasses:
    @pytest.mark.parametrize("stand_in", ["list", "dict", "int", "3", "type('Own', (dict,), {})", "None"])
    def test_a_class_that_was_replaced_is_refused(self, run_program: RunProgram, stand_in: str) -> None:
        run_program(
            f"""
            import ritellm
            ritellm.types.Object = {stand_in}
            try:
                ritellm._core.from_json(b'{{"a": {{}}}}')
            except TypeError as error:
                assert "ritellm.types.Object" in str(error), error
            else:
                raise AssertionError("taken")
            """
        ).check()

    def test_only_classes_of_ours_act_as_dicts(self) -> None:
        with pytest.raises(TypeError):
            _core.act_as_dict(dict)
        freed: list[int] = []

        class Leaf:
            def __del__(self) -> None:
                freed.append(1)

        for _ in range(10):
            own: Any = type("Own", (Message,), {})
            _core.act_as_dict(own)
            instance = own()
            instance.meta = Leaf()  # in its `__dict__`, which is freed too
            del instance
        assert len(freed) == 10


class TestNesting:
    """Arguments can be nested arbitrarily deep, or contain themselves."""

    def deep(self, kind: str) -> Any:
        if kind == "cycle":
            cycle: dict[str, Any] = {}
            cycle["part"] = cycle
            return cycle
        return nested(10_000, {"lists": [list], "dicts": [dict], "objects": [Message], "tuples": [tuple]}[kind])

    @pytest.mark.parametrize("kind", ["cycle", "lists", "dicts", "objects"])
    def test_chunks(self, kind: str) -> None:
        chunk = {"choices": [{"index": 0, "delta": {"content": "Hi", "more": self.deep(kind)}}]}
        with pytest.raises(InvalidArgumentError, match=r"chunks\[0\] is nested more than 512 deep, or contains itself"):
            ritellm.stream_chunk_builder([chunk])

    def test_chunks_as_deep_as_a_stream_may_give_them(self) -> None:
        chunk = {"choices": [{"index": 0, "delta": {"content": "Hi", "more": nested(500, [list])}}]}
        assert ritellm.stream_chunk_builder([chunk]).choices[0].message.content == "Hi"

    @pytest.mark.parametrize("kind", ["cycle", "lists", "dicts", "objects", "tuples"])
    @pytest.mark.parametrize("name", ["messages", "tools", "extra_body", "response_format", "unknown"])
    def test_arguments(self, name: str, kind: str) -> None:
        deep: Any = self.deep(kind)
        values: dict[str, Any] = {"messages": [{"role": "user", "content": deep}], "extra_body": {"part": deep}}
        arguments: Any = {"messages": MESSAGES, name: values.get(name, [deep])}
        with pytest.raises(InvalidArgumentError, match=f"{name}.* is nested more than 256 deep, or contains itself"):
            ritellm.completion("openai/m", api_key="k" * 8, **arguments)

    @pytest.mark.parametrize("kind", ["lists", "dicts", "objects"])
    def test_methods(self, run_program: RunProgram, kind: str) -> None:
        run_program(
            """
            import copy, json, pickle, sys
            from ritellm import Message, ChatCompletion, _core

            def of(kind, value):
                made = kind()
                made["a"] = value
                return made

            def nested():
                value = None
                for _ in range(10_000):
                    value = {"lists": lambda: [value], "dicts": lambda: {"a": value}}.get(
                        sys.argv[1], lambda: of(ChatCompletion, of(Message, value)))()
                return of(Message, value)

            one, other = nested(), nested()
            for use in (Message.model_dump, Message.model_dump_json, repr, str, copy.deepcopy, pickle.dumps, json.dumps,
                        lambda value: value == other, _core.to_json):
                try:
                    use(one)
                except (RecursionError, ValueError):
                    pass
            """,
            kind,
        ).check()

    def test_a_dict_that_changes_while_it_is_read(self) -> None:
        class Changing:
            def model_dump(self, **_: Any) -> dict[str, Any]:
                given.clear()
                return {}

        given: dict[str, Any] = {"first": Changing(), "second": 2}
        with pytest.raises(RuntimeError, match="changed its size"):
            _core.to_json(given)

        class Name:
            def __str__(self) -> str:
                chunk.clear()
                return "name"

        chunk: Any = {Name(): 1, "choices": []}
        with pytest.raises(RuntimeError, match="changed its size"):
            ritellm.stream_chunk_builder([chunk])


SMALL_STACKS = """
    import asyncio, sys, threading
    import ritellm
    from ritellm import ChatCompletion, Client, Message, _core

    MESSAGES = [{"role": "user", "content": "Hi"}]
    client = Client(max_nesting=int(sys.argv[2]), max_retries=0)

    def nested(kind, depth):
        value = 1
        for _ in range(depth):
            value = [value] if kind == "lists" else {"a": value} if kind == "dicts" else Message(a=value)
        return value

    def text(kind, depth):
        return {"lists": b"[" * depth + b"1" + b"]" * depth}.get(kind, b'{"a":' * depth + b"1" + b"}" * depth)

    def of_argument(value):
        return [{"type": "function", "function": {"name": "f", "parameters": value}}]

    def read(call, **asked):
        stream = call(stream=True, extra_body=asked)
        try:
            for chunk in stream:
                stream.text
        finally:
            getattr(stream, "completion", None), getattr(stream, "response", None)

    def plain(**params):
        return client.completion("openai/m", MESSAGES, **params)

    def responses(**params):
        return client.responses("openai/m", "Hi", **params)

    async def read_async(**asked):
        stream = await client.acompletion("openai/m", MESSAGES, stream=True, extra_body=asked)
        async for chunk in stream:
            pass

    def dumped(value):
        answer = ChatCompletion(choices=[{"message": value}])
        answer.model_dump()
        answer.model_dump_json()

    def chunks(value):
        ritellm.stream_chunk_builder([{"choices": [{"index": 0, "delta": {"content": "Hi", "more": value}}]}] * 2)

    uses = {
        "texts": lambda kind, depth: _core.from_json(text(kind, depth)),
        "answers": lambda kind, depth: plain(extra_body={"kind": kind, "depth": depth}),
        "streams": lambda kind, depth: read(plain, kind=kind, depth=depth),
        "broken streams": lambda kind, depth: read(plain, kind=kind, depth=depth, broken=True),
        "awaited": lambda kind, depth: asyncio.run(read_async(kind=kind, depth=depth)),
        "responses": lambda kind, depth: responses(extra_body={"kind": kind, "depth": depth}),
        "streamed responses": lambda kind, depth: read(responses, kind=kind, depth=depth),
        "refusals": lambda kind, depth: plain(extra_body={"kind": kind, "depth": depth, "status": 400}),
        "messages": lambda kind, depth: client.completion("openai/m", [{"role": "user", "content": nested(kind, depth)}]),
        "tools": lambda kind, depth: plain(tools=of_argument(nested(kind, depth))),
        "chunks": lambda kind, depth: chunks(nested(kind, depth)),
        "objects": lambda kind, depth: ChatCompletion({"choices": [{"message": nested(kind, depth)}]}),
        "dumped": lambda kind, depth: dumped(nested(kind, depth)),
    }

    def run():
        for kind in ("lists", "dicts", "objects"):
            for depth in (4, 7, 20, 60, 100, 120, 240, 512):
                try:
                    uses[sys.argv[1]](kind, depth)
                except (ritellm.RiteLLMError, ValueError, RecursionError):
                    pass

    for size in (64, 128, 256):
        threading.stack_size(size * 1024)
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
    print("done")
"""


class TestSmallStacks:
    """Whatever is nested raises on a thread with a small stack, or works."""

    @pytest.mark.parametrize("nesting", ["256", "512"])
    @pytest.mark.parametrize("use", re.findall(r'"([a-z ]+)": lambda kind, depth', SMALL_STACKS))
    def test_nothing_overflows(self, server: Server, run_program: RunProgram, use: str, nesting: str) -> None:
        if use == "dumped" and sys.version_info < (3, 11):
            pytest.skip(
                "functions of Python that call themselves use the stack of the thread, which this Python does not watch"
            )

        def script(request: Request) -> Answer:
            asked = json.loads(request.body) if b'"kind"' in request.body else {"kind": "lists", "depth": 0}
            depth = asked["depth"]
            nested = b"[" * depth + b"1" + b"]" * depth
            if asked["kind"] != "lists":
                nested = b'{"a":' * depth + b"1" + b"}" * depth
            # A text that is long enough for a chunk to be accumulated as soon as it has come.
            nested = b'"more":%b,"other":"%b","content":' % (nested, b"x" * 40_000)
            answer = dumped(completion_of("Hi")).replace(b'"content":', nested)
            if asked.get("status"):
                return Answer(status=asked["status"], body=b'{"error":{"message":"no",%b1}}' % nested)
            if "responses" in request.path:
                part = b'{"type":"output_text",%b1,"text":"Hi"}' % nested
                answer = b'{"id":"r","object":"response","output":[{"type":"message","content":[%b]}]}' % part
            if not asked.get("stream"):
                return Answer(body=answer)
            if "responses" in request.path:
                item = b'{"type":"response.output_item.done","output_index":0,"item":%b}' % answer
                last = b'{"type":"response.completed","response":%b}' % answer
                return stream_of(b"data: %b\n\n" % item, b"data: %b\n\n" % last)
            chunk = b"data: %b\n\n" % dumped(chunk_of({"content": "Hi"})).replace(b'"content":', nested)
            rest = [] if asked.get("broken") else [event(chunk_of({}, "stop")), b"data: [DONE]\n\n"]
            return stream_of(chunk, chunk, *rest)

        server.script = script
        assert run_program(SMALL_STACKS, use, nesting).check() == "done\n"


class TestMemory:
    def test_an_allocation_that_fails_is_a_memory_error(self, run_program: RunProgram) -> None:
        pytest.importorskip("_testcapi")
        program = run_program(
            """
            import _testcapi
            import ritellm
            from ritellm import _core

            text = (b'{"choices": [{"message": {"content": "caf\\\\u00e9 \\\\n more", "other": "caf\\xc3\\xa9"}}], "%d": 1.25,'
                    b' "numbers": [1000, 12345678901, 1234567890123456789012, 1.25, 1e-300, NaN, [], {}]}')
            value = _core.from_json(text)
            chunks = [{"choices": [{"index": 0, "delta": {"role": "assistant", "content": "Hi"}}]}]
            uses = [
                lambda at: _core.from_json(text % at),
                lambda at: _core.from_json(text[:-1]),
                lambda at: _core.to_json({"a": [1, 2.5, 10**30, "x", None, (1,)]}),
                lambda at: ritellm.stream_chunk_builder(chunks),
                lambda at: getattr(value, "missing", None),
                lambda at: value.choices[0].message.content,
            ]
            for use in uses:
                for at in range(100):
                    try:
                        use(at)
                    except ValueError:
                        pass
                    _testcapi.set_nomemory(at, at + 1)
                    try:
                        use(at)
                    except (MemoryError, ValueError):
                        pass
                    finally:
                        _testcapi.remove_mem_hooks()
            print("done")
            """
        )
        assert (program.code, program.output) == (0, "done\n"), program.errors
        assert "panicked" not in program.errors

    def test_what_is_made_beside_answers(self, run_program: RunProgram) -> None:
        """Clients, errors, figures and what is known of an answer."""
        pytest.importorskip("_testcapi")
        program = run_program(
            """
            import _testcapi
            import ritellm
            from ritellm import Client, _core

            class Own(Client):
                pass

            state = {"provider": "openai", "model": "m", "status_code": 200, "headers": {"a": "b", "c": "d"}}
            known = ritellm.Meta(state)
            uses = [
                lambda: Client(api_key="sk-1234567890", timeout={"connect": 1}, headers={"a": "b"}),
                lambda: Own(max_retries=1),
                lambda: ritellm.completion("openai/m", 5),
                lambda: ritellm.completion("openai/m", [], api_key="sk-1234567890", timeout="x"),
                lambda: ritellm.stats(),
                lambda: _core.providers()[0],
                lambda: known.headers,
                lambda: (repr(known), known.model, known.request_id, known.latency),
            ]
            for use in uses:
                for at in range(100):
                    try:
                        use()
                    except ValueError:
                        pass
                    _testcapi.set_nomemory(at, at + 1)
                    try:
                        use()
                    except (MemoryError, ValueError):
                        pass
                    except SystemError as error:  # CPython's own, where it calls a function of Python's
                        own = "<function builtin at" in str(error)
                        assert own or error.__traceback__.tb_next.tb_next is None
                    finally:
                        _testcapi.remove_mem_hooks()
            print("done")
            """
        )
        assert (program.code, program.output) == (0, "done\n"), program.errors
        assert "panicked" not in program.errors

    def test_what_is_done_with_answers(self, run_program: RunProgram, at_openai: Server) -> None:
        """Tests calls, their logs and streams, and copies and pickles of answers."""
        pytest.importorskip("_testcapi")
        at_openai.script = plain_or_streamed("He", "llo", "!")
        program = run_program(
            """
            import copy, gc, logging, pickle, sys
            import _testcapi
            import ritellm

            class Handler(logging.Handler):
                def emit(self, record):
                    record.getMessage()

            logging.raiseExceptions = False
            logging.getLogger("ritellm").addHandler(Handler())
            messages = [{"role": "user", "content": "Hi"}]
            answer = ritellm.completion("openai/m", messages, api_key="sk-1234567890")

            def logged():
                logging.getLogger("ritellm").setLevel(logging.DEBUG)
                try:
                    return ritellm.completion("openai/m", messages, api_key="sk-1234567890", max_retries=0)
                finally:
                    logging.getLogger("ritellm").setLevel(logging.WARNING)

            def streamed():
                stream = ritellm.completion("openai/m", messages, stream=True, api_key="sk-1234567890", max_retries=0)
                return [chunk for chunk in stream], stream.text, stream.completion

            uses = [
                logged,
                streamed,
                lambda: copy.deepcopy(answer),
                lambda: copy.deepcopy(answer.meta),
                lambda: pickle.loads(pickle.dumps(answer)),
                lambda: pickle.loads(pickle.dumps(answer.meta)),
                lambda: pickle.dumps(ritellm.Client(headers={"a": "b"})),
                lambda: ritellm.ChatCompletion(choices=[{"message": {"tool_calls": [{"function": {"name": "f"}}]}}]),
            ]
            if sys.version_info >= (3, 12):
                # CPython crashes where a function finds no memory, and `copy.deepcopy` makes one.
                del uses[2:4]
            gc.disable()
            for use in uses:
                use()
                for at in range(100):
                    # CPython 3.11 crashes where an iterator over a dict finds no memory for its pair (`dictiter_new` frees an
                    # object that is not tracked): pairs come from the list of free ones then.
                    pairs = [(at, at) for _ in range(100)]
                    del pairs
                    _testcapi.set_nomemory(at, at + 1)
                    try:
                        use()
                    except (MemoryError, pickle.PicklingError):
                        pass
                    except SystemError as error:  # CPython's own, where it calls a function of Python's
                        assert error.__traceback__.tb_next.tb_next is None
                    finally:
                        _testcapi.remove_mem_hooks()
            print("done")
            """
        )
        assert (program.code, program.output) == (0, "done\n"), program.errors
        assert "panicked" not in program.errors

    def test_what_is_awaited(self, run_program: RunProgram, at_openai: Server) -> None:
        """Tests that a task continues, unless asyncio loses it: then an error is reported."""
        pytest.importorskip("_testcapi")
        # Chunks come one by one: between them, the task waits.
        pieces: list[Piece] = [piece for event in events(chunks_of("He", "llo", "!")) for piece in (event, Pause(0.01))]
        at_openai.script = lambda request: stream_of(*pieces) if request.wants_stream else plain("Hello!")
        program = run_program(
            """
            import asyncio, gc
            import _testcapi
            import ritellm

            messages = [{"role": "user", "content": "Hi"}]
            client = ritellm.Client(api_key="sk-1234567890", max_retries=0)
            lost = []

            async def plain():
                await client.acompletion("openai/m", messages)

            async def streamed():
                async for _ in await client.acompletion("openai/m", messages, stream=True):
                    pass

            async def one(use, at):
                _testcapi.set_nomemory(at, at + 1)
                try:
                    await use()
                except MemoryError:
                    pass
                finally:
                    _testcapi.remove_mem_hooks()

            def run(use, at):
                lost.clear()
                task = loop.create_task(one(use, at))
                task.add_done_callback(lambda _: loop.stop())
                rounds = 0
                while not task.done() and not (lost and rounds > 2):
                    rounds += 1
                    watch = loop.call_later(0.1, loop.stop)
                    try:
                        loop.run_forever()
                    except MemoryError:
                        lost.append("the loop's own")
                    _testcapi.remove_mem_hooks()
                    watch.cancel()
                if task.done():
                    task.result()

            def note(loop, context):
                # The bridge tries again. Where it continues a task that then waits once more, asyncio may lose the task.
                if "Bridge" not in context["message"] or use is streamed:
                    lost.append(context["message"])

            loop = asyncio.new_event_loop()
            loop.set_exception_handler(note)
            gc.disable()
            for use in [plain, streamed]:
                loop.run_until_complete(use())
                for at in range(100):
                    run(use, at)
            print("done")
            """
        )
        assert (program.code, program.output) == (0, "done\n"), program.errors
        assert "panicked" not in program.errors
