"""Keys for calls that reach no provider: they replace none that are set."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shutil
import tempfile
import weakref
from pathlib import Path
from typing import TYPE_CHECKING

from ritellm import _core

if TYPE_CHECKING:
    from typing_extensions import Self

KEY = "test-key"
"""The key in place of one that is missing; that of a server has a number besides, see `key_of_its_own`."""

# What calls of these providers need apart from a key.
_OTHERS = {
    "AZURE_OPENAI_ENDPOINT": "https://test.openai.azure.com",
    "DATABRICKS_HOST": "https://test.cloud.databricks.com",
    "AWS_REGION": "us-east-1",
    "VERTEXAI_LOCATION": "us-central1",
    "VERTEXAI_PROJECT": "test-project",
}


def key_of_its_own() -> str:
    """Returns a key that no other call of this machine has.

    Limits, their pauses and breakers are of an account, for as long as the process lives, and longer where they are shared by the
    machine. A refusal that one test asked for would make the next test's calls wait.
    """
    return f"{KEY}-{secrets.token_hex(6)}"


class Keys:
    """Sets the variables of keys that are missing to one key, and takes them back."""

    def __init__(self) -> None:
        self.key = KEY
        self._added: list[str] = []
        self._remove_folder: weakref.finalize[[str, int], Keys] | None = None

    def add(self) -> None:
        """Sets one variable for each provider that has none."""
        for row in _core.providers():
            names = row["key_variables"]
            if names and not any(os.environ.get(name) for name in names):
                # Tokens such as HF_TOKEN are other programs', too. Of two providers with the same variables the second finds
                # those of the first.
                self._set(next((name for name in names if name.endswith("_API_KEY")), names[0]), self.key)
        addresses = {name for row in _core.providers() for name in row["base_url_variables"]}
        for name, value in _OTHERS.items():
            if not os.environ.get(name) and (name not in addresses or not self._has_address(name)):
                self._set(name, value)

        if not os.environ.get("GOOGLE_APPLICATION_CREDENTIALS"):
            folder = tempfile.mkdtemp(prefix="ritellm-")
            self._remove_folder = weakref.finalize(self, _remove, folder, os.getpid())
            path = Path(folder, "credentials.json")
            parts = dict.fromkeys(("client_id", "client_secret", "refresh_token"), self.key)
            path.write_text(json.dumps({"type": "authorized_user", **parts}))
            self._set("GOOGLE_APPLICATION_CREDENTIALS", str(path))

    def remove(self) -> None:
        """Removes what `add` set."""
        if self._remove_folder is not None:
            self._remove_folder()
            self._remove_folder = None
        while self._added:
            os.environ.pop(self._added.pop(), None)

    def _set(self, name: str, value: str) -> None:
        os.environ[name] = value
        self._added.append(name)

    @staticmethod
    def _has_address(name: str) -> bool:
        rows = [row["base_url_variables"] for row in _core.providers() if name in row["base_url_variables"]]
        return any(os.environ.get(other) for others in rows for other in others)


def _remove(folder: str, process: int) -> None:
    # A forked child, which ends with the same finalizer, leaves it to its parent.
    if os.getpid() == process:
        shutil.rmtree(folder, ignore_errors=True)


class Intercepting:
    """A context manager in which the connections of this process lead to a server on this machine.

    A forked child has its own copy of the detour and of the environment, which it takes back itself. The server is its parent's.
    """

    def __init__(self) -> None:
        self._keys = Keys()
        self._detour: int | None = None
        self._process = os.getpid()

    def _begin(self) -> None:
        """Begins what is inside of ``with``."""
        raise NotImplementedError

    def _finish(self, is_done: bool) -> None:
        """Ends the server, in the process that has it. ``is_done`` is false if an exception left the ``with``."""
        raise NotImplementedError

    def _intercept(self, port: int, *, is_relay: bool, keys: bool) -> None:
        if self._detour is None:
            if keys:
                self._keys.add()
            self._detour = _core.enter_detour(port, is_relay)

    def _release(self) -> bool:
        """Lets connections go where they want again. Returns true if the server is this process's."""
        if self._detour is not None:
            _core.leave_detour(self._detour)
            self._detour = None
        self._keys.remove()
        return self._process == os.getpid()

    def _close(self, is_done: bool) -> None:
        if self._release():
            self._finish(is_done)

    def __enter__(self) -> Self:
        self._begin()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._close(kind is None)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            # Another kind of loop.
            return self._close(kind is None)
        if self._release():
            # In a thread, since what it waits for may be served by this loop.
            await asyncio.to_thread(self._finish, kind is None)
