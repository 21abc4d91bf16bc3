"""Other projects' own test suites with RiteLLM in LiteLLM's place.

Each project's tests are run with the real LiteLLM first, twice; the tests that pass both times are its baseline. Then the
same tests are run in the same environment with `ritellm.compat.install()` at the start of every process, and each test of
the baseline that no longer passes is listed with the last line of its error. Results: docs/ecosystem.md.

    python tests/ecosystem.py prepare  dspy --dir /tmp/ecosystem     # the source at its commit, an environment, packages
    python tests/ecosystem.py baseline dspy --dir /tmp/ecosystem     # with LiteLLM
    python tests/ecosystem.py run      dspy --dir /tmp/ecosystem     # with RiteLLM of this interpreter
    python tests/ecosystem.py check    dspy --dir /tmp/ecosystem     # with RiteLLM, and with LiteLLM those that fail
    python tests/ecosystem.py table         --dir /tmp/ecosystem     # one line a project

`prepare` needs git, uv and a network. Nothing here is part of the suite of RiteLLM: a run takes minutes and gigabytes.
Python is 3.11, the version of the development build, where a project takes it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Project:
    """One project at one commit: what to install and which of its tests to run."""

    name: str
    repository: str  # "owner/name" on GitHub
    commit: str
    litellm: str  # the requirement that is installed; the versions 1.82.7 and 1.82.8 were malware, never name them
    install: tuple[str, ...]  # requirements; those that start with "." are paths in the source
    tests: tuple[str, ...]  # files and folders
    options: tuple[str, ...] = ()  # of pytest
    folder: str = "."  # where pytest is started
    newest: str = "2026-09-01"  # packages that were published later are not looked at
    environment: tuple[tuple[str, str], ...] = ()
    has_cassettes: bool = False  # of vcrpy: they are played to RiteLLM as well
    python: str = (
        "3.11"  # where another one than the development build's: a build of RiteLLM for it is needed, --ritellm
    )


PROJECTS = [
    Project(
        name="dspy",
        repository="stanfordnlp/dspy",
        commit="4ed377ee9110e912d4f5e1be43b317b87455053c",
        litellm="litellm[proxy]==1.93.0",
        install=("-e", ".[dev]"),
        tests=("tests",),
    ),
    Project(
        name="openai-agents",
        repository="openai/openai-agents-python",
        commit="7f7a44f8dc0650296bd5ab6c745c9bcbaa6ac3b7",
        litellm="litellm==1.83.0",
        install=(
            "-e",
            ".[voice]",
            "pytest",
            "pytest-asyncio",
            "pytest-mock",
            "pytest-xdist",
            "inline-snapshot",
            "fastapi",
            "websockets",
            "graphviz",
            "aiosqlite",
            "textual",
            "rich",
        ),
        tests=(
            "tests/models",
            "tests/test_agent_runner.py",
            "tests/test_agent_runner_streamed.py",
            "tests/test_items_helpers.py",
            "tests/test_provider_span_errors.py",
            "tests/test_trace_processor.py",
            "tests/utils",
        ),
        environment=(("OPENAI_API_KEY", "sk-test"),),
    ),
    Project(
        name="smolagents",
        repository="huggingface/smolagents",
        commit="e3a5b8994b301983b91c0325546e9dc82eab8cf0",
        litellm="litellm==1.93.0",
        install=("-e", ".[openai]", "pytest", "pytest-datadir", "pytest-timeout", "ipython", "pandas"),
        options=("-o", "addopts="),
        tests=(
            "tests/test_models.py",
            "tests/test_cli.py",
            "tests/test_agents.py",
            "tests/test_memory.py",
            "tests/test_monitoring.py",
        ),
    ),
    Project(
        name="mini-swe-agent",
        repository="SWE-agent/mini-swe-agent",
        commit="a83fcae82d2a08f0ee0c688f9d137b3566c097f8",
        litellm="litellm==1.93.0",
        install=("-e", ".", "pytest", "pytest-asyncio", "pytest-xdist", "portkey-ai", "swe-rex"),
        tests=("tests/models", "tests/agents", "tests/run/test_local.py", "tests/run/test_run_hello_world.py"),
    ),
    Project(
        name="aider",
        repository="Aider-AI/aider",
        commit="5dc9490bb35f9729ef2c95d00a19ccd30c26339c",
        litellm="litellm==1.82.3",
        install=("-r", "./requirements.txt", "-e", ".", "pytest", "pytest-env"),
        tests=(
            "tests/basic/test_models.py",
            "tests/basic/test_sendchat.py",
            "tests/basic/test_exceptions.py",
            "tests/basic/test_reasoning.py",
            "tests/basic/test_openrouter.py",
            "tests/basic/test_aws_credentials.py",
            "tests/basic/test_ssl_verification.py",
            "tests/basic/test_main.py",
        ),
        environment=(("SETUPTOOLS_SCM_PRETEND_VERSION", "0.86.3"),),
    ),
    Project(
        name="langchain-litellm",
        repository="Akshay-Dongare/langchain-litellm",
        commit="320200fc74de09a62552eefd7ea83ff092f9d55e",
        litellm="litellm==1.93.0",
        install=(
            "-e",
            ".",
            "pytest<8",
            "pytest-asyncio<1",
            "pytest-socket<1",
            "langchain-tests<2",
            "pytest-mock<4",
            "syrupy<5",
            "langchain<2",
            "requests-mock",
            "responses",
            "freezegun",
        ),
        tests=("tests/unit_tests",),
    ),
    Project(
        name="strands",
        repository="strands-agents/sdk-python",
        commit="1232230daa4385fd6470be29013eb2375d7a307c",
        litellm="litellm==1.83.13",
        install=(
            "-e",
            ".[openai]",
            "pytest",
            "pytest-asyncio<1.4",
            "pytest-timeout",
            "pytest-xdist",
            "moto<6",
            "tenacity",
        ),
        tests=("tests/strands/models/test_litellm.py",),
        environment=(("SETUPTOOLS_SCM_PRETEND_VERSION", "1.39.0"),),
    ),
    Project(
        name="curator",
        repository="bespokelabsai/curator",
        commit="8f26600e0a6b41f5fc1098ac2d4f22fe0ec95b97",
        has_cassettes=True,
        litellm="litellm==1.82.2",
        install=(
            "-e",
            ".",
            "vcrpy<8",
            "pytest<9",
            "pytest-asyncio<0.25",
            "pytest-dependency<0.7",
            "pytest-timeout",
            "psutil<7",
        ),
        tests=("tests/unittests", "tests/integrations"),
    ),
    Project(
        name="mem0",
        repository="mem0ai/mem0",
        commit="8d5b7865bd0521e75fe9ab1b260eeccc83f8a378",
        litellm="litellm==1.93.0",
        install=("-e", ".", "pytest", "pytest-mock", "pytest-asyncio"),
        tests=("tests/llms/test_litellm.py", "tests/test_proxy.py"),
        environment=(("OPENAI_API_KEY", "sk-test"),),
    ),
    Project(
        name="instructor",
        repository="567-labs/instructor",
        commit="cc67955310e64056bcf8a087d570a85972a58c40",
        litellm="litellm==1.75.9",
        install=("-e", ".", "pytest", "pytest-asyncio"),
        tests=("tests/llm/test_litellm.py",),
    ),
    Project(
        name="openinference",
        repository="Arize-ai/openinference",
        commit="1fe497f1d9f45a07eee55d97fe185e020560f9c7",
        has_cassettes=True,
        litellm="litellm==1.84.0",
        install=(
            "-e",
            "./python/openinference-semantic-conventions",
            "-e",
            "./python/openinference-instrumentation",
            "-e",
            "./python/instrumentation/openinference-instrumentation-litellm",
            "fastapi",
            "orjson",
            "opentelemetry-sdk",
            "opentelemetry-instrumentation-httpx",
            "pytest",
            "pytest-asyncio",
            "pytest-recording",
            "tenacity",
        ),
        folder="python/instrumentation/openinference-instrumentation-litellm",
        tests=("tests",),
    ),
    Project(
        name="crewAI",
        repository="crewAIInc/crewAI",
        commit="f4731f5025f861c78e3af0487cc80bf5e7c64782",
        has_cassettes=True,
        litellm="litellm==1.84.8",
        install=(
            "-e",
            "./lib/crewai-core",
            "-e",
            "./lib/cli",
            "-e",
            "./lib/crewai-files",
            "-e",
            "./lib/crewai[litellm,anthropic]",
            "pytest==9.0.3",
            "pytest-asyncio==1.3.0",
            "vcrpy==8.2.1",
            "pytest-recording==0.13.4",
            "pytest-timeout==2.4.0",
            "pytest-xdist==3.8.0",
            "pytest-subprocess==1.5.3",
        ),
        options=("-o", "addopts=", "--timeout=60", "--block-network", "--import-mode=importlib"),
        tests=(
            "lib/crewai/tests/test_llm.py",
            "lib/crewai/tests/test_llm_streaming_finish_reason.py",
            "lib/crewai/tests/events/test_llm_usage_event.py",
            "lib/crewai/tests/events/test_llm_finish_reason_response_id.py",
            "lib/crewai/tests/llms/test_multimodal.py",
            "lib/crewai/tests/llms/test_multimodal_integration.py",
            "lib/crewai/tests/llms/litellm",
            "lib/crewai/tests/utilities/test_converter.py",
            "lib/crewai/tests/agents/test_agent.py",
        ),
    ),
    Project(
        name="openllmetry",
        repository="traceloop/openllmetry",
        commit="93429cfb9767e6b51db6cb35f6b70f758117669a",
        has_cassettes=True,
        litellm="litellm==1.93.0",
        install=(
            "-e",
            "./packages/opentelemetry-semantic-conventions-ai",
            "-e",
            "./packages/opentelemetry-instrumentation-litellm",
            "pytest",
            "pytest-asyncio<1.4",
            "pytest-recording",
            "vcrpy<9",
            "opentelemetry-sdk",
        ),
        folder="packages/opentelemetry-instrumentation-litellm",
        tests=("tests",),
    ),
    Project(
        name="swe-agent",
        repository="SWE-agent/SWE-agent",
        commit="3ea751c087f32b16e039a2233dd6eefecef325d5",
        litellm="litellm==1.93.0",
        install=("-e", ".", "pytest", "pytest-xdist"),
        tests=(
            "tests/test_models.py",
            "tests/test_agent.py",
            "tests/test_history_processors.py",
            "tests/test_parsing.py",
        ),
    ),
    Project(
        name="google-adk",
        repository="google/adk-python",
        commit="7c670f638bc17374ceb08740bdd057e55c9c2e12",
        litellm="litellm==1.93.0",
        install=("-e", ".", "pytest", "pytest-asyncio", "pytest-mock"),
        tests=("tests/unittests/models/test_litellm.py",),
    ),
    Project(
        name="guardrails",
        repository="guardrails-ai/guardrails",
        commit="c472d552e5f0bc0403f788ebb646b146003d98b0",
        litellm="litellm==1.93.0",
        install=("-e", ".", "pytest", "pytest-asyncio", "pytest-mock", "sqlalchemy", "numpy<3"),
        tests=("tests/unit_tests", "tests/integration_tests"),
        environment=(("OPENAI_API_KEY", "sk-test"), ("OTEL_SDK_DISABLED", "true")),
    ),
    Project(
        name="deepeval",
        repository="confident-ai/deepeval",
        commit="a2e0d4cfd3118352d321c1c84bdeba17d4a201bc",
        litellm="litellm==1.93.0",
        install=(
            "-e",
            ".",
            "pytest",
            "pytest-asyncio",
            "anthropic",
            "google-genai",
            "ollama",
            "tiktoken",
            "portkey-ai",
        ),
        tests=("tests/test_core/test_models", "tests/test_core/test_retry_policy.py"),
        environment=(("DEEPEVAL_TELEMETRY_OPT_OUT", "YES"),),
    ),
    Project(
        name="graphrag",
        repository="microsoft/graphrag",
        commit="6dad6d2b059589624035714d8dcfde94ecc0a5fb",
        litellm="litellm==1.92.0",
        install=(
            *(
                word
                for name in ("common", "storage", "cache", "chunking", "input", "llm", "vectors")
                for word in ("-e", f"./packages/graphrag-{name}")
            ),
            "-e",
            "./packages/graphrag",
            "pytest",
            "pytest-asyncio",
            "pytest-timeout",
            "pytest-dotenv",
        ),
        tests=("tests/unit", "tests/integration/language_model"),
        environment=(("GRAPHRAG_API_KEY", "sk-test"), ("UV_NO_CONFIG", "1")),
    ),
    Project(
        name="cognee",
        repository="topoteretes/cognee",
        commit="a8f9760bb6da90a9956b3be77c0d0534134f533a",
        litellm="litellm==1.93.0",
        install=("-e", ".", "pytest", "pytest-asyncio", "pytest-timeout"),
        options=("--timeout=120",),
        tests=(
            "cognee/tests/unit/infrastructure/llm",
            "cognee/tests/unit/infrastructure/test_rate_limiting_realistic.py",
            "cognee/tests/unit/infrastructure/test_rate_limiting_retry.py",
            "cognee/tests/unit/infrastructure/test_nvidia_nim_embedding.py",
            "cognee/tests/unit/infrastructure/test_embedding_context_window_fallbacks.py",
            "cognee/tests/unit/infrastructure/databases/test_rate_limiter.py",
            "cognee/tests/unit/test_litellm_embedding_auth_fastfail.py",
            "cognee/tests/unit/test_litellm_embedding_sanitize.py",
            "cognee/tests/unit/modules/agent_memory/test_agent_memory.py",
            "cognee/tests/unit/modules/observability/test_langfuse_otel.py",
            "cognee/tests/unit/modules/operations/test_exact_token_capture.py",
            "cognee/tests/integration/infrastructure/llm",
            "cognee/tests/cli_tests/cli_unit_tests/test_remediation.py",
        ),
        environment=(("LLM_API_KEY", "sk-test"), ("TELEMETRY_DISABLED", "1")),
    ),
    Project(
        name="openhands-sdk",
        repository="OpenHands/software-agent-sdk",
        commit="611629e6999ad398dc49c761721eefe18d5e6bd9",
        python="3.12",
        litellm="litellm==1.93.0",
        install=(
            "-e",
            "./openhands-sdk",
            "-e",
            "./openhands-tools",
            "-e",
            "./openhands-workspace",
            "-e",
            "./openhands-agent-server",
            "pytest",
            "pytest-asyncio",
            "pytest-timeout",
            "pytest-xdist",
            "psutil",
        ),
        options=("-n", "2", "--timeout=120"),
        tests=("tests/sdk/llm",),
    ),
]

# Started in every process of a suite, children too: a folder with this file is first on PYTHONPATH. LiteLLM's own
# command (dspy starts its proxy as a server to test against) stays the real one.
SITECUSTOMIZE = """\
import os, sys
if os.environ.get("ECOSYSTEM_RITELLM") and not any(os.path.basename(a) == "litellm" for a in sys.orig_argv[:2]):
    sys.path.append(os.environ["ECOSYSTEM_RITELLM"])
    import ritellm.compat
    ritellm.compat.install()
