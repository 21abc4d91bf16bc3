"""Tests of JSON decoding and encoding in the native core: the same results as Python's own `json`."""

from __future__ import annotations

import json
import math
import sys
from typing import Any

import pytest
from conftest import Call
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from server import Answer, Server, completion_of

from ritellm import APIResponseValidationError, InvalidArgumentError, Object, _core

text = st.text(st.characters(exclude_categories=["Cs"]))
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner) | st.dictionaries(text, inner),
    max_leaves=40,
)
quick = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])


class TestRoundTrips:
    @quick
    @given(values, st.booleans(), st.sampled_from([None, 1]))
    def test_what_json_writes_is_read(self, value: Any, ascii_only: bool, indent: int | None) -> None:
        written = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()
        assert _core.from_json(written) == value

    @quick
    @given(values)
    def test_what_is_written_json_reads(self, value: Any) -> None:
        assert json.loads(_core.to_json(value)) == value

    @quick
    @given(values)
    def test_types_stay_what_they_were(self, value: Any) -> None:
        def shape(value: Any) -> Any:
            match value:
                case dict():
                    return {key: shape(inner) for key, inner in value.items()}
                case list():
                    return [shape(inner) for inner in value]
                case _:
                    return type(value), repr(value)

        assert shape(_core.from_json(_core.to_json(value))) == shape(value)

    @quick
    @given(st.binary(max_size=60))
    def test_any_bytes_are_read_or_refused_as_json_does(self, data: bytes) -> None:
        try:
            expected = json.loads(data.decode())
        except ValueError:
            return
        assert repr(_core.from_json(data)).replace("Object(", "").replace(")", "") == repr(expected).replace(")", "")

    @quick
    @given(values, st.data())
    def test_a_text_cut_short_is_no_json_and_no_crash(self, value: Any, data: st.DataObject) -> None:
        written = json.dumps([value]).encode()
        cut = data.draw(st.integers(0, len(written) - 1))
        with pytest.raises(ValueError, match="no JSON"):
            _core.from_json(written[:cut])


class TestNumbers:
    @pytest.mark.parametrize(
        "number",
        [
            0,
            -1,
            10**17,
            10**18,
            -(10**18),
            2**63 - 1,
            -(2**63),
            2**63,
            2**64,
            -(2**64),
            10**40,
            -(10**400),
            123456789012345678901,
        ],
    )
    def test_whole_numbers_of_any_size(self, number: int) -> None:
        assert _core.from_json(str(number).encode()) == number
        assert _core.to_json(number) == str(number).encode()

    @pytest.mark.parametrize("number", [0.0, -0.0, 0.1, 1e-7, 1e16, 1e22, 5e-324, sys.float_info.max, 2 / 3, -1.5])
    def test_fractions(self, number: float) -> None:
        read = _core.from_json(repr(number).encode())
        assert (read, math.copysign(1, read)) == (number, math.copysign(1, number))
        written = json.loads(_core.to_json(number))
        assert isinstance(written, float)
        assert (written, math.copysign(1, written)) == (number, math.copysign(1, number))

    @pytest.mark.parametrize(
        "number", ["1e5", "1E+5", "1.0e-2", "-0", "-0.0", "1e400", "123456789012345678901234567890.5"]
    )
    def test_every_spelling(self, number: str) -> None:
        expected = json.loads(number)
        assert _core.from_json(number.encode()) == expected
        assert type(_core.from_json(number.encode())) is type(expected)

    def test_numbers_that_json_does_not_have(self) -> None:
        nan, infinity, negative = _core.from_json(b"[NaN, Infinity, -Infinity]")
        assert math.isnan(nan)
        assert (infinity, negative) == (math.inf, -math.inf)

    @pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
    def test_they_are_not_sent(self, number: float) -> None:
        with pytest.raises(InvalidArgumentError, match="finite"):
            _core.to_json({"x": number})

    @pytest.mark.parametrize(
        "number", ["01", "-", "+1", ".5", "1e", "1e+", "1.", "1.e5", "--1", "1.2.3", "0x1", "1_000", "-NaN", "Inf"]
    )
    def test_what_is_no_number(self, number: str) -> None:
        with pytest.raises(ValueError, match="no JSON"):
            _core.from_json(number.encode())


