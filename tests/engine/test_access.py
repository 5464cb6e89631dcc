"""Who may flush: callers on this machine, or holders of the token; never a foreign web page."""

import pytest
from fastapi import Request

from unfrag.engine import access


def refusal(caller, **headers):
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    client = None if caller is None else (caller, 1)
    return access.refusal(Request({"type": "http", "headers": raw, "client": client}))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
def test_this_machine_may(host):
    assert refusal(host) is None


@pytest.mark.parametrize("host", ["10.0.0.1", "::ffff:10.0.0.1", "2001:db8::1", "", "evil", None])
def test_others_may_not(host, monkeypatch):
    assert "this machine" in refusal(host)
    assert "this machine" in refusal(host, authorization="Bearer ")
    monkeypatch.setenv("UNFRAG_TOKEN", "s3cret")
    assert "this machine" in refusal(host, authorization="Bearer wrong")
    assert "this machine" in refusal(host, authorization="s3cret")
    assert refusal(host, authorization="Bearer s3cret") is None


@pytest.mark.parametrize("name", ["localhost:8000", "127.0.0.1:8000", "[::1]:8000"])
def test_this_machine_by_its_own_name(name):
    assert refusal("127.0.0.1", host=name) is None


@pytest.mark.parametrize("name", ["evil.example:8000", "10.0.0.1"])
def test_a_name_that_was_pointed_at_this_machine_is_refused(name):
    """A page may resolve its own name to 127.0.0.1; its browser then sends no foreign origin."""
    assert "own name" in refusal("127.0.0.1", host=name)


def test_a_foreign_page_on_this_machine_may_not():
    assert "another site" in refusal("127.0.0.1", origin="https://evil.example")
    assert "another site" in refusal("127.0.0.1", origin="null")
    assert refusal("127.0.0.1", origin="http://localhost:3000") is None
