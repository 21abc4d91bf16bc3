"""RiteLLM's plugin for pytest: a mock server and cassettes as fixtures, and calls that may not leave this machine.

pytest imports this module in every run where RiteLLM is installed, so it imports nothing itself: `ritellm` is imported by
the first test that uses a fixture, or by ``--ritellm-offline``.
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from ritellm.testing import Cassette, MockServer
    from ritellm.testing._vcrpy_follower import Follower

LONGEST_NAME = 100
"""Number of characters of a test's name that are in the name of its file."""
MODES = ("none", "once", "new_episodes", "all")
OFFLINE = pytest.StashKey[int]()
"""Key of the detour that refuses connections to other machines."""
VARIABLE = "RITELLM_OFFLINE"
"""The environment variable that does so in the programs that a test starts."""
ALLOWED = "RITELLM_OFFLINE_ALLOW"
"""The environment variable with the machines that they may reach."""
VARIABLES_BEFORE = pytest.StashKey[dict[str, str | None]]()
HAS_FAILED = pytest.StashKey[bool]()
"""True if an exception left the test."""
VCR: pytest.StashKey[Follower] = pytest.StashKey()
"""What plays the cassettes of vcrpy to calls of RiteLLM."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("ritellm", "RiteLLM: calls of language models")
    group.addoption(
        "--ritellm-record",
        action="store_const",
        const="new_episodes",
        dest="ritellm_record",
        help="record the calls that the cassettes of ritellm_cassette do not have",
    )
    group.addoption(
        "--ritellm-record-mode",
        choices=MODES,
        dest="ritellm_record",
        help="the mode of these cassettes: none (the default), once, new_episodes or all (record everything anew)",
    )
    group.addoption(
        "--ritellm-offline",
        action="store_true",
        help="let every call that would leave this machine fail, with an error that names the test",
    )
    group.addoption(
        "--ritellm-offline-allow",
        action="append",
        default=[],
        metavar="HOST",
        help="a machine that may be reached all the same, such as redis, redis:6379 or *.internal; can be given several times",
    )
    group.addoption(
        "--ritellm-vcr",
        action="store_true",
        help="play the cassettes that vcrpy opens (pytest-recording, pytest-vcr) to RiteLLM's calls as well",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "ritellm_cassette(path=None, **options): the file of the fixture ritellm_cassette, and options of "
        "ritellm.testing.cassette",
    )
    if config.getoption("ritellm_offline"):
        from ritellm import _core

        allowed = [host for hosts in config.getoption("ritellm_offline_allow") for host in hosts.split(",")]
        config.stash[OFFLINE] = _core.enter_offline(_message("pytest"), allowed)
        config.stash[VARIABLES_BEFORE] = {name: os.environ.get(name) for name in (VARIABLE, ALLOWED)}
        os.environ.update({VARIABLE: _message("pytest"), ALLOWED: ",".join(allowed)})
    if config.getoption("ritellm_vcr"):
        from ritellm.testing._vcrpy_follower import Follower

        config.stash[VCR] = Follower()
        config.stash[VCR].start()


def pytest_unconfigure(config: pytest.Config) -> None:
    key = config.stash.get(OFFLINE, None)
    if key is not None:
        from ritellm import _core

        _core.leave_detour(key)
        del config.stash[OFFLINE]
        for name, value in config.stash[VARIABLES_BEFORE].items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
    if (follower := config.stash.get(VCR, None)) is not None:
        follower.stop()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if (follower := config.stash.get(VCR, None)) is None:
        return
    terminalreporter.section("RiteLLM's calls of cassettes of vcrpy")
    terminalreporter.line(
        f"{follower.played} played, {len(follower.differences)} of them to another body than the recorded one"
    )
    for line in follower.differences:
        terminalreporter.line(line)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    key = item.config.stash.get(OFFLINE, None)
    if key is not None:
        from ritellm import _core

        _core.rename_offline(key, _message(item.nodeid))
        os.environ[VARIABLE] = _message(item.nodeid)
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    try:
        return (yield)
    except BaseException:
        item.stash[HAS_FAILED] = True
        raise


def _message(test: str) -> str:
    return (
        f"{test} calls {{}}, and --ritellm-offline lets no call leave this machine: the fixtures ritellm_mock and "
        "ritellm_cassette answer in place of a provider"
    )


@pytest.fixture
def ritellm_mock() -> Iterator[MockServer]:
    """A `ritellm.testing.MockServer` to which every call of the test goes, whatever its provider; no key is needed.

    >>> def test_greeting(ritellm_mock):
    ...     ritellm_mock.reply("Hello!")
    ...     assert greet() == "Hello!"
    """
    from ritellm.testing import MockServer

    with MockServer() as server:
        yield server


@pytest.fixture
def ritellm_cassette(request: pytest.FixtureRequest) -> Iterator[Cassette]:
    """A `ritellm.testing.Cassette` whose calls are played in place of the providers; ``--ritellm-record`` records.

    The file is ``cassettes/MODULE/TEST.json`` beside the test, or ``TEST.yaml`` if only that is there, as pytest-recording
    has it; the marker ``ritellm_cassette`` names another, and gives options.
    """
    from ritellm.testing import cassette

    marker = request.node.get_closest_marker("ritellm_cassette")
    options = {} if marker is None else dict(marker.kwargs)
    path = options.pop("path", None)
    if marker is not None and marker.args:
        path = marker.args[0]
    folder = request.node.path.parent
    if path is None:
        cls = request.node.cls
        name = re.sub(r"[^\w.\[\]-]+", "-", (f"{cls.__name__}." if cls else "") + request.node.name)
        if len(name) > LONGEST_NAME:
            # File systems take 255 bytes.
            name = f"{name[:LONGEST_NAME]}-{zlib.crc32(request.node.name.encode()):08x}"
        path = folder / "cassettes" / request.node.path.stem / f"{name}.json"
        if not path.exists() and path.with_name(f"{name}.yaml").exists():
            path = path.with_name(f"{name}.yaml")
    else:
        path = folder / path
    mode = request.config.getoption("ritellm_record")
    if mode is None:
        mode = options.pop("mode", "none")
        if mode == "none" and not path.exists():
            pytest.fail(f"{path} is missing: pytest --ritellm-record records it", pytrace=False)
    elif path.suffix in (".yaml", ".yml"):
        mode = "none"
    options["mode"] = mode
    with cassette(path, **options) as tape:
        yield tape
        if request.node.stash.get(HAS_FAILED, False):
            tape._mark_failed()
