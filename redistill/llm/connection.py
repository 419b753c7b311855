"""One connection to a service: what goes out is ours alone, what comes in is bounded and clean."""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any

from redistill.llm import address as addresses
from redistill.llm.endpoint import Raw, most_of_a_body, most_of_a_file, policy
from redistill.llm.inflation import BodyError
from redistill.llm.redaction import Redaction

# Headers of a request that stay as the SDK makes them; any other may be from the environment.
KEPT = ("host", "content-length", "transfer-encoding", "connection")
MULTIPART = "multipart/form-data"
LARGE = 1_000_000  # bytes of a body that are not looked through between two steps of others
MOST: ContextVar[int] = ContextVar("most bytes of the answer that is waited for")


class Connection:
    """
    Carries requests through the openai SDK, which neither retries, redirects nor parses.

    To every request the *headers* and the *query* are added. *hidden* are secrets beside *secret*,
    the key: what comes back holds none of them, and *redaction* takes them out of what is decoded
    from that. The SDK knows no key, and of the environment nothing goes out: it is here alone that
    the headers of a request are made.
    """

    spoken: Mapping[str, str] = {}  # headers of a call that say which version is spoken, if any

    def __init__(
        self,
        address: str,
        secret: str,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        hidden: Sequence[str] = (),
    ) -> None:
        self.advice = ""  # on the address, where the last answer makes it doubtful
        self._query = query or {}
        self._proxy = addresses.proxy(address)
        proxied = [*addresses.secrets(self._proxy)]
        self.redaction = Redaction([secret, *hidden, *proxied])
        # A proxy is heard where there is no answer: there its password is found, however short
        self._failures = Redaction([secret, *hidden], proxied)
        self._secret = {name: "..." for name, text in self._query.items() if text in hidden}
        self._body, self._file = most_of_a_body(), most_of_a_file()
        own = {name.lower(): text for name, text in (headers or {}).items()}
        self._headers = {
            "accept": "application/json",
            "accept-encoding": "identity",
            "user-agent": "redistill",
            **({"authorization": f"Bearer {secret}"} if secret else {}),
            **own,
        }
        self._open(address)

    def _open(self, address: str) -> None:
        import httpx2
        import openai

        self._sdk: Any = openai
        self._raw = httpx2.Response
        self._client: Any = openai.AsyncOpenAI(base_url=address, api_key="none", **self._manner())

    def _manner(self) -> dict[str, Any]:
        """How either SDK is set up."""
        import httpx2

        client = self._sdk.DefaultAioHttpClient(
            follow_redirects=False,
            trust_env=False,
            # Whom we trust is the machine's matter: SSL_CERT_FILE and SSL_CERT_DIR are read
            verify=httpx2.create_ssl_context(),
            proxy=self._proxy,
            event_hooks={"request": [self._leaving], "response": [self._arriving]},
        )
        return {"max_retries": 0, "timeout": policy().deadline, "http_client": client}

    async def _leaving(self, request: Any) -> None:
        """Have nothing but our own headers and query in *request*."""
        made = request.headers
        kept = {name: made[name] for name in (*KEPT, *self.spoken) if name in made}
        if request.method == "POST":
            kind = made.get("content-type", "")
            kept["content-type"] = kind if kind.startswith(MULTIPART) else "application/json"
        request.headers = type(made)(kept | self._headers)
        if self._query:
            request.url = request.url.copy_merge_params(self._query)

    async def _arriving(self, response: Any) -> None:
        """Have the body of *response* read in bounds, and undone of its encoding, once."""
        from redistill.llm.bounded_stream import BoundedStream

        encoding = response.headers.pop("content-encoding", "")
        # the SDK reads the text of an error, whatever the server says that it is written in
        response.headers["content-type"] = "text/plain; charset=utf-8"
        good = 200 <= response.status_code < 300
        response.stream = BoundedStream(
            response.stream, encoding, MOST.get(), good=good, margin=self._failures.reach
        )

    async def post(self, path: str, content: Mapping[str, Any]) -> Raw:
        """
        Send *content* to *path*.

        Raises TimeoutError, BodyError for an answer that is too large or encoded in a way that is
        not known, and OSError where there is no connection.
        """
        return await self._raw_of(self._client.post(path, body=content, cast_to=self._raw))

    async def get(self, path: str, *, file: bool = False) -> Raw:
        """Fetch what is at *path*, a *file* perhaps, which may be large; raises as `post` does."""
        most = self._file if file else self._body
        options = {"headers": dict(self.spoken)}
        call = self._client.get(path, options=options, cast_to=self._raw)
        return await self._raw_of(call, most)

    async def upload(self, path: str, name: str, content: bytes, **fields: str) -> Raw:
        """Send *content* as a file called *name*, with form *fields*; raises as `post` does."""
        call = self._client.post(
            path,
            body=fields,
            files=[("file", (name, content, "application/jsonl"))],
            options={"headers": {"Content-Type": MULTIPART}},
            cast_to=self._raw,
        )
        return await self._raw_of(call)

    async def _raw_of(self, call: Awaitable[Any], most: int | None = None) -> Raw:
        MOST.set(self._body if most is None else most)
        try:
            response = await call
        except self._sdk.APIStatusError as problem:
            response = problem.response
        except self._sdk.APIConnectionError as problem:  # a timeout is one of them
            raise self._fault(problem) from None
        except BodyError as problem:
            raise BodyError(self._failures.text(str(problem))) from None
        except Exception as problem:  # a header or a line that the libraries below cannot read
            told = f"an answer that cannot be read: {type(problem).__name__}"
            raise ConnectionError(told) from None
        status, after = response.status_code, response.headers.get("retry-after")
        body = await self._clean(response)
        url = response.request.url
        asked = str(url.copy_merge_params(self._secret)) if self._secret else str(url)
        told = addresses.advice(asked, status, body)
        self.advice = told and self._failures.text(told)
        return Raw(status, body, after and self._failures.text(after))

    async def _clean(self, response: Any) -> bytes:
        """The body of *response* without secrets, and without half of one where it was cut off."""
        content = response.content
        redaction = self.redaction if 200 <= response.status_code < 300 else self._failures
        if len(content) > LARGE:  # others go on meanwhile
            body = await asyncio.to_thread(redaction.body, content)
        else:
            body = redaction.body(content)
        return body[: max(0, len(body) - redaction.reach)] if response.stream.cut else body

    def _fault(self, problem: Any) -> OSError:
        """What is raised for *problem*, a connection that the SDK says has failed."""
        cause = problem.__cause__ or problem
        lost = type(cause).__name__ == "ConnectTimeout"  # what aiohttp's lost connections become
        if isinstance(problem, self._sdk.APITimeoutError) and not lost:
            return TimeoutError()
        told = self._failures.text(str(cause))
        return BodyError(told) if isinstance(cause, BodyError) else ConnectionError(told)

    async def close(self) -> None:
        """Let go of the connections."""
        await self._client.close()
