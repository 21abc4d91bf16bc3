"""A job on an engine, in a process of its own: `python engine_program.py NAME BASE_URL [FOLDER]` prints what came out as JSON.

What it defines travels to the workers by value, as this is the main program.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import warnings
from typing import Any

import ritellm

KEY_VARIABLE = "KEY_OF_A_TEST"
TEXTS = [f"row {number}" for number in range(60)]


def client(base_url: str, **settings: Any) -> Any:
    """Returns a function that makes a client which tells the server the process that it is in."""

    def make() -> ritellm.Client:
        return ritellm.Client(
            limits={"openai": {"rpm": 10_000_000}},
            providers={
                "openai": {
                    "base_url": base_url,
                    "api_key_env": "KEY_OF_A_TEST",
                    "headers": {"x-worker": str(os.getpid())},
                }
            },
            **settings,
        )

    return make


def on_ray(cpus: int = 2) -> Any:
    """Starts Ray on this machine; returns its folder."""
    import ray

    # The names of sockets in it have 107 bytes at most.
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")
    ray.init(num_cpus=cpus, include_dashboard=False, log_to_driver=False, logging_level="error", _temp_dir=folder)
    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    return folder


def ray_small(base_url: str) -> Any:
    import pyarrow
    import ray

    folder = on_ray(cpus=1)
    try:
        # The same text twice is two rows.
        texts = [*TEXTS, "poison", None, "row 1"]
        table = pyarrow.table({"text": texts, "n": pyarrow.array(range(len(texts)), pyarrow.int32())})
        out = ritellm.ray.map_rows(
            ray.data.from_arrow(table),
            model="openai/m",
            prompt="{text}",
            client=client(base_url),
            max_in_flight=8,
        )
        blocks = [ray.get(reference) for reference in out.to_arrow_refs()]
        whole = pyarrow.concat_tables(blocks)
        return {"schema": {field.name: str(field.type) for field in whole.schema}, "rows": whole.to_pylist()}
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


def main(name: str, *arguments: str) -> None:
    warnings.simplefilter("ignore")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    found = globals()[name](*arguments)
    print("RESULT " + json.dumps(found), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
