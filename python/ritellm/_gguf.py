"""Files of weights in the format GGUF: what they are for, and the conversion of a sentence-transformers model into one.

Formats: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>, <https://github.com/huggingface/safetensors>.
"""

from __future__ import annotations

import json
import os
import struct
import tempfile
from pathlib import Path
from typing import Any, BinaryIO

MAGIC = b"GGUF"
ALIGNMENT = 32
UINT32, INT32, FLOAT32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9
F32 = 0
"""Number of the type of a tensor of 32-bit floats."""

_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, UINT32: 4, INT32: 4, FLOAT32: 4, BOOL: 1, 10: 8, 11: 8, 12: 8}
"""Sizes of the types of values that have one, in bytes."""

_LAYERS = {
    "attention.self.query": "attn_q",
    "attention.self.key": "attn_k",
    "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output",
    "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up",
    "output.dense": "ffn_down",
    "output.LayerNorm": "layer_output_norm",
}
_EMBEDDINGS = {
    "word_embeddings": "token_embd",
    "position_embeddings": "position_embd",
    "token_type_embeddings": "token_types",
    "LayerNorm": "token_embd_norm",
}
_SPECIAL = {"unknown": "[UNK]", "seperator": "[SEP]", "padding": "[PAD]", "cls": "[CLS]", "mask": "[MASK]"}
"""Tokens that stand for no text, by llama.cpp's names, one of which is spelled so."""


def is_for_embeddings(path: str) -> bool:
    """Returns true for weights of an embedding model: those say how the vectors of a text's tokens are pooled.

    Returns false for what cannot be read; llama.cpp says why.
    """
    try:
        with open(path, "rb") as file:
            magic, _, _, members = struct.unpack("<4sIQQ", file.read(24))
            if magic != MAGIC:
                return False
            for _ in range(members):
                name = file.read(*struct.unpack("<Q", file.read(8)))
                if name.endswith(b".pooling_type"):
                    return True
                _skip(file, *struct.unpack("<I", file.read(4)))
    except (OSError, struct.error, KeyError, OverflowError, MemoryError):
        pass
    return False


def _skip(file: BinaryIO, kind: int) -> None:
    if kind == STRING:
        file.seek(struct.unpack("<Q", file.read(8))[0], os.SEEK_CUR)
    elif kind == ARRAY:
        item, count = struct.unpack("<IQ", file.read(12))
        if item in _SIZES:
            file.seek(_SIZES[item] * count, os.SEEK_CUR)
        else:
            for _ in range(count):
                _skip(file, item)
    else:
        file.seek(_SIZES[kind], os.SEEK_CUR)


def convert_bert(folder: Path, name: str, target: Path) -> None:
    """Writes the weights of a BERT model of sentence-transformers, in safetensors and 32-bit floats, as GGUF.

    Args:
        folder: the folder with ``model.safetensors``, ``config.json`` and ``vocab.txt``.
        name: the name of the model.
        target: the file to write; it is complete as soon as it is there.

    Raises:
        OSError: a file cannot be read or written.
        ValueError: the model is none that this converts.
    """
    config = json.loads((folder / "config.json").read_text())
    if config.get("model_type") != "bert":
        raise ValueError(f"{folder} has a model of type {config.get('model_type')}, and not of BERT")
    tokens = (folder / "vocab.txt").read_text(encoding="utf-8").splitlines()
    pooling = json.loads((folder / "1_Pooling" / "config.json").read_text())
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with open(folder / "model.safetensors", "rb") as source:
        (length,) = struct.unpack("<Q", source.read(8))
        header = json.loads(source.read(length))
        start = 8 + length
        tensors = []
        for own, about in header.items():
            known = _tensor_name(own) if own != "__metadata__" else None
            if known is not None:
                if about["dtype"] != "F32":
                    raise ValueError(f"{own} has numbers of type {about['dtype']}, and not F32")
                tensors.append((known, about["shape"], *about["data_offsets"]))
        descriptor, temporary = tempfile.mkstemp(dir=target.parent, suffix=".tmp")
        try:
            with open(descriptor, "wb") as file:
                file.write(_head(_members(config, pooling, name, tokens), tensors))
                for _, _, begin, end in tensors:
                    source.seek(start + begin)
                    left = end - begin
                    while left:
                        data = source.read(min(left, 1 << 20))
                        if not data:
                            raise ValueError(f"{folder / 'model.safetensors'} is cut off")
                        file.write(data)
                        left -= len(data)
                    file.write(bytes(-(end - begin) % ALIGNMENT))
            os.replace(temporary, target)
        except BaseException:
            os.unlink(temporary)
            raise


