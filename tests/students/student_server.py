"""A server of one student for the tests: it answers prompts of ids from a table of its own."""

import argparse
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

Answers = Callable[[int, dict[str, Any]], tuple[int, Any]]


class StudentServer:
    """
    Serves /v1/models with *names*, and /v1/completions: ``answers(number, request)`` is an answer.

    *calls* holds every request in the order of arrival.
    """

    def __init__(self, names: list[str], answers: Answers, port: int = 0) -> None:
        self.calls: list[dict[str, Any]] = []
        lock, calls = threading.Lock(), self.calls

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self.say(200, {"data": [{"id": name} for name in names]})

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                assert self.path == "/v1/completions", self.path
                with lock:
                    calls.append(body)
                    number = len(calls) - 1
                self.say(*answers(number, body))

            def say(self, code: int, content: Any) -> None:
                raw = json.dumps(content).encode()
                self.send_response(code)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, *_: object) -> None:
                """Stay silent."""

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def completion(text: str, finish: str, tokens: int, prompt: int) -> dict[str, Any]:
    """A well-formed answer; *tokens* counts EOS, as servers do."""
    return {
        "object": "text_completion",
        "choices": [{"index": 0, "text": text, "finish_reason": finish}],
        "usage": {"prompt_tokens": prompt, "completion_tokens": tokens},
    }


def from_table(table: dict[str, list[Any]]) -> Answers:
    """Answers by prompt: text, finish reason, and tokens with EOS."""

    def answers(number: int, request: dict[str, Any]) -> tuple[int, Any]:
        text, finish, tokens = table[json.dumps(request["prompt"])]
        return 200, completion(text, finish, tokens, len(request["prompt"]))

    return answers


def main() -> None:
    """Serve until killed: the command that a stage starts."""
    parser = argparse.ArgumentParser()
    for option in ("--model", "--name", "--table", "--pids"):
        parser.add_argument(option)
    parser.add_argument("--port", type=int)
    parser.add_argument("--crash-after", type=int, default=10**9)
    options = parser.parse_args()
    worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
    Path(options.pids).write_text(f"{os.getpid()} {worker.pid}")
    assert Path(options.model, "config.json").is_file()
    known, dying = from_table(json.loads(Path(options.table).read_text())), threading.Lock()

    def answers(number: int, request: dict[str, Any]) -> tuple[int, Any]:
        if number >= options.crash_after:
            dying.acquire()  # only the first of several threads has last words
            print("out of memory, of all things", flush=True)
            os._exit(9)
        return known(number, request)

    StudentServer([options.name or options.model], answers, options.port)
    worker.wait()


if __name__ == "__main__":
    main()