class TestText:
    @pytest.mark.parametrize(
        "written",
        [
            r'"\"\\\/\b\f\n\r\t"',
            r'"\u00e9\u20ac\u0000\uffff"',
            r'"\ud83c\udf53 and \uD83C\uDF53"',
            r'"\ud83c"',
            r'"\udf53 alone"',
            r'"\ud83c\ud83c\udf53"',
            r'"\ud83c\n"',
            r'"\ud83cx"',
            r'"caf\u00e9 \ud800 end"',
            '"plain é 🍓 \u2028"',
            '"a raw\x7fdelete"',
        ],
    )
    def test_escapes_and_surrogates_as_json_has_them(self, written: str) -> None:
        assert _core.from_json(written.encode()) == json.loads(written)

    @pytest.mark.parametrize(
        "written", [rb'"\x41"', rb'"\u12"', rb'"\u12g4"', rb'"\ud83c\u12"', b'"\\', b'"abc', b"'a'"]
    )
    def test_what_is_no_text(self, written: bytes) -> None:
        with pytest.raises(ValueError, match="no JSON"):
            _core.from_json(written)

    @pytest.mark.parametrize(
        "rest", ["", ', "é and \\u00e9 behind it, for more than a block of whatever size there may be"']
    )
    def test_escapes_at_every_place(self, rest: str) -> None:
        """Long strings are read by blocks, and an escape may lie across two."""
        for length in range(200):
            plain = "x" * length
            for text in (
                f"\n{plain}",
                f'{plain}"',
                f"{plain}\\{plain}/\b\f\r\t",
                f'\n{plain}\\\\"{plain}',
                f"\n{plain}é",
                f"\n{plain}\x01",
                f"é{plain}\n",
            ):
                escaped = json.dumps(text, ensure_ascii=False).replace("/", "\\/")
                written = f"[{escaped}{rest}]".encode()
                assert _core.from_json(written) == json.loads(written)
            for broken in (f"\\n{plain}", f"\\n{plain}\\", f'\\n{plain}\\"', f'\\n{plain}\\x"', f'\\n{plain}\\u12x4"'):
                with pytest.raises(ValueError, match="no JSON"):
                    _core.from_json(f'["{broken}'.encode())

    def test_bytes_that_are_not_utf_8_get_replacement_marks(self) -> None:
        assert _core.from_json(b'{"a": "caf\xe9 \xff"}') == {"a": "caf\ufffd \ufffd"}
        assert _core.from_json(b'{"caf\xe9": 1}') == {"caf\ufffd": 1}
        assert _core.from_json(b'"\\n caf\xe9"') == "\n caf\ufffd"

    def test_bytes_that_are_not_utf_8_beside_half_a_surrogate_pair(self) -> None:
        assert _core.from_json(b'"\\ud800 \xff"') == "\ud800 \ufffd"

    @pytest.mark.parametrize(
        "text", ["", "a" * 63 + '"', "a" * 64 + "\\", "\x00\x1f\x7f", "\n" * 200, "é" * 100, '"\\' * 70]
    )
    def test_what_is_written(self, text: str) -> None:
        assert json.loads(_core.to_json(text)) == text
        assert _core.to_json(text).decode() == json.dumps(text, ensure_ascii=False)

    def test_half_a_surrogate_pair_is_not_sent(self) -> None:
        with pytest.raises(InvalidArgumentError, match="surrogate"):
            _core.to_json({"messages": ["\ud800"]})
        with pytest.raises(InvalidArgumentError, match="surrogate"):
            _core.to_json({"\ud800": 1})


