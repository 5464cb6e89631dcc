"""supervisord's XML-RPC, over its unix socket or HTTP."""

from __future__ import annotations

import http.client
import socket
import xmlrpc.client
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit
from xml.parsers.expat import ExpatError

from unfrag.errors import NotEnoughEvidence, UsageError
from unfrag.launchers.supervisor.ini import options

if TYPE_CHECKING:
    from pathlib import Path

STOPPING_SECONDS = 90.0  # stopProcess answers when the program has stopped; stopwaitsecs bounds that
SHORT_SECONDS = 10.0


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, seconds: float) -> None:
        super().__init__("localhost", timeout=seconds)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class _UnixTransport(xmlrpc.client.Transport):
    def __init__(self, path: str, seconds: float) -> None:
        super().__init__()
        self._path, self._seconds = path, seconds

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        return _UnixConnection(self._path, self._seconds)


class _TcpTransport(xmlrpc.client.Transport):
    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        connection = super().make_connection(host)  # it takes the login out of the address
        connection.timeout = self._seconds
        return connection


class Supervisord:
    """One supervisord.

    Args:
        server: ``unix:///run/supervisor.sock`` or ``http://user:password@127.0.0.1:9001``, as supervisorctl's ``-s``.
        seconds: that one answer may take.
    """

    def __init__(self, server: str, seconds: float = SHORT_SECONDS) -> None:
        self.server = server
        parts = urlsplit(server)
        if parts.scheme == "unix":
            self._proxy = xmlrpc.client.ServerProxy(
                "http://localhost/RPC2", transport=_UnixTransport(parts.path, seconds)
            )
        elif parts.scheme == "http":
            self._proxy = xmlrpc.client.ServerProxy(server.rstrip("/") + "/RPC2", transport=_TcpTransport(seconds))
        else:
            raise UsageError(f"--server {server}: want unix:///path/to.sock or http://host:port")

    def call(self, method: str, *args: Any) -> Any:
        """Call ``supervisor.<method>``.

        Raises:
            NotEnoughEvidence: supervisord does not answer.
            xmlrpc.client.Fault: it answers with an error (``faultString`` begins with its name).
        """
        try:
            return getattr(self._proxy.supervisor, method)(*args)
        except xmlrpc.client.Fault:
            raise
        except (OSError, http.client.HTTPException, xmlrpc.client.Error, ExpatError) as fault:
            shown = urlsplit(self.server)._replace(netloc=urlsplit(self.server).netloc.rpartition("@")[2]).geturl()
            if isinstance(fault, xmlrpc.client.ProtocolError) and fault.errcode == http.client.UNAUTHORIZED:
                raise NotEnoughEvidence(f"supervisord at {shown} wants another name or password") from fault
            why = (
                getattr(fault, "errmsg", None) or getattr(fault, "strerror", None) or str(fault) or type(fault).__name__
            )
            raise NotEnoughEvidence(
                f"supervisord does not answer at {shown} ({why}); is it running? Name it with --server"
            ) from fault


def find_server(*files: Path) -> str | None:
    """supervisord's address from the first of these configuration files that has one."""
    for path in files:
        try:
            text = path.read_bytes().decode("utf-8", "surrogateescape")
        except OSError:
            continue
        socket_path = options(text, "unix_http_server").get("file")
        if socket_path:
            return f"unix://{socket_path.replace('%(here)s', str(path.resolve().parent))}"
        inet = options(text, "inet_http_server")
        if inet.get("port"):
            user, password = inet.get("username", ""), inet.get("password", "")
            login = f"{quote(user)}:{quote(password)}@" if user else ""
            return f"http://{login}{inet['port'].replace('*', '127.0.0.1')}"
    return None
