"""Columns of Arrow for the outcomes of an engine's rows."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from ritellm._engine_calls import RowCalls, _Outcome
else:
    Any = object

__all__ = ["arrow_columns", "arrow_fields"]


def arrow_fields(calls: RowCalls, names: Iterable[str]) -> list[Any]:
    """Returns the fields of the columns that are added, in Arrow."""
    import pyarrow

    from ritellm._tables import type_of

    kinds = {
        "text": pyarrow.string(),
        "whole": pyarrow.int64(),
        "float": pyarrow.float64(),
        "vector": pyarrow.list_(pyarrow.float32()),
    }
    return [
        pyarrow.field(name, type_of(calls.parsed) if kind == "parsed" else kinds[kind])
        for name, _, kind in calls.fields(names)
    ]


def arrow_columns(calls: RowCalls, names: list[str], outcomes: list[_Outcome]) -> list[tuple[Any, Any]]:
    """Returns the columns that are added to rows in Arrow: fields and arrays."""
    import pyarrow

    from ritellm._tables import fitting

    columns = []
    fields = arrow_fields(calls, names)
    for field, (_, own, kind) in zip(fields, calls.fields(names), strict=True):
        values = [outcome.get(own) for outcome in outcomes]
        if kind == "parsed":
            values = [fitting(value, field.type) for value in values]
        columns.append((field, pyarrow.array(values, field.type)))
    return columns
