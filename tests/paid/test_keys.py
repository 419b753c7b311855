"""The key, behind proxies, before servers that give it back in whatever writing: it is nowhere."""

import base64
import html
import json
import os
import re
import select
import shutil
import socket
import sqlite3
import ssl
import subprocess
import threading
import time
import urllib.parse
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from redistill.llm.bounded_stream import FAILED
from redistill.llm.redaction import CUT
from tests.paid.run import VARIABLE, Run, solution, solving
from tests.paid.server import Action, Script, Server, after, always, answer, content, status

Serve = Callable[[Script], Server]
KEY = "canary/key+with=SIGNS/0123+4567"
PASSWORD = "proxy/canary+password"
HOST = "teacher.test"  # which the proxy knows, and nobody else
ESCAPED = "".join(f"\\u{ord(c):04x}" for c in KEY)
WRITTEN = {
    "plain": KEY,
    "slashes": KEY.replace("/", "\\/"),
    "plus signs": KEY.replace("+", "\\u002B"),
    "escapes": ESCAPED,
    "escapes within JSON": json.dumps(ESCAPED)[1:-1],
    "percent": urllib.parse.quote(KEY, safe=""),
    "entities": "".join(f"&#{ord(c)};" if not c.isalnum() else c for c in KEY),
    "base64": base64.b64encode(f"Bearer {KEY}".encode()).decode(),
}