def _tensor_name(own: str) -> str | None:
    """Returns llama.cpp's name of a tensor, `None` for one that it does not need."""
    path, _, last = own.removeprefix("bert.").rpartition(".")
    if path.startswith("embeddings."):
        known = _EMBEDDINGS.get(path.removeprefix("embeddings."))
    elif path.startswith("encoder.layer."):
        number, _, rest = path.removeprefix("encoder.layer.").partition(".")
        known = _LAYERS.get(rest)
        known = known and f"blk.{number}.{known}"
    else:
        known = None
    return known and f"{known}.{last}"


def _members(
    config: dict[str, Any], pooling: dict[str, Any], name: str, tokens: list[str]
) -> list[tuple[str, int, Any]]:
    special = set(_SPECIAL.values())
    is_mean = pooling.get("pooling_mode_mean_tokens", True)
    return [
        ("general.architecture", STRING, "bert"),
        ("general.name", STRING, name),
        ("general.file_type", UINT32, 0),
        ("bert.block_count", UINT32, config["num_hidden_layers"]),
        ("bert.context_length", UINT32, config["max_position_embeddings"]),
        ("bert.embedding_length", UINT32, config["hidden_size"]),
        ("bert.feed_forward_length", UINT32, config["intermediate_size"]),
        ("bert.attention.head_count", UINT32, config["num_attention_heads"]),
        ("bert.attention.layer_norm_epsilon", FLOAT32, config["layer_norm_eps"]),
        ("bert.attention.causal", BOOL, False),
        ("bert.pooling_type", UINT32, 1 if is_mean else 2),
        ("tokenizer.ggml.model", STRING, "bert"),
        ("tokenizer.ggml.pre", STRING, "default"),
        ("tokenizer.ggml.token_type_count", UINT32, config["type_vocab_size"]),
        ("tokenizer.ggml.tokens", ARRAY, (STRING, [_token(token, special) for token in tokens])),
        ("tokenizer.ggml.token_type", ARRAY, (INT32, [3 if token in special else 1 for token in tokens])),
        *((f"tokenizer.ggml.{kind}_token_id", UINT32, tokens.index(token)) for kind, token in _SPECIAL.items()),
    ]


def _token(token: str, special: set[str]) -> str:
    """Returns a token as llama.cpp has it: the beginning of a word is marked, and not what continues one."""
    if token in special:
        return token
    return token[2:] if token.startswith("##") else "\u2581" + token


def _head(members: list[tuple[str, int, Any]], tensors: list[Any]) -> bytes:
    head = bytearray(struct.pack("<4sIQQ", MAGIC, 3, len(tensors), len(members)))
    for name, kind, value in members:
        head += _string(name) + struct.pack("<I", kind) + _value(kind, value)
    offset = 0
    for name, shape, begin, end in tensors:
        head += _string(name) + struct.pack("<I", len(shape))
        # The fastest dimension first.
        head += struct.pack(f"<{len(shape)}Q", *reversed(shape)) + struct.pack("<IQ", F32, offset)
        offset += end - begin + -(end - begin) % ALIGNMENT
    return bytes(head) + bytes(-len(head) % ALIGNMENT)


def _value(kind: int, value: Any) -> bytes:
    if kind == STRING:
        return _string(value)
    if kind == ARRAY:
        item, items = value
        return struct.pack("<IQ", item, len(items)) + b"".join(_value(item, one) for one in items)
    return struct.pack({UINT32: "<I", INT32: "<i", FLOAT32: "<f", BOOL: "<?"}[kind], value)


def _string(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data