"""

# A plugin for pytest that writes one line of JSON a test: [id, outcome, message].
PLUGIN = """\
import json, os
outcomes, messages = {}, {}
def note(report, node):
    if report.failed:
        outcomes[node] = "failed"
        text = str(report.longrepr).strip().splitlines()
        messages[node] = next((l for l in reversed(text) if l.startswith("E ")), text[-1] if text else "")[:300]
    elif report.skipped:
        outcomes.setdefault(node, "skipped")
    elif getattr(report, "when", "") == "call":
        outcomes.setdefault(node, "passed")
def pytest_runtest_logreport(report):
    note(report, report.nodeid)
def pytest_collectreport(report):
    if report.failed:
        note(report, report.nodeid)
def pytest_sessionfinish(session):
    with open(os.environ["ECOSYSTEM_REPORT"], "w") as file:
        for node, outcome in outcomes.items():
            file.write(json.dumps([node, outcome, messages.get(node, "")]) + "\\n")
"""


def prepare(project: Project, directory: Path) -> None:
    """Lays out the source at its commit, an environment and the packages; what is there already is kept."""
    source = directory / project.name
    if not source.exists():
        url = f"https://github.com/{project.repository}"
        subprocess.run(["git", "init", "-q", str(source)], check=True)
        subprocess.run(["git", "-C", str(source), "fetch", "-q", "--depth", "1", url, project.commit], check=True)
        subprocess.run(["git", "-C", str(source), "checkout", "-q", "FETCH_HEAD"], check=True)
    environment = directory / f"venv-{project.name}"
    if not environment.exists():
        subprocess.run(["uv", "venv", "-q", "-p", project.python, str(environment)], check=True)
    subprocess.run(
        ["uv", "pip", "install", "-q", "-p", str(environment / "bin/python"), "--exclude-newer", project.newest,
         *project.install, project.litellm],
        check=True, cwd=source, env={**os.environ, **dict(project.environment)},
    )  # fmt: skip


def here() -> str:
    """Returns the folder that holds the package ritellm of this interpreter."""
    import ritellm

    return str(Path(ritellm.__file__).parent.parent)


def environment_of(directory: Path, name: str, ritellm: str | None) -> dict[str, str]:
    """Returns the environment of a project's processes, in which ``litellm`` is RiteLLM's of that folder if one is given."""
    site = directory / "site"
    site.mkdir(exist_ok=True)
    (site / "sitecustomize.py").write_text(SITECUSTOMIZE)
    (site / "ecosystem_report.py").write_text(PLUGIN)
    environment = {
        k: v for k, v in os.environ.items() if not k.endswith("_API_KEY") and k not in ("PYTHONPATH", "VIRTUAL_ENV")
    }
    environment |= dict(next(project for project in PROJECTS if project.name == name).environment)
    environment |= {
        "PYTHONPATH": str(site),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PATH": f"{directory / f'venv-{name}' / 'bin'}:{environment['PATH']}",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "HF_HUB_OFFLINE": "1",
        "CREWAI_DISABLE_TELEMETRY": "true",
        "PYTHONHASHSEED": "0",
    }
    if ritellm:
        environment["ECOSYSTEM_RITELLM"] = ritellm
    return environment


def run_tests(
    project: Project, directory: Path, report: Path, ritellm: str | None, only: Sequence[str] | None = None
) -> tuple[dict[str, str], dict[str, str], float]:
    """Runs the project's tests. Returns each test's outcome, the failed ones' messages and the seconds."""
    environment = environment_of(directory, project.name, ritellm) | {"ECOSYSTEM_REPORT": str(report)}
    binaries = directory / f"venv-{project.name}" / "bin"
    report.unlink(missing_ok=True)
    started = time.monotonic()
    with report.with_suffix(".log").open("w") as log:
        options = [
            "-q",
            "-p",
            "ecosystem_report",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:randomly",
            "--tb=short",
            "--continue-on-collection-errors",
        ]
        if ritellm and project.has_cassettes:
            options += ["-p", "pytest_ritellm", "--ritellm-vcr"]
        chosen = [*project.options, *(project.tests if only is None else only)]
        subprocess.run(
            [str(binaries / "python"), "-m", "pytest", *options, *chosen],
            cwd=directory / project.name / project.folder,
            env=environment,
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
        )
    seconds = time.monotonic() - started
    if not report.exists():
        raise SystemExit(f"{project.name}: pytest wrote no report, see {report.with_suffix('.log')}")
    lines = [json.loads(line) for line in report.read_text().splitlines()]
    return {node: outcome for node, outcome, _ in lines}, {node: message for node, _, message in lines}, seconds


