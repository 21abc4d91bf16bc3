"""Whole programs of other projects against a mock server, with LiteLLM and with RiteLLM in its place.

A DSPy program that is optimised, a CrewAI crew with a tool, an edit of aider's, an agent of smolagents and a typed agent of
Strands. Each is run in the environment that tests/ecosystem.py made for its project, several times with each library in turn;
what they return must be equal. Printed: the median seconds, CPU seconds and the most memory of the process, and the CPU
seconds of `import litellm`.

    python tests/ecosystem_programs.py --dir /tmp/ecosystem              all
    python tests/ecosystem_programs.py --dir /tmp/ecosystem dspy aider   some
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

RUNS = 3
IMPORT = "import time; a = time.process_time(); import litellm; litellm.completion; print(time.process_time() - a)"


# What runs in the projects' environments. Each returns something that must not depend on the library.


def dspy(url: str) -> Any:
    import dspy

    dspy.configure_cache(enable_disk_cache=False, enable_memory_cache=False)
    lm = dspy.LM("openai/gpt-4o-mini", api_base=url, api_key="k", num_retries=2)
    dspy.configure(lm=lm, track_usage=True)
    questions = [(f"What is the capital of country {i}?", f"City {i}") for i in range(40)]
    examples = [dspy.Example(question=q, answer=a).with_inputs("question") for q, a in questions]

    def is_right(example: Any, prediction: Any, trace: Any = None) -> bool:
        return bool(prediction.answer == example.answer)

    program = dspy.ChainOfThought("question -> answer")
    optimizer = dspy.BootstrapFewShot(metric=is_right, max_bootstrapped_demos=4, max_labeled_demos=4)
    compiled = optimizer.compile(program, trainset=examples[:20])
    score = dspy.Evaluate(devset=examples, metric=is_right, num_threads=4, display_progress=False)(compiled)
    prediction = compiled(question=questions[3][0])
    usage = prediction.get_lm_usage()
    demos = [demo.toDict() for predictor in compiled.predictors() for demo in predictor.demos]
    counts = {name: value for name, value in usage["openai/gpt-4o-mini"].items() if isinstance(value, int)}
    return {
        "score": score.score,
        "answer": prediction.answer,
        "demos": demos,
        "usage": counts,
        "cost": lm.history[-1]["cost"],
    }


def crewai(url: str) -> Any:
    from crewai import LLM, Agent, Crew, Task
    from crewai.tools import tool

    calls = []

    @tool("weather")
    def weather(city: str) -> str:
        """Returns the weather in a city."""
        calls.append(city)
        return f"It is sunny in {city}."

    llm = LLM(model="openai/gpt-4o-mini", base_url=url, api_key="k", is_litellm=True)
    agent = Agent(role="Reporter", goal="Report the weather", backstory="You report.", tools=[weather], llm=llm)
    task = Task(description="What is the weather in Oslo?", expected_output="One sentence.", agent=agent)
    result = Crew(agents=[agent], tasks=[task]).kickoff()
    return {"raw": result.raw, "calls": calls, "usage": result.token_usage.model_dump()}


def aider(url: str) -> Any:
    from aider.main import main

    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        os.environ |= {"OPENAI_API_BASE": url, "OPENAI_API_KEY": "k", "HOME": folder}
        Path("hello.py").write_text('print("hello")\n')
        code = main(
            ["--model", "openai/gpt-4o", "--no-git", "--yes-always", "--no-check-update", "--no-show-release-notes",
             "--no-analytics", "--edit-format", "diff", "--map-tokens", "0", "--no-pretty", "--no-show-model-warnings",
             "--message", "Greet the world", "hello.py"],
        )  # fmt: skip
        return {"code": code, "file": Path("hello.py").read_text()}


def smolagents(url: str) -> Any:
    from smolagents import CodeAgent, LiteLLMModel, tool

    @tool
    def square(number: int) -> int:
        """Squares a number.

        Args:
            number: the number.
        """
        return number * number

    model = LiteLLMModel(model_id="openai/gpt-4o-mini", api_base=url, api_key="k")
    agent = CodeAgent(tools=[square], model=model, verbosity_level=0)
    answer = agent.run("What is the square of 12?")
    streamed = CodeAgent(tools=[square], model=model, verbosity_level=0, stream_outputs=True).run(
        "What is the square of 12?"
    )
    tokens = agent.monitor.get_total_token_counts()
    return {"answer": answer, "streamed": streamed, "tokens": [tokens.input_tokens, tokens.output_tokens]}


def strands(url: str) -> Any:
    import asyncio

    from pydantic import BaseModel
    from strands import Agent, tool
    from strands.models.litellm import LiteLLMModel

    class City(BaseModel):
        name: str
        inhabitants: int

    @tool
    def inhabitants(city: str) -> int:
        """Returns the number of inhabitants of a city."""
        return 717_710

    model = LiteLLMModel(client_args={"api_base": url, "api_key": "k"}, model_id="openai/gpt-4o-mini")
    agent = Agent(model=model, tools=[inhabitants], callback_handler=None)
    said = str(agent("How many people live in Oslo?"))
    typed = asyncio.run(agent.structured_output_async(City, "Oslo as a record"))
    return {"said": said, "typed": typed.model_dump(), "usage": dict(agent.event_loop_metrics.accumulated_usage)}


PROGRAMS = {"dspy": dspy, "crewAI": crewai, "aider": aider, "smolagents": smolagents, "strands": strands}

EDIT = """Here is the change.

