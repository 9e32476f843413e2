"""Twilio's signatures: the published vectors, every spelling of the URL, and whatever an outsider may send instead."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import MultiDict
from twilio.request_validator import RequestValidator

from handlers.signatures import PublicAddress, TwilioSignatures
from relay.errors import ConfigError

TOKEN = "test_auth_token"
ADDRESS = PublicAddress.parse("https://relay.example.com")
SIGNATURES = TwilioSignatures([TOKEN])


def sign(url: str, params: MultiDict[str] | None = None, token: str = TOKEN) -> str:
    signature: str = RequestValidator(token).compute_signature(url, params or {})
    return signature


def test_form_vector_of_the_twilio_documentation() -> None:
    """The documentation's example with its token 12345 is accepted, and is not with a parameter changed."""
    params = MultiDict(
        CallSid="CA1234567890ABCDE", Caller="+14158675309", Digits="1234", From="+14158675309", To="+18005551212"
    )
    address = PublicAddress.parse("https://mycompany.com")
    urls = address.webhook_urls("/myapp.php?foo=1&bar=2")
    signature = "RSOYDt4T1cUTdK1PDd93/VVr8B8="
    assert TwilioSignatures(["12345"]).form(urls, params, signature)
    params["Digits"] = "1235"
    assert not TwilioSignatures(["12345"]).form(urls, params, signature)


def test_action_vector() -> None:
    """The action callback's vector is accepted: its JSON value is signed as it stands."""
    params = MultiDict(
        AccountSid="AC" + "0" * 32,
        CallSid="CA" + "0" * 32,
        CallStatus="in-progress",
        HandoffData='{"reason":"agent"}',
        SessionId="VX" + "0" * 32,
        SessionStatus="ended",
        SessionDuration="25",
    )
    assert SIGNATURES.form(ADDRESS.webhook_urls("/voice/action"), params, "ko/zwh3m5UovF3BNPJlNl48AFrw=")


@pytest.mark.parametrize("path", ["/voice/relay", "/voice/relay/"])
@pytest.mark.parametrize("signature", ["DTOEVPKJMUTDDzGGIU25MkRe30E=", "6We8mB8EuiE2yei9hsBABf9Ogf8="])
def test_handshake_vectors_with_and_without_a_last_slash(path: str, signature: str) -> None:
    """Both handshake vectors are accepted, whichever of the two spellings the request line has."""
    assert SIGNATURES.url(ADDRESS.handshake_urls(path), signature)


def test_json_vector_and_a_body_that_was_changed() -> None:
    """The JSON vector is accepted with its body only, and the body only with its signature."""
    digest = "015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862"
    urls = ADDRESS.webhook_urls(f"/json?bodySHA256={digest}")
    signature = "ZkUiH9pUqI11H0D8fDzfwRG2IAQ="
    assert SIGNATURES.json(urls, b'{"a":1}', signature)
    assert not SIGNATURES.json(urls, b'{"a":2}', signature)
    assert not SIGNATURES.json(urls, b'{"a":1}', sign("https://relay.example.com/other"))
    assert not SIGNATURES.json(ADDRESS.webhook_urls("/json"), b'{"a":1}', sign("https://relay.example.com/json"))


def test_two_last_slashes_are_not_one() -> None:
    """A handshake signed with two trailing slashes is not accepted for the path with none."""
    assert not SIGNATURES.url(ADDRESS.handshake_urls("/voice/relay"), sign("wss://relay.example.com/voice/relay//"))


def test_handshake_keeps_its_query() -> None:
    """A query is part of what is signed, also where the slash before it differs."""
    urls = ADDRESS.handshake_urls("/voice/relay?a=1&b=2")
    assert SIGNATURES.url(urls, sign("wss://relay.example.com/voice/relay?a=1&b=2"))
    assert SIGNATURES.url(urls, sign("wss://relay.example.com/voice/relay/?a=1&b=2"))
    assert not SIGNATURES.url(urls, sign("wss://relay.example.com/voice/relay?a=1"))
    assert not SIGNATURES.url(urls, sign("wss://relay.example.com/voice/relay"))


@pytest.mark.parametrize("signed", ["https://relay.example.com/voice/relay", "ws://relay.example.com/voice/relay"])
def test_handshake_is_signed_as_wss_only(signed: str) -> None:
    """A signature over another scheme is not one of the handshake."""
    assert not SIGNATURES.url(ADDRESS.handshake_urls("/voice/relay"), sign(signed))


