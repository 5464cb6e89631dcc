import http.server
import socket
import threading

import pytest

from unfrag.errors import NotEnoughEvidence, UsageError
from unfrag.launchers.supervisor.rpc import Supervisord, find_server


def test_the_address_comes_from_the_first_file_that_has_one(tmp_path):
    unix, inet = tmp_path / "unix.conf", tmp_path / "inet.conf"
    unix.write_text("[unix_http_server]\nfile=/run/s.sock ; the socket\n")
    inet.write_text("[inet_http_server]\nport=*:9001\nusername=u\npassword=p@ss\n")
    assert find_server(tmp_path / "none.conf", unix, inet) == "unix:///run/s.sock"
    assert find_server(inet) == "http://u:p%40ss@127.0.0.1:9001"
    assert find_server(tmp_path / "none.conf") is None


def test_a_dead_supervisord_is_said_without_its_password():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(NotEnoughEvidence, match="does not answer") as caught:
        Supervisord(f"http://user:secret@127.0.0.1:{port}").call("getState")
    assert "secret" not in str(caught.value)
    assert str(port) in str(caught.value)


def test_a_missing_socket_is_said(tmp_path):
    with pytest.raises(NotEnoughEvidence, match="No such file"):
        Supervisord(f"unix://{tmp_path}/none.sock").call("getState")


def test_one_that_takes_the_call_and_never_answers_is_given_up():
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        pytest.raises(NotEnoughEvidence, match="does not answer"),
    ):
        Supervisord(f"http://127.0.0.1:{silent.getsockname()[1]}", seconds=0.3).call("getState")


def test_another_program_on_its_port_is_said():
    class Page(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/xml")
            self.end_headers()
            self.wfile.write(b"<html>hello")

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Page) as other:
        thread = threading.Thread(target=other.handle_request)
        thread.start()
        with pytest.raises(NotEnoughEvidence, match="does not answer"):
            Supervisord(f"http://127.0.0.1:{other.server_port}").call("getState")
        thread.join()


def test_another_scheme_is_a_usage_error():
    with pytest.raises(UsageError, match="unix://"):
        Supervisord("ftp://x")
