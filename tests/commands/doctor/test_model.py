"""The model's endpoint: the key, the names, and what else may answer there."""

from __future__ import annotations

import ssl

import pytest

from commands.doctor import model
from commands.doctor.clock import Dates
from commands.doctor.finding import Finding
from handlers.modelling import Endpoint
from phone.model import ModelServer
from relay.models.client import make_client
from relay.models.enquiry import Told
from tests.fakes.stranger import stranger

NAMES = ("OPENAI_BASE_URL", "OPENAI_API_KEY", "OPENAI_MODEL")


async def look(base_url: str, key: str = "key", *models: str, tls: ssl.SSLContext | None = None) -> Finding:
    context = tls or ssl.create_default_context()
    return await model.look(Endpoint(base_url, key), models or ("gpt-5.4-mini",), NAMES, context, Dates())


async def test_a_model_that_is_there() -> None:
    """All of those that agents name are asked for."""
    async with ModelServer(key="key", models={"gpt-5.4-mini", "gpt-6"}) as server:
        finding = await look(server.url, "key", "gpt-6", "gpt-5.4-mini")
    host = server.url.removeprefix("http://").removesuffix("/v1")
    assert (finding.status, finding.detail) == ("ok", f"{host} has gpt-5.4-mini, gpt-6 and takes the key.")


@pytest.mark.parametrize(
    ("key", "words", "fix"),
    [("wrong", "does not take the key (401, invalid_api_key)", "Set OPENAI_API_KEY"), ("", "(401", "OPENAI_API_KEY")],
)
async def test_a_key_that_is_not_taken(key: str, words: str, fix: str) -> None:
    """The key itself is not shown."""
    async with ModelServer(key="key") as server:
        finding = await look(server.url, key)
    assert finding.status == "failed" and words in finding.detail and fix in finding.fix
    assert "wrong" not in finding.detail + finding.fix


async def test_a_model_there_is_not() -> None:
    """A compatible server is asked what it has."""
    async with ModelServer(models={"llama", "mistral"}) as server:
        finding = await look(server.url)
    assert finding.status == "failed" and "has no model gpt-5.4-mini; it has llama, mistral." in finding.detail
    assert "OPENAI_MODEL" in finding.fix


async def of_stranger(status: int, body: str, path: str = "/v1/models/gpt-5.4-mini") -> Finding:
    async with stranger() as server:
        server.answers = {path: (status, {"Content-Type": "application/json"}, body)}
        return await look(f"{server.url}/v1")


@pytest.mark.parametrize(
    ("status", "body", "kind", "words", "fix"),
    [
        (403, "{}", "failed", "does not take the key (403)", "OPENAI_API_KEY"),
        (429, '{"error":{"code":"insufficient_quota"}}', "failed", "no quota left (429)", "Pay"),
        (402, '{"error":{"code":"billing"}}', "failed", "no quota left (402)", "Pay"),
        (429, '{"error":{"code":"rate_limit_exceeded"}}', "warning", "asks for patience (429)", "minute"),
        (500, "{}", "failed", "answers with an error (500)", "later"),
        (200, "<html>a page</html>", "failed", "something else than a model", "OPENAI_BASE_URL"),
        (200, '{"hello":"world"}', "failed", "something else than a model", "OPENAI_BASE_URL"),
        (404, "nothing", "warning", "does not tell which models it has (404)", "OPENAI_BASE_URL"),
    ],
)
async def test_other_answers(status: int, body: str, kind: str, words: str, fix: str) -> None:
    """Each with its fix."""
    finding = await of_stranger(status, body)
    assert finding.status == kind and words in finding.detail and fix in finding.fix


async def test_a_server_that_lists_its_models() -> None:
    """And knows none of them by its own address."""
    finding = await of_stranger(200, '{"object":"list","data":[{"id":"gpt-5.4-mini"}]}', "/v1/models")
    assert finding.status == "ok"


async def test_no_model_at_openai() -> None:
    """There 404 is about the model, or about what the key may use."""
    client = make_client("https://api.openai.com/v1", "key")
    finding = model.wrong(Told(404, "model_not_found"), client, "gpt-9", NAMES, has_key=True)
    await client.close()
    assert finding.status == "failed" and "api.openai.com has no model gpt-9" in finding.detail
    assert "OPENAI_MODEL" in finding.fix


async def test_nobody_there(unused_tcp_port: int) -> None:
    """The base URL is named."""
    finding = await look(f"http://127.0.0.1:{unused_tcp_port}/v1")
    assert finding.status == "failed" and "cannot be reached (ConnectionRefusedError)" in finding.detail
    assert "OPENAI_BASE_URL" in finding.fix


async def test_a_certificate_nobody_trusts(server_tls: ssl.SSLContext) -> None:
    """A compatible server in the house."""
    async with stranger(server_tls) as server:
        finding = await look(f"{server.url}/v1", tls=ssl.create_default_context())
    assert finding.status == "failed" and "certificate" in finding.detail and "SSL_CERT_FILE" in finding.fix


async def test_an_endpoint_that_says_nothing() -> None:
    """Time is up, after the seconds a relay has for it too."""
    client = make_client("http://127.0.0.1:1/v1")
    finding = model.wrong(Told(0, "TimeoutError"), client, "gpt-9", NAMES, has_key=True)
    await client.close()
    assert finding.status == "failed" and "did not answer in time" in finding.detail
