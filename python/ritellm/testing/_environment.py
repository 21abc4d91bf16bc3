"""Keys for calls that reach no provider: they replace none that are set."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

from ritellm import _core

KEY = "test-key"
"""The key in place of one that is missing."""

# What calls of these providers need apart from a key.
_OTHERS = {
    "AZURE_OPENAI_ENDPOINT": "https://test.openai.azure.com",
    "DATABRICKS_HOST": "https://test.cloud.databricks.com",
    "AWS_REGION": "us-east-1",
    "VERTEXAI_LOCATION": "us-central1",
    "VERTEXAI_PROJECT": "test-project",
}


class Keys:
    """Sets the variables of keys that are missing, and takes them back."""

    def __init__(self) -> None:
        self._added: list[str] = []
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def add(self) -> None:
        """Sets one variable for each provider that has none."""
        for row in _core.providers():
            names = row["key_variables"]
            if names and not any(os.environ.get(name) for name in names):
                # Tokens such as HF_TOKEN are other programs', too. Of two providers with the same variables the second finds
                # those of the first.
                self._set(next((name for name in names if name.endswith("_API_KEY")), names[0]), KEY)
        addresses = {name for row in _core.providers() for name in row["base_url_variables"]}
        for name, value in _OTHERS.items():
            if not os.environ.get(name) and (name not in addresses or not self._has_address(name)):
                self._set(name, value)

        if not os.environ.get("GOOGLE_APPLICATION_CREDENTIALS"):
            self._folder = tempfile.TemporaryDirectory(prefix="ritellm-")
            path = Path(self._folder.name, "credentials.json")
            secrets = dict.fromkeys(("client_id", "client_secret", "refresh_token"), KEY)
            path.write_text(json.dumps({"type": "authorized_user", **secrets}))
            self._set("GOOGLE_APPLICATION_CREDENTIALS", str(path))

    def remove(self) -> None:
        """Removes what `add` set."""
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None
        while self._added:
            os.environ.pop(self._added.pop(), None)

    def _set(self, name: str, value: str) -> None:
        os.environ[name] = value
        self._added.append(name)

    @staticmethod
    def _has_address(name: str) -> bool:
        rows = [row["base_url_variables"] for row in _core.providers() if name in row["base_url_variables"]]
        return any(os.environ.get(other) for others in rows for other in others)
