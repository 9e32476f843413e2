"""What the doctor finds out about Dialogflow, and that the way there with TLS and a key file is the right one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from commands.doctor.dialogflow import look
from relay.models.dialogflow_client import Bot
from tests.commands.serving import DEADLINE, INHERITED, RELAY
from tests.fakes.dialogflow_server import DialogflowServer
from tests.running import write_agent


@pytest.fixture
async def server() -> AsyncIterator[DialogflowServer]:
    async with DialogflowServer() as running:
        yield running


@pytest.mark.parametrize(("agent", "edition"), [("", "ES"), ("agent-1", "CX")])
async def test_one_that_would_answer(server: DialogflowServer, agent: str, edition: str) -> None:
    """It is asked for nothing: no session of anybody's."""
    finding = await look(Bot("proj", agent, endpoint=server.endpoint))
    address = server.endpoint.removeprefix("http://")
    assert (finding.status, finding.detail) == ("ok", f"{address} has the {edition} agent of proj.")
    assert [(asked.text, asked.session[-32:]) for asked in server.asked] == [("", "0" * 32)]


@pytest.mark.parametrize(
    ("status", "words", "fix"),
    [
        ("PERMISSION_DENIED", "does not let these credentials in", "role Dialogflow API Client in proj"),
        ("UNAUTHENTICATED", "does not let these credentials in", "role Dialogflow API Client"),
        ("NOT_FOUND", "has no such agent", "DIALOGFLOW_AGENT"),
        ("RESOURCE_EXHAUSTED", "quota", "Quotas"),
        ("UNAVAILABLE", "cannot be reached (UNAVAILABLE)", "DIALOGFLOW_ENDPOINT"),
        ("INTERNAL", "cannot be reached (INTERNAL)", "DIALOGFLOW_LOCATION"),
    ],
)
async def test_what_is_wrong(server: DialogflowServer, status: str, words: str, fix: str) -> None:
    """By the status with which it refuses to look at a request."""
    server.refuses = grpc.StatusCode[status]
    finding = await look(Bot("proj", "agent-1", endpoint=server.endpoint))
    assert finding.status == "failed" and words in finding.detail and fix in finding.fix


async def test_no_key_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is to be set is said; the file's name is not shown."""
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "missing.json"))
    finding = await look(Bot("proj", endpoint="localhost:1"))
    assert (finding.status, finding.detail) == ("failed", "There are no credentials for Dialogflow that can be used.")
    assert "GOOGLE_APPLICATION_CREDENTIALS" in finding.fix and "missing.json" not in finding.detail + finding.fix


def key_file(path: Path) -> Path:
    """That of a service account nobody has."""
    key = rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    account = {
        "type": "service_account",
        "project_id": "proj",
        "private_key_id": "1",
        "private_key": pem,
        "client_email": "relay@proj.iam.gserviceaccount.com",
        "client_id": "1",
        "token_uri": "https://localhost:1/token",  # not asked: the key itself signs what the server is shown
    }
    path.write_text(json.dumps(account))
    return path


async def test_with_tls_and_a_key_file(authority: trustme.CA, authority_file: Path, tmp_path: Path) -> None:
    """``host:port`` is spoken to with TLS, and with what the key file signs; as a process, for the library reads its
    variables once."""
    certificate = authority.issue_cert("localhost")
    pair = (certificate.private_key_pem.bytes(), b"".join(part.bytes() for part in certificate.cert_chain_pems))
    async with DialogflowServer(tls=grpc.ssl_server_credentials([pair])) as server:
        environ = {
            "DATA_DIR": str(tmp_path / "data"),
            "AGENTS_DIR": str(write_agent(tmp_path / "agents", 'engine = "dialogflow"\ngreeting = "Hi"')),
            "DIALOGFLOW_PROJECT": "proj",
            "DIALOGFLOW_AGENT": "agent-1",
            "DIALOGFLOW_ENDPOINT": server.endpoint,
            "GOOGLE_APPLICATION_CREDENTIALS": str(key_file(tmp_path / "key.json")),
            "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(authority_file),
        }
        process = await asyncio.create_subprocess_exec(
            RELAY, "doctor", "--json", cwd=tmp_path, env=INHERITED | environ, stdout=-1, stderr=-1
        )
        async with asyncio.timeout(DEADLINE):
            output, errors = await process.communicate()
        assert errors == b""
        found = {each["name"]: each for each in json.loads(output)["checks"]}
        assert found["Dialogflow"]["detail"] == f"{server.endpoint} has the CX agent of proj and takes the credentials."
        assert found["model"]["detail"] == "No agent asks one."
        assert [asked.bearer[:10] for asked in server.asked] == ["Bearer eyJ"]
