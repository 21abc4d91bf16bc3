"""Cells of a notebook."""

from __future__ import annotations

from typing import Any

from typing_extensions import assert_type

import ritellm
from ritellm import ChatCompletion, completion, configure

configure(timeout=60, aliases={"fast": "openai/gpt-4o-mini"}, defaults={"temperature": 0})


def ask(text: str, **options: Any) -> str:
    response = completion("fast", [{"role": "user", "content": text}], **options)
    return response.choices[0].message.content or ""


def show(text: str) -> str:
    with completion("fast", [{"role": "user", "content": text}], stream=True) as stream:
        for chunk in stream:
            print(chunk.choices[0].delta.content or "", end="")
    return stream.text


def compare(models: list[str], text: str) -> dict[str, ChatCompletion]:
    answers = {model: completion(model, [ritellm.Message.user(text)], max_tokens=100) for model in models}
    for model, answer in answers.items():
        print(model, answer.meta.latency, answer.usage and answer.usage.total_tokens)
    return answers


def draw() -> bytes:
    audio = ritellm.speech("openai/gpt-4o-mini-tts", "Hello!", "alloy", response_format="mp3")
    audio.write_to_file("hello.mp3")
    assert_type(audio.content, bytes)
    return audio


print(ritellm.stats()["by_provider"]["openai"]["calls"])
