"""The client of a process: which API, warming up, the way out."""

import asyncio
import ssl
from pathlib import Path

import pytest
import trustme

from relay.models import client as client_module
from relay.models.base import Finished, ModelRequest
from relay.models.chat import ChatModel
from relay.models.client import choose_api, is_openai, make_client, tls_context
from tests.fakes import raw_model as raw
from tests.fakes.raw_model import RawModel, Step
from tests.relay.models.conftest import Connect, collect


@pytest.mark.parametrize(
    ("setting", "base_url", "api"),
    [
        ("auto", "", "responses"),
        ("auto", "https://api.openai.com/v1", "responses"),
        ("auto", "https://EU.api.openai.com/v1", "responses"),
        ("auto", "https://api.openai.com.example.org/v1", "chat"),
        ("auto", "https://notapi.openai.com/v1", "chat"),
        ("auto", "http://127.0.0.1:11434/v1", "chat"),
        ("chat", "https://api.openai.com/v1", "chat"),
        ("responses", "http://127.0.0.1:11434/v1", "responses"),
    ],
)
def test_choice_of_api(setting: str, base_url: str, api: str) -> None:
    """auto is Responses at OpenAI's own host and Chat Completions elsewhere; a setting overrides."""
    assert choose_api(setting, base_url) == api  # type: ignore[arg-type]
    assert is_openai(base_url) == (choose_api("auto", base_url) == "responses")


async def test_warm_opens_two_connections_without_tokens(connect: Connect) -> None:
    """warm() asks for the model, twice at once, with the key, and posts nothing."""
    async with RawModel() as server:
        assert await connect(ChatModel, server.url, model="org/small").warm() == ""
        assert [get.path for get in server.gets] == ["/v1/models/org%2Fsmall"] * 2
        assert server.connections == 2
        assert server.gets[0].headers["authorization"] == "Bearer sk-test"
        assert server.posts == []


@pytest.mark.parametrize(
    ("status", "own_host", "word"),
    [
        (401, False, "key"),
        (403, True, "key"),
        (404, True, "small"),
        (404, False, ""),
        (405, False, ""),
        (500, False, "500"),
        (429, True, "429"),
    ],
)
async def test_warm_says_what_is_wrong(status: int, own_host: bool, word: str, connect: Connect) -> None:
    """A refused key or a failing endpoint is a sentence, never an error; 404 means something only at OpenAI's host."""
    async with RawModel() as server:
        server.models_answer = [raw.http(status, {"error": {"message": "x"}})]
        warning = await connect(ChatModel, server.url, own_host=own_host).warm()
    assert (word in warning) if word else (warning == "")
    assert "sk-test" not in warning


@pytest.mark.parametrize("answer", [["hold"], ["close"], [b"SMTP ready\r\n\r\n", "close"]])
async def test_warm_never_raises(answer: list[Step], connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """Silence, a closed connection and what is no HTTP are a warning within the deadline."""
    monkeypatch.setattr(client_module, "WARM_SECONDS", 0.2)
    async with RawModel() as server:
        server.models_answer = answer
        async with asyncio.timeout(20):
            assert str(server.port) in await connect(ChatModel, server.url).warm()


async def test_warm_when_nobody_listens(connect: Connect) -> None:
    """An endpoint that is not there is a warning."""
    async with RawModel() as server:
        url = server.url
    assert "cannot be reached (ConnectionRefusedError)" in await connect(ChatModel, url).warm()


async def test_a_proxy_of_the_environment_is_not_asked_for_loopback(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HTTP_PROXY and ALL_PROXY do not stand between this process and an endpoint on its own machine."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with RawModel(raw.chat_answer("Hi")) as server:
        assert await collect(connect(ChatModel, server.url), ModelRequest("x", [])) == ["Hi", Finished("stop")]


async def test_no_key_of_the_environment_is_sent_to_another_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a key the placeholder is sent, not a key that happens to be in the environment."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-somebody")
    async with RawModel() as server:
        client = make_client(server.url)
        await client.warm("small")
        await client.close()
        assert {get.headers["authorization"] for get in server.gets} == {"Bearer none"}


@pytest.mark.parametrize(
    ("base_urls", "reads"),
    [
        ([], True),
        ([""], True),
        (["http://127.0.0.1:9000/v1", "http://localhost:11434/v1"], False),
        (["http://127.0.0.1:9000/v1", ""], True),
        (["https://127.0.0.1:9000/v1"], True),
        (["http://models.example.com/v1"], True),
    ],
)
def test_authorities_are_read_where_there_may_be_certificates(
    base_urls: list[str], reads: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plain endpoints on this machine have none; and a context that trusts nobody still insists on one."""
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    context = tls_context(*base_urls)
    assert context.cert_store_stats()["x509_ca"] == int(reads)
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


async def test_close_ends_the_background_work(connect: Connect) -> None:
    """close() ends what runs behind the turns, may be called twice, and starts nothing afterwards."""
    async with RawModel([raw.CHUNKED, "hold"]) as server:
        client = make_client(server.url)
        server.models_answer = ["hold"]
        client.replace("small")
        await server.until(lambda: len(server.gets) == 2)
        await client.close()
        client.replace("small")
        assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("model-")]
        await client.close()