@pytest.mark.parametrize(
    ("public_url", "signed", "accepted"),
    [
        ("https://h.example", "h.example", True),
        ("https://h.example", "h.example:443", True),
        ("https://h.example", "h.example:80", False),
        ("https://h.example:443", "h.example", True),
        ("https://h.example:443", "h.example:443", True),
        ("https://h.example:8443", "h.example:8443", True),
        ("https://h.example:8443", "h.example", True),
        ("https://h.example:8443", "h.example:443", False),
        ("https://[2001:db8::1]:8443", "[2001:db8::1]", True),
        ("https://[2001:db8::1]", "[2001:db8::1]:443", True),
        ("https://h.example/", "h.example", True),
    ],
)
def test_port_may_be_left_out(public_url: str, signed: str, accepted: bool) -> None:
    """The URL is accepted as written and with or without its port, for webhooks and for the handshake."""
    address = PublicAddress.parse(public_url)
    assert SIGNATURES.url(address.webhook_urls("/a"), sign(f"https://{signed}/a")) is accepted
    assert SIGNATURES.url(address.handshake_urls("/a"), sign(f"wss://{signed}/a")) is accepted


def test_prefix_of_the_public_address_counts() -> None:
    """A prefix the proxy strips before us is part of the signed URL; without it the signature is of another URL."""
    address = PublicAddress.parse("https://h.example/phone/eu/")
    assert address.ws("/voice/relay") == "wss://h.example/phone/eu/voice/relay"
    assert address.http("/voice/action?attempt=1") == "https://h.example/phone/eu/voice/action?attempt=1"
    assert SIGNATURES.url(address.handshake_urls("/voice/relay"), sign("wss://h.example/phone/eu/voice/relay"))
    assert not SIGNATURES.url(address.handshake_urls("/voice/relay"), sign("wss://h.example/voice/relay"))


def test_any_listed_token_verifies() -> None:
    """While a token is replaced by another, signatures of both are accepted and of a third are not."""
    signatures = TwilioSignatures(["new", "old"])
    urls = ADDRESS.webhook_urls("/a")
    for token, accepted in (("new", True), ("old", True), ("older", False)):
        assert signatures.url(urls, sign("https://relay.example.com/a", token=token)) is accepted


@pytest.mark.parametrize("tokens", [[], [""], ["good", ""]])
def test_empty_token_is_refused(tokens: list[str]) -> None:
    """Without a token nothing could be verified, so there is no such verifier."""
    with pytest.raises(ConfigError):
        TwilioSignatures(tokens)


@pytest.mark.parametrize(
    "url", ["http://h.example", "h.example", "https://", "https://h?x=1", "https://h:x", "https://u@h"]
)
def test_address_that_is_none_is_refused(url: str) -> None:
    """An address paths cannot be appended to is named as the operator's mistake."""
    with pytest.raises(ConfigError, match="PUBLIC_URL"):
        PublicAddress.parse(url)


@pytest.mark.parametrize("signature", ["", "x", "ü", "\udcff\udc00", "DTOEVPKJMUTDDzGGIU25MkRe30E", " ", "\x00"])
def test_malformed_signature_is_false(signature: str) -> None:
    """No header makes the check fail otherwise than by False: not ASCII, not UTF-8, cut short, empty."""
    assert SIGNATURES.url(ADDRESS.handshake_urls("/voice/relay"), signature) is False
    assert SIGNATURES.json(ADDRESS.webhook_urls("/json?bodySHA256=\udcff"), b"", signature) is False


def test_path_that_is_not_utf8_is_false() -> None:
    """Bytes in the path that are not UTF-8 (as aiohttp hands them on) cannot have been signed."""
    assert SIGNATURES.url(ADDRESS.webhook_urls("/a\udcff"), "x") is False


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@given(st.lists(st.tuples(texts, texts), max_size=8))
def test_agrees_with_twilios_own_signature(pairs: list[tuple[str, str]]) -> None:
    """What twilio's validator signs is accepted, with repeated names, empty values and spaces as they are."""
    params = MultiDict(pairs)
    url = "https://relay.example.com/voice/incoming?agent=a%20b"
    assert SIGNATURES.form(ADDRESS.webhook_urls("/voice/incoming?agent=a%20b"), params, sign(url, params))


@given(texts.filter(lambda text: text != sign("wss://relay.example.com/voice/relay")))
def test_nothing_else_is_accepted(signature: str) -> None:
    """Any other text is refused."""
    assert not SIGNATURES.url(("wss://relay.example.com/voice/relay",), signature)
