"""Pictures and files as content parts of messages."""

from __future__ import annotations

import os
import re
from base64 import b64decode, b64encode
from collections.abc import Mapping
from stat import S_ISDIR, S_ISREG
from typing import Any

from ritellm._plain import SIGNATURES
from ritellm.exceptions import InvalidArgumentError

__all__ = ["file", "image"]

DETAILS = ("auto", "low", "high", "original")

# The most that a provider takes in a request, so that a film is not read by mistake.
LARGEST = 512 << 20

# First bytes of types that are told apart, besides those of `_plain`: bytes, their place, and the type. Types of one family come
# from the brand that follows ``ftyp`` (https://mp4ra.org/registered-types/brands).
_OTHERS = (
    (b"BM", 0, "image/bmp"),
    (b"II*\0", 0, "image/tiff"),
    (b"MM\0*", 0, "image/tiff"),
    (b"ftypheic", 4, "image/heic"),
    (b"ftypheix", 4, "image/heic"),
    (b"ftypmif1", 4, "image/heif"),
    (b"ftypavif", 4, "image/avif"),
    (b"RIFF", 0, "audio/wav"),
    (b"ID3", 0, "audio/mpeg"),
    (b"fLaC", 0, "audio/flac"),
    (b"OggS", 0, "audio/ogg"),
    (b"ftyp", 4, "video/mp4"),
)

_OFFICE = "application/vnd.openxmlformats-officedocument"

# Types of files that have no first bytes of their own, by the ends of their names.
_NAMES = {
    "csv": "text/csv",
    "css": "text/css",
    "doc": "application/msword",
    "docx": f"{_OFFICE}.wordprocessingml.document",
    "htm": "text/html",
    "html": "text/html",
    "json": "application/json",
    "jsonl": "application/jsonl",
    "js": "text/javascript",
    "md": "text/markdown",
    "mp3": "audio/mpeg",
    "pptx": f"{_OFFICE}.presentationml.presentation",
    "py": "text/x-python",
    "rtf": "text/rtf",
    "svg": "image/svg+xml",
    "tsv": "text/tab-separated-values",
    "xls": "application/vnd.ms-excel",
    "xlsx": f"{_OFFICE}.spreadsheetml.sheet",
    "xml": "application/xml",
    "yaml": "application/yaml",
    "yml": "application/yaml",
}

_ADDRESS = re.compile(r"(?:https?|s3|gs)://", re.ASCII | re.IGNORECASE)
_DATA = re.compile(r"data:([\w.+-]+/[\w.+-]+)(?:;[^,;]*)*;base64,", re.ASCII | re.IGNORECASE)


def image(source: Any, *, detail: str | None = None) -> dict[str, Any]:
    """Makes a content part of a picture, for messages of every provider that takes pictures.

    >>> import ritellm
    >>> part = ritellm.image("https://example.com/chart.png", detail="low")
    >>> message = {"role": "user", "content": [{"type": "text", "text": "What does it show?"}, part]}

    The bytes say which type it is, whatever its name is. A provider's limits of types and sizes are checked when the call is made.

    Args:
        source: the path of a file (a str, also ``file://…``, or an ``os.PathLike``), its bytes, an open binary file, an image of PIL, an address
            (``https://…``, for some providers ``s3://…`` or ``gs://…``), or a ``data:`` URL. Nothing is fetched: an address is sent
            as it is, to providers that fetch it themselves.
        detail: ``"low"``, ``"high"``, ``"auto"`` or ``"original"``, for providers that have it.

    Returns:
        A part in OpenAI's format, ``{"type": "image_url", "image_url": {"url": …}}``.

    Raises:
        InvalidArgumentError: there is no such file, or it is no picture.
    """
    if detail is not None and detail not in DETAILS:
        raise InvalidArgumentError(f'detail is {detail!r}: "low", "high", "auto" or "original" would be right')
    url = _address(source, "image")
    if url is None:
        data, name = _pixels(source) if _is_of_pil(source) else _read(source, "image")
        kind = _type_of(data, name)
        if kind is None or not kind.startswith("image/"):
            other = f"is {kind}: ritellm.file is for such" if kind else "is no picture of a known type"
            raise InvalidArgumentError(f"{_shown(source, name)} {other}: PNG, JPEG, WebP or GIF would be right")
        url = f"data:{kind};base64,{b64encode(data).decode()}"
    elif (of := _DATA.match(url)) and not of[1].lower().startswith("image/"):
        raise InvalidArgumentError(f"source is a data: URL of type {of[1]}: ritellm.file is for such")
    picture = {"url": url} if detail is None else {"url": url, "detail": detail}
    return {"type": "image_url", "image_url": picture}