def baseline(project: Project, directory: Path, count: int) -> None:
    """Writes the ids of the tests that pass with LiteLLM in each of so many runs."""
    runs = [
        run_tests(project, directory, directory / f"{project.name}.litellm{i + 1}.jsonl", None) for i in range(count)
    ]
    passed = [{node for node, outcome in outcomes.items() if outcome == "passed"} for outcomes, _, _ in runs]
    always = set.intersection(*passed)
    sometimes = set.union(*passed) - always
    seconds = runs[-1][2]
    (directory / f"{project.name}.baseline.json").write_text(
        json.dumps({"seconds": seconds, "runs": count, "passed": sorted(always)}, indent=0)
    )
    print(
        f"{project.name}: {len(always)} pass in each of {count} runs with {project.litellm} "
        f"({len(sometimes)} in some), {seconds:.0f} s"
    )


def run(project: Project, directory: Path, ritellm: str, again: bool) -> None:
    """Runs the tests on RiteLLM, or with ``again`` those that were lost before, and lists those of the baseline that fail."""
    expected = json.loads((directory / f"{project.name}.baseline.json").read_text())["passed"]
    result = directory / f"{project.name}.result.json"
    before = json.loads(result.read_text()) if again else {}
    only = list(before["lost"]) if again else None
    if only == []:
        print(f"{project.name}: none is lost")
        return
    outcomes, messages, seconds = run_tests(
        project, directory, directory / f"{project.name}.ritellm.jsonl", ritellm, only
    )
    lost = {
        node: messages.get(node) or outcomes.get(node, "not collected")
        for node in (expected if only is None else only)
        if outcomes.get(node) != "passed"
    }
    summary = {"date": time.strftime("%Y-%m-%d"), "seconds": before.get("seconds", seconds), "lost": lost}
    result.write_text(json.dumps(summary, indent=1))
    causes: dict[str, list[str]] = {}
    for node, message in lost.items():
        causes.setdefault(message, []).append(node)
    for message, nodes in sorted(causes.items(), key=lambda item: -len(item[1])):
        print(f"{len(nodes):4} {message}", *nodes[:3], sep="\n         ")
    print(f"{project.name}: {len(expected) - len(lost)} of {len(expected)}, {seconds:.0f} s")


