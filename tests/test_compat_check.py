"""Tests of `ritellm compat check`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ritellm.__main__ import main
from ritellm.compat import _check, _surface

PROGRAM = """
import litellm as ll
import os, litellm.utils
from litellm import completion, Router as R
from litellm.types.utils import ModelResponse, NoSuchType
from unittest.mock import patch

ll.drop_params = True
ll.no_such_setting
print(ll.types.utils.Usage, litellm.utils.token_counter, ll.model_cost.get("x"))
getattr(ll, "acompletion")
response: ModelResponse = completion(model="x").choices
with patch("litellm.llms.no_such_module.f"):
    R(model_list=[]).completion
"""


def names(source: str) -> list[tuple[str, int, str]]:
    return [(use.name, use.line, use.how) for use in _check.uses_in(source)]


def test_uses_of_all_forms() -> None:
    assert names(PROGRAM) == [
        ("litellm", 2, "import"),
        ("litellm.utils", 3, "import"),
        ("litellm.Router", 4, "import"),
        ("litellm.completion", 4, "import"),
        ("litellm.types.utils.ModelResponse", 5, "import"),
        ("litellm.types.utils.NoSuchType", 5, "import"),
        ("litellm.drop_params", 8, "assign"),
        ("litellm.no_such_setting", 9, "read"),
        ("litellm.model_cost.get", 10, "read"),
        ("litellm.types.utils.Usage", 10, "read"),
        ("litellm.utils.token_counter", 10, "read"),
        ("litellm.acompletion", 11, "by name"),
        ("litellm.llms.no_such_module.f", 13, "by name"),
    ]


@pytest.mark.parametrize(
    "source", ["import os", "litellm = 1\nlitellm.x", "def f(:\n  litellm", "import litellm_proxy_extras"]
)
def test_what_is_no_use(source: str) -> None:
    assert names(source) == []


def test_a_module_that_is_handed_over() -> None:
    source = "from program.llm import litellm\nlitellm.completion()\nlitellm._lazy.load()"
    assert names(source) == [("litellm.completion", 2, "read")]


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("litellm", "same"),
        ("litellm.completion", "same"),
        ("litellm.utils.ModelResponse", "same"),
        ("litellm.types.utils.ModelResponse.model_validate", "same"),
        ("litellm.drop_params", "same"),
        ("litellm.exceptions", "same"),
        ("litellm.responses", "same"),
        ("litellm.responses.main.aresponses", "same"),
        ("litellm.__version__", "same"),
        ("litellm.image_generation", "different"),
        ("litellm.caching.caching.Cache", "different"),
        ("litellm.proxy.proxy_server.app", "missing"),
        ("litellm.no_such_name", "missing"),
    ],
)
def test_the_status_of_a_name(name: str, status: str) -> None:
    assert _check.status_of(name)[0] == status


def test_every_name_of_the_table_is_there() -> None:
    for home, _, words in _surface._TABLE:
        for name in words.split():
            assert _check.status_of(f"{home}.{name}")[0] != "missing", name


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "venv").mkdir()
    (tmp_path / "venv/other.py").write_text("import litellm.proxy")
    assert main(["compat", "check", str(tmp_path)]) == 1
    out = capsys.readouterr().out
    assert f"missing: litellm.no_such_setting\n  {tmp_path}/program.py:9 (read)\n" in out
    assert "different: litellm.Router: a Redis" in out
    assert "same: " not in out
    assert out.splitlines()[-1] == "8 of 13 names are the same, 2 different, 3 missing."
    assert main(["compat", "check", "--json", str(tmp_path)]) == 1
    found = {use["name"]: use["status"] for use in json.loads(capsys.readouterr().out)}
    assert found["litellm.completion"] == "same"
    (tmp_path / "program.py").write_text("import litellm\nlitellm.mark = 1\nprint(litellm.mark)")
    assert main(["compat", "check", "--all", str(tmp_path)]) == 0
    assert "same: litellm\n" in capsys.readouterr().out
    (tmp_path / "program.py").write_text("import os")
    assert main(["compat", "check", str(tmp_path / "program.py")]) == 0
    assert capsys.readouterr().out == "LiteLLM is not used here.\n"
    assert main(["compat", "check", str(tmp_path / "nothing")]) == 2
