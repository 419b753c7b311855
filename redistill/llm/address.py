"""Where a service is: its identity, whether a key may go there, and by which way."""

import ipaddress
import os
import re
import urllib.request
from collections.abc import Iterable, Mapping
from urllib.parse import SplitResult, parse_qsl, unquote, urlencode, urlsplit

from redistill.console.exceptions import CONFIG, RefusedError

PLAIN_HTTP = "REDISTILL_PLAIN_HTTP"  # hosts to which key and data may go in the clear
PATH = "/chat/completions"  # what is added to the address of a service
VERSION = re.compile(r"/v\d")  # of an interface, in the path of an address
RELEASE = re.compile(r"\d{4}-\d\d-\d\d(?:-[a-z]{1,20})?|v\d|preview|latest")  # of Azure's
CHOICES = b"choices"  # what every answer has
AZURE = ".azure.com"


def identity(
    address: str,
    what: str,
    query: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> str:
    """
    Return the identity of the service at *address*, the setting *what*: scheme, host and path.

    A *query*, and *headers* that are no secrets, are part of it, since either may choose what
    answers. Raises RefusedError (78) for an address with user, password or query, none of which is
    repeated.
    """
    parts = _parts(address, what)
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise _refused(
            f"{what}: may hold no user, password, query or fragment; a key belongs into an "
            "environment variable of its own"
        )
    if parts.query:
        raise _refused(
            f"{what}: may hold no user, password, query or fragment: {_without_query(parts)}; a "
            "key belongs into an environment variable of its own"
        )
    found = f"{parts.scheme}://{parts.netloc.lower()}{parts.path.rstrip('/')}"
    if query:
        found += f"?{urlencode(sorted(query.items()))}"
    if headers:
        found += f"#{urlencode(sorted((name.lower(), text) for name, text in headers.items()))}"
    return found


def service(address: str, what: str) -> str:
    """
    Return the *address* of a service as calls add their path to it, from the setting *what*.

    Raises RefusedError (78) for one that is none, and for one that ends in the path of a call.
    """
    found = identity(address, what)
    if urlsplit(found).path.endswith(PATH):
        raise _refused(
            f"{what}: {found} ends in {PATH}, which is added for each call; it is likely to be "
            f"{found.removesuffix(PATH)}"
        )
    return found


def reachable(address: str, what: str) -> str:
    """
    Return the *address* that calls go to, from the setting *what*.

    Raises RefusedError (78) for plain http beyond this machine, but for a host that
    REDISTILL_PLAIN_HTTP names, and for an address that ends in the path of a call.
    """
    found = service(address, what)
    parts = urlsplit(found)
    host = parts.hostname or ""
    if parts.scheme == "http" and not loopback(host) and host not in _opened():
        raise _refused(
            f"{what}: plain http to {host} would send key and data in the clear; use https, or a "
            f"tunnel to this machine, or, in a network that you trust, {PLAIN_HTTP}={host}"
        )
    return found


def loopback(host: str) -> bool:
    """Say whether *host* is this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def proxy(address: str) -> str | None:
    """
    Return the proxy by which *address* is reached, as the environment says; None for none.

    There is one for https alone, which it does not see into: a key in plain http would be in the
    clear to it. Raises RefusedError (78) for a proxy of a kind that is not known.
    """
    parts = urlsplit(address)
    host = parts.hostname or ""
    if parts.scheme != "https" or loopback(host):
        return None
    proxies = urllib.request.getproxies_environment()
    found = proxies.get("https") or proxies.get("all")
    if not found or urllib.request.proxy_bypass(parts.netloc):
        return None
    found = found if "://" in found else f"http://{found}"
    if urlsplit(found).scheme not in ("http", "https"):
        raise _refused(
            f"https_proxy: only a proxy of http or https is known; unset it, or set no_proxy={host}"
        )
    _parts(found, "https_proxy")
    return found


def secrets(address: str | None) -> Iterable[str]:
    """Say what is secret in the *address* of a proxy, as it stands there and as it is meant."""
    password = urlsplit(address).password if address else None
    return {password, unquote(password)} if password else ()


def advice(asked: str, status: int, body: bytes = b"") -> str:
    """
    Say of an answer with *status* and *body* what is likely wrong with the address *asked*.

    Some servers say with 200 that they have no such path. Empty where nothing seems to be wrong.
    """
    parts = urlsplit(asked)
    strange = status == 200 and CHOICES not in body and not VERSION.search(parts.path)
    if status not in (404, 405) and not (strange and parts.path.endswith(PATH)):
        return ""
    told = f"; asked was {asked}"
    if (parts.hostname or "").endswith(AZURE) and "api-version" not in dict(parse_qsl(parts.query)):
        return f"{told}: Azure wants openai.query: {{api-version: ...}}"
    base, path, _ = asked.partition(PATH)
    return f"{told}: its likely address is {base}/v1" if path and not VERSION.search(base) else told


def _parts(address: str, what: str) -> SplitResult:
    """The parts of *address*; a malformed one may hold a password, and is not repeated."""
    try:
        parts = urlsplit(address)
        well_formed = bool(parts.hostname) and parts.port != 0 and address.isprintable()
    except ValueError:
        well_formed = False
    if not well_formed or parts.scheme not in ("http", "https"):
        raise _refused(f"{what}: is no http(s) address, such as https://example.org/v1")
    return parts


def _without_query(parts: SplitResult) -> str:
    """How the address *parts* is set without its query: a key may stand there, even as a name."""
    base = f"{parts.scheme}://{parts.netloc.lower()}{parts.path.rstrip('/').removesuffix(PATH)}"
    told = [
        f"{name}: {text}" if name == "api-version" and RELEASE.fullmatch(text) else "...: ..."
        for name, text in parse_qsl(parts.query, keep_blank_values=True)
    ]
    return f"set base_url: {base} and openai.query: {{{', '.join(dict.fromkeys(told))}}}"


def _opened() -> list[str]:
    """The hosts that may be called by plain http."""
    return [host.strip().lower() for host in os.environ.get(PLAIN_HTTP, "").split(",")]


def _refused(message: str) -> RefusedError:
    return RefusedError(message, code=CONFIG)
