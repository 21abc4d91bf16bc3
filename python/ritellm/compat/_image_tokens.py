"""How many tokens a picture has, by the size that its first bytes tell."""

from __future__ import annotations

import base64
import binascii
import math
import struct
from typing import Any

__all__ = ["tokens_of_image"]

#: Of a picture with low detail, or one whose size is not known; each tile of 512 by 512 pixels has twice as many besides.
_BASE = 85
_USUAL = 250


def tokens_of_image(image: Any, usual: bool) -> int:
    """Returns the number of tokens of a picture. Nothing is downloaded: one at an address counts as one with low detail.

    Args:
        image: an address, a ``data:`` address, or a dict with ``url`` and ``detail``.
        usual: the picture is not looked at; it has 250 tokens.

    Raises:
        ValueError: neither of these.
    """
    detail = "auto"
    if isinstance(image, dict):
        detail, image = image.get("detail", "auto"), image.get("url")
        if detail not in ("low", "high", "auto"):
            raise ValueError(f"Invalid detail value: {detail}. Expected 'low', 'high', or 'auto'.")
        if not image:
            raise ValueError("Missing required key 'url' in image_url dict.")
    if not isinstance(image, str):
        raise ValueError(f"Invalid image_url type: {type(image).__name__}. Expected str or dict with 'url' field.")
    if not image.strip():
        raise ValueError("Empty image_url string is not valid.")
    if usual:
        return _USUAL
    size = None if detail == "low" else _size(image)
    if size is None:
        return _BASE
    width, height = _resized(*size)
    return _BASE + _BASE * 2 * math.ceil(width / 512) * math.ceil(height / 512)


def _resized(width: int, height: int) -> tuple[int, int]:
    """Returns the size after OpenAI has made a picture smaller: at most 2000 by 768 pixels."""
    short, long = 768, 2000
    if width <= short and height <= short:
        return width, height
    ratio = max(width, height) / min(width, height)
    if width <= height:
        width, height = short, int(short * ratio)
        if height > long:
            width, height = int(long / ratio), long
    else:
        width, height = int(short * ratio), short
        if width > long:
            width, height = long, int(long / ratio)
    return width, height


def _size(image: str) -> tuple[int, int] | None:
    if not image.startswith("data:") or "," not in image:
        return None
    try:
        data = base64.b64decode(image.split(",", 1)[1][:65_536])
    except (ValueError, binascii.Error):
        return None
    try:
        if data.startswith(b"\x89PNG"):
            return struct.unpack(">II", data[16:24])
        if data.startswith((b"GIF87a", b"GIF89a")):
            return struct.unpack("<HH", data[6:10])
        if data.startswith(b"\xff\xd8"):
            return _size_of_jpeg(data)
    except struct.error:
        return None
    return None


def _size_of_jpeg(data: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 9 < len(data):
        marker, length = data[at + 1], struct.unpack(">H", data[at + 2 : at + 4])[0]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            return width, height
        at += 2 + length
    return None