def file(source: Any, *, filename: str | None = None, media_type: str | None = None) -> dict[str, Any]:
    """Makes a content part of a file, such as a PDF or a text, for messages of every provider that takes files.

    >>> import ritellm
    >>> part = ritellm.file(b"name,age\\nAda,36\\n", filename="people.csv")
    >>> message = {"role": "user", "content": [part, {"type": "text", "text": "How old is Ada?"}]}

    Args:
        source: the path of a file (a str, also ``file://…``, or an ``os.PathLike``), its bytes, an open binary file, an address (``https://…``, for some
            providers ``s3://…`` or ``gs://…``), a ``data:`` URL, or the `FileObject` of a file that the provider has
            (`ritellm.files`). Nothing is fetched.
        filename: the name that the model sees; by default the file's own.
        media_type: its type, such as ``"application/pdf"``, where neither its first bytes nor its name say it.

    Returns:
        A part in OpenAI's format, ``{"type": "file", "file": {"filename": …, "file_data": …}}``.

    Raises:
        InvalidArgumentError: there is no such file, it is empty, it is a picture, or its type is not known.
    """
    if media_type is not None and not re.fullmatch(r"[\w.+-]+/[\w.+-]+", media_type, re.ASCII):
        raise InvalidArgumentError(f'media_type is {media_type!r}: one such as "application/pdf" would be right')
    if isinstance(source, Mapping) and isinstance(source.get("id"), str):
        return {"type": "file", "file": {"file_id": source["id"]}}
    if _is_of_pil(source):
        raise InvalidArgumentError("source is a picture: ritellm.image would be right")
    url = _address(source, "file")
    if url is not None:
        own = url.partition("?")[0].rpartition("/")[2] if _ADDRESS.match(url) else None
        named = filename or own or "file"
    else:
        data, name = _read(source, "file")
        kind = media_type or _type_of(data, filename or name) or _text_type(data)
        if kind is None:
            raise InvalidArgumentError(
                f'{_shown(source, name)} is of no known type: media_type, such as media_type="application/pdf", would say it'
            )
        if kind.startswith("image/"):
            raise InvalidArgumentError(f"{_shown(source, name)} is a picture ({kind}): ritellm.image would be right")
        url = f"data:{kind};base64,{b64encode(data).decode()}"
        named = filename or (os.path.basename(name) if name else f"file.{kind.rpartition('/')[2]}")
    return {"type": "file", "file": {"filename": named, "file_data": url}}


def _address(source: Any, what: str) -> str | None:
    """Returns a source that is an address or a ``data:`` URL, `None` for another."""
    if not isinstance(source, str):
        return None
    if source[:5].lower() == "data:":
        if not _DATA.match(source):
            raise InvalidArgumentError(
                f"source is a data: URL that is not in base64: data:{'image/png' if what == 'image' else 'application/pdf'};base64,… "
                "would be right"
            )
        return str(source)
    return str(source) if _ADDRESS.match(source) else None


