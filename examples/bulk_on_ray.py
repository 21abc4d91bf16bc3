"""A table of remarks is classified on Ray by two actors, and a picture shows rate, latency and cost over time.

The same as bulk_job.py, with Ray Data's rows in and out. Run it cell by cell in an editor that knows `# %%`, or as a program.
It needs no key and no network: the provider is a server in this program (provider_of_remarks.py), which takes half a second for
an answer and now and then refuses one.

$ pip install 'ritellm[ray,demo]'
$ python examples/bulk_on_ray.py [picture.png]
"""

import json
import os
import sys
import tempfile
from pathlib import Path

import matplotlib
import pandas
import ray
from provider_of_remarks import serve

import ritellm

# %% The client travels to the actors, and no key does: it names a variable that they have. Each actor has half of the limit;
# ritellm.Limits(…, share="redis://…") would give all of it to whoever needs it
os.environ["KEY_OF_THE_EXAMPLE"] = "none"
client = ritellm.Client(
    providers={"openai": {"base_url": serve(), "api_key_env": "KEY_OF_THE_EXAMPLE"}},
    limits={"openai": {"rps": 50}},
    catalog={"openai/gpt-4o-mini": {"input": 0.15, "output": 0.60}},
)

# %% The table
ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
ray.data.DataContext.get_current().enable_progress_bars = False
remarks = ["I love it.", "It broke after a day.", "How do I return it?", "Where is my parcel?", "The lamp is too dark."]
table = ray.data.from_pandas(pandas.DataFrame({"id": range(600), "text": [remarks[n % 5] for n in range(600)]}))
print(table.schema(), end="\n\n")

# %% The calls begin when the rows are wanted. The memo keeps answers for another run, on a disk that all actors reach
memo = Path(tempfile.mkdtemp()) / "memo"
kinds = ["complaint", "praise", "question"]
schema = {"type": "object", "properties": {"kind": {"enum": kinds}}, "required": ["kind"]}
labelled = ritellm.ray.map_rows(
    table,
    model="openai/gpt-4o-mini",
    prompt="What is this remark of a customer: a complaint, praise or a question? {text}",
    response_format=schema,
    client=client,
    workers=2,
    max_in_flight=32,
    memo=memo,
)
answers = labelled.to_pandas()

# %% The answers, beside the columns of the table
answers["kind"] = [parsed["kind"] for parsed in answers["parsed"]]
print(answers.groupby(["kind", "text"]).size(), end="\n\n")
print(f"{answers['error'].notna().sum()} failed, {answers['attempts'].sum()} attempts, ${answers['cost'].sum():.3f}\n")

# %% The memo's lines say when each row was called, for how long and for how much
lines = [json.loads(line)["ritellm"] for path in sorted(memo.glob("*/segments/*.jsonl")) for line in path.open()]
calls = pandas.DataFrame(lines)[["started", "latency", "cost", "attempts"]]
calls["end"] = calls["started"] + calls["latency"] - calls["started"].min()
calls = calls.sort_values("end")
seconds = calls.groupby(calls["end"].astype(int)).agg(
    rows=("end", "size"), median=("latency", "median"), slow=("latency", lambda latency: latency.quantile(0.95))
)
print(seconds)
ray.shutdown()

# %% The picture
if len(sys.argv) > 1:
    matplotlib.use("agg")
from matplotlib import pyplot  # noqa: E402

figure, (of_rate, of_latency, of_cost) = pyplot.subplots(3, sharex=True, figsize=(8, 7), layout="constrained")
of_rate.step(seconds.index, seconds["rows"], where="post")
of_rate.set(ylabel="rows a second", ylim=(0, None), title=f"{len(calls)} rows, two actors")
of_latency.plot(seconds.index + 0.5, seconds["median"], label="median")
of_latency.plot(seconds.index + 0.5, seconds["slow"], label="95 %")
of_latency.set(ylabel="latency (s)", ylim=(0, None))
of_latency.legend()
of_cost.plot(calls["end"], calls["cost"].cumsum())
of_cost.set(ylabel="cost (US$)", xlabel="time (s)", ylim=(0, None))
if len(sys.argv) > 1:
    figure.savefig(sys.argv[1], dpi=120)
else:
    pyplot.show()