class TestStructure:
    def test_the_last_of_two_equal_names_stands(self) -> None:
        assert _core.from_json(b'{"a": 1, "b": 2, "a": 3}') == {"a": 3, "b": 2}

    def test_space_of_every_kind(self) -> None:
        assert _core.from_json(b' \t\r\n{ "a" : [ 1 , { } , [ ] ] , "b" : null }\n ') == {"a": [1, {}, []], "b": None}

    def test_names_that_look_alike(self) -> None:
        pairs = {f"name_{number}": number for number in range(3000)} | {"x" * 39: 1, "x" * 40: 2, "x" * 41: 3, "": 4}
        assert _core.from_json(json.dumps(pairs).encode()) == pairs

    def test_names_with_escapes(self) -> None:
        assert _core.from_json(rb'{"a\"b": 1, "\u00e9": 2}') == {'a"b': 1, "é": 2}

    @pytest.mark.parametrize(
        "written",
        [
            b"",
            b" ",
            b"{",
            b"[",
            b"{]",
            b"[}",
            b"[1,]",
            b'{"a":1,}',
            b'{"a"}',
            b"{1:2}",
            b"[1 2]",
            b"nul",
            b"tru",
            b"[1]x",
            b"{,}",
            b"[,]",
            b"\xef\xbb",
        ],
    )
    def test_what_is_no_json(self, written: bytes) -> None:
        with pytest.raises(ValueError, match="no JSON"):
            _core.from_json(written)

    def test_the_error_says_where(self) -> None:
        with pytest.raises(ValueError, match="byte 6"):
            _core.from_json(b'{"a": x}')

    def test_nesting(self) -> None:
        deep = _core.from_json(b"[" * 200 + b"]" * 200)
        assert json.loads(_core.to_json(deep)) == deep
        objects = _core.from_json(b'{"a":' * 200 + b"1" + b"}" * 200)
        assert isinstance(objects.a.a.a, Object)

    @pytest.mark.parametrize("opening", [b"[", b'{"a":'])
    def test_nesting_without_end_is_refused(self, opening: bytes) -> None:
        with pytest.raises(ValueError, match="deep"):
            _core.from_json(opening * 200_000)

    def test_what_contains_itself_is_not_sent(self) -> None:
        endless: list[Any] = []
        endless.append(endless)
        with pytest.raises(InvalidArgumentError, match="contains itself"):
            _core.to_json(endless)


class TestAnswers:
    """Checks the same in the response to a call."""

    def answered(self, call: Call, server: Server, written: bytes) -> Any:
        server.answer(Answer(body=written))
        return call()

    def test_odd_values_arrive(self, call: Call, at_openai: Server) -> None:
        whole = json.dumps(completion_of())
        odd = (
            whole[:-1]
            + r', "big": 123456789012345678901234567890, "small": 1e-400, "half": "\ud83c", "not": NaN, "a": 1, "a": 2}'
        )
        response = self.answered(call, at_openai, odd.encode())
        assert response.big == 123456789012345678901234567890
        assert response.small == 0.0
        assert response.half == "\ud83c"
        assert math.isnan(response["not"])
        assert response.a == 2

    def test_bytes_that_are_not_utf_8(self, call: Call, at_openai: Server) -> None:
        response = self.answered(call, at_openai, json.dumps(completion_of("caf#")).encode().replace(b"#", b"\xe9"))
        assert response.choices[0].message.content == "caf\ufffd"

    def test_a_byte_order_mark(self, call: Call, at_openai: Server) -> None:
        response = self.answered(call, at_openai, b"\xef\xbb\xbf" + json.dumps(completion_of()).encode())
        assert response == completion_of()

    @pytest.mark.parametrize(
        "body",
        [b"", b"   ", b"[]", b"null", b'"text"', b"5", b"<html>hello</html>", b'{"choices": [', b"{]}", b"\xff\xfe"],
    )
    def test_what_is_no_completion(self, call: Call, at_openai: Server, body: bytes) -> None:
        with pytest.raises(APIResponseValidationError) as caught:
            self.answered(call, at_openai, body)
        error = caught.value
        assert error.status_code == 200
        assert error.provider == "openai"
        assert "openai" in error.message
        assert len(at_openai.requests) == 1

    def test_nesting_without_end(self, call: Call, at_openai: Server) -> None:
        with pytest.raises(APIResponseValidationError, match="deep"):
            deep = b'{"a":' * 100_000 + b"1" + b"}" * 100_000
            self.answered(call, at_openai, b'{"choices": [{"index": 0}], "a": ' + deep + b"}")
