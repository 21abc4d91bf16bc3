"""A quick slice of tests/long: limits that processes share, judged from the server's own log while their store fails."""

from __future__ import annotations

import pathlib
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
import trustme
from limited import KEY, Processes, Proxy, host_files, host_share, most_in
from server import free_port

from ritellm import Client, Limit, Limits

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux's shared memory")

MESSAGES = [{"role": "user", "content": "size=1 xxxx"}]


@pytest.fixture
def processes() -> Iterator[Processes]:
    with Processes() as processes:
        yield processes


@pytest.mark.parametrize("kind", ["host", "redis"])
def test_two_processes_stay_under_a_limit(processes: Processes, tmp_path: pathlib.Path, kind: str) -> None:
    server = processes.serve(tmp_path, {"latency": [0.01, 0.05]})
    redis = processes.redis() if kind == "redis" else None
    share = redis.url if redis else processes.enter_context(host_share())
    options: dict[str, Any] = {
        "base_urls": server.base_urls,
        "limits": {"openai": [{"requests": 100, "per": 2}, {"tokens": 20_000, "per": 2}]},
        "share": {"share": share},
        "sizes": [10, 300],
        "seconds": 5,
    }
    workers = [processes.worker(seed=seed, **options) for seed in range(2)]
    for worker in workers:
        worker.go()
    time.sleep(2.5)
    if redis:
        redis.command("SCRIPT", "FLUSH")
        redis.command("FLUSHALL")
    for worker in workers:
        assert set(worker.result()["outcomes"]) == {"ok"}
    arrivals = server.arrivals()
    # Arrivals are later than admissions, by more on a busy machine.
    assert most_in([(at, 1) for at, _, _ in arrivals], 1.7) <= 100
    assert most_in([(at, size) for at, size, _ in arrivals], 1.7) <= 20_000
    assert len(arrivals) > 100


def test_a_slow_redis_is_gone_once(processes: Processes, tmp_path: pathlib.Path) -> None:
    """It does not seem to be back with each connection that it accepts."""
    redis = processes.redis()
    proxy = Proxy(processes, redis.port)
    server = processes.serve(tmp_path, {})
    worker = processes.worker(
        base_urls=server.base_urls,
        limits={"openai": {"requests": 40, "per": 1}},
        share={"share": f"redis://127.0.0.1:{proxy.port}/0"},
        at_once=2,
        seconds=5,
    )
    worker.go()
    time.sleep(1)
    proxy.delay = 0.4
    time.sleep(2.5)
    proxy.delay = 0.0
    result = worker.result()
    assert set(result["outcomes"]) == {"ok"}
    assert ["gone" in line for line in result["lines"]] == [True, False]
    assert "back" in result["lines"][1]


def test_no_secret_is_in_a_store(processes: Processes, tmp_path: pathlib.Path) -> None:
    server = processes.serve(tmp_path, {})
    redis = processes.redis()
    base_url = server.base_urls[0].replace("/v1", "/tenant-7d1e/v1")
    with host_share() as share:
        for each in (share, redis.url):
            client = Client(
                base_url=base_url,
                api_key=KEY,
                headers={"OpenAI-Organization": "org-5a2b"},
                limits=Limits({"openai": Limit(requests=100), "openai/*": "adaptive"}, share=each, namespace="ns-3c4d"),
            )
            for _ in range(5):
                client.completion("openai/model-9e8f", MESSAGES)
        files = host_files(share)
        assert files
        stored = b"".join(file.read_bytes() for file in files)
    keys = redis.command("KEYS", "*")
    assert keys
    for key in keys:
        stored += key + (redis.command("GET", key.decode()) or redis.command("DUMP", key.decode()))
    for secret in (KEY, KEY[3:], "tenant-7d1e", "org-5a2b", "ns-3c4d", "model-9e8f", "127.0.0.1", "openai"):
        assert secret.encode() not in stored


def test_a_redis_with_tls_user_and_database(processes: Processes, tmp_path: pathlib.Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    issued.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    with (tmp_path / "cert.pem").open("wb") as file:
        for part in issued.cert_chain_pems:
            file.write(part.bytes())
    port = free_port()
    tls = ["--tls-port", str(port), "--tls-auth-clients", "no", "--tls-ca-cert-file", str(tmp_path / "ca.pem")]
    tls += ["--tls-cert-file", str(tmp_path / "cert.pem"), "--tls-key-file", str(tmp_path / "key.pem")]
    redis = processes.redis(*tls, "--user", "ann", "on", ">s@same", "~ritellm:*", "+@all")
    server = processes.serve(tmp_path, {})
    address = f"rediss://ann:s%40same@localhost:{port}/3"
    limits = Limits({"openai": {"rpm": 100}}, share=address, when_down="error")
    assert "same" not in repr(limits)
    trusting = Client(base_url=server.base_urls[0], api_key=KEY, limits=limits, ca_bundle=str(tmp_path / "ca.pem"))
    trusting.completion("openai/m", MESSAGES)
    assert redis.command("DBSIZE") == 0
    assert b"db3:keys=1" in redis.command("INFO", "keyspace")
    # A client that trusts others does not share the connection.
    distrusting = Client(base_url=server.base_urls[0], api_key=KEY, limits=limits)
    with pytest.raises(Exception, match="does not answer"):
        distrusting.completion("openai/m", MESSAGES)
