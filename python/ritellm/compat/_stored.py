"""Files that are stored at a provider."""

from __future__ import annotations

from typing import Any

from ritellm.compat import _arguments, _errors, _targets
from ritellm.compat._client import client


def _place(provider: str, kwargs: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    target = _targets.resolve(f"{provider}/file", provider, kwargs.get("api_base"))
    return target.model.partition("/")[0], _arguments.prepared(kwargs, target)


def create_file(file: Any, purpose: str, custom_llm_provider: str = "openai", **kwargs: Any) -> Any:
    """Stores a file at a provider."""
    kwargs = _arguments.Given(kwargs)
    name, given = _place(custom_llm_provider, kwargs)
    try:
        return client().files.create(name, file=file, purpose=purpose, **given)
    except Exception as error:
        raise _errors.translated(error, "", custom_llm_provider)  # noqa: B904


async def acreate_file(file: Any, purpose: str, custom_llm_provider: str = "openai", **kwargs: Any) -> Any:
    """Stores a file on an event loop: see `create_file`."""
    kwargs = _arguments.Given(kwargs)
    name, given = _place(custom_llm_provider, kwargs)
    try:
        return await client().files.acreate(name, file=file, purpose=purpose, **given)
    except Exception as error:
        raise _errors.translated(error, "", custom_llm_provider)  # noqa: B904


def file_retrieve(file_id: str, custom_llm_provider: str = "openai", **kwargs: Any) -> Any:
    """Returns what a provider knows of a file."""
    kwargs = _arguments.Given(kwargs)
    name, given = _place(custom_llm_provider, kwargs)
    try:
        return client().files.retrieve(name, file_id, **given)
    except Exception as error:
        raise _errors.translated(error, "", custom_llm_provider)  # noqa: B904


async def afile_retrieve(file_id: str, custom_llm_provider: str = "openai", **kwargs: Any) -> Any:
    """Returns what a provider knows of a file, on an event loop."""
    kwargs = _arguments.Given(kwargs)
    name, given = _place(custom_llm_provider, kwargs)
    try:
        return await client().files.aretrieve(name, file_id, **given)
    except Exception as error:
        raise _errors.translated(error, "", custom_llm_provider)  # noqa: B904


def file_content(file_id: str, custom_llm_provider: str = "openai", **kwargs: Any) -> Any:
    """Returns the content of a file."""
    kwargs = _arguments.Given(kwargs)
    name, given = _place(custom_llm_provider, kwargs)
    try:
        return client().files.content(name, file_id, **given)
    except Exception as error:
        raise _errors.translated(error, "", custom_llm_provider)  # noqa: B904


async def afile_content(file_id: str, custom_llm_provider: str = "openai", **kwargs: Any) -> Any:
    """Returns the content of a file, on an event loop."""
    kwargs = _arguments.Given(kwargs)
    name, given = _place(custom_llm_provider, kwargs)
    try:
        return await client().files.acontent(name, file_id, **given)
    except Exception as error:
        raise _errors.translated(error, "", custom_llm_provider)  # noqa: B904
