"""What calls cost that make pictures."""

from __future__ import annotations

from typing import Any

from ritellm.compat import _models, _prices
from ritellm.compat._usages import member

__all__ = ["image_cost"]


def image_cost(
    model: str, provider: str | None, response: Any, quality: str | None, size: str | None, n: int | None
) -> float:
    """Returns what pictures cost: by their tokens if the answer tells these and the map has prices of them, else by picture.

    Args:
        model: the name of the model.
        provider: the provider.
        response: the answer.
        quality: quality of the pictures; by default the answer's.
        size: size of the pictures; by default the answer's.
        n: number of pictures; by default the answer's.

    Raises:
        Exception: the map has no price for it.
    """
    size = (size or member(response, "size") or "1024-x-1024").replace("*", "x")
    size = size if "-x-" in size else size.replace("x", "-x-")
    quality = quality or member(response, "quality") or "standard"
    number = n if n is not None else len(member(response, "data") or ())
    by_tokens = _by_tokens(model, provider, member(response, "usage"))
    if by_tokens is not None:
        return by_tokens
    bare = model.removeprefix(f"{provider}/")
    last = f"{size}/{model.split('/')[-1]}"
    sized = f"{provider}/{size}/{bare}" if bare != model else f"{size}/{model}"
    names = (
        *(f"{quality}/{sized}", f"{provider}/{quality}/{size}/{bare}", sized, f"high/{sized}"),
        *(f"{quality}/{last}", last, model, bare, f"{provider}/{model}"),
    )
    entries = _prices.current()
    entry = next((entries[name] for name in names if name in entries), None)
    if entry is None:
        raise Exception(f"Model not found in cost map. Tried checking {names}")
    width, height = (int(part) for part in size.split("-x-"))
    for name, units in (
        ("input_cost_per_image", number),
        ("output_cost_per_image", number),
        ("input_cost_per_pixel", width * height * number),
    ):
        if entry.get(name) is not None:
            return float(entry[name] * units)
    raise Exception(f"No pricing information found for model {model}. Tried checking {names}")


def _by_tokens(model: str, provider: str | None, usage: Any) -> float | None:
    entry = _models.entry_or_none(model, provider)
    if usage is None or entry is None or not (member(usage, "input_tokens") or member(usage, "output_tokens")):
        return None
    if entry.get("output_cost_per_image_token") is None:
        return None
    details = member(usage, "input_tokens_details")
    text = member(details, "text_tokens") if details is not None else member(usage, "input_tokens")
    cost = (text or 0) * (entry.get("input_cost_per_token") or 0.0)
    cost += (member(details, "image_tokens") or 0) * (entry.get("input_cost_per_image_token") or 0.0)
    return float(cost + (member(usage, "output_tokens") or 0) * entry["output_cost_per_image_token"])
