"""Run one job of 20,000 rows with RiteLLM and with other tools, and print a table.

    python -m venv peers && peers/bin/pip install -r benches/requirements-bulk-peers.txt && peers/bin/pip install dist/*.whl
    curl -O https://raw.githubusercontent.com/openai/openai-cookbook/main/examples/api_request_parallel_processor.py
    peers/bin/python benches/bulk_peers.py --cookbook api_request_parallel_processor.py

Each run is a fresh process with a fresh folder: a JSONL file of requests goes in, and the answers are in a file at the end, 64
calls in flight where that can be said. The tools take turns; the figures are medians. CPU time and memory are those of the process
and its children. Then each is killed (SIGKILL) when half of the rows have been answered, and started again: "left" is what a
person finds on the disk after the kill, "asked again" the number of rows beyond the rows of the job that the server was asked for.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import native
from report import markdown_table

KEY = "sk-bench-0000000000000000"
AT_ONCE = 64
#: More than any run uses.
PLENTY = 100_000_000
BODY = json.loads(Path(__file__).with_name("request.json").read_text())
TITLES = {
    "ritellm": "RiteLLM",
    "curator": "curator",
    "langchain": "LangChain `abatch`",
    "litellm": "LiteLLM `batch_completion`",
    "cookbook": "OpenAI cookbook's script",
    "raydata": "Ray Data's HTTP stage",
}


def ritellm(folder: Path, url: str) -> None:
    import ritellm

    client = ritellm.Client(base_url=url, api_key=KEY, limits={"openai": {"rpm": PLENTY}})
    job = ritellm.bulk(
        folder / "rows.jsonl",
        model=f"openai/{BODY['model']}",
        out=folder / "job",
        client=client,
        max_in_flight=AT_ONCE,
    )
    job.run(progress=False)


def curator(folder: Path, url: str) -> None:
    os.environ |= {"CURATOR_CACHE_DIR": str(folder / "cache"), "TELEMETRY_ENABLED": "false", "CURATOR_VIEWER": "0"}
    os.environ |= {"HF_HUB_OFFLINE": "1", "CURATOR_DISABLE_RICH_DISPLAY": "1", "OPENAI_API_KEY": KEY}
    count_tokens_offline()
    from bespokelabs import curator
    from datasets import Dataset

    class Asks(curator.LLM):  # type: ignore[misc]
        def prompt(self, row: dict[str, Any]) -> list[dict[str, str]]:
            return json.loads(row["messages"])  # type: ignore[no-any-return]

        def parse(self, row: dict[str, Any], response: str) -> dict[str, Any]:
            return {"id": row["id"], "answer": response}

    rows = [(row["custom_id"], json.dumps(row["body"]["messages"])) for row in read(folder)]
    table = Dataset.from_dict({"id": [row[0] for row in rows], "messages": [row[1] for row in rows]})
    limits = {"max_requests_per_minute": PLENTY, "max_tokens_per_minute": PLENTY * 1000}
    limits |= {"max_concurrent_requests": AT_ONCE, "base_url": url, "api_key": KEY}
    asks = Asks(model_name=BODY["model"], backend="openai", backend_params=limits)
    answers = asks(table)
    getattr(answers, "dataset", answers).to_json(folder / "answers.jsonl")


def langchain(folder: Path, url: str) -> None:
    from langchain_openai import ChatOpenAI

    model = ChatOpenAI(model=BODY["model"], base_url=url, api_key=KEY)  # type: ignore[arg-type]
    rows = list(read(folder))
    messages = [row["body"]["messages"] for row in rows]
    answers = asyncio.run(model.abatch(messages, config={"max_concurrency": AT_ONCE}, return_exceptions=True))
    write(folder, [(row["custom_id"], answer.content) for row, answer in zip(rows, answers, strict=True)])


def litellm(folder: Path, url: str) -> None:
    from litellm import batch_completion

    rows = list(read(folder))
    answers = batch_completion(
        model=f"openai/{BODY['model']}",
        messages=[row["body"]["messages"] for row in rows],
        api_base=url,
        api_key=KEY,
        max_workers=AT_ONCE,
    )
    write(
        folder,
        [(row["custom_id"], answer.choices[0].message.content) for row, answer in zip(rows, answers, strict=True)],
    )


def cookbook(folder: Path, url: str) -> None:
    count_tokens_offline()
    spec = importlib.util.spec_from_file_location("cookbook", os.environ["COOKBOOK"])
    assert spec and spec.loader
    script = importlib.util.module_from_spec(spec)
    sys.modules["cookbook"] = script
    spec.loader.exec_module(script)
    # It knows addresses with https alone.
    script.api_endpoint_from_url = lambda _: "chat/completions"
    requests = folder / "requests.jsonl"
    if not requests.exists():
        with requests.open("w") as file:
            for row in read(folder):
                file.write(json.dumps({**row["body"], "metadata": {"id": row["custom_id"]}}) + "\n")
    asyncio.run(
        script.process_api_requests_from_file(
            requests_filepath=str(requests),
            save_filepath=str(folder / "answers.jsonl"),
            request_url=f"{url}/chat/completions",
            api_key=KEY,
            max_requests_per_minute=float(PLENTY),
            max_tokens_per_minute=float(PLENTY * 1000),
            token_encoding_name="cl100k_base",
            max_attempts=5,
            logging_level=40,
        )
    )


def raydata(folder: Path, url: str) -> None:
    import ray
    from ray.data.llm import HttpRequestProcessorConfig, build_processor

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    # A batch sends its requests at once, so that a worker has as many in flight as a batch has rows.
    config = HttpRequestProcessorConfig(
        url=f"{url}/chat/completions",
        headers={"Authorization": f"Bearer {KEY}"},
        batch_size=AT_ONCE,
        concurrency=1,
        qps=PLENTY,
        max_retries=5,
    )
    stage = build_processor(
        config,
        preprocess=lambda row: {"payload": json.loads(row["body"]), "custom_id": row["custom_id"]},
        postprocess=lambda row: {
            "custom_id": row["custom_id"],
            "answer": row["http_response"]["choices"][0]["message"]["content"],
        },
    )
    # A table wants columns of one type.
    rows = [{"custom_id": row["custom_id"], "body": json.dumps(row["body"])} for row in read(folder)]
    stage(ray.data.from_items(rows)).write_json(str(folder / "ray"))


def count_tokens_offline() -> None:
    """Lets tiktoken find the file that it would load from the network: LiteLLM's package has it."""
    spec = importlib.util.find_spec("litellm")
    assert spec and spec.origin
    os.environ["TIKTOKEN_CACHE_DIR"] = str(Path(spec.origin).parent / "litellm_core_utils" / "tokenizers")


