"""What `importlib.metadata` tells of ``litellm`` while it means RiteLLM."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import Any

from ritellm.compat import _settings


class Distribution(importlib.metadata.Distribution):
    """A distribution with a name and a version, and no files."""

    def read_text(self, filename: str) -> str | None:
        if filename != "METADATA":
            return None
        return f"Metadata-Version: 2.1\nName: litellm\nVersion: {_settings.version}\nSummary: RiteLLM in its place\n"

    def locate_file(self, path: Any) -> Any:
        # None of its files is here.
        return Path(__file__).parent / "_site" / str(path)
