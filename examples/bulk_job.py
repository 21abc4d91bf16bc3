"""A table of remarks is classified by a job, and a picture shows its rate, its latency and its cost over time.

Run it cell by cell in an editor that knows `# %%`, or as a program. It needs no key and no network: the provider is a server
in this program (provider_of_remarks.py), which takes half a second for an answer and now and then refuses one.

$ pip install 'ritellm[demo]'
$ python examples/bulk_job.py [picture.png]
"""

# %% The provider: any other would do
import json
import sys
import tempfile
from pathlib import Path

import matplotlib
import pandas
from provider_of_remarks import serve

import ritellm

client = ritellm.Client(
    base_url=serve(),
    api_key="none",
    limits={"openai": {"rps": 100}},
    catalog={"openai/gpt-4o-mini": {"input": 0.15, "output": 0.60}},
)

# %% The table
remarks = ["I love it.", "It broke after a day.", "How do I return it?", "Where is my parcel?", "The lamp is too dark."]
frame = pandas.DataFrame({"id": range(600), "text": [remarks[number % 5] for number in range(600)]})
print(frame.head(3), end="\n\n")

# %% The job: its folder has the answers as soon as they are there, and running it again goes on
out = Path(tempfile.mkdtemp()) / "kinds"
kinds = ["complaint", "praise", "question"]
schema = {"type": "object", "properties": {"kind": {"enum": kinds}}, "required": ["kind"]}
job = ritellm.bulk(
    frame,
    model="openai/gpt-4o-mini",
    prompt="What is this remark of a customer: a complaint, praise or a question? {text}",
    response_format=schema,
    id_column="id",
    out=out,
    client=client,
    max_cost=1.0,
)
estimate = job.estimate()
print(f"{estimate['rows']} rows, about ${estimate['cost']:.3f} and {estimate['seconds']:.0f} s\n")
job.run()
print(job, end="\n\n")

# %% The answers, beside the columns of the table
answers = job.to_pandas()
answers["kind"] = [json.loads(answer)["kind"] for answer in answers["answer"]]
print(answers.groupby(["kind", "text"]).size(), end="\n\n")

# %% The lines of the folder say when each row was called, for how long and for how much
lines = [json.loads(line)["ritellm"] for path in sorted(out.glob("segments/*.jsonl")) for line in path.open()]
calls = pandas.DataFrame(lines)[["started", "latency", "cost", "attempts"]]
calls["end"] = calls["started"] + calls["latency"] - calls["started"].min()
calls = calls.sort_values("end")
seconds = calls.groupby(calls["end"].astype(int)).agg(
    rows=("end", "size"), median=("latency", "median"), slow=("latency", lambda latency: latency.quantile(0.95))
)
print(seconds)

# %% The picture
if len(sys.argv) > 1:
    matplotlib.use("agg")
from matplotlib import pyplot  # noqa: E402

figure, (of_rate, of_latency, of_cost) = pyplot.subplots(3, sharex=True, figsize=(8, 7), layout="constrained")
of_rate.step(seconds.index, seconds["rows"], where="post")
of_rate.set(ylabel="rows a second", ylim=(0, None), title=f"{len(calls)} rows")
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
