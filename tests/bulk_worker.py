"""Runs a job in a process of its own, for tests that kill it.

`python bulk_worker.py ROWS OUT BASE_URL MAX_IN_FLIGHT [fork|power]`. With `fork`, it leaves a child behind that was forked while
the job ran, and says its number first; with `power`, outcomes survive a power cut.
"""

from __future__ import annotations

import os
import sys
import time

import ritellm


def main(rows: str, out: str, base_url: str, max_in_flight: str, how: str = "") -> None:
    # Limits that are learnt would begin slowly after each kill.
    client = ritellm.Client(limits={"openai": {"rpm": 10_000_000}}, base_url=base_url, api_key="key-of-a-test")
    job = ritellm.bulk(
        rows,
        model="openai/m",
        prompt="Say: {text}",
        out=out,
        client=client,
        max_in_flight=int(max_in_flight),
        durability="power" if how == "power" else "process",
    )
    if how == "fork":
        job.start()
        while not job.status()["done"]:
            time.sleep(0.01)
        pid = os.fork()
        if pid == 0:
            # Nothing of the parent's is left open that somebody waits for.
            os.closerange(0, 3)
            time.sleep(600)
            os._exit(0)
        print("child", pid, flush=True)
        job.wait()
        return
    print("ready", flush=True)
    job.run(progress=False)
    print("done", job.status()["done"], flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
