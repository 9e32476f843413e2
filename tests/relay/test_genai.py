"""Model operations in OpenTelemetry's names: where they go, and what is observed of a round over real HTTP."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from phone.model import Fault, ModelServer, Reply, ToolUse
from relay.errors import ModelError
from relay.genai import SECONDS, TOKENS, Place, place_of
from relay.items import UserItem
from relay.models.base import Finished, ModelRequest
from relay.models.chat import ChatModel
from relay.models.client import make_client
from relay.models.steady import SteadyModel
from relay.telemetry import Telemetry

PREFIX = "gen_ai_client_"


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("https://api.openai.com/v1", Place("openai", "m", "api.openai.com", "443")),
        ("http://127.0.0.1:8000/v1", Place("openai", "m", "127.0.0.1", "8000")),
        ("https://Acme.openai.azure.com/v1", Place("azure.ai.openai", "m", "acme.openai.azure.com", "443")),
        ("https://api.groq.com/openai/v1", Place("groq", "m", "api.groq.com", "443")),
        ("https://notapi.groq.com/v1", Place("openai", "m", "notapi.groq.com", "443")),
    ],
)
def test_who_is_behind_an_address(url: str, place: Place) -> None:
    """The conventions' name of the provider; whoever else speaks OpenAI's API counts as OpenAI."""
    assert place_of(url, "m") == place


def test_buckets_are_those_of_the_conventions() -> None:
    """As they are written there."""
    assert SECONDS == (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
    assert (TOKENS[:3], TOKENS[-1], len(TOKENS)) == ((1, 4, 16), 67108864, 14)


def observed(telemetry: Telemetry) -> dict[tuple[str, ...], float]:
    """(metric, labels that differ) -> value, of counts and sums."""
    found = {}
    for family in text_string_to_metric_families(telemetry.render().decode()):
        for sample in family.samples:
            if sample.value and sample.name.startswith(PREFIX) and sample.name.endswith(("_count", "_sum")):
                labels = sample.labels
                extra = [labels[label] for label in ("error_type", "gen_ai_token_type") if label in labels]
                found[sample.name.removeprefix(PREFIX), labels["gen_ai_request_model"], *extra] = sample.value
    return found


async def ask(model: SteadyModel, name: str = "") -> Finished | None:
    end = None
    async with model.stream(ModelRequest("Be brief.", [UserItem("Hello?")], model=name)) as stream:
        async for event in stream:
            if isinstance(event, Finished):
                end = event
    return end


async def test_an_operation_is_observed_once_by_its_end() -> None:
    """Time, first piece, mean time between pieces and tokens of a round with text, and of one with tools only."""
    telemetry = Telemetry()
    async with ModelServer() as server:
        server.script(
            Reply(["One ", "two ", "three."], pace=0.2, usage=(100, 40, 7)),
            Reply(tools=[ToolUse("look", "{}")], usage=(50, 0, 5)),
        )
        client = make_client(server.url, "key")
        place = place_of(server.url, "usual")
        model = SteadyModel(ChatModel(client, model="usual"), None, telemetry, places=(place, Place()))
        await ask(model)
        await ask(model, "another")
        await model.close()
    found = observed(telemetry)
    for name in ("operation_duration_seconds", "operation_time_to_first_chunk_seconds"):
        extra = ("",) if "duration" in name else ()
        assert found[f"{name}_count", "usual", *extra] == found[f"{name}_count", "another", *extra] == 1
    assert found["operation_time_per_output_chunk_seconds_count", "usual"] == 1
    assert 0.05 < found["operation_time_per_output_chunk_seconds_sum", "usual"] < 20
    assert found["operation_duration_seconds_sum", "usual", ""] > 0.04
    assert found["token_usage_sum", "usual", "input"] == 100
    assert found["token_usage_sum", "usual", "output"] == 7
    assert found["token_usage_sum", "another", "input"] == 50


async def test_operations_that_fail_are_told_by_their_code() -> None:
    """Each request of a round is one; what the round ends in is no operation of its own."""
    telemetry = Telemetry()
    async with ModelServer() as server:
        server.script(Reply(fault=Fault("status")), Reply(fault=Fault("status")))
        model = SteadyModel(ChatModel(make_client(server.url, "key"), model="usual"), None, telemetry)
        with pytest.raises(ModelError):
            await ask(model)
        await model.close()
    found = observed(telemetry)
    assert {key[2]: value for key, value in found.items() if key[0] == "operation_duration_seconds_count"} == {
        "model_unavailable": 2
    }
    assert not [key for key in found if key[0].startswith("operation_time")]


async def test_an_operation_we_end_is_cancelled() -> None:
    """The reader leaves in the middle, as after an interrupt."""
    telemetry = Telemetry()
    async with ModelServer() as server:
        server.script(Reply(["One ", "two ", "three."], pace=0.05))
        model = SteadyModel(ChatModel(make_client(server.url, "key"), model="usual"), None, telemetry)
        async with model.stream(ModelRequest("Be brief.", [UserItem("Hello?")])) as stream:
            async for event in stream:
                if event:
                    break
        await model.close()
    found = observed(telemetry)
    assert {key[2]: value for key, value in found.items() if key[0] == "operation_duration_seconds_count"} == {
        "cancelled": 1
    }
