"""Unusual environments: subinterpreters, event loops other than asyncio's, foreign threads, closed file descriptors."""

from __future__ import annotations

import sys

import pytest
from conftest import RunProgram
from server import MESSAGES, Answer, Server, Stall, plain, streamed

import ritellm

SUBINTERPRETER = """
import sys
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
inside = '''
try:
    import ritellm
except ImportError as error:
    print("refused:", error)
else:
    print("taken")
'''
def run(*config):
    try:
        interpreter = interpreters.create(*config)
    except TypeError:
        return
    failed = interpreters.run_string(interpreter, inside)
    assert failed is None, failed
    sys.stdout.flush()
run()
run("legacy")
run("isolated")
"""


def test_a_subinterpreter_is_refused_and_the_main_one_is_not(run_program: RunProgram, at_openai: Server) -> None:
    if run_program(SUBINTERPRETER.replace("import ritellm", "import asyncio; raise ImportError")).code < 0:
        pytest.skip("this Python crashes after another module, too: 3.12.1 when asyncio was imported")
    at_openai.answer(plain())
    source = SUBINTERPRETER + (
        "import ritellm\n"
        "print(ritellm.completion('openai/m', [{'role': 'user', 'content': 'Hi'}]).choices[0].message.content)\n"
        "run()\n"
    )
    output = run_program(source).check()
    assert "taken" not in output
    assert output.count("refused: ") >= 2 and "Hello!" in output
    if sys.version_info < (3, 12):
        assert output.count("main interpreter") == 2


def test_an_await_outside_of_asyncio_says_what_to_do() -> None:
    coroutine = ritellm.acompletion("openai/m", MESSAGES, api_key="k")
    with pytest.raises(RuntimeError, match=r"no running event loop of asyncio: .*trio\.to_thread"):
        coroutine.send(None)


def test_ctrl_c_where_threading_does_not_know_the_main_thread(run_program: RunProgram, at_openai: Server) -> None:
    """Imitates gevent, whose `threading` is patched for greenlets."""
    at_openai.answer(Answer(before=[Stall()]))
    source = """
        import os, signal, threading, _thread
        threading.get_ident = _thread.get_ident = lambda: 5
        threading.main_thread()._ident = 6
        import ritellm
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        try:
            ritellm.completion("openai/m", [{"role": "user", "content": "Hi"}])
        except KeyboardInterrupt:
            print("interrupted")
        os._exit(0) if __import__("sys").stdout.flush() is None else None
    """
    assert run_program(source).check().strip() == "interrupted"


class TestClosedDescriptors:
    def test_later_calls_open_connections_anew(self, run_program: RunProgram, at_openai: Server) -> None:
        at_openai.answer(plain())
        source = """
            import asyncio, os, ritellm
            def call(): return ritellm.completion("openai/m", [{"role": "user", "content": "Hi"}])
            async def acall(): return await ritellm.acompletion("openai/m", [{"role": "user", "content": "Hi"}])
            call(); asyncio.run(acall())
            os.closerange(3, 4096)
            # Their numbers are somebody else's now.
            others = [os.open(os.devnull, os.O_RDWR) for _ in range(30)]
            for _ in range(3):
                print(call().choices[0].message.content)
                print(asyncio.run(acall()).choices[0].message.content)
            assert all(os.fstat(other) for other in others)
        """
        program = run_program(source)
        assert program.check().split() == ["Hello!"] * 6
        assert program.errors == ""

    def test_what_was_under_way_ends(self, run_program: RunProgram, at_openai: Server) -> None:
        at_openai.answer(streamed("Hi"), Answer(before=[Stall()]), plain())
        source = """
            import os, threading, time, ritellm
            def call(**more): return ritellm.completion("openai/m", [{"role": "user", "content": "Hi"}], **more)
            stream = call(stream=True)
            next(stream)
            def wait():
                try: call()
                except ritellm.APIConnectionError as error: print("lost:", "os.closerange" in str(error))
            thread = threading.Thread(target=wait)
            thread.start()
            while ritellm.stats()["connections_idle"] + 1 > ritellm.stats()["connections_open"]: pass
            # A socket that is in use at that very moment is dropped with its number closed, which aborts in a debug build.
            time.sleep(0.2)
            os.closerange(3, 4096)
            thread.join()
            print(call().choices[0].message.content)
            try: list(stream)
            except ritellm.APIConnectionError as error: print("lost:", "os.closerange" in str(error))
        """
        program = run_program(source)
        assert program.check().splitlines()[0] == "lost: True"
        assert "Hello!" in program.output and "panicked" not in program.errors
