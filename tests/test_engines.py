"""Rows of Ray, Dask and Spark: see also long/test_engines_faults.py."""

from __future__ import annotations

import importlib.util
import json
import os
import pickle
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Literal

import pytest
from server import PATIENCE

import ritellm
from ritellm import Client, InvalidArgumentError, Limits, Router, _engine_worker
from ritellm._engine_calls import RowCalls
from ritellm._memo import Memo

HERE = Path(__file__).parent
_engine_worker_feed = _engine_worker._Feed
KEY = "sk-canary-of-engines"
#: A text that is refused, but late: see the fixture `engine_server`.
LATE_POISON = "poison 4"

pytestmark = pytest.mark.usefixtures("with_key")


@pytest.fixture
def with_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY_OF_A_TEST", KEY)


@dataclass
class Log:
    base_url: str
    path: Path

    def read(self) -> list[Any]:
        return [json.loads(line) for line in self.path.read_text().splitlines()]

    def texts(self) -> Counter[Any]:
        return Counter(str(text) for _, _, _, text, _ in self.read())


@pytest.fixture
def engine_server(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Log]:
    """Answers at once but, for as many seconds as its parameter says, one text in twenty: "row 14" is one of them."""
    path = tmp_path / "log.jsonl"
    command = [sys.executable, str(HERE / "engine_server.py"), str(path), "0", str(getattr(request, "param", 0))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield Log(f"http://127.0.0.1:{int(process.stdout.readline())}/v1", path)
        process.kill()


def needs(*modules: str) -> None:
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    if missing:
        assert "CI" not in os.environ, "make test installs them"
        pytest.skip(f"needs {', '.join(missing)}")


def client_at(base_url: str) -> Client:
    openai = {"base_url": base_url, "api_key_env": "KEY_OF_A_TEST"}
    return Client(limits={"openai": {"rpm": 10_000_000}}, providers={"openai": openai})


def calls_at(base_url: str, names: Sequence[str] = ("text",), **changed: Any) -> RowCalls:
    """The calls of rows with these columns, as `map_rows` makes them."""
    options = {
        "on_error": "row",
        "memo": None,
        "params": {},
        "model": "openai/m",
        "prompt": "{text}",
        "endpoint": "chat",
    }
    if "client" not in changed:
        options["client"] = client_at(base_url)
    return RowCalls(list(names), **options | changed)


def run_on(name: str, *arguments: str, **environment: str) -> Any:
    """Runs a function of engine_program.py in a process of its own, and returns what it prints."""
    done = subprocess.run(
        [sys.executable, str(HERE / "engine_program.py"), name, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=600 if name.startswith("spark") else PATIENCE * 4,
    )
    results = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    assert results, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr[-4000:]}"
    return json.loads(results[-1].removeprefix("RESULT "))


@pytest.fixture
def frame() -> Any:
    needs("dask", "pandas")
    import pandas

    texts = [*(f"row {number}" for number in range(20)), "poison", None, "row 1"]
    return pandas.DataFrame({"text": texts, "n": range(len(texts))}, index=range(100, 100 + len(texts)))


@pytest.fixture
def on_dask(engine_server: Log) -> Callable[..., Any]:
    """Maps a frame on Dask's threads."""
    needs("dask", "pandas")
    import dask.dataframe

    def run(frame: Any, npartitions: int = 4, **arguments: Any) -> Any:
        given = {"model": "openai/m", "client": client_at(engine_server.base_url)}
        if not {"prompt", "messages", "input"} & arguments.keys():
            given["prompt"] = "{text}"
        ddf = dask.dataframe.from_pandas(frame, npartitions=npartitions, sort=False)
        return ritellm.dask.map_rows(ddf, **given | arguments)

    return run


def test_dask(on_dask: Any, frame: Any, engine_server: Log) -> None:
    import dask.dataframe

    known = dask.dataframe.from_pandas(frame, npartitions=4)
    out = ritellm.dask.map_rows(known, model="openai/m", prompt="{text}", client=client_at(engine_server.base_url))
    assert out.divisions == known.divisions and out.known_divisions
    assert engine_server.path.read_text() == "", "nothing is called before compute"
    done = out.compute()
    assert list(done.index) == list(frame.index) and list(done.n) == list(frame.n)
    assert list(done.dtypes) == list(out.dtypes)
    assert [str(kind) for kind in done.dtypes[2:]] == [*["string"] * 4, "Int64", "Int64", "Float64", "Int64"]
    answered = done[done.error.isna()]
    assert list(answered.answer) == [text.upper() if isinstance(text, str) else "" for text in answered.text.fillna("")]
    (failed,) = done[done.error.notna()].itertuples()
    assert failed.error_class == "BadRequestError" and "this text is poison" in failed.error
    assert failed.text == "poison" and failed.attempts == 1
    assert set(answered.input_tokens) == {10} and set(answered.attempts) == {1}
    # Equal rows in two partitions are two calls.
    assert engine_server.texts() == Counter(
        ["" if text is None else text for text in frame.text.astype(object).where(frame.text.notna(), None)]
    )


def test_ray(engine_server: Log) -> None:
    needs("ray", "pyarrow")
    found = run_on("ray_small", engine_server.base_url)
    rows = found["rows"]
    assert [row["n"] for row in rows] == list(range(63))
    assert list(found["schema"].items())[:4] == [
        ("text", "string"),
        ("n", "int32"),
        ("answer", "string"),
        ("finish_reason", "string"),
    ]
    assert found["schema"]["cost"] == "double" and found["schema"]["attempts"] == "int64"
    for row in rows:
        if row["text"] == "poison":
            assert row["error_class"] == "BadRequestError" and row["answer"] is None
        else:
            assert row["answer"] == (row["text"] or "").upper() and row["error"] is None
    assert engine_server.texts()["row 1"] == 2 and len(engine_server.read()) == 63


def test_empty_partitions_and_frames(on_dask: Any, frame: Any) -> None:
    import dask.dataframe

    some = on_dask(frame)
    kept = some[some.n >= 18].compute()
    assert list(kept.n) == list(range(18, 23))
    few = dask.dataframe.from_pandas(frame, npartitions=4)
    few = few[few.n >= 18]
    out = ritellm.dask.map_rows(few, model="openai/m", prompt="{text}", client=client_at("http://127.0.0.1:9/v1"))
    assert [str(kind) for kind in out.partitions[0].compute().dtypes] == [str(kind) for kind in out.dtypes]
    assert len(out.partitions[0].compute()) == 0


@dataclass
class Ticket:
    kind: Literal["bug", "praise"]
    score: int


def test_structured_output_functions_and_embeddings(on_dask: Any, frame: Any) -> None:
    frame = frame.iloc[:4]
    done = on_dask(frame, response_format=Ticket).compute()
    assert list(done.parsed) == [{"kind": "bug", "score": 5}] * 4 and done.columns[2:4].tolist() == ["answer", "parsed"]

    def ask(row: Any) -> Any:
        assert list(row) == ["text", "n"], "the row has no columns but its own"
        return {"messages": [{"role": "user", "content": f"{row['text']} of {1 / row['n']:.0f}"}], "temperature": 0}

    done = on_dask(frame, prompt=ask).compute()
    assert done.answer.fillna("").tolist() == ["", "ROW 1 OF 1", "ROW 2 OF 0", "ROW 3 OF 0"]
    assert "ZeroDivisionError" in done.error.iloc[0] and done.attempts.iloc[0] == 0
    done = on_dask(frame, input="{text}", endpoint="embedding").compute()
    assert [list(vector)[:2] for vector in done.embedding] == [[5.0, 0.5]] * 4
    assert "answer" not in done.columns


def test_a_function_gets_what_has_no_form_in_json_as_it_is(engine_server: Log) -> None:
    needs("pyarrow")
    import pyarrow

    calls = calls_at(engine_server.base_url, ["text", "image"], prompt=lambda row: f"{row['text']} {row['image'][1]}")
    table = pyarrow.table({"text": ["a", "b"], "image": [b"\xff\x00", b"\xff\x01"]})
    part = _engine_worker.Worker(calls).submit(table, 2, ["text", "image"])
    assert [outcome.get("answer") for outcome in part.outcomes()] == ["A 0", "B 1"]


def test_columns_of_our_names(on_dask: Any, frame: Any) -> None:
    frame = frame.iloc[:2].assign(answer="theirs", custom_id="the same")
    done = on_dask(frame).compute()
    assert done.answer.tolist() == ["theirs"] * 2 and done.ritellm_answer.tolist() == ["ROW 0", "ROW 1"]
    assert done.error.isna().all(), "a custom_id is a column as any other"


def test_an_error_of_a_row_fails_the_job_if_asked_to(on_dask: Any, frame: Any) -> None:
    with pytest.raises(ritellm.BadRequestError, match="this text is poison"):
        on_dask(frame, on_error="raise").compute()


def test_what_pauses_a_job_is_the_rows_outcome(on_dask: Any, frame: Any, engine_server: Log) -> None:
    """A key that is refused: the other rows are not sent with it, and nothing that was paid is lost."""
    frame = frame.iloc[:20].assign(text="nokey")
    done = on_dask(frame, 1, max_in_flight=2).compute()
    assert set(done.error_class) == {"AuthenticationError"} and done.answer.isna().all()
    assert len(engine_server.read()) <= 4
    with pytest.raises(ritellm.JobPaused):
        on_dask(frame, on_error="raise").compute()


@pytest.mark.parametrize("rounds", [3, pytest.param(200, marks=pytest.mark.long)])
def test_rows_after_a_pause_are_not_taken_by_the_job_before(
    rounds: int, engine_server: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It keeps its rows for another run, which there is none of: one of 30 rows was lost, and its part failed."""
    needs("pyarrow")
    import pyarrow

    made: list[Any] = []
    # A pause is told when the thread of the rows has looked for the next one.
    monkeypatch.setattr(_engine_worker, "IDLE", 0.2)
    monkeypatch.setattr(
        _engine_worker, "_Feed", lambda worker: made.append(feed := _engine_worker_feed(worker)) or feed
    )
    calls = calls_at(engine_server.base_url)
    worker = _engine_worker.Worker(calls)

    def outcomes(*texts: str) -> list[Any]:
        return worker.submit(pyarrow.table({"text": texts}), len(texts), ["text"]).outcomes()

    for _ in range(rounds):
        assert [one["error_class"] for one in outcomes("nokey")] == ["AuthenticationError"]
        assert [one.get("answer") for one in outcomes("a", "b", "c")] == ["A", "B", "C"]
    # The last one may wait for more.
    assert len(made) > rounds and all(feed.is_over for feed in made[:-1])
    assert [next(feed, None) for feed in made[:-1]] == [None] * (len(made) - 1)


@pytest.mark.parametrize("engine_server", [120], indirect=True)
def test_an_error_fails_all_parts_if_asked_to(engine_server: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """The computation fails with it: tasks that went on held threads of Dask, and bought rows for nobody."""
    needs("pyarrow")
    import pyarrow

    monkeypatch.setattr(_engine_worker, "IDLE", 0.1)
    worker = _engine_worker.Worker(calls_at(engine_server.base_url, on_error="raise"))
    tables = [pyarrow.table({"text": [text]}) for text in ("row 14", "poison")]
    for part in [worker.submit(table, 1, ["text"]) for table in tables]:
        with pytest.raises(ritellm.BadRequestError, match="this text is poison"):
            part.outcomes()


@pytest.mark.parametrize("engine_server", [1.0], indirect=True)
def test_a_late_error_of_a_failed_part_fails_no_later_part(engine_server: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that runs a failed task again gives its rows to the same worker."""
    needs("pyarrow")
    import pyarrow

    monkeypatch.setattr(_engine_worker, "IDLE", 0.1)
    worker = _engine_worker.Worker(calls_at(engine_server.base_url, on_error="raise"))
    failed = worker.submit(pyarrow.table({"text": [LATE_POISON, "poison"]}), 2, ["text"])
    with pytest.raises(ritellm.BadRequestError, match="this text is poison"):
        failed.outcomes()
    # Answered after the error that is still to come.
    part = worker.submit(pyarrow.table({"text": ["row 14"]}), 1, ["text"])
    assert [outcome.get("answer") for outcome in part.outcomes()] == ["ROW 14"]
    assert engine_server.texts()[LATE_POISON] == 1


def test_rows_that_nobody_waits_for_are_not_asked_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """In an outage, the job of a part that was dropped asked for its rows until the outage ended."""
    needs("pyarrow")
    import pyarrow

    monkeypatch.setattr(_engine_worker, "IDLE", 0.1)
    # Nobody is there.
    worker = _engine_worker.Worker(calls_at("http://127.0.0.1:9/v1"))
    table = pyarrow.table({"text": ["a", "b"]})
    for is_late in (False, True):
        part = worker.submit(table, 2, ["text"])
        part.wait_until_taken()
        thread = worker._thread
        assert thread is not None
        if is_late:
            # No further rows come for the job by then.
            worker.wait_for(lambda: worker._ending is not None)
        assert not part.is_over
        worker.drop([part])
        thread.join(PATIENCE)
        assert not thread.is_alive() and worker._thread is None
        with pytest.raises(ritellm.RiteLLMError, match="nobody wants"):
            part.outcomes()


def test_a_memo_keeps_answers_for_the_next_run(on_dask: Any, frame: Any, engine_server: Log, tmp_path: Path) -> None:
    memo = tmp_path / "memo"
    # The last row is there twice: in another partition it may share the answer, if that has landed by then.
    frame = frame.iloc[:-1]
    first = on_dask(frame, memo=memo).compute()
    calls = len(engine_server.read())
    assert calls == len(frame)
    again = on_dask(frame, memo=memo).compute()
    # An error is no answer: that row is asked again.
    assert len(engine_server.read()) == calls + 1 and engine_server.texts()["poison"] == 2
    assert first.equals(again)
    other = on_dask(frame.iloc[:3], memo=memo, temperature=0).compute()
    assert len(engine_server.read()) == calls + 4 and len(other) == 3
    edited = on_dask(frame.iloc[:3].assign(n=7), memo=memo).compute()
    assert len(engine_server.read()) == calls + 4, "a column that is not asked about makes no difference"
    assert list(edited.n) == [7] * 3
    assert not any(KEY.encode() in file.read_bytes() for file in memo.rglob("*") if file.is_file())


def test_a_memo_of_rows_that_are_there_twice(on_dask: Any, frame: Any, engine_server: Log, tmp_path: Path) -> None:
    """The last row is the second one again, in another partition: it may share the answer, if that has landed by then."""
    first = on_dask(frame, memo=tmp_path / "memo").compute()
    calls = len(engine_server.read())
    assert calls in (len(frame) - 1, len(frame)) and list(first.n) == list(frame.n)
    again = on_dask(frame, memo=tmp_path / "memo").compute()
    assert len(engine_server.read()) == calls + 1 and engine_server.texts()["poison"] == 2
    assert first.equals(again) and first.answer.iloc[-1] == first.answer.iloc[1] == "ROW 1"


def test_a_damaged_memo_is_asked_again(on_dask: Any, frame: Any, engine_server: Log, tmp_path: Path) -> None:
    memo = tmp_path / "memo"
    on_dask(frame.iloc[:6], 1, memo=memo).compute()
    (segment,) = memo.rglob("segments/*.jsonl")
    lines = segment.read_bytes().splitlines(keepends=True)
    assert len(lines) == 6
    lines[2] = lines[2].replace(b"ROW", b"COW")
    segment.write_bytes(b"".join(lines[:-1]) + lines[-1][:-20])
    done = on_dask(frame.iloc[:6], 1, memo=memo).compute()
    assert list(done.answer) == [f"ROW {number}" for number in range(6)]
    assert len(engine_server.read()) == 6 + 2


def test_a_job_of_a_memo_may_be_deleted_meanwhile(on_dask: Any, frame: Any, tmp_path: Path) -> None:
    on_dask(frame.iloc[:2], 1, memo=tmp_path).compute()
    (segment,) = tmp_path.rglob("segments/*.jsonl")
    key = json.loads(segment.read_bytes().splitlines()[0])["custom_id"].partition("-")[0]
    memo = Memo(str(tmp_path), "")
    memo.refresh()
    assert memo.find(key, 0) is not None
    segment.unlink()
    segment.symlink_to(tmp_path / "nothing")
    assert memo.find(key, 0) is None
    memo._read_all()


def test_equal_rows_of_a_part_keep_answers_of_their_own(
    on_dask: Any, frame: Any, engine_server: Log, tmp_path: Path
) -> None:
    frame = frame.iloc[:6].assign(text="row 1")
    on_dask(frame, 1, memo=tmp_path / "memo").compute()
    assert len(engine_server.read()) == 6, "people sample so"
    done = on_dask(frame, 1, memo=tmp_path / "memo").compute()
    assert len(engine_server.read()) == 6 and list(done.answer) == ["ROW 1"] * 6


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("rounds", [3, pytest.param(400, marks=pytest.mark.long)])
def test_jobs_that_end_and_begin_beside_forks(
    rounds: int, on_dask: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads that wait for rows, for answers and for forks: each is woken, whatever ends meanwhile."""
    import pandas

    monkeypatch.setattr(_engine_worker, "IDLE", 0.004)
    is_over = threading.Event()

    def fork() -> None:
        while not is_over.wait(0.003):
            child = os.fork()
            if child == 0:
                os._exit(0)
            os.waitpid(child, 0)

    def run(number: int) -> None:
        random = Random(number)
        for _ in range(rounds):
            texts = [f"row {random.randrange(50)}" for _ in range(random.randrange(1, 30))]
            frame = pandas.DataFrame({"text": texts})
            memo = tmp_path / str(number) if random.random() < 0.7 else None
            done = on_dask(frame, random.randrange(1, 5), memo=memo).compute()
            wrong.extend(done[done.answer != done.text.str.upper()].itertuples())
            is_over.wait(random.choice([0, 0, 0.002, 0.006]))

    wrong: list[Any] = []
    runs = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(3)]
    forks = threading.Thread(target=fork, daemon=True)
    for thread in [forks, *runs]:
        thread.start()
    for thread in runs:
        thread.join(PATIENCE * (1 if rounds < 100 else 20))
    is_over.set()
    forks.join()
    assert not wrong and not any(thread.is_alive() for thread in runs)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"client": Client(api_key=KEY)}, "api_key"),
        ({"client": Client(providers={"openai": {"api_key": KEY}})}, "providers.openai.api_key"),
        ({"client": Client(headers={"authorization": KEY})}, "authorization"),
        ({"client": Client(api_key="x").with_options(timeout=1)}, "api_key"),
        ({"client": Router({"g": [{"model": "openai/m", "api_key": KEY}]}), "model": "g"}, "openai/m.api_key"),
        ({"api_key": KEY}, "api_key"),
        ({"extra_headers": {"x-api-key": KEY}}, "x-api-key"),
        ({"out": "x"}, "out has no place"),
        ({"max_cost": 1.0}, "max_cost has no place"),
        ({"dedupe": True}, "dedupe has no place"),
        ({"mode": "batch"}, "mode has no place"),
        ({"on_error": "skip"}, "on_error"),
        ({"memo": 7}, "memo"),
        ({"client": 7}, "client"),
        ({"prompt": "{txet}"}, "txet"),
        ({"max_attempts": 0}, "max_attempts"),
        ({"endpoint": "chatt"}, "endpoint"),
        ({"stream": True}, "stream"),
        ({"temprature": 1}, "temprature"),
    ],
)
def test_wrong_arguments_are_said_before_anything_runs(frame: Any, arguments: Any, words: str) -> None:
    import dask.dataframe

    ddf = dask.dataframe.from_pandas(frame, npartitions=2)
    with pytest.raises(InvalidArgumentError) as caught:
        ritellm.dask.map_rows(ddf, **{"model": "openai/m", "prompt": "{text}"} | arguments)
    assert words in str(caught.value) and KEY not in str(caught.value)


def test_no_key_is_pickled() -> None:
    calls = calls_at("http://127.0.0.1:9/v1")
    written = pickle.dumps(calls)
    assert KEY.encode() not in written and b"KEY_OF_A_TEST" in written
    limits = Limits({"openai": {"rpm": 1}}, share="redis://user:hunter2@127.0.0.1:9/0")
    with pytest.raises(InvalidArgumentError, match="the client has limits"):
        calls_at("", client=Client(limits=limits))


@pytest.mark.parametrize(
    ("params", "named"),
    [
        ({"aws_secret_access_key": KEY}, "aws_secret_access_key"),
        ({"azure_ad_token": KEY}, "azure_ad_token"),
        ({"vertex_credentials": f'{{"private_key": "{KEY}"}}'}, "vertex_credentials"),
        ({"extra_query": {"key": KEY}}, r'extra_query\["key"\]'),
        ({"extra_headers": {"x-api-key": KEY}}, r'extra_headers\["x-api-key"\]'),
    ],
    ids=["aws", "azure", "vertex", "query", "header"],
)
def test_no_key_among_the_arguments(params: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidArgumentError, match=f"among the arguments is {named}, and keys do not travel") as raised:
        calls_at("", client=None, params=params)
    assert KEY not in str(raised.value)
    plain = {"temperature": 0, "extra_headers": {"x-team": "search"}, "user": "a@b"}
    assert calls_at("", client=None, params=plain).params == plain


@pytest.mark.parametrize(("engine", "library"), [("ray", "ray"), ("dask", "dask"), ("spark", "pyspark")])
def test_an_engine_that_is_not_installed(engine: str, library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == library]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(InvalidArgumentError, match=rf"pip install 'ritellm\[{engine}\]'"):
        getattr(ritellm, engine).map_rows(None, model="openai/m", prompt="{text}")


def test_importing_imports_no_engine() -> None:
    code = (
        "import sys, ritellm; ritellm.ray, ritellm.dask, ritellm.spark; "
        "print([name for name in ('ray', 'dask', 'pyspark', 'pandas', 'pyarrow') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_a_worker_ends_its_job_when_there_are_no_rows(
    engine_server: Log, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    needs("pyarrow")
    import pyarrow

    monkeypatch.setattr(_engine_worker, "IDLE", 0.05)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    calls = calls_at(engine_server.base_url)
    worker = _engine_worker.Worker(calls)
    for _ in range(3):
        part = worker.submit(pyarrow.table({"text": ["a", "b"]}), 2, ["text"])
        assert [outcome["answer"] for outcome in part.outcomes()] == ["A", "B"]
        thread = worker._thread
        assert isinstance(thread, threading.Thread)
        thread.join(PATIENCE)
        assert worker._thread is None and list((tmp_path / "temporary").iterdir()) == []
