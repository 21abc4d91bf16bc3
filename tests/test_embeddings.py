"""Tests of embeddings: the requests, and the vectors as lists, as an array and undecoded."""

from __future__ import annotations

import asyncio
import base64
import copy
import json
import pickle
import struct
import sys
from typing import Any

import numpy as np
import pytest
from server import Answer, Request, Server, Stall, eventually

import ritellm
from ritellm import Client, EmbeddingResponse, aembedding, embedding

MODEL = "openai/text-embedding-3-small"
VECTORS = [[0.5, -1.25, 3.0], [0.1, 0.0, -2.0]]
USAGE = {"prompt_tokens": 2, "total_tokens": 2}


def packed(vector: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def answer(vectors: list[Any], **members: Any) -> Answer:
    data = [{"object": "embedding", "index": i, "embedding": vector} for i, vector in enumerate(vectors)]
    body = {"object": "list", "data": data, "model": "m", "usage": USAGE, **members}
    return Answer(body=json.dumps(body).encode())


def client_of(server: Server) -> Client:
    return Client(api_key="k", base_url=server.base_url)


def single(vectors: list[list[float]]) -> list[list[float]]:
    """The vectors in single precision, in which base64 carries them."""
    return [list(struct.unpack(f"<{len(v)}f", struct.pack(f"<{len(v)}f", *v))) for v in vectors]


@pytest.fixture(params=["sync", "async"])
def embed(request: pytest.FixtureRequest, at_openai: Server) -> Any:
    def embed(input: Any = ("a", "b"), model: str = MODEL, **params: Any) -> EmbeddingResponse:
        if request.param == "sync":
            return embedding(model, input, **params)
        return asyncio.run(aembedding(model, input, **params))

    return embed


class TestVectors:
    def test_base64_is_asked_for_and_comes_out_as_lists(self, embed: Any, server: Server) -> None:
        server.answer(answer([packed(v) for v in VECTORS]))
        response = embed(["a", "b"], dimensions=3, user="u")
        assert server.last.path == "/v1/embeddings"
        assert server.last.json == {
            "model": "text-embedding-3-small",
            "input": ["a", "b"],
            "dimensions": 3,
            "user": "u",
            "encoding_format": "base64",
        }
        assert isinstance(response, EmbeddingResponse)
        assert [item.embedding for item in response.data] == single(VECTORS) == response.embeddings
        assert type(response.data[0].embedding) is list
        assert response["data"][1]["index"] == 1
        assert response.usage.prompt_tokens == 2
        assert response.meta.provider == "openai"

    def test_a_host_that_answers_with_numbers_all_the_same(self, embed: Any, server: Server) -> None:
        server.answer(answer(VECTORS))
        assert embed().embeddings == VECTORS

    @pytest.mark.parametrize("vectors", [[packed(v) for v in VECTORS], VECTORS], ids=["base64", "numbers"])
    def test_an_array(self, embed: Any, server: Server, vectors: list[Any]) -> None:
        server.answer(answer(vectors))
        response = embed(output="numpy")
        assert "output" not in server.last.json
        array = response.embeddings
        assert (array.dtype, array.shape, array.flags.writeable) == (np.float32, (2, 3), True)
        np.testing.assert_array_equal(array, np.array(VECTORS, dtype=np.float32))
        row = response.data[1].embedding
        assert row.shape == (3,) and np.shares_memory(row, array)

    def test_an_array_survives_copies(self, embed: Any, server: Server) -> None:
        server.answer(answer([packed(v) for v in VECTORS]))
        response = embed(output="numpy")
        for other in (copy.deepcopy(response), pickle.loads(pickle.dumps(response))):
            np.testing.assert_array_equal(other.embeddings, response.embeddings)
            assert list(other) == list(response)

    def test_base64_that_was_asked_for_is_left_alone(self, embed: Any, server: Server) -> None:
        server.answer(answer([packed(v) for v in VECTORS]))
        assert embed(encoding_format="base64").embeddings == [packed(v) for v in VECTORS]

    def test_numbers_that_were_asked_for(self, embed: Any, server: Server) -> None:
        server.answer(answer(VECTORS))
        assert embed(encoding_format="float").embeddings == VECTORS
        assert server.last.json["encoding_format"] == "float"

    def test_no_input_makes_no_vectors(self, embed: Any, server: Server) -> None:
        server.answer(answer([]))
        assert embed([]).embeddings == []
        assert embed([], output="numpy").embeddings.shape == (0, 0)

    def test_vectors_of_different_lengths_make_no_array(self, embed: Any, server: Server) -> None:
        server.answer(answer([[1.0], [1.0, 2.0]]))
        with pytest.raises(ritellm.APIResponseValidationError, match="not as long as the first"):
            embed(output="numpy")

    def test_text_that_is_not_base64_is_left_alone(self, embed: Any, server: Server) -> None:
        texts = ["not base64!!", packed(VECTORS[0])[:-4]]
        server.answer(answer(texts))
        assert embed().embeddings == texts


class TestInput:
    @pytest.mark.parametrize("input", ["a", ["a"], ("a", "b"), [1, 2], [[1], [2, 3]]], ids=repr)
    def test_what_openai_takes_is_sent(self, embed: Any, server: Server, input: Any) -> None:
        several = not isinstance(input, str) and not isinstance(input[0], int)
        server.answer(answer(VECTORS[: len(input) if several else 1]))
        embed(input)
        assert server.last.json["input"] == json.loads(json.dumps(input))

    @pytest.mark.parametrize("input", [None, 3, {"a": 1}], ids=repr)
    def test_what_nobody_takes_is_refused(self, embed: Any, input: Any) -> None:
        with pytest.raises(ritellm.InvalidArgumentError, match="input is of type"):
            embed(input)

    def test_output_is_checked(self, embed: Any) -> None:
        with pytest.raises(ritellm.InvalidArgumentError, match='"list" or "numpy"'):
            embed(output="torch")
        with pytest.raises(ritellm.InvalidArgumentError, match="two forms"):
            embed(output="numpy", encoding_format="base64")
        with pytest.raises(ritellm.InvalidArgumentError, match="stream"):
            embed(stream=True)

    def test_numpy_has_to_be_there(self, embed: Any, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "numpy", None)
        with pytest.raises(ritellm.InvalidArgumentError, match="pip install numpy"):
            embed(output="numpy")
        assert not server.requests

    def test_numpy_is_not_imported_without_need(self, run_program: Any, server: Server) -> None:
        server.answer(answer([packed(VECTORS[0])]))
        run_program(
            """
            import sys
            from ritellm import embedding
            embedding("openai/m", "a")
            assert "numpy" not in sys.modules
            """
        ).check()


def items(*vectors: tuple[Any, Any]) -> Answer:
    data = [{"object": "embedding", "index": index, "embedding": vector} for index, vector in vectors]
    return Answer(body=json.dumps({"object": "list", "data": data, "model": "m", "usage": USAGE}).encode())


class TestWhatWasAsked:
    def test_vectors_stand_in_the_order_of_the_inputs(self, embed: Any, server: Server) -> None:
        server.answer(items((2, [3.0]), (0, [1.0]), (1, [2.0])))
        response = embed(["a", "b", "c"])
        assert response.embeddings == [[1.0], [2.0], [3.0]]
        assert [item.index for item in response.data] == [0, 1, 2]
        assert embed(["a", "b", "c"], output="numpy").embeddings.tolist() == [[1.0], [2.0], [3.0]]

    @pytest.mark.parametrize(
        ("answered", "why"),
        [
            (items((0, [1.0])), "1, for 2 inputs"),
            (items((0, [1.0]), (1, [1.0]), (2, [1.0])), "3, for 2 inputs"),
            (items((0, [1.0]), (1, None)), "missing or empty"),
            (items((0, [1.0]), (1, [])), "missing or empty"),
            (items((0, [1.0]), (1, [1.0, 2.0])), "not as long"),
            (items((0, [1.0]), (1, [None])), "null"),
            (items((0, "AACAPw=="), (1, "AAA=")), "not as long"),
        ],
    )
    def test_what_is_not_what_was_asked_is_an_error(
        self, embed: Any, server: Server, answered: Answer, why: str
    ) -> None:
        server.answer(answered)
        for output in ("list", "numpy"):
            with pytest.raises(ritellm.APIResponseValidationError, match=why) as raised:
                embed(["a", "b"], output=output, max_retries=0)
            assert raised.value.status_code == 200

    @pytest.mark.parametrize(
        ("model", "body"),
        [
            ("cohere/embed-v4.0", {"embeddings": {"float": [[1.0]]}}),
            ("gemini/gemini-embedding-001", {"embeddings": [{"values": [1.0]}]}),
            ("ollama_chat/m", {"embeddings": [[1.0]]}),
            ("azure/m", {"data": [{"index": 0, "embedding": [1.0]}]}),
        ],
    )
    def test_every_wire_is_held_to_it(self, server: Server, model: str, body: Any) -> None:
        server.answer(Answer(body=json.dumps(body).encode()))
        assert client_of(server).embedding(model, ["a"]).embeddings == [[1.0]]
        with pytest.raises(ritellm.APIResponseValidationError, match="1, for 2 inputs"):
            client_of(server).embedding(model, ["a", "b"], max_retries=0)


class TestProviders:
    def test_voyage(self, server: Server) -> None:
        server.answer(answer([packed(v) for v in VECTORS], usage={"total_tokens": 5}))
        response = client_of(server).embedding("voyage/voyage-3.5", ["a", "b"], dimensions=256, input_type="query")
        assert server.last.json == {
            "model": "voyage-3.5",
            "input": ["a", "b"],
            "input_type": "query",
            "output_dimension": 256,
            "encoding_format": "base64",
        }
        assert response.usage == {"prompt_tokens": 5, "total_tokens": 5}
        assert response.embeddings == single(VECTORS)

    def test_vectors_that_are_no_floats_are_not_asked_for_as_base64(self, server: Server) -> None:
        server.answer(answer([[1, -2]]))
        response = client_of(server).embedding("voyage/voyage-3.5", "a", output_dtype="int8")
        assert "encoding_format" not in server.last.json
        assert response.embeddings == [[1, -2]]

    def test_text_is_read_as_floats_only_where_it_is_floats(self, server: Server) -> None:
        client, text = client_of(server), packed(VECTORS[0])
        parameters: Any
        for parameters in ({"output_dtype": "int8"}, {"embed_dtype": "float16"}, {"encoding_format": "base64_int8"}):
            server.answer(answer([text]))
            assert client.embedding("vllm/m", "a", **parameters).embeddings == [text]
            assert server.last.json.get("encoding_format") == parameters.get("encoding_format")

    @pytest.mark.parametrize(
        ("parameters", "numbers"),
        [
            ({}, [1, 127, -128, -1]),
            ({"encoding_format": None}, [1, 127, -128, -1]),
            ({"encoding_format": "base64_int8"}, [1, 127, -128, -1]),
            ({"encoding_format": "base64_binary"}, [1, 127, 128, 255]),
        ],
    )
    def test_perplexity_packs_bytes(self, server: Server, parameters: Any, numbers: list[int]) -> None:
        server.answer(answer([base64.b64encode(bytes([1, 127, 128, 255])).decode()] * 2))
        client = Client(api_key="k", base_url=server.url)
        response = client.embedding("perplexity/pplx-embed-v1-4b", ["a", "b"], **parameters)
        assert server.last.path == "/v1/embeddings"
        assert server.last.json.get("encoding_format") == parameters.get("encoding_format")
        assert response.embeddings == [numbers, numbers]
        if not parameters:
            array = client.embedding("perplexity/pplx-embed-v1-4b", ["a", "b"], output="numpy").embeddings
            np.testing.assert_array_equal(array, np.array([numbers] * 2, dtype=np.float32))

    def test_perplexity_has_a_version_in_every_path_but_one(self, server: Server) -> None:
        server.answer(Answer(body=b'{"object": "response", "id": "r", "output": []}'))
        for base_url in (server.url, server.base_url):
            Client(api_key="k", base_url=base_url).responses("perplexity/m", "a")
            assert server.last.path == "/v1/responses"

    def test_azure_names_the_deployment_in_the_path(self, server: Server) -> None:
        server.answer(answer([packed(v) for v in VECTORS]))
        client = Client(api_key="k", base_url=server.url, api_version="2024-10-21")
        client.embedding("azure/mine", ["a", "b"])
        assert server.last.path == "/openai/deployments/mine/embeddings"
        assert server.last.query == {"api-version": "2024-10-21"}

    def test_a_model_that_takes_one_text_a_request(self, server: Server) -> None:
        def script(request: Request) -> Answer:
            text = request.json["inputText"]
            body = {"embedding": [float(text)], "inputTextTokenCount": 2}
            return Answer(body=json.dumps(body).encode())

        server.script = script
        client = client_of(server)
        texts = [str(i) for i in range(40)]
        response = client.embedding("bedrock/amazon.titan-embed-text-v2:0", texts, aws_region_name="us-east-1")
        assert response.embeddings == [[float(i)] for i in range(40)]
        assert [item.index for item in response.data] == list(range(40))
        assert response.usage.prompt_tokens == 80
        assert len(server.requests) == 40

    def test_a_part_that_fails_fails_the_call(self, server: Server) -> None:
        def script(request: Request) -> Answer:
            if request.json["inputText"] == "bad":
                return Answer(status=400, body=b'{"message": "no"}')
            return Answer(body=b'{"embedding": [1.0], "inputTextTokenCount": 2}')

        server.script = script
        with pytest.raises(ritellm.BadRequestError, match="no"):
            client_of(server).embedding(
                "bedrock/amazon.titan-embed-text-v2:0", ["a", "bad", "b"], aws_region_name="us-east-1"
            )

    @pytest.mark.parametrize(
        ("model", "count", "sizes"),
        [
            ("openai/m", 2048, [2048]),
            ("openai/m", 5000, [2048, 2048, 904]),
            ("mistral/mistral-embed", 513, [512, 1]),
            ("jina/m", 513, [512, 1]),
            ("dashscope/text-embedding-v4", 21, [10, 10, 1]),
            ("cohere/embed-v4.0", 97, [96, 1]),
            ("gemini/gemini-embedding-001", 101, [100, 1]),
            ("ollama_chat/nomic", 300, [300]),
        ],
    )
    def test_more_texts_than_a_provider_takes(self, server: Server, model: str, count: int, sizes: list[int]) -> None:
        def script(request: Request) -> Answer:
            body = request.json
            texts = (
                body.get("texts")
                or body.get("input")
                or [one["content"]["parts"][0]["text"] for one in body["requests"]]
            )
            vectors = [[float(text), 1.0] for text in texts]
            if model.startswith("cohere"):
                used = {"billed_units": {"input_tokens": len(texts)}}
                return Answer(body=json.dumps({"embeddings": {"float": vectors}, "meta": used}).encode())
            if model.startswith("gemini"):
                return Answer(body=json.dumps({"embeddings": [{"values": vector} for vector in vectors]}).encode())
            if model.startswith("ollama"):
                return Answer(body=json.dumps({"embeddings": vectors, "prompt_eval_count": len(texts)}).encode())
            return answer(vectors, usage={"prompt_tokens": len(texts), "total_tokens": len(texts)})

        server.script = script
        texts = map(str, range(count))
        response = client_of(server).embedding(model, texts, output="numpy")
        np.testing.assert_array_equal(response.embeddings[:, 0], np.arange(count, dtype=np.float32))
        assert response.embeddings.dtype == np.float32 and len(server.requests) == len(sizes)
        assert [item.index for item in response.data] == list(range(count))
        if not model.startswith("gemini"):
            assert response.usage.prompt_tokens == count

    def test_long_texts_are_cut_by_their_tokens(self, server: Server) -> None:
        server.script = lambda request: answer([[1.0]] * len(request.json["input"]))
        response = client_of(server).embedding("openai/m", ["x" * 100_000] * 13)
        assert [len(request.json["input"]) for request in server.requests].count(5) == 2
        assert len(response.data) == 13 and len(server.requests) == 3

    @pytest.mark.parametrize("concurrency", [1, 3])
    def test_size_and_concurrency_of_requests(self, embed: Any, server: Server, concurrency: int) -> None:
        server.script = lambda request: answer([packed([float(text)]) for text in request.json["input"]])
        response = embed([str(index) for index in range(10)], batch_size=np.int64(4), concurrency=concurrency)
        assert response.embeddings == [[float(index)] for index in range(10)]
        assert sorted(len(request.json["input"]) for request in server.requests) == [2, 4, 4]
        assert all(
            "batch_size" not in request.json and "concurrency" not in request.json for request in server.requests
        )

    @pytest.mark.parametrize("batch_size", [None, 6])
    def test_what_is_too_large_for_the_provider_is_halved(
        self, embed: Any, server: Server, batch_size: int | None
    ) -> None:
        def script(request: Request) -> Answer:
            texts = request.json["input"]
            if len(texts) > 2:
                message = f"input batch size {len(texts)} > maximum allowed batch size 2"
                return Answer(status=413, body=json.dumps({"error": {"message": message}}).encode())
            return answer([[float(text)] for text in texts])

        server.script = script
        response = embed([str(index) for index in range(10)], **({"batch_size": batch_size} if batch_size else {}))
        assert response.embeddings == [[float(index)] for index in range(10)]
        assert [item.index for item in response.data] == list(range(10))
        sizes = sorted(len(request.json["input"]) for request in server.requests)
        # 10 → 5, 5 → 3, 2, 3, 2; or 6 → 3, 3 and 4 → 2, 2.
        assert sizes == ([1, 1, 2, 2, 2, 2, 3, 3, 5, 5, 10] if batch_size is None else [1, 1, 2, 2, 2, 2, 3, 3, 4, 6])

    def test_one_text_that_is_too_large_is_an_error(self, embed: Any, server: Server) -> None:
        server.script = lambda request: (
            Answer(status=413, body=b'{"error": {"message": "too large"}}')
            if "2" in request.json["input"]
            else answer([[1.0]] * len(request.json["input"]))
        )
        with pytest.raises(ritellm.BadRequestError, match=r"too large \(the request with input\[2\]\)") as caught:
            embed(["0", "1", "2", "3"])
        assert caught.value.inputs == range(2, 3)

    @pytest.mark.parametrize("texts", [{"a", "b"}, frozenset()], ids=["set", "frozenset"])
    def test_a_set_has_no_order(self, embed: Any, texts: Any) -> None:
        with pytest.raises(ritellm.InvalidArgumentError, match=r"input is of type .*set, which has no order: a list"):
            embed(texts)

    def test_an_error_says_which_texts(self, embed: Any, server: Server) -> None:
        def script(request: Request) -> Answer:
            texts = request.json["input"]
            if "5" in texts:
                return Answer(status=400, body=b'{"error": {"message": "a text is too long"}}')
            return answer([[1.0]] * len(texts))

        server.script = script
        with pytest.raises(
            ritellm.BadRequestError, match=r"too long \(the request with input\[4\] to input\[7\]\)"
        ) as caught:
            embed([str(index) for index in range(10)], batch_size=4, concurrency=1)
        assert caught.value.inputs == range(4, 8)
        assert pickle.loads(pickle.dumps(caught.value)).inputs == range(4, 8)
        assert len(server.requests) == 2, "nothing is sent after it"
        with pytest.raises(ritellm.BadRequestError) as caught:
            embed(["5"])
        assert caught.value.inputs is None

    async def test_cancelling_cancels_all_requests(self, server: Server) -> None:
        server.answer(Answer(before=[Stall()]))
        client = client_of(server)
        task = asyncio.create_task(client.aembedding("openai/m", ["a"] * 8, batch_size=2, concurrency=3))
        await asyncio.to_thread(server.wait_for_requests, 3)
        assert client.stats()["in_flight"] == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.to_thread(eventually, lambda: server.open_connections == 0)
        assert len(server.requests) == 3

    def test_sizes_are_checked(self, embed: Any, server: Server) -> None:
        for arguments in ({"batch_size": 0}, {"concurrency": 0}, {"batch_size": 1.5}, {"concurrency": True}):
            with pytest.raises(
                ritellm.InvalidArgumentError, match=f"{next(iter(arguments))} is .*a whole number above 0"
            ):
                embed(**arguments)
        with pytest.raises(ritellm.InvalidArgumentError, match="did you mean concurrency"):
            embed(concurency=3)
        assert not server.requests

    def test_who_has_none_says_who_has(self) -> None:
        with pytest.raises(ritellm.UnsupportedParamsError, match=r"anthropic has no embeddings; these have: openai, "):
            embedding("anthropic/claude", "a", api_key="k")

    def test_tokens_go_to_who_takes_them(self, server: Server) -> None:
        with pytest.raises(ritellm.UnsupportedParamsError, match="cohere takes texts"):
            client_of(server).embedding("cohere/embed-v4.0", [[1, 2]])

    def test_what_is_lacking_is_refused_or_dropped(self, server: Server) -> None:
        server.answer(answer(VECTORS[:1]))
        client = client_of(server)
        with pytest.raises(ritellm.UnsupportedParamsError, match="user"):
            client.embedding("mistral/mistral-embed", "a", user="u")
        response = client.embedding("mistral/mistral-embed", "a", user="u", drop_params=True)
        assert response.meta.dropped_params == ["user"]

    def test_a_refusal_is_an_error(self, embed: Any, server: Server) -> None:
        server.answer(Answer(status=401, body=b'{"error": {"message": "no", "code": "invalid_api_key"}}'))
        with pytest.raises(ritellm.AuthenticationError):
            embed()
        server.answer(Answer(body=b'{"error": {"message": "slow down", "code": 429}}'))
        with pytest.raises(ritellm.RateLimitError):
            embed(max_retries=0)
