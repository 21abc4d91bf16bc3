"""Tests of pictures and files: the parts that are made of them, and what each wire makes of the parts."""

from __future__ import annotations

import base64
import io
import os
import pathlib
import struct
import zlib
from typing import Any

import pytest
from server import Answer, Server

import ritellm
from ritellm import InvalidArgumentError, RiteLLMError


def png() -> bytes:
    """A picture of one pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0\0")) + chunk(b"IEND", b"")


PNG = png()
PDF = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n"
PNG_URL = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
PDF_URL = f"data:application/pdf;base64,{base64.b64encode(PDF).decode()}"


def url_of(part: dict[str, Any]) -> str:
    url: str = part["image_url"]["url"]
    return url


class Image:
    """An image as PIL has it."""

    format: str | None = None
    mode = "RGB"

    def save(self, file: Any, format: str, **options: Any) -> None:
        file.write(PNG if format == "PNG" else b"\xff\xd8\xff" + repr(sorted(options)).encode())

    def convert(self, mode: str) -> Image:
        converted = type(self)()
        converted.mode = mode
        return converted

    def getexif(self) -> bytes:
        return b""


Image.__module__ = "PIL.Image"


class TestImages:
    def test_all_that_a_picture_may_be(self, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "a.png"
        path.write_bytes(PNG)
        monkeypatch.setenv("HOME", str(tmp_path))
        right = {"type": "image_url", "image_url": {"url": PNG_URL}}
        for source in (
            path,
            str(path),
            "~/a.png",
            PNG,
            bytearray(PNG),
            memoryview(PNG),
            io.BytesIO(PNG),
            PNG_URL,
            Image(),
        ):
            assert ritellm.image(source) == right, source
        with open(path, "rb") as file:
            assert ritellm.image(file) == right

    def test_what_was_just_written(self) -> None:
        """`picture.save(buffer)` leaves the position at the end."""
        buffer = io.BytesIO()
        buffer.write(PNG)
        assert ritellm.image(buffer) == ritellm.image(PNG)

    def test_an_address_of_a_file(self, tmp_path: pathlib.Path) -> None:
        path = tmp_path / "a picture.png"
        path.write_bytes(PNG)
        assert path.as_uri().startswith("file://") and "%20" in path.as_uri()
        assert ritellm.image(path.as_uri()) == ritellm.image(PNG)

    @pytest.mark.parametrize("length", [60, 20_000])
    def test_base64_is_no_path(self, length: int) -> None:
        text = base64.b64encode(PNG + bytes(length)).decode()
        with pytest.raises(
            InvalidArgumentError, match=r"source is the base64 of image/png \(iVBORw0KGgoAAAAN…\): "
        ) as caught:
            ritellm.image(text)
        assert len(str(caught.value)) < 200

    def test_the_bytes_say_the_type(self, tmp_path: pathlib.Path) -> None:
        path = tmp_path / "a.png"
        for data, kind in (
            (b"\xff\xd8\xff\xe0", "jpeg"),
            (b"GIF89a", "gif"),
            (b"RIFF\0\0\0\0WEBPVP8 ", "webp"),
            (b"BM\x46\0\0\0\0\0", "bmp"),
            (b"\0\0\0\x18ftypheic", "heic"),
            (b"\0\0\0\x18ftypavif", "avif"),
            (b"II*\0\x08", "tiff"),
            (b"<?xml version='1.0'?>\n<svg xmlns='http://www.w3.org/2000/svg'/>", "svg+xml"),
        ):
            path.write_bytes(data)
            assert url_of(ritellm.image(path)) == f"data:image/{kind};base64,{base64.b64encode(data).decode()}"

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
    def test_a_pipe_is_not_waited_for(self, tmp_path: pathlib.Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        for path in (tmp_path / "pipe", "/dev/zero"):
            with pytest.raises(InvalidArgumentError, match="is a pipe or a device"):
                ritellm.image(path)

    def test_addresses_are_sent_as_they_are(self) -> None:
        for url in ("https://h/a.png", "http://h/a", "s3://bucket/a.png", "gs://bucket/a.png", "HTTPS://H/A.PNG"):
            assert ritellm.image(url, detail="high") == {
                "type": "image_url",
                "image_url": {"url": url, "detail": "high"},
            }

    def test_a_jpeg_of_pil_stays_one(self) -> None:
        picture = Image()
        picture.format = "JPEG"
        assert url_of(ritellm.image(picture)).startswith("data:image/jpeg;base64,")
        picture.mode = "CMYK"
        assert url_of(ritellm.image(picture)) == PNG_URL

    def test_images_of_pil_itself(self) -> None:
        pil = pytest.importorskip("PIL.Image")
        for mode in ("RGB", "RGBA", "L", "1", "P", "CMYK", "F", "I", "YCbCr"):
            data = base64.b64decode(url_of(ritellm.image(pil.new(mode, (2, 3)))).partition(",")[2])
            assert pil.open(io.BytesIO(data)).size == (2, 3)
        for format in ("JPEG", "WEBP", "GIF"):
            written = io.BytesIO()
            pil.new("RGB", (2, 3), "red").save(written, format=format)
            kind = "image/jpeg" if format == "JPEG" else "image/png"
            assert url_of(ritellm.image(pil.open(written))).startswith(f"data:{kind};base64,")

    @pytest.mark.parametrize(
        ("source", "message"),
        [
            (PDF, "source, of type bytes, is application/pdf: ritellm.file is for such"),
            (b"hello", "is no picture of a known type: PNG, JPEG, WebP or GIF would be right"),
            (b"", "is empty"),
            (PDF_URL, "a data: URL of type application/pdf"),
            ("data:image/png,abc", "not in base64"),
            ("none.png", "none.png cannot be read: No such file"),
            ("a\0b", "cannot be read"),
            ("x" * 5000, "x… cannot be read: File name too long"),
            (7, "source is of type int: a path, bytes"),
            (None, "source is of type NoneType"),
            (io.StringIO("text"), r'open for str: open\(path, "rb"\) would be right'),
        ],
        ids=["pdf", "text", "empty", "pdf url", "percent", "none", "nul", "long", "int", "None", "text file"],
    )
    def test_what_is_no_picture(self, source: Any, message: str) -> None:
        with pytest.raises(InvalidArgumentError, match=message):
            ritellm.image(source)

    def test_pixels_are_no_picture(self) -> None:
        numpy = pytest.importorskip("numpy")
        with pytest.raises(InvalidArgumentError, match=r"ndarray: PIL.Image.fromarray"):
            ritellm.image(numpy.zeros((2, 2, 3)))

    def test_a_folder_and_a_film(self, tmp_path: pathlib.Path) -> None:
        with pytest.raises(InvalidArgumentError, match=r"cannot be read: (Is a directory|Permission denied)"):
            ritellm.image(tmp_path)
        with open(tmp_path / "film", "wb") as film:
            film.truncate(600 << 20)
        with pytest.raises(InvalidArgumentError, match="film has 600 MiB: no provider takes more than 512 MiB"):
            ritellm.image(tmp_path / "film")

    def test_detail_is_checked(self) -> None:
        with pytest.raises(InvalidArgumentError, match="detail is 'hi'"):
            ritellm.image(PNG, detail="hi")


class TestFiles:
    def test_all_that_a_file_may_be(self, tmp_path: pathlib.Path) -> None:
        path = tmp_path / "a.pdf"
        path.write_bytes(PDF)
        right = {"type": "file", "file": {"filename": "a.pdf", "file_data": PDF_URL}}
        assert ritellm.file(path) == ritellm.file(str(path)) == right
        assert ritellm.file(PDF, filename="a.pdf") == right
        with open(path, "rb") as file:
            assert ritellm.file(file) == right
        assert ritellm.file(PDF)["file"]["filename"] == "file.pdf"
        assert ritellm.file(PDF_URL)["file"] == {"filename": "file", "file_data": PDF_URL}
        assert ritellm.file("https://h/b/a.pdf?x=/1")["file"] == {
            "filename": "a.pdf",
            "file_data": "https://h/b/a.pdf?x=/1",
        }
        stored = ritellm.FileObject({"id": "file-1", "object": "file"})
        assert ritellm.file(stored) == {"type": "file", "file": {"file_id": "file-1"}}

    @pytest.mark.parametrize(
        ("name", "data", "kind"),
        [
            ("a.csv", b"a,b\n", "text/csv"),
            ("a.md", b"# a\n", "text/markdown"),
            ("a.unknown", b"plain \xc3\xa9", "text/plain"),
            ("a", b"BMW, ID3 and OggS", "text/plain"),
            ("a.docx", b"PK\x03\x04", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
            ("a.mp3", b"ID3\x04\0", "audio/mpeg"),
            ("a.bin", PDF, "application/pdf"),
        ],
    )
    def test_the_type_of_a_file(self, tmp_path: pathlib.Path, name: str, data: bytes, kind: str) -> None:
        path = tmp_path / name
        path.write_bytes(data)
        part = ritellm.file(path)["file"]
        assert part == {"filename": name, "file_data": f"data:{kind};base64,{base64.b64encode(data).decode()}"}

    def test_what_is_no_file(self) -> None:
        for source, message in (
            (PNG, r"is a picture \(image/png\): ritellm.image would be right"),
            (Image(), "source is a picture"),
            (b"\x00\xff\xfe", "is of no known type: media_type"),
            (b"", "is empty"),
            (7, "source is of type int: a path, bytes, an open file, an address would be right"),
        ):
            with pytest.raises(InvalidArgumentError, match=message):
                ritellm.file(source)
        with pytest.raises(InvalidArgumentError, match="media_type is 'pdf'"):
            ritellm.file(PDF, media_type="pdf")
        assert ritellm.file(b"\x00\xff", media_type="application/x-own", filename="a")["file"]["file_data"].startswith(
            "data:application/x-own;base64,"
        )


PARTS = [{"type": "text", "text": "look"}, ritellm.image(PNG, detail="low"), ritellm.file(PDF, filename="a.pdf")]
SENT = base64.b64encode(PNG).decode()


def sent(server: Server, model: str, parts: list[dict[str, Any]] = PARTS, **settings: Any) -> Any:
    """The body that a provider gets."""
    server.answer(Answer(status=400, body=b'{"error": {"message": "no"}}'))
    base_url = server.base_url if "/m" in model else server.url
    client = ritellm.Client(base_url=base_url, api_key="k")
    operation = client.responses if model == "openai/r" else client.completion
    with pytest.raises(RiteLLMError):
        operation(model, [{"role": "user", "content": parts}], **settings)
    return server.last.json


class TestWires:
    def test_openai(self, server: Server) -> None:
        assert sent(server, "openai/m")["messages"][0]["content"] == PARTS

    def test_responses(self, server: Server) -> None:
        assert sent(server, "openai/r")["input"][0]["content"] == [
            {"type": "input_text", "text": "look"},
            {"type": "input_image", "image_url": PNG_URL, "detail": "low"},
            {"type": "input_file", "filename": "a.pdf", "file_data": PDF_URL},
        ]
        by_address = [ritellm.image("https://h/a.png"), ritellm.file("https://h/a.pdf")]
        assert sent(server, "openai/r", by_address)["input"][0]["content"] == [
            {"type": "input_image", "image_url": "https://h/a.png"},
            {"type": "input_file", "file_url": "https://h/a.pdf"},
        ]

    def test_anthropic(self, server: Server) -> None:
        content = sent(server, "anthropic/claude-x")["messages"][0]["content"]
        assert content[1] == {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": SENT}}
        assert content[2]["type"] == "document" and content[2]["title"] == "a.pdf"
        by_address = [ritellm.image("https://h/a.png"), ritellm.file("https://h/a.pdf")]
        content = sent(server, "anthropic/claude-x", by_address)["messages"][0]["content"]
        assert [part["source"]["url"] for part in content] == ["https://h/a.png", "https://h/a.pdf"]

    def test_gemini(self, server: Server) -> None:
        parts = sent(server, "gemini/gemini-2.5-pro")["contents"][0]["parts"]
        assert parts[1] == {"inlineData": {"mimeType": "image/png", "data": SENT}}
        assert parts[2]["inlineData"]["mimeType"] == "application/pdf"
        parts = sent(server, "gemini/gemini-2.5-pro", [ritellm.file("gs://b/a.pdf"), ritellm.image("https://h/a.png")])
        assert parts["contents"][0]["parts"] == [
            {"fileData": {"mimeType": "application/pdf", "fileUri": "gs://b/a.pdf"}},
            {"fileData": {"mimeType": "image/png", "fileUri": "https://h/a.png"}},
        ]

    def test_bedrock(self, server: Server) -> None:
        region = {"aws_region_name": "us-east-1"}
        content = sent(server, "bedrock/amazon.nova-pro-v1:0", **region)["messages"][0]["content"]
        assert content[1] == {"image": {"format": "png", "source": {"bytes": SENT}}}
        assert content[2]["document"]["name"] == "a" and content[2]["document"]["format"] == "pdf"
        content = sent(server, "bedrock/amazon.nova-pro-v1:0", [ritellm.image("s3://b/a.png")], **region)
        assert content["messages"][0]["content"][0]["image"]["source"] == {"s3Location": {"uri": "s3://b/a.png"}}
        for part in (ritellm.image("https://h/a.png"), ritellm.file("https://h/a.pdf")):
            with pytest.raises(InvalidArgumentError, match="does not fetch addresses"):
                ritellm.completion("bedrock/a.b", [{"role": "user", "content": [part]}], api_key="k", **region)

    def test_cohere(self, server: Server) -> None:
        content = sent(server, "cohere/command-a-vision", PARTS[:2])["messages"][0]["content"]
        assert content[1] == {"type": "image_url", "image_url": {"url": PNG_URL, "detail": "low"}}

    def test_ollama(self, server: Server) -> None:
        message = sent(server, "ollama_chat/llava", PARTS[:2])["messages"][0]
        assert message["images"] == [SENT] and message["content"] == "look"
        for part, why in ((PARTS[2], "of type"), (ritellm.image("https://h/a.png"), "fetches no images")):
            with pytest.raises(InvalidArgumentError, match=why):
                ritellm.completion("ollama_chat/llava", [{"role": "user", "content": [part]}], base_url=server.url)


def test_neither_is_imported_without_need(run_program: Any) -> None:
    run_program(
        """
        import sys, ritellm
        assert "ritellm._media" not in sys.modules
        ritellm.image(b"GIF89a")
        assert "PIL" not in sys.modules
        """
    ).check()


def test_pickled_and_stored_as_json() -> None:
    import json
    import pickle

    part = ritellm.image(PNG)
    assert pickle.loads(pickle.dumps(part)) == json.loads(json.dumps(part)) == part
    assert type(part) is dict
