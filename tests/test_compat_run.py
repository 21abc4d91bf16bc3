"""Tests of programs that are run with RiteLLM in the place of LiteLLM."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CHILD = "import litellm, sys; print(litellm.completion.__module__, sys.argv[1:])"
PARENT = f"import subprocess, sys; sys.exit(subprocess.run([sys.executable, '-c', {CHILD!r}, 'x']).returncode)"


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, env={**os.environ, **environment}
    )


def test_the_command_reaches_the_children() -> None:
    done = run("-m", "ritellm", "run", "--", sys.executable, "-c", PARENT)
    assert done.stdout == "ritellm.compat._calls ['x']\n", done.stderr
    assert done.returncode == 0


def test_the_exit_code_is_that_of_the_program() -> None:
    assert run("-m", "ritellm", "run", sys.executable, "-c", "raise SystemExit(7)").returncode == 7
    done = run("-m", "ritellm", "run", "--", "no-such-program")
    assert (done.returncode, done.stderr) == (127, "ritellm run: there is no program 'no-such-program'\n")
    assert run("-m", "ritellm", "run").returncode == 2


@pytest.mark.parametrize("as_module", [False, True])
def test_a_file_or_a_module(tmp_path: Path, as_module: bool) -> None:
    (tmp_path / "program.py").write_text(
        f"if __name__ == '__main__':\n    import helper\n    {CHILD}\n    exec({PARENT!r})"
    )
    (tmp_path / "helper.py").write_text("")
    program = ["-m", "program"] if as_module else [str(tmp_path / "program.py")]
    done = subprocess.run(
        [sys.executable, "-m", "ritellm.compat", *program, "a"], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.stdout == "ritellm.compat._calls ['a']\nritellm.compat._calls ['x']\n", done.stderr


def test_the_other_sitecustomize_is_imported(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.was_customized = True")
    done = run(
        "-m", "ritellm", "run", sys.executable, "-c", "import sys; print(sys.was_customized)", PYTHONPATH=str(tmp_path)
    )
    assert done.stdout == "True\n", done.stderr


def test_a_python_without_ritellm_says_so(tmp_path: Path) -> None:
    from ritellm.compat import _children

    (tmp_path / "litellm.py").write_text("")
    environment = {"PYTHONPATH": str(tmp_path)}
    _children.prepare(environment)
    done = subprocess.run(
        [sys.executable, "-S", "-c", "import sitecustomize, litellm; print(litellm.__file__)"],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.stdout == f"{tmp_path / 'litellm.py'}\n", done.stderr
    assert done.stderr == f"ritellm run: RiteLLM is not installed for {sys.executable}, so litellm is LiteLLM\n"


@pytest.mark.parametrize("program", ["import litellm", "from ritellm.compat import litellm"])
def test_tiktoken_finds_the_vocabularies_of_an_installed_litellm(tmp_path: Path, program: str) -> None:
    """cognee uses tiktoken itself, offline, after it has imported LiteLLM."""
    folder = tmp_path / "litellm" / "litellm_core_utils" / "tokenizers"
    program = (
        f"import os, ritellm.compat; ritellm.compat.install(); {program}; print(os.environ.get('TIKTOKEN_CACHE_DIR'))"
    )
    told = {"PYTHONPATH": str(tmp_path), "TIKTOKEN_CACHE_DIR": "mine"}
    folder.mkdir(parents=True)
    assert run("-c", program, **told).stdout == "mine\n"
    command = ["env", "-u", "TIKTOKEN_CACHE_DIR", f"PYTHONPATH={tmp_path}", sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout == f"{folder}\n", done.stderr
