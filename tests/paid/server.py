"""A chat endpoint on this machine that does as the test says, and counts what it was asked."""

import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Action = Callable[[BaseHTTPRequestHandler], None]
Script = Callable[[int, dict[str, Any]], Action]


class Quiet(ThreadingHTTPServer):
    """A server of threads, to which a client that was killed is no error."""

    request_queue_size = 256
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Say nothing."""

    def begin(self) -> str:
        """Serve from a thread of its own; returns the address."""
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class Server:
    """
    Serves /v1/chat/completions: ``script(number, request)`` says what becomes of each call.

    *calls* holds every request body in the order of arrival, *headers* their headers.
    """

    def __init__(self, script: Script, tls: ssl.SSLContext | None = None) -> None:
        self.script = script
        self.calls: list[dict[str, Any]] = []
        self.headers: list[Mapping[str, str]] = []
        self.paths: list[str] = []
        self.most_at_once = self._now = 0
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                size = int(self.headers.get("content-length", 0))
                body = json.loads(self.rfile.read(size) or "{}")
                with outer._lock:
                    outer.calls.append(body)
                    outer.headers.append(dict(self.headers))
                    outer.paths.append(self.path)
                    number = len(outer.calls) - 1
                    outer._now += 1
                    outer.most_at_once = max(outer.most_at_once, outer._now)
                try:
                    outer.script(number, body)(self)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True
                finally:
                    with outer._lock:
                        outer._now -= 1

            do_GET = do_POST

            def log_message(self, *_: object) -> None:
                """Stay silent."""

        self._server = Quiet(("127.0.0.1", 0), Handler)
        if tls:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.url = self._server.begin()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def status(code: int, body: object = None, **headers: str) -> Action:
    """An answer with *code*; *body* as JSON, or as it is where it is text or bytes."""

    def act(handler: BaseHTTPRequestHandler) -> None:
        raw = body if isinstance(body, bytes) else None
        if raw is None:
            raw = (body if isinstance(body, str) else json.dumps(body)).encode()
        handler.send_response(code)
        handler.send_header("content-type", headers.pop("content_type", "application/json"))
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("content-length", str(len(raw)))
        handler.end_headers()
        handler.wfile.write(raw)

    return act


def content(
    text: str | None = "<rationale>\n#### 1\n</rationale>",
    *,
    finish: str = "stop",
    usage: object = None,
    model: str = "m",
    **message: object,
) -> dict[str, Any]:
    """A well-formed completion."""
    counted = {"prompt_tokens": 10, "completion_tokens": 5} if usage is None else usage
    return {
        "id": "x",
        "object": "chat.completion",
        "created": 1,
        "model": model,
        "choices": [
            {
                "index": 0,
                "finish_reason": finish,
                "message": {"role": "assistant", "content": text, **message},
            }
        ],
        "usage": counted,
    }


def answer(text: str | None = "<rationale>\n#### 1\n</rationale>", **fields: object) -> Action:
    return status(200, content(text, **fields))  # type: ignore[arg-type]


def after(seconds: float, action: Action) -> Action:
    def act(handler: BaseHTTPRequestHandler) -> None:
        time.sleep(seconds)
        action(handler)

    return act


def drip(handler: BaseHTTPRequestHandler) -> None:
    """A byte now and then, for ever."""
    handler.send_response(200)
    handler.send_header("content-length", "100000")
    handler.end_headers()
    for _ in range(100):
        handler.wfile.write(b" ")
        handler.wfile.flush()
        time.sleep(0.1)


def half_body(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("content-length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"id": "x", "choices"')
    handler.wfile.flush()
    hang_up(handler)


def hang_up(handler: BaseHTTPRequestHandler) -> None:
    """Close the connection without a further byte."""
    handler.connection.shutdown(socket.SHUT_RDWR)
    handler.close_connection = True


def always(action: Action) -> Script:
    return lambda number, request: action


def in_turn(*actions: Action) -> Script:
    """The n-th call gets the n-th action, further ones the last."""
    return lambda number, request: actions[min(number, len(actions) - 1)]
