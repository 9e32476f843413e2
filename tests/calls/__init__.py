"""Calls from the webhook to the history, over real sockets."""

import pytest

pytest.register_assert_rewrite("tests.calls.checks")
