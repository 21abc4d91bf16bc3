"""Speech and rankings; pictures and transcriptions, which RiteLLM's core does not have."""

from __future__ import annotations

from typing import Any

from ritellm.compat import _arguments, _custom, _exceptions, _hidden
from ritellm.compat._calls import Call
from ritellm.compat._deferred import Deferred
from ritellm.compat._plain import plain


class SpeechCall(Call):
    """A call that reads a text aloud."""

    def _asked(self) -> Any:
        return self.client().speech(self.target.model, self.messages, **self.params)

    async def _aasked(self) -> Any:
        return await self.client().aspeech(self.target.model, self.messages, **self.params)

    def finished(self, answer: Any) -> Any:
        self.noted(answer)
        answer._hidden_params = _hidden.of_call(self)
        return self.succeeded(answer)


def speech(model: Any, input: Any, voice: Any = None, **kwargs: Any) -> Any:
    """Converts a text to speech; returns the audio, ``bytes`` with ``content``, ``read`` and ``stream_to_file``."""
    kwargs = _arguments.Given(kwargs)
    return SpeechCall("speech", model, input, _arguments.Given({"voice": voice, **kwargs}), False).run()


async def aspeech(model: Any, input: Any, voice: Any = None, **kwargs: Any) -> Any:
    """Converts a text to speech on an event loop: see `speech`."""
    kwargs = _arguments.Given(kwargs)
    return await SpeechCall("aspeech", model, input, _arguments.Given({"voice": voice, **kwargs}), True).arun()


class RerankCall(Call):
    """A call that ranks documents."""

    def _asked(self) -> Any:
        return self.client().rerank(self.target.model, *self.messages, **self.params)

    async def _aasked(self) -> Any:
        return await self.client().arerank(self.target.model, *self.messages, **self.params)

    def finished(self, answer: Any) -> Any:
        from ritellm.compat._more_types import RerankResponse

        used = answer.get("meta") or {"tokens": answer.get("usage")}
        response = RerankResponse(id=answer.get("id"), results=plain(answer["results"]), meta=plain(used))
        hidden = _hidden.of_stream(self, self.noted(answer))
        response._hidden_params = Deferred(dict, (hidden,))
        return self.succeeded(response)


def rerank(model: Any, query: Any, documents: Any, **kwargs: Any) -> Any:
    """Ranks documents by their relevance to a query."""
    kwargs = _arguments.Given(kwargs)
    return RerankCall("rerank", model, (query, documents), kwargs, False).run()


async def arerank(model: Any, query: Any, documents: Any, **kwargs: Any) -> Any:
    """Ranks documents on an event loop: see `rerank`."""
    kwargs = _arguments.Given(kwargs)
    return await RerankCall("arerank", model, (query, documents), kwargs, True).arun()


def _missing(what: str) -> Any:
    return _exceptions.built("BadRequestError")(
        f"RiteLLM has no {what}: use the provider's own client for it, such as openai's", None, ""
    )


class ImageCall(Call):
    """A call that makes pictures, by a provider of the program's own."""

    def _asked(self) -> Any:
        if self.handler is None:
            raise _missing("image generation")
        from ritellm.compat._image_types import ImageResponse

        given = _custom.arguments_of(self, ImageResponse())
        names = "model model_response api_key api_base optional_params logging_obj timeout client"
        arguments = {name: given[name] for name in names.split()}
        method = self.handler.aimage_generation if self.is_async else self.handler.image_generation
        return method(prompt=self.messages, **arguments)

    async def _aasked(self) -> Any:
        return await self._asked()

    def finished(self, answer: Any) -> Any:
        hidden = getattr(answer, "_hidden_params", None)
        if isinstance(hidden, dict):
            hidden.update(_hidden.of_call(self))
        return self.succeeded(answer)


def image_generation(prompt: Any = None, model: Any = None, **kwargs: Any) -> Any:
    """Makes pictures by a provider of the program's own; RiteLLM's core has none."""
    kwargs = _arguments.Given(kwargs)
    return ImageCall("image_generation", model, prompt, kwargs, False).run()


async def aimage_generation(prompt: Any = None, model: Any = None, **kwargs: Any) -> Any:
    """Makes pictures on an event loop: see `image_generation`."""
    kwargs = _arguments.Given(kwargs)
    return await ImageCall("aimage_generation", model, prompt, kwargs, True).arun()


def image_edit(*args: Any, **kwargs: Any) -> Any:
    """Not there: it raises."""
    kwargs = _arguments.Given(kwargs)
    raise _missing("image editing")


async def aimage_edit(*args: Any, **kwargs: Any) -> Any:
    """Not there: it raises."""
    kwargs = _arguments.Given(kwargs)
    raise _missing("image editing")


def image_variation(*args: Any, **kwargs: Any) -> Any:
    """Not there: it raises."""
    kwargs = _arguments.Given(kwargs)
    raise _missing("variations of images")


async def aimage_variation(*args: Any, **kwargs: Any) -> Any:
    """Not there: it raises."""
    kwargs = _arguments.Given(kwargs)
    raise _missing("variations of images")


def transcription(model: Any = None, file: Any = None, **kwargs: Any) -> Any:
    """Not there: it raises, but for ``mock_response``."""
    kwargs = _arguments.Given(kwargs)
    if kwargs.get("mock_response") is not None:
        from ritellm.compat._more_types import TranscriptionResponse

        return TranscriptionResponse(text=str(kwargs["mock_response"]))
    raise _missing("transcription of audio")


async def atranscription(model: Any = None, file: Any = None, **kwargs: Any) -> Any:
    """Not there: see `transcription`."""
    kwargs = _arguments.Given(kwargs)
    return transcription(model, file, **kwargs)