def check(project: Project, directory: Path, ritellm: str) -> None:
    """Runs the tests on RiteLLM, and those that fail with LiteLLM: half the time of `baseline` and `run`, for a layer that has changed."""
    outcomes, messages, seconds = run_tests(project, directory, directory / f"{project.name}.ritellm.jsonl", ritellm)
    failed = [node for node, outcome in outcomes.items() if outcome == "failed"]
    lost = []
    if failed:
        report = directory / f"{project.name}.litellm1.jsonl"
        with_litellm, _, _ = run_tests(project, directory, report, None, failed)
        # A file that cannot be collected has no outcome of its own where it can.
        lost = [node for node in failed if with_litellm.get(node) not in ("failed", "skipped")]
    for node in lost:
        print(f"     {node}\n         {messages.get(node)}")
    passed = sum(outcome == "passed" for outcome in outcomes.values())
    print(
        f"{project.name}: {passed} pass, {len(failed)} fail, {len(lost)} of these pass with {project.litellm}, {seconds:.0f} s"
    )


def table(directory: Path) -> None:
    """Prints one line of Markdown a project that has a result."""
    print("| project | commit | LiteLLM | passes with it | passes with RiteLLM | seconds |")
    print("| --- | --- | --- | ---: | ---: | ---: |")
    for project in PROJECTS:
        paths = [directory / f"{project.name}.{kind}.json" for kind in ("baseline", "result")]
        if not all(path.exists() for path in paths):
            continue
        before, after = (json.loads(path.read_text()) for path in paths)
        total = len(before["passed"])
        version = project.litellm.split("==")[1]
        print(f"| {project.name} | {project.commit[:10]} | {version} | {total} | {total - len(after['lost'])} "
              f"| {before['seconds']:.0f} → {after['seconds']:.0f} |")  # fmt: skip