TOOLS: dict[str, Callable[[Path, str], None]] = {
    "ritellm": ritellm,
    "curator": curator,
    "langchain": langchain,
    "litellm": litellm,
    "cookbook": cookbook,
    "raydata": raydata,
}


def read(folder: Path) -> Any:
    with (folder / "rows.jsonl").open() as file:
        yield from map(json.loads, file)


def write(folder: Path, answers: list[tuple[str, str]]) -> None:
    with (folder / "answers.jsonl").open("w") as file:
        for own_id, text in answers:
            file.write(json.dumps({"id": own_id, "answer": text}) + "\n")


def answers_in(folder: Path) -> int:
    """Returns the number of whole answers on the disk, wherever the tool keeps them."""
    kept = ("job/segments/*.jsonl", "cache/*/responses_*.jsonl", "ray/*.json*")
    places = [place for pattern in kept for place in folder.glob(pattern)] + [folder / "answers.jsonl"]
    count = 0
    for place in places:
        for line in place.read_text().splitlines() if place.exists() else []:
            try:
                json.loads(line)
            except ValueError:
                continue
            count += 1
        if count and place.parent.name != "ray":
            # curator writes a table of its responses beside them. Ray has a file for each block.
            return count
    return count


class Runs:
    """Runs of the tools against one server."""

    def __init__(self, url: str, knobs: str, rows: int, cookbook: str) -> None:
        self.url, self.knobs, self.rows = url, knobs, rows
        # LiteLLM loads its prices from the network otherwise, and waits for them at its start.
        self.environment = {**os.environ, "COOKBOOK": cookbook, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}

    def asked(self) -> int:
        with urllib.request.urlopen(f"{self.url}/stats") as answer:
            return int(json.load(answer)["requests"])

    def input(self, folder: Path) -> None:
        body = {name: value for name, value in BODY.items() if name != "stream"}
        with (folder / "rows.jsonl").open("w") as file:
            for number in range(self.rows):
                row = {"custom_id": f"row-{number}", "method": "POST", "url": "/v1/chat/completions"}
                system, user = body["messages"]
                # Rows differ, as they do in life.
                messages = [system, {**user, "content": f"Ticket {number}: {user['content']}"}]
                file.write(json.dumps({**row, "body": {"model": body["model"], "messages": messages}}) + "\n")

    def start(self, tool: str, folder: Path) -> subprocess.Popen[str]:
        command = [
            sys.executable,
            __file__,
            "--tool",
            tool,
            "--folder",
            str(folder),
            "--url",
            f"{self.url}/{self.knobs}/v1",
        ]
        log = (folder / "log").open("a")
        return subprocess.Popen(
            command, env=self.environment, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True
        )

    def whole(self, tool: str) -> dict[str, float]:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            self.input(folder)
            process = self.start(tool, folder)
            output, _ = process.communicate()
            assert process.returncode == 0, (folder / "log").read_text()[-2000:]
            line: dict[str, float] = json.loads(output.splitlines()[-1])
            found = answers_in(folder)
            assert found == self.rows, f"{tool}: {found} answers of {self.rows}"
            return line

    def killed(self, tool: str) -> tuple[int, int]:
        """Returns the number of answers that are left after a kill at half, and that of rows that were asked again."""
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            self.input(folder)
            before = self.asked()
            process = self.start(tool, folder)
            while self.asked() - before < self.rows // 2:
                assert process.poll() is None, (folder / "log").read_text()[-2000:]
                time.sleep(0.02)
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            left = answers_in(folder)
            again = self.start(tool, folder)
            again.communicate()
            return left, self.asked() - before - self.rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tools", default=",".join(TOOLS))
    parser.add_argument("--cookbook", default="", help="path of the cookbook's api_request_parallel_processor.py")
    parser.add_argument("--server", type=Path, help="the mock server, if it was built before")
    parser.add_argument("--tool", help="run this one in this process")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--url")
    options = parser.parse_args()
    if options.tool:
        wall = time.perf_counter()
        TOOLS[options.tool](options.folder, options.url)
        wall = time.perf_counter() - wall
        kinds = [resource.getrusage(kind) for kind in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        cpu = sum(usage.ru_utime + usage.ru_stime for usage in kinds)
        print(
            json.dumps({"wall_s": wall, "cpu_s": cpu, "rss_mb": max(usage.ru_maxrss for usage in kinds) / 1024}),
            flush=True,
        )
        os._exit(0)
    tools = [tool for tool in options.tools.split(",") if tool != "cookbook" or options.cookbook]
    program = options.server or native.build()[native.SERVER]
    with native.server(program) as server:
        # 20 ms are a short time for a model; without any, tools that are quick at once are measured alone.
        runs = Runs(server.url(), "s600-d20", options.rows, os.path.abspath(options.cookbook))
        found: dict[str, list[dict[str, float]]] = {tool: [] for tool in tools}
        for number in range(options.rounds):
            for tool in tools:
                found[tool].append(runs.whole(tool))
                print(number, tool, found[tool][-1], file=sys.stderr, flush=True)
        kills = {}
        for tool in tools:
            kills[tool] = runs.killed(tool)
            print("killed", tool, kills[tool], file=sys.stderr, flush=True)
    header = ["", "rows a second", "CPU µs a row", "peak memory", "left after a kill at half", "asked again"]
    lines = []
    for tool in tools:
        wall, cpu, memory = (median(line[name] for line in found[tool]) for name in ("wall_s", "cpu_s", "rss_mb"))
        left, again = kills[tool]
        each = [f"{options.rows / wall:,.0f}", f"{cpu * 1e6 / options.rows:,.0f}", f"{memory:,.0f} MB"]
        lines.append([TITLES[tool], *each, f"{left:,} rows", f"{again:,}"])
    print(markdown_table(header, lines))


if __name__ == "__main__":
    main()
