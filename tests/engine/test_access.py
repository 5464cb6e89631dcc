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


@pytest.mark.parametrize("caller", ["127.0.0.1", "127.0.0.2", "::1", "::ffff:127.0.0.1", "::ffff:7f00:1"])
@pytest.mark.parametrize("header", ["x-forwarded-for", "Forwarded", "x-real-ip", "via", "x-forwarded-proto"])
@pytest.mark.parametrize("value", ["127.0.0.1", "8.8.8.8", "", "for=127.0.0.1"])
def test_what_a_proxy_passed_on_wants_the_token(caller, header, value, monkeypatch):
    """Whether the server trusts the proxy or not, and whatever the proxy's own caller wrote into the header."""
    sent = {header.lower(): value, "host": "localhost"}
    assert "proxy" in refusal(caller, **sent)
    monkeypatch.setenv("UNFRAG_TOKEN", "s3cret")
    assert refusal(caller, **sent, authorization="Bearer s3cret") is None


@pytest.mark.parametrize(
    "host",
    [
        *("", " ", "x@127.0.0.1", "127.0.0.1@evil", "127.0.0.1.evil", "127.1", "localhost:99999999", "localhost, evil"),
        *("[::1", "::1", "[::1]evil", "localhost/", "2130706433", "0x7f000001", "localhost#", "évil"),
    ],
)
def test_a_host_that_is_no_plain_name_of_this_machine(host):
    raw = [(b"host", host.encode("latin-1", "replace"))]
    request = Request({"type": "http", "headers": raw, "client": ("127.0.0.1", 1)})
    assert "own name" in access.refusal(request)


def test_two_hosts_are_one_too_many():
    raw = [(b"host", b"localhost"), (b"host", b"127.0.0.1")]
    request = Request({"type": "http", "headers": raw, "client": ("127.0.0.1", 1)})
    assert "own name" in access.refusal(request)


@pytest.mark.parametrize("origin", ["http://[", "http://localhost@evil", "file://", "http://localhost.evil", ""])
def test_an_origin_that_is_none(origin):
    assert "another site" in refusal("127.0.0.1", origin=origin)


def test_a_token_in_the_query_opens_nothing(monkeypatch):
    monkeypatch.setenv("UNFRAG_TOKEN", "s3cret")
    request = Request(
        {"type": "http", "headers": [], "client": ("10.0.0.1", 1), "query_string": b"token=s3cret&UNFRAG_TOKEN=s3cret"}
    )
    assert "this machine" in access.refusal(request)