class Proxy:
    """A proxy that is asked to CONNECT; *log* holds whatever it saw, in both directions."""

    def __init__(self, port: int) -> None:
        self.port, self.log, self.heads = port, bytearray(), []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://u:{urllib.parse.quote(PASSWORD, safe='')}@127.0.0.1:{self._own_port()}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _own_port(self) -> int:
        return int(self._socket.getsockname()[1])

    def _serve(self) -> None:
        while True:
            try:
                near, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._pass_on, args=(near,), daemon=True).start()

    def _pass_on(self, near: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += near.recv(65536)
        self.log += head
        self.heads.append(head.split(b"\r\n")[0].decode())
        far = socket.create_connection(("127.0.0.1", self.port))
        near.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        other = {near: far, far: near}
        while True:
            for ready in select.select([near, far], [], [])[0]:
                try:
                    part = ready.recv(65536)
                except OSError:
                    part = b""
                if not part:
                    near.close()
                    far.close()
                    return
                self.log += part
                other[ready].sendall(part)

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate that a server on HOST has signed itself, with its key behind it."""
    if shutil.which("openssl") is None:
        pytest.skip("needs the program openssl, which makes the certificate")
    file = tmp_path / "tls/server.pem"
    file.parent.mkdir()
    words = f"req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN={HOST} -keyout {file}.key"
    more = ["-addext", f"subjectAltName=DNS:{HOST}", "-out", str(file)]
    subprocess.run(["openssl", *words.split(), *more], check=True, capture_output=True)
    return file


@pytest.fixture
def secure(certificate: Path) -> Iterator[Callable[[Script], tuple[Server, Proxy]]]:
    """Start a server of TLS that follows a script, and a proxy that knows the way there."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, f"{certificate}.key")
    started: list[Server | Proxy] = []

    def start(script: Script) -> tuple[Server, Proxy]:
        server = Server(script, tls)
        proxy = Proxy(int(server.url.split(":")[2].split("/")[0]))
        started.extend([server, proxy])
        return server, proxy

    yield start
    for one in started:
        one.close()


def views(raw: bytes) -> Iterator[str]:
    """What *raw* says, read in every way that gives a text back what was escaped in it."""
    for encoding in ("utf-8", "utf-16-le", "utf-16-be"):
        text = raw.decode(encoding, "replace")
        for _ in range(3):
            yield text
            text = re.sub(r"\\+u([0-9a-fA-F]{4})", lambda m: chr(int(m[1], 16)), text)
            text = html.unescape(urllib.parse.unquote(text.replace("\\/", "/")))
    yield raw.replace(b"\0", b"").decode("utf-8", "replace")
    for part in re.findall(rb"[A-Za-z0-9+/]{16,}", raw + raw.replace(b"\0", b"")):
        for start in range(4):
            chunk = part[start : len(part) - ((len(part) - start) % 4 == 1)]
            yield base64.b64decode(chunk + b"=" * (-len(chunk) % 4)).decode("utf-8", "replace")


def holds(raw: bytes, *secrets: str) -> bool:
    return any(secret in view for view in views(raw) for secret in secrets)


def places(run: Run, said: str, proxy: Proxy | None = None) -> list[str]:
    """Where the key is: in files (store, export, outputs, temporary ones), in words, in a log."""
    said += run.redistill("ledger")
    run.redistill("store", "export", "export.jsonl")
    found = [str(f) for f in run.root.rglob("*") if f.is_file() and holds(f.read_bytes(), KEY)]
    found += ["the terminal"] * holds(said.encode(), KEY, PASSWORD)
    return found + ["the proxy's log"] * (proxy is not None and holds(bytes(proxy.log), KEY))


def teacher(root: Path, url: str, name: str, count: int = 2) -> Run:
    folder = root / name
    (folder / "tmp").mkdir(parents=True)
    return Run(folder, url, count, openai={"key": VARIABLE})


def test_what_finds_the_key_finds_it_in_each_writing():
    for text in WRITTEN.values():
        assert holds(f'{{"a": "{text}"}}'.encode(), KEY)
        assert holds(f'{{"a": "{text}"}}'.encode("utf-16"), KEY)


@pytest.mark.parametrize("name", ["answers", "refuses", "fails", "moves", "wide", "encodes"])
def test_a_key_that_is_given_back_in_every_writing_is_nowhere(
    name: str, serve: Serve, tmp_path: Path
):
    text = " ".join(WRITTEN.values())

    def taught(number: int, request: dict) -> Action:
        right = solution(request["messages"][-1]["content"])
        body = json.dumps(content(right.replace("First", "First HERE"), model="MODEL"))
        return status(200, body.replace("HERE", text).replace("MODEL", text), retry_after=text)

    error = f'{{"error": {{"message": "wrong key {text}"}}}}'
    scripts = {
        "answers": taught,
        "refuses": always(status(401, error)),
        "fails": always(status(500, error, retry_after=text)),
        "moves": always(status(307, error, location=f"http://127.0.0.1:9/{text}")),
        "wide": always(status(403, error.encode("utf-16"))),
        "encodes": always(status(200, error, content_encoding=text)),
    }
    server = serve(scripts[name])
    run = teacher(tmp_path, server.url, name)
    code = {"answers": 0, "fails": 75, "encodes": 75}.get(name, 77)

    said = run.stage("generate", code=code, REDISTILL_ATTEMPTS="1", **{VARIABLE: KEY})

    assert server.headers[0]["authorization"] == f"Bearer {KEY}"
    assert places(run, said) == []
    if name == "answers":
        assert len(run.out()) == 2
        assert all(r.text.count("[key]") == len(WRITTEN) for r in run.out())


def test_behind_a_proxy_the_key_is_for_the_server_alone(
    secure: Callable[[Script], tuple[Server, Proxy]], certificate: Path, tmp_path: Path
):
    server, proxy = secure(solving(0.3))
    run = teacher(tmp_path, f"https://{HOST}/v1", "proxied")
    env = {VARIABLE: KEY, "https_proxy": proxy.url, "http_proxy": proxy.url}
    env |= {"SSL_CERT_FILE": str(certificate), "TMPDIR": str(run.root / "tmp")}

    process = run.start("generate", **env)
    seen = b"".join(children(process))
    said = "".join(process.communicate(timeout=60))

    assert process.returncode == 0, said
    assert len(run.out()) == 2
    assert set(proxy.heads) == {f"CONNECT {HOST}:443 HTTP/1.1"}
    assert [headers["authorization"] for headers in server.headers] == [f"Bearer {KEY}"] * 2
    assert not any(name.lower().startswith("proxy") for h in server.headers for name in h)
    assert not holds(seen, KEY)
    assert places(run, said, proxy) == []


def children(process: "subprocess.Popen[str]") -> Iterator[bytes]:
    """What anyone can read of the processes that *process* starts, and of its command."""
    own = Path(f"/proc/{process.pid}")
    while process.poll() is None:
        try:
            yield (own / "cmdline").read_bytes()
            for child in (own / f"task/{process.pid}/children").read_text().split():
                yield Path(f"/proc/{child}/cmdline").read_bytes()
                yield Path(f"/proc/{child}/environ").read_bytes()
        except OSError:
            pass  # it has ended meanwhile
        time.sleep(0.02)


def test_a_server_that_cannot_show_who_it_is_is_not_told_the_key(
    secure: Callable[[Script], tuple[Server, Proxy]], tmp_path: Path
):
    server, proxy = secure(solving())
    for name, url in {
        "proxied": f"https://{HOST}/v1",
        "here": server.url.replace("http:", "https:"),
    }.items():
        run = teacher(tmp_path, url, name)
        env = {VARIABLE: KEY, "https_proxy": proxy.url, "REDISTILL_ATTEMPTS": "1"}

        said = run.stage("generate", code=75, **env)

        assert "CERTIFICATE_VERIFY_FAILED" in said.upper().replace(" ", "_"), said
        assert server.headers == []
        assert places(run, said, proxy) == []
    assert len(proxy.heads) > 0


def test_behind_a_proxy_a_redirect_is_not_followed(
    secure: Callable[[Script], tuple[Server, Proxy]],
    certificate: Path,
    serve: Serve,
    tmp_path: Path,
):
    elsewhere = serve(always(answer()))
    moved = status(307, "", location=f"{elsewhere.url}/chat/completions?{KEY}")
    server, proxy = secure(always(moved))
    run = teacher(tmp_path, f"https://{HOST}/v1", "moved")
    env = {VARIABLE: KEY, "https_proxy": proxy.url, "SSL_CERT_FILE": str(certificate)}

    said = run.stage("generate", code=77, **env)

    assert "redirected" in said
    assert len(server.calls) >= 1
    assert elsewhere.calls == []
    assert places(run, said, proxy) == []


def test_a_proxy_that_is_not_there_is_told_without_its_password(tmp_path: Path):
    run = teacher(tmp_path, f"https://{HOST}/v1", "alone")
    proxy = f"http://u:{urllib.parse.quote(PASSWORD, safe='')}@127.0.0.1:9"

    said = run.stage(
        "generate", code=75, REDISTILL_ATTEMPTS="1", https_proxy=proxy, **{VARIABLE: KEY}
    )

    assert "no connection" in said
    assert places(run, said) == []


def test_a_header_out_of_the_environment_is_as_secret_as_the_key(serve: Serve, tmp_path: Path):
    server = serve(always(after(0, status(401, {"error": {"message": f"who is {KEY}?"}}))))
    run = teacher(tmp_path, server.url, "header")
    run.settings["openai"] |= {"key": None, "headers": {"Authorization": {"env": VARIABLE}}}
    run.save()

    said = run.stage("generate", code=77, **{VARIABLE: f"Token {KEY}"})

    assert server.headers[0]["authorization"] == f"Token {KEY}"
    assert "who is [key]?" in said
    assert places(run, said) == []


def test_a_query_out_of_the_environment_is_as_secret_as_the_key(serve: Serve, tmp_path: Path):
    server = serve(always(status(404, {"error": {"message": f"who is {KEY}?"}})))
    run = teacher(tmp_path, server.url, "query")
    run.settings["openai"] |= {"key": None, "query": {"code": {"env": VARIABLE}, "v": "1"}}
    run.save()

    said = run.stage("generate", code=77, **{VARIABLE: KEY})

    assert server.paths[0].endswith(f"?code={urllib.parse.quote(KEY)}&v=1")
    assert "?code=...&v=1" in said
    assert places(run, said) == []
    said = run.stage("generate", code=77, **{VARIABLE: "short"})
    assert "short" not in said


@pytest.mark.parametrize("written", ["plain", "escapes", "escapes within JSON", "percent"])
@pytest.mark.parametrize("left", [1, 9])
def test_a_key_that_the_bound_of_a_failed_body_cuts_is_not_stored(
    written: str, left: int, serve: Serve, tmp_path: Path
):
    """Whether it is the bound of what is kept, or of what is read, that cuts it."""
    key = WRITTEN[written].encode()
    for number, bound in enumerate((FAILED, FAILED + CUT * len(KEY))):
        body = b"x" * (bound - len(key) + left) + key + b"yy" * 9
        run = teacher(tmp_path, serve(always(status(500, body))).url, str(number), 1)

        run.stage("generate", code=75, REDISTILL_ATTEMPTS="1", **{VARIABLE: KEY})

        (kept,) = stored(run)
        assert kept.strip(b"x") in (b"", b"[key]" + b"y" * 18, b"[key]"[: len(kept.strip(b"x"))])


def test_a_failed_body_that_breaks_off_within_a_key_holds_no_half_of_it(
    serve: Serve, tmp_path: Path
):
    packer = zlib.compressobj(wbits=31)
    half = packer.compress(b"x" * 5000 + KEY[:-1].encode()) + packer.flush(zlib.Z_SYNC_FLUSH)
    run = teacher(tmp_path, serve(always(status(500, half, content_encoding="gzip"))).url, "a", 1)

    run.stage("generate", code=75, REDISTILL_ATTEMPTS="1", **{VARIABLE: KEY})

    (kept,) = stored(run)
    assert set(kept) == {ord("x")}


def stored(run: Run) -> list[bytes]:
    with sqlite3.connect(run.root / "store.sqlite") as store:
        return [row[0] for row in store.execute("select body from attempts")]


def test_a_short_password_of_a_proxy_that_gives_it_back_is_nowhere(tmp_path: Path):
    password = "pw7+Q"
    with socket.create_server(("127.0.0.1", 0)) as proxy:

        def refuse() -> None:
            near, _ = proxy.accept()
            near.recv(65536)
            near.sendall(f"HTTP/1.1 407 not with {password}\r\ncontent-length: 0\r\n\r\n".encode())
            near.close()

        threading.Thread(target=refuse, daemon=True).start()
        quoted = urllib.parse.quote(password, safe="")
        run = teacher(tmp_path, f"https://{HOST}/v1", "short", 1)
        env = {"https_proxy": f"http://u:{quoted}@127.0.0.1:{proxy.getsockname()[1]}"}

        said = run.stage("generate", code=75, REDISTILL_ATTEMPTS="1", **env, **{VARIABLE: KEY})

    assert "not with [key]" in said
    assert password not in said
    assert password.encode() not in (run.root / "store.sqlite").read_bytes()


def test_a_password_in_an_address_that_is_malformed_is_not_printed(tmp_path: Path):
    for number, url in enumerate(
        [f"https://u:{KEY}@ho st/v1", f"u:{KEY}@host", f"https://u:{KEY}"]
    ):
        run = teacher(tmp_path, url, str(number))

        said = run.stage("generate", code=78)

        assert "openai.base_url" in said
        assert not holds(said.encode(), KEY)
        assert KEY in (run.root / "params.yaml").read_text()  # where the user wrote it


def test_the_environment_of_this_test_has_no_key():
    assert not holds(json.dumps(dict(os.environ)).encode(), KEY)
