"""A webhook's other end, for the tests of who tells one."""

from __future__ import annotations

import http.server
import json
import threading


class Receiver:
    """What it was sent is in ``got``. It listens at once and answers from :meth:`serve` on, refusing with 400."""

    def __init__(self, port=0, refuses=lambda message: False):
        self.got = got = []

        class Hook(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                got.append(message)
                self.send_response(400 if refuses(message) else 200)
                self.end_headers()

            def log_message(self, *_):
                pass

        self._server = http.server.HTTPServer(("127.0.0.1", port), Hook)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}/"

    def serve(self):
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()
