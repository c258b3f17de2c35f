"""Posts a notification to a webhook. No error contains any part of the URL, which may be a secret."""

import re

from conductor import __version__
from conductor.definitions.environment import secret
from conductor.definitions.explain import convert
from conductor.definitions.grammar import WebhookUrl
from conductor.definitions.section import SecretRef
from conductor.errors import ConductorError
from conductor.http import Connection
from conductor.times import duration_text

_PORTS = {"http": 80, "https": 443}


def url_of(webhook: str | SecretRef) -> str:
    """Return the URL. Raise `ConductorError` if its file cannot be read or does not contain a URL."""
    if isinstance(webhook, str):
        return webhook
    try:
        url: str = convert(secret(webhook.file).reveal(), WebhookUrl)
    except ValueError:
        raise ConductorError(f"cannot use {webhook.file}: it must contain an http:// or https:// URL") from None
    return url


def post(webhook: str | SecretRef, document: bytes, seconds: float) -> None:
    """Post the document. Raise `ConductorError` unless the answer has a status from 200 to 299.

    A redirect is not followed, and variables such as https_proxy are ignored: they would send the document elsewhere.
    """
    scheme, _, rest = url_of(webhook).partition("://")
    authority = re.split(r"[/?]", rest, maxsplit=1)[0]
    target = rest.removeprefix(authority)
    name, port = _address(authority)
    headers = {
        "Host": authority, "User-Agent": f"conductor/{__version__}", "Content-Type": "application/json",
        "Content-Length": str(len(document)), "Connection": "close",
    }  # fmt: skip
    try:
        with Connection(
            (name, int(port or _PORTS[scheme])), seconds, name if scheme == "https" else None, verified=True
        ) as connection:
            status = connection.request("POST", target if target.startswith("/") else f"/{target}", headers, document)
    except TimeoutError:
        raise ConductorError(f"the webhook did not respond within {duration_text(seconds)}") from None
    except (OSError, OverflowError, ValueError) as error:  # without its cause, which may quote the URL
        raise ConductorError(f"cannot reach the webhook: {_cause(error)}") from None
    if not 200 <= status < 300:
        raise ConductorError(f"the webhook returned {status}" + " (a redirect is not followed)" * (300 <= status < 400))


def _address(authority: str) -> tuple[str, str]:
    """Return the host and the port, which may be empty. Brackets are around an IPv6 address."""
    if authority.startswith("["):
        host, _, port = authority[1:].partition("]")
        return host, port.removeprefix(":")
    host, _, port = authority.partition(":")
    return host, port


def _cause(error: Exception) -> str:
    """Return the cause. The text of other errors may contain the host's name, and an invalid answer may repeat the URL."""
    import ssl

    match error:
        case ssl.SSLCertVerificationError():
            return "its certificate is not valid or not trusted by this host"
        case ssl.SSLError():
            return "the TLS handshake failed"
        case OSError(strerror=str(text)):
            return text
        case ConnectionError():
            return "the connection was closed without a response"
        case UnicodeError():
            return "its host name is not valid"
        case OverflowError():
            return "its port is not valid"
        case _:
            return "its response is not HTTP"