def _read(source: Any, what: str) -> tuple[bytes, str | None]:
    """Returns the bytes of a file, and its name."""
    name: Any = None
    if isinstance(source, (bytes, bytearray, memoryview)):
        data = bytes(source)
    elif isinstance(source, (str, os.PathLike)):
        name = os.path.expanduser(_path(os.fsdecode(os.fspath(source))))
        try:
            about = os.stat(name)
            if not S_ISREG(about.st_mode) and not S_ISDIR(about.st_mode):
                # A pipe would be waited for, and a device read without an end.
                raise InvalidArgumentError(f"{name} is a pipe or a device: the path of a file would be right")
            if about.st_size > LARGEST:
                raise InvalidArgumentError(
                    f"{name} has {about.st_size >> 20} MiB: no provider takes more than {LARGEST >> 20} MiB in a request"
                )
            with open(name, "rb") as opened:
                data = opened.read()
        except (OSError, ValueError) as error:
            shown = name if len(name) < 200 else f"{name[:100]}…"
            if kind := _type_in_base64(name):
                raise InvalidArgumentError(
                    f'source is the base64 of {kind} ({name[:16]}…): base64.b64decode(source), or f"data:{kind};base64,{{source}}", '
                    "would be right"
                ) from None
            raise InvalidArgumentError(
                f"{shown} cannot be read: {getattr(error, 'strerror', None) or error}"
            ) from error
    elif callable(getattr(source, "read", None)):
        data = source.read()
        if not data and callable(getattr(source, "tell", None)) and source.tell() > 0:
            # Just written: `picture.save(buffer)` leaves the position at the end.
            source.seek(0)
            data = source.read()
        if not isinstance(data, bytes):
            raise InvalidArgumentError(
                f'source is a file that is open for {type(data).__name__}: open(path, "rb") would be right'
            )
        name = getattr(source, "name", None)
        name = name if isinstance(name, str) else None
    else:
        right = "a path, bytes, an open file, an address" + (" or an image of PIL" if what == "image" else "")
        hint = ": PIL.Image.fromarray(…)" if what == "image" and hasattr(source, "__array__") else ""
        raise InvalidArgumentError(f"source is of type {type(source).__name__}{hint}: {right} would be right")
    if not data:
        raise InvalidArgumentError(f"{_shown(source, name)} is empty")
    return data, name


def _path(name: str) -> str:
    """Returns the path of a ``file:`` address, and every other path as it is."""
    if name[:7].lower() != "file://":
        return name
    from urllib.parse import urlsplit
    from urllib.request import url2pathname

    return url2pathname(urlsplit(name).path)


def _type_in_base64(text: str) -> str | None:
    """Returns the type of a file that a text holds in base64; `None` for any other text, such as a path."""
    if not re.fullmatch(r"[\w+/=\s-]{24,}", text, re.ASCII):
        return None
    try:
        return _type_of(b64decode(text[:64], validate=True), None)
    except ValueError:
        return None


def _shown(source: Any, name: str | None) -> str:
    return name or ("source" if isinstance(source, str) else f"source, of type {type(source).__name__},")


def _type_of(data: bytes, name: str | None) -> str | None:
    """Returns the type that the first bytes of a file say, or else its name."""
    for signature, start, kind in SIGNATURES:
        if data.startswith(signature, start):
            return kind
    for signature, start, kind in _OTHERS:
        # A text may begin with the same letters.
        if data.startswith(signature, start) and b"\0" in data[:64]:
            return kind
    head = data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n")
    if head.startswith(b"<svg") or (head.startswith(b"<?xml") and b"<svg" in head):
        return "image/svg+xml"
    return _NAMES.get((name or "").rpartition(".")[2].lower())


def _text_type(data: bytes) -> str | None:
    try:
        return None if "\0" in data.decode() else "text/plain"
    except UnicodeDecodeError:
        return None


def _is_of_pil(source: Any) -> bool:
    return any(one.__module__ == "PIL.Image" and one.__name__ == "Image" for one in type(source).__mro__)


def _pixels(picture: Any) -> tuple[bytes, None]:
    """Returns an image of PIL as a file: one that was read from a JPEG with the same pixels, others as PNG."""
    from io import BytesIO

    written = BytesIO()
    if picture.format == "JPEG" and picture.mode in ("RGB", "L"):
        picture.save(written, format="JPEG", quality="keep", exif=picture.getexif())
    else:
        if picture.mode not in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):
            # PNG has no inks, no 32-bit numbers and no other spaces of colour.
            picture = picture.convert("RGB")
        picture.save(written, format="PNG")
    return written.getvalue(), None
