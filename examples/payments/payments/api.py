"""What each request does: a request value in, an answer value out; sockets are in `server.py`."""

import hashlib
import json
import re
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from payments.store import ConflictError, NotFoundError, Order, Store

LONGEST_KEY = 255
LARGEST_AMOUNT = 10**12
LARGEST_PAGE = 1000
LONGEST_SLOW_SECONDS = 60


@dataclass(frozen=True)
class Request:
    """What a client sent; `key` is its Idempotency-Key."""

    method: str
    path: str
    query: str = ""
    key: str = ""
    body: bytes = b""


@dataclass(frozen=True)
class Answer:
    """A status and a JSON object; status 0 means: never answer."""

    status: int
    body: dict[str, Any]
    headers: dict[str, str] = field(default_factory=dict)


class InvalidError(Exception):
    """The request cannot be understood or is not allowed."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Api:
    """The routes over one store; `broken` is how this revision's health check fails."""

    def __init__(self, store: Store, broken: set[str]) -> None:
        self.store = store
        self.broken = broken

    def answer(self, request: Request) -> Answer:
        """Do what the request asks for; every expected failure is an answer too."""
        try:
            handler, words = self._route(request)
            return handler(request, *words)
        except InvalidError as error:
            return Answer(error.status, {"error": str(error)})
        except NotFoundError as error:
            return Answer(404, {"error": str(error)})
        except ConflictError as error:
            return Answer(409, {"error": str(error)})

    def _route(self, request: Request) -> tuple[Callable[..., Answer], tuple[str, ...]]:
        found = [
            (method, handler, match.groups())
            for method, path, handler in (
                ("POST", r"/payments", self._create),
                ("GET", r"/payments", self._list),
                ("GET", r"/payments/(\w+)", self._show),
                ("POST", r"/payments/(\w+)/cancel", self._cancel),
                ("GET", r"/stats", self._stats),
                ("GET", r"/health_check", self._health),
                ("GET", r"/slow", self._slow),
                ("POST", r"/slow", self._slow),
            )
            if (match := re.fullmatch(path, request.path))
        ]
        for method, handler, words in found:
            if method == request.method:
                return handler, words
        raise (InvalidError(405, "not with this method") if found else InvalidError(404, "there is nothing here"))

    def _create(self, request: Request) -> Answer:
        payment, new = self.store.create(_order(request))
        headers = {"Location": f"/payments/{payment.id}"} | ({} if new else {"Idempotent-Replayed": "true"})
        return Answer(201 if new else 200, asdict(payment), headers)

    def _show(self, _request: Request, payment_id: str) -> Answer:
        return Answer(200, asdict(self.store.get(payment_id)))

    def _cancel(self, _request: Request, payment_id: str) -> Answer:
        return Answer(200, asdict(self.store.cancel(payment_id)))

    def _list(self, request: Request) -> Answer:
        limit = max(1, min(int(_number(request, "limit", 100)), LARGEST_PAGE))
        payments = self.store.after(int(_number(request, "after", 0)), limit)
        page = [asdict(payment) for payment in payments]
        return Answer(200, {"payments": page, "next": page[-1]["number"] if page else None})

    def _stats(self, _request: Request) -> Answer:
        by_status = self.store.counts()
        return Answer(200, {"payments": sum(by_status.values()), "by_status": by_status})

    def _health(self, _request: Request) -> Answer:
        if "hangs" in self.broken:
            return Answer(0, {})
        if "redirects" in self.broken:
            return Answer(302, {"error": "log in first"}, {"Location": "/login"})
        if "unhealthy" in self.broken:
            return Answer(500, {"error": "cannot reach the mandate service: connection refused"})
        return Answer(200, {"status": "ok", "schema": self.store.check()})

    def _slow(self, request: Request) -> Answer:
        seconds = min(_number(request, "seconds", 1), LONGEST_SLOW_SECONDS)
        time.sleep(seconds)
        return Answer(200, {"slept": seconds})


def _order(request: Request) -> Order:
    if not 0 < len(request.key) <= LONGEST_KEY:
        raise InvalidError(400, f"send an Idempotency-Key header of 1 to {LONGEST_KEY} characters")
    try:
        body = json.loads(request.body)
    except ValueError:
        raise InvalidError(400, "the body is not JSON") from None
    if not isinstance(body, dict):
        raise InvalidError(400, "the body is not a JSON object")
    amount, currency = body.get("amount"), body.get("currency")
    mandate, reference = body.get("mandate"), body.get("reference", "")
    if type(amount) is not int or not 0 < amount <= LARGEST_AMOUNT:
        raise InvalidError(422, "amount: a whole number of minor units above 0")
    if not isinstance(currency, str) or not re.fullmatch("[A-Z]{3}", currency):
        raise InvalidError(422, "currency: three capital letters, for example GBP")
    if not isinstance(mandate, str) or not mandate:
        raise InvalidError(422, "mandate: the id of the mandate to collect from")
    if not isinstance(reference, str):
        raise InvalidError(422, "reference: a text")
    fingerprint = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    return Order(request.key, fingerprint, amount, currency, mandate, reference)


def _number(request: Request, name: str, default: float) -> float:
    written = dict(parse_qsl(request.query)).get(name, str(default))
    if not re.fullmatch(r"[0-9]{1,15}(\.[0-9]+)?", written):
        raise InvalidError(400, f"{name}: a number")
    return float(written)