hello.py
```python
<<<<<<< SEARCH
print("hello")
=======
print("hello, world")
>>>>>>> REPLACE
```
"""


def serve(server: Any) -> None:
    """Gives a mock server what the programs ask for."""
    for i in range(40):
        answer = f"[[ ## reasoning ## ]]\nI know it.\n\n[[ ## answer ## ]]\nCity {i}\n\n[[ ## completed ## ]]"
        # The demonstrations before it have other numbers, so the question is told by its end.
        server.on(contains=f"capital of country {i}?\n\nRespond with").reply(answer)
    server.on(contains="Greet the world").reply(EDIT)
    server.on(contains="the square of 12").reply("I use the tool.\n<code>\nfinal_answer(square(12))\n</code>")
    weather = [{"name": "weather", "arguments": {"city": "Oslo"}, "id": "call_1"}]
    server.on(contains="weather in Oslo").reply(tool_calls=weather)
    server.on(contains="It is sunny in Oslo").reply("It is sunny in Oslo.")
    people = [{"name": "inhabitants", "arguments": {"city": "Oslo"}, "id": "call_1"}]
    server.on(contains="people live in Oslo").reply(tool_calls=people)
    server.on(contains="717710").reply("717,710 people live in Oslo.")
    server.on(contains="Oslo as a record").reply(json={"name": "Oslo", "inhabitants": 717_710})
    server.reply("OK")


def run(command: list[str], environment: dict[str, str]) -> tuple[str, float, float, float]:
    """Runs a process. Returns what it printed, its seconds, CPU seconds and the most memory it had, in MB."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        started = time.monotonic()
        process = os.posix_spawn(
            command[0], command, environment,
            file_actions=[(os.POSIX_SPAWN_DUP2, out.fileno(), 1), (os.POSIX_SPAWN_DUP2, errors.fileno(), 2)],
        )  # fmt: skip
        _, status, usage = os.wait4(process, 0)
        seconds = time.monotonic() - started
        out.seek(0)
        errors.seek(0)
        printed = out.read().decode()
        if status:
            raise SystemExit(f"{command}: {printed[-2000:]}\n{errors.read().decode()[-4000:]}")
    return printed, seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main() -> None:
    import argparse

    import ecosystem

    from ritellm.testing import MockServer

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("programs", nargs="*", default=list(PROGRAMS))
    parser.add_argument("--dir", type=Path, required=True, help="the folder of tests/ecosystem.py")
    parser.add_argument("--runs", type=int, default=RUNS)
    arguments = parser.parse_args()
    print("| program | | seconds | CPU seconds | memory, MB | import, CPU s |")
    print("| --- | --- | ---: | ---: | ---: | ---: |")
    for name in arguments.programs:
        rows: dict[str, list[Any]] = {"LiteLLM": [], "RiteLLM": []}
        answers = set()
        python = str(arguments.dir / f"venv-{name}" / "bin/python")
        for _ in range(arguments.runs):
            for library, figures in rows.items():
                environment = ecosystem.environment_of(
                    arguments.dir.resolve(), name, ecosystem.here() if library == "RiteLLM" else None
                )
                with MockServer(intercept=False) as server:
                    serve(server)
                    printed, *measured = run([python, __file__, "run", name, server.url + "/v1"], environment)
                    calls = len([r for r in server.requests if r.method == "POST"])
                answers.add(
                    json.dumps([json.loads(printed.rpartition("RESULT ")[2].splitlines()[0]), calls], sort_keys=True)
                )
                imported = float(run([python, "-c", IMPORT], environment)[0])
                figures.append([*measured, imported])
        for library, figures in rows.items():
            medians = [statistics.median(column) for column in zip(*figures, strict=True)]
            print(f"| {name} | {library} | {medians[0]:.2f} | {medians[1]:.2f} | {medians[2]:.0f} | {medians[3]:.3f} |")
        print(
            f"{name}: {'equal' if len(answers) == 1 else 'DIFFERENT'}", *sorted(answers), sep="\n    ", file=sys.stderr
        )


if __name__ == "__main__":
    if sys.argv[1:2] == ["run"]:
        print("RESULT " + json.dumps(PROGRAMS[sys.argv[2]](sys.argv[3]), default=str))
    else:
        main()
