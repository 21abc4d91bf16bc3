"""Values of other libraries as what JSON has: those of numpy, pandas, polars, Arrow, databases and models.

`builtin` is for the arguments of calls: the native core calls it for a value that it does not know. `plain` is for the rows of
jobs, and more lenient.
"""

from __future__ import annotations

import os
from _collections_abc import Iterator, Sequence, ValuesView
from math import isfinite

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any
else:
    Any = object

__all__ = ["Unplain", "builtin", "is_row", "listed", "plain", "whole_number"]


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


# Methods that return a value as one of the built-in types: of scalars and arrays of Arrow, of scalars and arrays of numpy and of
# what follows it (pandas, torch, jax, `array.array`), and of Series of polars.
_CONVERSIONS = ("as_py", "tolist", "to_pylist", "to_list")


def builtin(value: Any, takes_iterators: bool) -> Any:
    """Returns a value of another library as a built-in one, such as a list for an array; what is in it may be foreign still.

    Args:
        value: any value that is none of JSON's.
        takes_iterators: make a list of an iterator, which can be read only once.

    Raises:
        Unplain: there is none; the message continues after the value's path.
    """
    kind = type(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        raise Unplain(
            f"is of type {kind.__name__}, which JSON cannot say: a str would be right, or a content part that "
            "ritellm.image or ritellm.file makes of it"
        )
    if isinstance(value, (set, frozenset)):
        raise Unplain(f"is of type {kind.__name__}, which has no order: a list would be right, such as sorted(…) makes")
    if hasattr(kind, "columns") and not hasattr(kind, "tolist"):
        raise Unplain(
            f'is of type {kind.__name__}, a table: one column of it, such as table["text"], or a list of its rows would be right'
        )
    converted = _converted(value)
    if converted is not _UNKNOWN:
        return converted
    if kind.__module__.partition(".")[0] == "PIL":
        raise Unplain(f"is a picture of type {kind.__name__}: a content part, ritellm.image(picture), would be right")
    if isinstance(value, os.PathLike):
        raise Unplain(
            f"is of type {kind.__name__}, which JSON cannot say: a str would be right, or a content part, "
            "ritellm.image(path) or ritellm.file(path)"
        )
    if isinstance(value, Iterator) and not hasattr(kind, "read"):
        if takes_iterators:
            return list(value)
        raise Unplain(f"is of type {kind.__name__}, which can be read only once: a list would be right")
    raise Unplain(
        f"is of type {kind.__name__}, which JSON cannot say: str, int, float, bool, None, list or dict would be right"
    )


def listed(value: Any) -> Any:
    """Returns a sequence of another library, or an iterator, as a list that can be read again; other values as they are."""
    if value is None or isinstance(value, (str, list, tuple, dict)):
        return value
    try:
        return builtin(value, True)
    except Unplain:
        return value


def whole_number(value: Any) -> int | None:
    """Returns a whole number of any library as an int, `None` for other values and booleans."""
    if isinstance(value, bool) or not hasattr(type(value), "__index__"):
        return None
    try:
        return int(value.__index__())
    except TypeError:
        return None


_UNKNOWN = object()


def _converted(value: Any) -> Any:
    """Returns an array, a column or a scalar as a built-in value, `_UNKNOWN` if it is none of them."""
    kind = type(value)
    if kind.__module__ == "numpy" and str(getattr(value, "dtype", ""))[-4:] in ("[ns]", "[ps]", "[fs]", "[as]"):
        # Python's times have microseconds; finer ones would become numbers.
        value = value.astype(f"{value.dtype.kind}8[us]")
    for name in _CONVERSIONS:
        if hasattr(kind, name):
            converted = getattr(value, name)()
            # Numbers of more bits than a float has are returned as they are.
            return float(value) if type(converted) is kind else converted
    if hasattr(kind, "__array__"):
        return value.__array__().tolist()
    if hasattr(kind, "__arrow_c_array__") or hasattr(kind, "__arrow_c_stream__"):
        return _of_arrow(value)
    # Rows of databases are sequences, too.
    is_sequence = isinstance(value, (Sequence, ValuesView)) and not hasattr(kind, "keys")
    if is_sequence and not isinstance(value, (str, bytes, bytearray, memoryview)):
        return list(value)
    return _UNKNOWN


def _of_arrow(value: Any) -> Any:
    """Returns the values of an array or of chunks that another library has in Arrow's format."""
    try:
        import pyarrow
    except ImportError:
        try:
            import polars
        except ImportError:
            raise Unplain(
                f"is of type {type(value).__name__}, in Arrow's format, which pyarrow and polars read: pip install pyarrow"
            ) from None
        return polars.Series(value).to_list()
    if hasattr(type(value), "__arrow_c_array__"):
        return pyarrow.array(value).to_pylist()
    return pyarrow.chunked_array(value).to_pylist()


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

    Values of numpy, pandas and Arrow become Python's; times ISO 8601; decimals, UUIDs, periods, intervals and paths
    text; NaN, NaT and NA, and infinite numbers, None; images and the bytes of images and PDFs data URLs, and other bytes text
    if they are UTF-8.

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
    if kind.__name__ in ("Decimal", "UUID", "Period", "Interval"):
        return str(value) if value == value else None
    if hasattr(kind, "isoformat"):
        return plain(value.isoformat(), path, depth + 1)
    try:
        converted = _UNKNOWN if hasattr(kind, "columns") else _converted(value)
    except Unplain as error:
        raise Unplain(f"{path} {error}") from None
    except Exception as error:
        raise Unplain(f"{path} is of type {kind.__name__}, which cannot be read: {error}") from None
    if converted is not _UNKNOWN:
        return plain(converted, path, depth + 1)
    if hasattr(kind, "model_dump"):
        return plain(value.model_dump(), path, depth + 1)
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
