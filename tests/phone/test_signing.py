"""The signature against vectors computed by others."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import MultiDict
from twilio.request_validator import RequestValidator

from phone.signing import sign

VECTORS = [
    (
        "12345",
        "https://mycompany.com/myapp.php?foo=1&bar=2",
        {
            "CallSid": "CA1234567890ABCDE",
            "Caller": "+14158675309",
            "Digits": "1234",
            "From": "+14158675309",
            "To": "+18005551212",
        },
        "RSOYDt4T1cUTdK1PDd93/VVr8B8=",
    ),
    ("test_auth_token", "wss://relay.example.com/voice/relay", {}, "DTOEVPKJMUTDDzGGIU25MkRe30E="),
    ("test_auth_token", "wss://relay.example.com/voice/relay/", {}, "6We8mB8EuiE2yei9hsBABf9Ogf8="),
    (
        "test_auth_token",
        "https://relay.example.com/voice/action",
        {
            "AccountSid": "AC" + "0" * 32,
            "CallSid": "CA" + "0" * 32,
            "CallStatus": "in-progress",
            "HandoffData": '{"reason":"agent"}',
            "SessionId": "VX" + "0" * 32,
            "SessionStatus": "ended",
            "SessionDuration": "25",
        },
        "ko/zwh3m5UovF3BNPJlNl48AFrw=",
    ),
    (
        "test_auth_token",
        "https://relay.example.com/json?bodySHA256=015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862",
        {},
        "ZkUiH9pUqI11H0D8fDzfwRG2IAQ=",
    ),
]


@pytest.mark.parametrize(("token", "url", "fields", "signature"), VECTORS)
def test_known_signatures(token: str, url: str, fields: dict[str, str], signature: str) -> None:
    """Every published vector is reproduced."""
    assert sign(token, url, fields) == signature


def test_a_fragment_is_not_signed() -> None:
    """Connection overrides after # are no part of the signed URL."""
    assert sign("t", "https://a.example/x#rc=2") == sign("t", "https://a.example/x")


@given(st.dictionaries(st.text(min_size=1), st.text() | st.lists(st.text(), min_size=1)))
def test_agrees_with_the_vendors_validator(fields: dict[str, str | list[str]]) -> None:
    """Twilio's own library accepts what is signed here, empty and repeated fields included."""
    url = "https://relay.example.com/voice/incoming?agent=spa"
    form = MultiDict(
        (name, v) for name, value in fields.items() for v in ([value] if isinstance(value, str) else value)
    )
    assert RequestValidator("secret").compute_signature(url, form) == sign("secret", url, fields)
