"""Values of a row as what JSON has: those of numpy, pandas, Arrow, databases and models."""

from __future__ import annotations

import os
from math import isfinite

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any
else:
    Any = object

__all__ = ["Unplain", "is_row", "plain"]


class Unplain(Exception):
    """A value has no form in JSON."""


def is_row(row: object) -> bool:
    """Returns true for what has named values: a mapping, a model, a dataclass, a named tuple or a row of a database."""
    return not isinstance(row, (str, bytes, list, type)) and (
        hasattr(row, "keys")
        or hasattr(row, "_asdict")
        or hasattr(row, "model_dump")
        or hasattr(row, "__dataclass_fields__")
    )


# First bytes of what may stand in an image part or a file part, with its media type.
SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", 0, "image/png"),
    (b"\xff\xd8\xff", 0, "image/jpeg"),
    (b"GIF8", 0, "image/gif"),
    (b"WEBP", 8, "image/webp"),
    (b"%PDF-", 0, "application/pdf"),
)


def plain(value: Any, path: str, depth: int) -> Any:
    """Returns a value as what JSON has.

    Values of numpy, pandas and Arrow become Python's; times ISO 8601; decimals, UUIDs and paths text; NaN, NaT and NA, and
    infinite numbers, None; images and the bytes of images and PDFs data URLs, and other bytes text if they are UTF-8.

    Raises:
        Unplain: a value that has no form in JSON; the message begins with its path.
    """
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return value if isfinite(value) else None
    if depth > 100:
        raise Unplain(f"{path} is nested more than 100 deep")
    if isinstance(value, dict):
        return {
            name if isinstance(name, str) else str(name): plain(item, f"{path}[{name!r}]", depth + 1)
            for name, item in value.items()
        }
    if hasattr(value, "_asdict"):
        return plain(value._asdict(), path, depth + 1)
    if isinstance(value, (list, tuple)):
        return [plain(item, f"{path}[{index}]", depth + 1) for index, item in enumerate(value)]
    if isinstance(value, (bytes, bytearray, memoryview)):
        return _of_bytes(bytes(value), path)
    return _of_other(value, path, depth)


def _of_bytes(value: bytes, path: str) -> str:
    for signature, start, kind in SIGNATURES:
        if value.startswith(signature, start):
            from base64 import b64encode

            return f"data:{kind};base64,{b64encode(value).decode()}"
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise Unplain(f"{path} holds bytes that are neither UTF-8 nor an image or a PDF") from None


def _of_other(value: Any, path: str, depth: int) -> Any:
    kind = type(value)
    library = kind.__module__.partition(".")[0]
    if kind.__name__ in ("NaTType", "NAType"):
        return None
    if kind.__name__ in ("Decimal", "UUID"):
        return str(value) if value == value else None
    for convert in ("isoformat", "as_py", "tolist", "to_pylist", "to_list", "model_dump"):
        # Scalars of numpy have `tolist` as its arrays do; a scalar of Arrow has `as_py`.
        if hasattr(kind, convert):
            return plain(getattr(value, convert)(), path, depth + 1)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(kind, "__dataclass_fields__"):
        return {name: plain(getattr(value, name), f"{path}.{name}", depth + 1) for name in kind.__dataclass_fields__}
    if library == "PIL":
        from io import BytesIO

        file = BytesIO()
        value.save(file, format="PNG")
        return _of_bytes(file.getvalue(), path)
    if kind.__name__ == "timedelta":
        return value.total_seconds()
    if hasattr(kind, "keys") and hasattr(kind, "__getitem__"):
        return plain({name: value[name] for name in value.keys()}, path, depth + 1)  # noqa: SIM118
    if library == "enum" or hasattr(kind, "__members__"):
        return plain(value.value, path, depth + 1)
    raise Unplain(
        f"{path} is of type {kind.__name__}, which JSON cannot say: a str, a number, a list or a dict would be right"
    )
