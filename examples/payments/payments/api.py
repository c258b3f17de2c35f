"""The routes: a request value in, a response value out. `server.py` has the sockets."""

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
    """A client's request; `key` is its Idempotency-Key."""

    method: str
    path: str
    query: str = ""
    key: str = ""
    body: bytes = b""


@dataclass(frozen=True)
class Response:
    """A status and a JSON object. Status 0 means that no response is sent."""

    status: int
    body: dict[str, Any]
    headers: dict[str, str] = field(default_factory=dict)


class InvalidError(Exception):
    """The request is malformed or not allowed."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Api:
    """The routes of one store; `faults` make the health check fail."""

    def __init__(self, store: Store, faults: set[str]) -> None:
        self.store = store
        self.faults = faults

    def handle(self, request: Request) -> Response:
        """Return the response; expected errors are responses too."""
        try:
            handler, arguments = self._route(request)
            return handler(request, *arguments)
        except InvalidError as error:
            return Response(error.status, {"error": str(error)})
        except NotFoundError as error:
            return Response(404, {"error": str(error)})
        except ConflictError as error:
            return Response(409, {"error": str(error)})

    def _route(self, request: Request) -> tuple[Callable[..., Response], tuple[str, ...]]:
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
        for method, handler, arguments in found:
            if method == request.method:
                return handler, arguments
        raise (InvalidError(405, "method not allowed") if found else InvalidError(404, "not found"))

    def _create(self, request: Request) -> Response:
        payment, new = self.store.create(_order(request))
        headers = {"Location": f"/payments/{payment.id}"} | ({} if new else {"Idempotent-Replayed": "true"})
        return Response(201 if new else 200, asdict(payment), headers)

    def _show(self, _request: Request, payment_id: str) -> Response:
        return Response(200, asdict(self.store.get(payment_id)))

    def _cancel(self, _request: Request, payment_id: str) -> Response:
        return Response(200, asdict(self.store.cancel(payment_id)))

    def _list(self, request: Request) -> Response:
        limit = max(1, min(int(_number(request, "limit", 100)), LARGEST_PAGE))
        payments = self.store.after(int(_number(request, "after", 0)), limit)
        page = [asdict(payment) for payment in payments]
        return Response(200, {"payments": page, "next": page[-1]["number"] if page else None})

    def _stats(self, _request: Request) -> Response:
        by_status = self.store.counts()
        return Response(200, {"payments": sum(by_status.values()), "by_status": by_status})

    def _health(self, _request: Request) -> Response:
        if "hangs" in self.faults:
            return Response(0, {})
        if "redirects" in self.faults:
            return Response(302, {"error": "log in first"}, {"Location": "/login"})
        if "unhealthy" in self.faults:
            return Response(500, {"error": "cannot reach the mandate service: connection refused"})
        return Response(200, {"status": "ok", "schema": self.store.check()})

    def _slow(self, request: Request) -> Response:
        seconds = min(_number(request, "seconds", 1), LONGEST_SLOW_SECONDS)
        time.sleep(seconds)
        return Response(200, {"slept": seconds})


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
        raise InvalidError(422, "amount: must be a positive integer of minor units")
    if not isinstance(currency, str) or not re.fullmatch("[A-Z]{3}", currency):
        raise InvalidError(422, "currency: must be three capital letters, for example GBP")
    if not isinstance(mandate, str) or not mandate:
        raise InvalidError(422, "mandate: must be the id of a mandate")
    if not isinstance(reference, str):
        raise InvalidError(422, "reference: must be a string")
    fingerprint = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    return Order(request.key, fingerprint, amount, currency, mandate, reference)


def _number(request: Request, name: str, default: float) -> float:
    text = dict(parse_qsl(request.query)).get(name, str(default))
    if not re.fullmatch(r"[0-9]{1,15}(\.[0-9]+)?", text):
        raise InvalidError(400, f"{name}: must be a number")
    return float(text)