def main() -> None:
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["prepare", "baseline", "run", "check", "table"])
    parser.add_argument("projects", nargs="*", help="names; all by default")
    parser.add_argument("--dir", type=Path, required=True, help="where sources, environments and results are kept")
    parser.add_argument("--ritellm", help="the folder that holds the package ritellm; by default this interpreter's")
    parser.add_argument("--runs", type=int, default=2, help="baseline: so many runs; a test counts that passes in each")
    parser.add_argument("--lost", action="store_true", help="run: only the tests that were lost in the run before")
    arguments = parser.parse_args()
    directory = arguments.dir.resolve()
    chosen = [p for p in PROJECTS if not arguments.projects or p.name in arguments.projects]
    if unknown := set(arguments.projects) - {p.name for p in PROJECTS}:
        parser.error(f"no such project: {', '.join(sorted(unknown))}; there are {', '.join(p.name for p in PROJECTS)}")
    if arguments.command == "table":
        table(directory)
    for project in chosen:
        if arguments.command == "prepare":
            prepare(project, directory)
        elif arguments.command == "baseline":
            baseline(project, directory, arguments.runs)
        elif arguments.command in ("run", "check"):
            folder = os.path.abspath(arguments.ritellm) if arguments.ritellm else here()
            if arguments.command == "run":
                run(project, directory, folder, arguments.lost)
            else:
                check(project, directory, folder)


if __name__ == "__main__":
    sys.exit(main())
