"""What the types have in common: their base classes, members as items, ``_hidden_params``.

``__module__`` of a type is LiteLLM's, since programs unpickle them by it. Annotations are evaluated at once: names in them would be
looked up in that module.
"""

import contextlib
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict

from ritellm.compat._deferred import Deferred

#: LiteLLM's module of most types.
HOME = "litellm.types.utils"


class OpenAIObject(BaseModel):
    """The base of the types: unknown members are kept, as in openai's own base class."""

    __module__ = "litellm.types.llms.base"
    model_config = ConfigDict(extra="allow", protected_namespaces=(), defer_build=True)

    if TYPE_CHECKING:

        def __init__(self, **data: Any) -> None: ...

    @classmethod
    def _build(cls) -> None:
        """Builds the serializer, which validation does when it is first needed, and what comes without validation does not.

        Without it, some versions of pydantic cannot serialize the object inside of another one: `_fill._complete`.
        """
        if not cls.__pydantic_complete__:
            cls.model_rebuild()

    def __setstate__(self, state: dict[Any, Any]) -> None:
        self._build()
        super().__setstate__(state)

    @classmethod
    def model_construct(cls, _fields_set: set[str] | None = None, **values: Any) -> Any:
        """Makes an instance without validation; as with openai's base class, fields that are missing are None."""
        cls._build()
        made = super().model_construct(_fields_set, **values)
        for name in cls.model_fields:
            made.__dict__.setdefault(name, None)
        return made

    def to_dict(
        self, *, mode: Literal["json", "python"] = "python", exclude_unset: bool = True, **kwargs: Any
    ) -> dict[str, Any]:
        kwargs.pop("use_api_names", None)
        kwargs.pop("warnings", None)
        return self.model_dump(mode=mode, exclude_unset=exclude_unset, **kwargs)

    def to_json(self, *, indent: int | None = 2, exclude_unset: bool = True, **kwargs: Any) -> str:
        kwargs.pop("use_api_names", None)
        kwargs.pop("warnings", None)
        return self.model_dump_json(indent=indent, exclude_unset=exclude_unset, **kwargs)

    def __str__(self) -> str:
        return repr(self)

    def json(self, **kwargs: Any) -> Any:
        """Returns the object as a dict, as LiteLLM does."""
        return self.model_dump()


class Items:
    """Reading and writing of members as items."""

    def get(self, key: str, default: Any = None) -> Any:
        return getattr(self, key, default)

    def __getitem__(self, key: str) -> Any:
        return getattr(self, key)

    def __setitem__(self, key: str, value: Any) -> None:
        setattr(self, key, value)


class Members(Items):
    def __contains__(self, key: str) -> bool:
        return hasattr(self, key)


class Deletable:
    """Deleting of members: members that an answer lacks are deleted, since programs ask ``hasattr``."""

    def __delattr__(self, name: str) -> None:
        namespace = self.__dict__
        if name in namespace:
            del namespace[name]
            return
        with contextlib.suppress(AttributeError):
            super().__delattr__(name)

    def _drop(self, *names: str) -> None:
        namespace = self.__dict__
        for name in names:
            namespace.pop(name, None)


class LiteLLMPydanticObjectBase(BaseModel):
    """A base class of LiteLLM's, for programs that extend it."""

    __module__ = "litellm.types.llms.base"
    model_config = ConfigDict(protected_namespaces=())

    def json(self, **kwargs: Any) -> Any:
        return self.model_dump(**kwargs)

    def fields_set(self) -> set[str]:
        return self.model_fields_set


class BaseLiteLLMOpenAIResponseObject(BaseModel):
    """The base of the types of the Responses API: members are items of ``__dict__``."""

    __module__ = "litellm.types.llms.base"
    model_config = ConfigDict(extra="allow", protected_namespaces=())

    def __getitem__(self, key: str) -> Any:
        return self.__dict__[key]

    def get(self, key: str, default: Any = None) -> Any:
        return self.__dict__.get(key, default)

    def __contains__(self, key: str) -> bool:
        return key in self.__dict__

    def items(self) -> Any:
        return self.__dict__.items()


class HiddenParams(Items, OpenAIObject):
    """What a response has beside its body."""

    __module__ = "litellm.types.llms.base"
    original_response: Any = None
    model_id: str | None = None
    api_base: str | None = None
    response_cost: float | None = None
    _response_ms: float | None = None


class WithHiddenParams:
    """``_hidden_params``: a dict, or an object that makes it when it is read for the first time."""

    def _private(self) -> dict[str, Any]:
        private: Any = getattr(self, "__pydantic_private__", None)
        if private is None:
            private = {}
            object.__setattr__(self, "__pydantic_private__", private)
        made: dict[str, Any] = private
        return made

    @property
    def _hidden_params(self) -> Any:
        private = self._private()
        hidden = private.get("_hidden_params")
        if hidden is None:
            hidden = private["_hidden_params"] = {}
        elif hidden.__class__ is Deferred:
            hidden = private["_hidden_params"] = hidden.make()
        return hidden

    @_hidden_params.setter
    def _hidden_params(self, value: Any) -> None:
        self._private()["_hidden_params"] = value

    def __copy__(self) -> Any:
        # What is made when it is read is of this object.
        _ = self._hidden_params
        return super().__copy__()  # type: ignore[misc]

    @property
    def hidden_params(self) -> Any:
        return self._hidden_params

    @hidden_params.setter
    def hidden_params(self, value: Any) -> None:
        self._hidden_params = value

    @property
    def _response_headers(self) -> Any:
        private = self._private()
        if "_response_headers" in private:
            return private["_response_headers"]
        headers = self._hidden_params.get("additional_headers")
        prefix = "llm_provider-"
        return headers and {name[len(prefix) :]: headers[name] for name in headers if name.startswith(prefix)}

    @_response_headers.setter
    def _response_headers(self, value: Any) -> None:
        self._private()["_response_headers"] = value

    @property
    def _response_ms(self) -> Any:
        private = self._private()
        return private["_response_ms"] if "_response_ms" in private else self._hidden_params.get("_response_ms")

    @_response_ms.setter
    def _response_ms(self, value: Any) -> None:
        self._private()["_response_ms"] = value
