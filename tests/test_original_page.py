"""Runs the example programs of the page that RiteLLM's interface was modelled on, unchanged."""

from __future__ import annotations

import re
import textwrap
import threading
from pathlib import Path

import pytest
from conftest import RunProgram
from server import MESSAGES, Answer, Request, Server, plain, refusal, streamed

PAGE = Path(__file__).parents[2] / "shared" / "async-usage-original.txt"

pytestmark = pytest.mark.skipif(not PAGE.exists(), reason=f"the page is not here: {PAGE.name}")


def programs_of(page: str) -> list[str]:
    """The page's code: runs of lines that begin with a blank, a bracket, a `#` or a small letter; its prose never does."""
    blocks: list[list[str]] = []
    inside = False
    for line in page.splitlines():
        if not line:
            if inside:
                blocks[-1].append("")
        elif re.match(r"[\sa-z#)\]}]", line):
            if not inside:
                blocks.append([])
            inside = True
            blocks[-1].append(line)
        else:
            inside = False
    return ["\n".join(block).strip("\n") + "\n" for block in blocks]


PROGRAMS = programs_of(PAGE.read_text()) if PAGE.exists() else []


def program(*words: str) -> str:
    """The one program that has all these words in it."""
    found = [program for program in PROGRAMS if all(word in program for word in words)]
    assert len(found) == 1, f"{len(found)} programs have {words}"
    return found[0]


def in_main(fragment: str, before: str) -> str:
    """A fragment that awaits, inside an async function, with the names that it takes for granted."""
    head = f"import asyncio\nfrom ritellm import acompletion\n{textwrap.dedent(before)}\nasync def _program():\n"
    return f"{head}{textwrap.indent(fragment, '    ')}    return dict(locals())\n_names = asyncio.run(_program())\n"


def echo(request: Request) -> Answer:
    text = f"You said: {request.json['messages'][-1]['content']}"
    if request.wants_stream:
        return streamed(*re.findall(r"\S+\s*", text))
    return plain(text)


@pytest.fixture(autouse=True)
def echoing(at_openai: Server) -> None:
    at_openai.script = echo


def test_all_of_them_were_found() -> None:
    assert len(PROGRAMS) == 10
    for source in PROGRAMS:
        compile(source, "program", "exec", flags=0x2000)  # ast.PyCF_ALLOW_TOP_LEVEL_AWAIT


def test_basic_async_usage(run_program: RunProgram, at_openai: Server) -> None:
    source = program("asyncio.run(main())", '"content": "Hello!"', 'print(response["choices"][0]')
    assert run_program(source).check() == "You said: Hello!\n"
    assert at_openai.last.json["model"] == "gpt-3.5-turbo"
    assert len(at_openai.last.json["messages"]) == 2


def test_async_with_streaming(run_program: RunProgram, at_openai: Server) -> None:
    source = program("Write a short poem about Python.")
    assert run_program(source).check() == "You said: Write a short poem about Python.\n"
    assert at_openai.last.json["stream"] is True


def test_concurrent_requests(run_program: RunProgram, at_openai: Server) -> None:
    output = run_program(program("async def ask_question")).check()
    questions = ["What is Python?", "What is Rust?", "What is async programming?"]
    assert output == "".join(f"Q: {question}\nA: You said: {question}\n\n" for question in questions)
    assert all(request.json["max_tokens"] == 100 for request in at_openai.requests)


def test_complete_example(run_program: RunProgram, at_openai: Server) -> None:
    output = run_program(program("async def chat_streaming")).check()
    questions = ["Hello! What can you help me with?", "Tell me about async programming in Python.", "Thanks!"]
    assert output == "".join(f"User: {question}\n\nAssistant: You said: {question}\n\n" for question in questions)
    last = at_openai.last.json
    assert [message["role"] for message in last["messages"]] == [
        "system",
        "user",
        "assistant",
        "user",
        "assistant",
        "user",
    ]
    assert last["messages"][2]["content"] == f"You said: {questions[0]}"
    assert (last["temperature"], last["max_tokens"]) == (0.7, 500)


def test_gather(run_program: RunProgram, at_openai: Server) -> None:
    names = "".join(f"messages{number} = [{{'role': 'user', 'content': '{number}'}}]\n" for number in (1, 2, 3))
    source = in_main(program("# Good: Concurrent requests"), names)
    source += "print([r.choices[0].message.content for r in _names['results']])\n"
    source += "print([_names[f'result{n}'].choices[0].message.content for n in (1, 2, 3)])\n"
    expected = str([f"You said: {number}" for number in (1, 2, 3)])
    assert run_program(source).check() == f"{expected}\n{expected}\n"
    assert len(at_openai.requests) == 6


def test_handle_errors_gracefully(run_program: RunProgram, at_openai: Server) -> None:
    source = "import asyncio\nfrom ritellm import acompletion\n" + program("async def safe_completion")
    source += f"print(asyncio.run(safe_completion({MESSAGES!r})) is None)\n"
    assert run_program(source).check() == "False\n"
    at_openai.answer(refusal(401, "no such key"))
    output = run_program(source).check()
    assert output.startswith("Error during completion: ")
    assert "no such key" in output
    assert output.endswith("True\n")


def test_streaming_for_long_responses(run_program: RunProgram, at_openai: Server) -> None:
    source = in_main(program("# Good for long responses"), f"messages = {MESSAGES!r}")
    source += "print(_names['response'].choices[0].message.content)\n"
    assert run_program(source).check() == "You said: Hi\n"
    assert [request.wants_stream for request in at_openai.requests] == [True, False]


def test_rate_limiting(run_program: RunProgram, at_openai: Server) -> None:
    lock, now, most = threading.Lock(), 0, 0

    def script(request: Request) -> Answer:
        nonlocal now, most
        with lock:
            now = sum(not other.done.is_set() for other in at_openai.requests)
            most = max(most, now)
        return echo(request)

    at_openai.script = script
    source = "import asyncio\nfrom ritellm import acompletion\n"
    source += "message_list = [[{'role': 'user', 'content': str(n)}] for n in range(30)]\n"
    fragment = program("semaphore = asyncio.Semaphore(5)")
    source += fragment + "    print(*[r.choices[0].message.content[10:] for r in results])\nasyncio.run(main())\n"
    assert run_program(source).check().split() == [str(number) for number in range(30)]
    assert 1 <= most <= 5


def test_synchronous(run_program: RunProgram, at_openai: Server) -> None:
    output = run_program(program("from ritellm import completion\n")).check()
    assert output == "".join(f"You said: Question {number}\n" for number in range(10))
    assert at_openai.connections == 1


def test_asynchronous(run_program: RunProgram, at_openai: Server) -> None:
    output = run_program(program("# Concurrent execution - fast!")).check()
    assert output == "".join(f"You said: Question {number}\n" for number in range(10))
