"""A server is named by its place alone: address, log and program come from there; what is given wins."""

import json
import socket
import stat
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from tests.commands.running import run
from unfrag.commands import target

TOO_LONG = (
    "ERROR 11-22 10:00:00 [core.py:3] ValueError: To serve at least one request with the models's max seq len (16384), "
    "(1.29 GiB KV cache is needed, which is larger than the available KV cache memory (0.80 GiB). Based on the "
    "available memory, the estimated maximum model length is 10112. Try increasing `gpu_memory_utilization` or "
    "decreasing `max_model_len` when initializing the engine.\n"
)


@pytest.fixture
def port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        yield probe.getsockname()[1]


@pytest.fixture
def file(tmp_path, port):
    (tmp_path / "glm.log").write_text(TOO_LONG)
    path = tmp_path / "glm.conf"
    line = f"vllm serve /m --max-model-len 16384 --port {port}"
    path.write_text(f"[program:glm]\ncommand={line}\nstdout_logfile=%(here)s/%(program_name)s.log\n")
    return path


def test_a_supervisor_file_alone_is_enough(capsys, file, port):
    code, out, _ = run(capsys, "diagnose", "--config", str(file), "--json")
    found = json.loads(out)
    assert (code, found["verdict"]) == (1, "kv_pool_too_small")
    assert f"http://127.0.0.1:{port}" in found["target"]
    assert not any(missing["fact"] in ("log", "launch") for missing in found["unknown"])


def test_what_is_given_wins(capsys, file, tmp_path):
    (tmp_path / "other.log").write_text("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB\n")
    words = ["diagnose", "--config", str(file), "--log", str(tmp_path / "other.log"), "--url", "http://127.0.0.1:1"]
    out = run(capsys, *words)[1]
    assert "kv_pool_too_small" not in out
    assert out.startswith("http://127.0.0.1:1:")


def test_several_servers_in_a_file_are_named(capsys, file):
    file.write_text(file.read_text() + "[program:qwen]\ncommand=vllm serve /q\n[program:nginx]\ncommand=nginx\n")
    code, _, err = run(capsys, "diagnose", "--config", str(file))
    assert (code, len(err.splitlines())) == (2, 1)
    assert "glm, qwen, nginx" in err
    assert "--program" in err
    assert run(capsys, "diagnose", "--config", str(file), "--program", "glm")[0] == 1


def test_a_server_beside_other_programs_goes_without_saying(capsys, file):
    file.write_text(file.read_text() + "[program:nginx]\ncommand=nginx\n")
    assert run(capsys, "diagnose", "--config", str(file))[0] == 1
    words = ["apply", "--config", str(file), "--dry-run", "--", "--max-model-len", "10112"]
    assert run(capsys, *words)[0] == 0


def test_a_wrong_program_of_a_main_file_is_answered_with_the_included_ones(capsys, file, tmp_path):
    main_file = tmp_path / "supervisord.conf"
    main_file.write_text(f"[include]\nfiles={file}\n")
    assert run(capsys, "diagnose", "--config", str(main_file))[0] == 1
    err = run(capsys, "diagnose", "--config", str(main_file), "--program", "gml")[2]
    assert "they have: glm" in err


def test_a_log_that_is_not_there_is_said(capsys, file, tmp_path):
    (tmp_path / "glm.log").unlink()
    code, out, err = run(capsys, "diagnose", "--config", str(file))
    assert code == 3
    assert "no log of glm is found" in out + err


def test_a_capture_by_the_file_alone_has_the_log(capsys, file, tmp_path):
    code, out, _ = run(capsys, "capture", "--config", str(file), "--dry-run", "--json")
    assert code == 0
    assert "log.txt" in json.loads(out)["files"]


def program(folder, name, text):
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_a_units_journal_is_its_log(capsys, tmp_path, monkeypatch, port):
    unit = f"[Service]\nExecStart=vllm serve /m --max-model-len 16384 --port {port}\n"
    program(tmp_path, "systemctl", f"cat <<'X'\n{unit}X\n")
    program(tmp_path, "journalctl", f"cat <<'X'\n{TOO_LONG}X\n")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    code, out, _ = run(capsys, "diagnose", "--unit", "vllm")
    assert (code, "kv_pool_too_small" in out) == (1, True)


def test_a_containers_log_is_its_services(capsys, tmp_path, monkeypatch, port):
    from unfrag.launchers.compose.service import _tools

    program(tmp_path, "docker", f"if [ \"$1\" = logs ]; then cat >&2 <<'X'\n{TOO_LONG}X\nelse echo 1f; fi\n")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    _tools.cache_clear()
    file = tmp_path / "docker-compose.yml"
    file.write_text(f"services:\n  vllm:\n    command: --model /m --max-model-len 16384 --port {port}\n")
    code, out, _ = run(capsys, "diagnose", "--compose", str(file))
    _tools.cache_clear()
    assert (code, "kv_pool_too_small" in out) == (1, True)


class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(404)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.mark.parametrize("verb", ["flush", "bench", "diagnose"])
def test_the_address_comes_from_the_file(capsys, tmp_path, monkeypatch, verb):
    monkeypatch.setattr(target, "URL", "http://127.0.0.1:1")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    Thread(target=server.serve_forever, daemon=True).start()
    file = tmp_path / "a.conf"
    file.write_text(f"[program:x]\ncommand=vllm serve m --port {server.server_port}\n")
    code, _, err = run(capsys, verb, "--config", str(file))
    server.shutdown()
    assert code == 3
    assert f"127.0.0.1:{server.server_port}" in err
    assert "404" in err


@pytest.fixture
def tls(tmp_path):
    import shutil
    import ssl
    import subprocess

    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "k.pem", "-out", "c.pem"]
    subprocess.run([*words, "-subj", "/CN=x"], cwd=tmp_path, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "c.pem", tmp_path / "k.pem")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    server.handle_error = lambda *_: None
    server.socket = context.wrap_socket(server.socket, server_side=True)
    Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()


@pytest.mark.parametrize("verb", ["flush", "bench", "diagnose"])
def test_the_other_scheme_is_named(capsys, tls, verb):
    code, _, err = run(capsys, verb, "--url", f"http://127.0.0.1:{tls}")
    assert code == 3
    assert f"try https://127.0.0.1:{tls}" in err


@pytest.mark.parametrize("verb", ["flush", "bench", "diagnose"])
def test_https_at_an_http_server_and_a_route_are_named(capsys, verb):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    Thread(target=server.serve_forever, daemon=True).start()
    address = f"127.0.0.1:{server.server_port}"
    assert "it speaks http, not https" in run(capsys, verb, "--url", f"https://{address}")[2]
    code, _, err = run(capsys, verb, "--url", f"http://{address}/v1")
    server.shutdown()
    assert (code, len(err.splitlines())) == (2, 1)
    assert "leave /v1 away" in err
