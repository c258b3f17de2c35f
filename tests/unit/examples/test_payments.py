"""The example app: its store, its responses on a real port, its stop and its faults."""

import contextlib
import fcntl
import http.client
import json
import os
import select
import signal
import sqlite3
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "examples" / "payments"))

from payments import broken, schema, settings
from payments.api import Api
from payments.server import Server
from payments.store import ConflictError, NotFoundError, Order, Store

APP = Path(__file__).parents[3] / "examples" / "payments"
ORDER = {"amount": 1250, "currency": "GBP", "mandate": "MD1"}
OTHER = ORDER | {"amount": 1}
UNTIL_THE_END_OF_TIME = "9999"


def order(key: str = "k", fingerprint: str = "f") -> Order:
    return Order(key, fingerprint, amount=100, currency="GBP", mandate="MD1", reference="")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path)
    opened.migrate()
    yield opened
    opened.close()


class Client:
    """One keep-alive connection."""

    def __init__(self, port: int) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def send(
        self, method: str, path: str, body: Any = None, key: str = ""
    ) -> tuple[int, dict[str, Any], http.client.HTTPMessage]:
        text = body if isinstance(body, str) or body is None else json.dumps(body)
        self.connection.request(method, path, text, {"Idempotency-Key": key} if key else {})
        return self.response()

    def begin(self, path: str) -> None:
        """Send a GET request; return once the kernel has acknowledged it for the server."""
        self.connection.request("GET", path)
        wait_until(lambda: fcntl.ioctl(self.connection.sock, termios.TIOCOUTQ, bytes(4)) == bytes(4))

    def response(self) -> tuple[int, dict[str, Any], http.client.HTTPMessage]:
        response = self.connection.getresponse()
        content = response.read()
        return response.status, json.loads(content) if content else {}, response.headers

    def pay(self, key: str) -> int:
        return self.send("POST", "/payments", ORDER, key)[0]


@contextlib.contextmanager
def serving(store: Store, *faults: str) -> Iterator[int]:
    server = Server(("127.0.0.1", 0), Api(store, set(faults)))
    server.start()
    try:
        yield server.server_address[1]
    finally:
        assert server.finish(within=5) == 0


@contextlib.contextmanager
def running(program: str, data: Path, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """Run a program of bin/; kill it at the end if it is still running."""
    base = {key: value for key, value in os.environ.items() if key in {"PATH", "HOME", "TMPDIR"}}
    own = {"PAYMENTS_DATA": str(data), "HOST": "127.0.0.1", "PORT": "0", "BOOT_SECONDS": "0", "REVISION": "7"}
    process = subprocess.Popen(
        [APP / "bin" / program],
        env=base | own | {"PYTHONDONTWRITEBYTECODE": "1", "ALIVE_FILE": str(data / "alive")} | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def wait_for_line(process: subprocess.Popen[str], text: str) -> str:
    assert process.stdout is not None
    return next(line for line in process.stdout if text in line)


def port_of(web: subprocess.Popen[str]) -> int:
    return int(wait_for_line(web, "listening on").rpartition(":")[2])


def output(program: str, data: Path, *, code: int = 0, **environment: str) -> str:
    with running(program, data, **environment) as process:
        text, _ = process.communicate(timeout=10)
    assert process.returncode == code, text
    return text


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


# The store


@pytest.mark.parametrize(
    ("second", "stored", "outcome"),
    [
        (order("a", "f"), 1, "the same payment"),
        (order("a", "g"), 1, "conflict"),
        (order("b", "f"), 2, "another payment"),
    ],
)
def test_a_key_identifies_one_payment(store: Store, second: Order, stored: int, outcome: str) -> None:
    first, new = store.create(order("a", "f"))
    assert new
    if outcome == "conflict":
        with pytest.raises(ConflictError):
            store.create(second)
    else:
        again, new = store.create(second)
        assert (again == first, new) == ((True, False) if outcome == "the same payment" else (False, True))
    assert store.counts() == {"pending": stored}


@pytest.mark.parametrize("status", ["pending", "submitted", "paid", "cancelled"])
def test_only_a_pending_payment_can_be_cancelled(store: Store, status: str) -> None:
    payment, _ = store.create(order())
    store.advance("pending", status, created_before=UNTIL_THE_END_OF_TIME)
    with contextlib.nullcontext() if status == "pending" else pytest.raises(ConflictError, match=status):
        assert store.cancel(payment.id).status == "cancelled"
    with pytest.raises(NotFoundError):
        store.cancel("PM0")


def test_paid_payments_are_settled_once(store: Store) -> None:
    for key in "abc":
        store.create(order(key))
    assert store.settle() == 0
    store.advance("pending", "paid", created_before=UNTIL_THE_END_OF_TIME)
    assert [store.settle(), store.settle()] == [3, 0]


def test_a_rejected_job_does_not_affect_others_in_its_transaction(store: Store) -> None:
    store.create(order("taken", "f"))
    orders = [order(f"key-{number}") for number in range(100)] + [order("taken", "g")] * 100
    with ThreadPoolExecutor(50) as threads:
        results = [threads.submit(store.create, one) for one in orders]
    rejected = [one for one in results if isinstance(one.exception(), ConflictError)]
    assert (len(rejected), store.counts()) == (100, {"pending": 101})


def test_a_failed_write_fails_all_waiting_jobs(store: Store) -> None:
    with sqlite3.connect(store.path) as connection:
        connection.execute("DROP INDEX payments_open")
        connection.execute("ALTER TABLE payments RENAME TO hidden")
    connection.close()
    with ThreadPoolExecutor(20) as threads:
        results = [threads.submit(store.create, order(str(number))) for number in range(20)]
    assert all(isinstance(one.exception(), sqlite3.Error) for one in results)


def test_threads_with_the_same_keys_store_each_once(store: Store) -> None:
    with ThreadPoolExecutor(20) as threads:
        made = list(threads.map(lambda number: store.create(order(str(number % 50))), range(500)))
    assert sum(new for _, new in made) == 50
    assert len({payment.id for payment, _ in made}) == 50
    assert store.counts() == {"pending": 50}


WRITES = """
import sys
from pathlib import Path
from payments.store import Order, Store
store = Store(Path(sys.argv[1]))
store.migrate()
print(sum(store.create(Order(str(number), "f", 1, "GBP", "MD1", ""))[1] for number in range(200)))
store.close()
"""


def test_processes_that_start_together_on_an_empty_volume_store_each_key_once(tmp_path: Path) -> None:
    processes = [
        subprocess.Popen([sys.executable, "-B", "-c", WRITES, tmp_path], cwd=APP, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    counts = [process.communicate(timeout=20)[0] for process in processes]
    assert sum(map(int, counts)) == 200
    store = Store(tmp_path)
    assert store.counts() == {"pending": 200}
    store.close()


def test_the_journal_mode_waits_for_another_process(tmp_path: Path) -> None:
    """SQLite itself reports a locked database at once when the journal mode is to change."""
    with contextlib.closing(sqlite3.connect(tmp_path / "payments.db", check_same_thread=False)) as other:
        other.execute("CREATE TABLE one (number)")
        other.execute("BEGIN IMMEDIATE")
        other.execute("INSERT INTO one VALUES (1)")
        timer = threading.Timer(0.3, other.rollback)
        timer.start()
        Store(tmp_path).close()
        timer.join()


def test_migrations_are_applied_once_and_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    everything = schema.MIGRATIONS
    store = Store(tmp_path)
    monkeypatch.setattr(schema, "MIGRATIONS", everything[:1])
    assert [store.migrate(), store.migrate(), store.check()] == [[1], [], 1]
    monkeypatch.setattr(schema, "MIGRATIONS", everything)
    assert [store.migrate(), store.migrate(), store.check()] == [[2], [], 2]
    monkeypatch.setattr(schema, "MIGRATIONS", everything[:1])
    assert [store.migrate(), store.check()] == [[], 2], "an older revision does not change a newer schema"
    store.close()


# HTTP


@pytest.mark.parametrize(
    ("method", "path", "body", "key", "status"),
    [
        ("POST", "/payments", ORDER, "new", 201),
        ("POST", "/payments", ORDER, "old", 200),
        ("POST", "/payments", dict(reversed(ORDER.items())), "old", 200),
        ("POST", "/payments", OTHER, "old", 409),
        ("POST", "/payments", ORDER, "", 400),
        ("POST", "/payments", ORDER, "k" * 256, 400),
        ("POST", "/payments", "{", "new", 400),
        ("POST", "/payments", [], "new", 400),
        ("POST", "/payments", ORDER | {"amount": 0}, "new", 422),
        ("POST", "/payments", ORDER | {"amount": True}, "new", 422),
        ("POST", "/payments", ORDER | {"amount": 1.5}, "new", 422),
        ("POST", "/payments", ORDER | {"currency": "pounds"}, "new", 422),
        ("POST", "/payments", ORDER | {"mandate": None}, "new", 422),
        ("POST", "/payments", ORDER | {"reference": 1}, "new", 422),
        ("GET", "/payments/PM0", None, "", 404),
        ("POST", "/payments/PM0/cancel", None, "", 404),
        ("GET", "/payments?after=0&limit=5", None, "", 200),
        ("GET", "/payments?after=x", None, "", 400),
        ("GET", "/stats", None, "", 200),
        ("GET", "/health_check", None, "", 200),
        ("GET", "/slow?seconds=0", None, "", 200),
        ("GET", "/nowhere", None, "", 404),
        ("DELETE", "/payments", None, "", 405),
        ("BREW", "/payments", None, "", 501),
    ],
)
def test_responses(store: Store, method: str, path: str, body: Any, key: str, status: int) -> None:
    with serving(store) as port, Client(port) as client:
        assert client.pay("old") == 201
        responded, content, headers = client.send(method, path, body, key)
    assert (responded, headers["X-Revision"], headers["X-Service"]) == (status, "development", "payments")
    assert content["revision"] == "development"
    assert ("error" in content) == (status >= 400)


def test_a_payment_from_order_to_cancellation(store: Store) -> None:
    with serving(store) as port, Client(port) as client:
        made, payment, headers = client.send("POST", "/payments", ORDER, "k")
        again, same, replayed = client.send("POST", "/payments", ORDER, "k")
        path = headers["Location"]
        shown = client.send("GET", path)[:2]
        cancelled, after, _ = client.send("POST", f"{path}/cancel")
        conflict, error, _ = client.send("POST", f"{path}/cancel")
        counted = client.send("GET", "/stats")[1]
        page = client.send("GET", "/payments")[1]
    assert (made, again, replayed["Idempotent-Replayed"]) == (201, 200, "true")
    assert (200, payment) == shown == (again, same)
    assert payment | ORDER == payment
    assert (cancelled, after) == (200, payment | {"status": "cancelled"})
    assert (conflict, error["error"][:24]) == (409, "the payment is cancelled")
    assert counted["payments"] == 1
    assert counted["by_status"] == {"cancelled": 1}
    assert ([one["id"] for one in page["payments"]], page["next"]) == ([payment["id"]], 1)


@pytest.mark.parametrize(
    ("header", "status"),
    [("Content-Length: 1048577", 413), ("Content-Length: -1", 411), ("Transfer-Encoding: chunked", 411)],
)
def test_a_body_that_cannot_be_read_closes_the_connection(store: Store, header: str, status: int) -> None:
    with serving(store) as port, Client(port) as client:
        client.connection.connect()
        client.connection.sock.sendall(f"POST /payments HTTP/1.1\r\nHost: x\r\n{header}\r\n\r\n".encode())
        response = http.client.HTTPResponse(client.connection.sock, method="POST")
        response.begin()
        assert (response.status, response.headers["Connection"]) == (status, "close")
        assert response.headers["X-Revision"] == "development"
        response.close()


def test_expect_100_continue_is_answered_immediately(store: Store) -> None:
    with serving(store) as port, Client(port) as client:
        client.connection.connect()
        client.connection.sock.sendall(
            b"POST /slow?seconds=0 HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
        )
        assert client.connection.sock.recv(100).startswith(b"HTTP/1.1 100 ")
        client.connection.sock.sendall(b"{}")
        assert client.connection.sock.recv(100).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(("fault", "status"), [("unhealthy", 500), ("redirects", 302)])
def test_a_broken_health_check_does_not_affect_payments(
    store: Store, capsys: pytest.CaptureFixture[str], fault: str, status: int
) -> None:
    with serving(store, fault) as port, Client(port) as client:
        assert client.send("GET", "/health_check")[0] == status
        assert client.pay("k") == 201
    assert ("cannot reach the mandate service" in capsys.readouterr().out) == (fault == "unhealthy")


def test_a_hanging_health_check_ends_without_a_response_when_the_server_stops(store: Store) -> None:
    with Client(0) as client:
        with serving(store, "hangs") as port:
            client.connection.port = port
            client.begin("/health_check")
            assert not select.select([client.connection.sock], [], [], 0.2)[0]
        with pytest.raises(http.client.RemoteDisconnected):
            client.response()


def test_a_stop_responds_to_requests_that_have_arrived_and_closes_idle_connections(store: Store) -> None:
    server = Server(("127.0.0.1", 0), Api(store, set()))
    server.start()
    port = server.server_address[1]
    with Client(port) as idle, Client(port) as busy, Client(port) as half:
        assert [idle.pay("a"), half.pay("b")] == [201, 201]
        half.connection.sock.sendall(b"GET /stats HTTP/1.1\r\nHost: x\r\n")
        busy.begin("/slow?seconds=1")
        wait_until(lambda: sorted(server.connections._busy.values()) == [False, True, True])
        finishing = threading.Thread(target=server.finish, args=(5,))
        finishing.start()
        wait_until(server.connections.stopping.is_set)
        half.connection.sock.sendall(b"\r\n")
        assert b"Connection: close" in half.connection.sock.recv(1000)
        assert idle.connection.sock.recv(1) == b""
        status, _, headers = busy.response()
        assert (status, headers["Connection"]) == (200, "close")
        finishing.join()
        with pytest.raises(ConnectionRefusedError):
            Client(port).pay("c")


# Processes


def test_sigterm_during_a_request_responds_and_exits_0(tmp_path: Path) -> None:
    with running("web", tmp_path) as web, Client(port_of(web)) as client:
        assert client.pay("k") == 201
        client.begin("/slow?seconds=0.5")
        time.sleep(0.2)  # usually, its handler has begun by then
        web.send_signal(signal.SIGTERM)
        status, content, _ = client.response()
        assert (status, content["revision"]) == (200, "7")
        output, _ = web.communicate(timeout=20)
        assert (web.returncode, "0 requests cut" in output) == (0, True)


def test_exit_at_once_leaves_the_request_without_a_response(tmp_path: Path) -> None:
    with running("web", tmp_path, EXIT_AT_ONCE="1") as web, Client(port_of(web)) as client:
        client.begin("/slow?seconds=60")
        time.sleep(0.2)  # usually, its handler has begun by then
        web.send_signal(signal.SIGTERM)
        assert web.wait(20) == 143
        with pytest.raises(OSError):
            client.response()


def test_sigterm_during_boot_exits_0(tmp_path: Path) -> None:
    with running("web", tmp_path, BOOT_SECONDS="30") as web:
        wait_for_line(web, "starting")
        web.send_signal(signal.SIGTERM)
        assert web.wait(20) == 0


@pytest.mark.parametrize(
    ("program", "word", "code", "text"),
    [
        ("web", "exits", 3, "MANDATE_SERVICE_URL is not set"),
        ("web", "exits-later", 3, "timed out"),
        ("web", "crashes", 3, "lost the connection to the mandate service"),
        ("worker", "worker:exits", 3, "worker: cannot start"),
        ("worker", "worker:crashes", 3, "lost the connection to the bank"),
        ("clock", "clock:crashes", 3, "cannot read the time"),
        ("migrate", "migrate:exits", 3, "cannot start"),
        ("migrate", "exits", 0, "applied 1, 2; the schema is at version 2"),
        ("generate-cron", "generate-cron:bad-table", 0, "61 * * * * bin/settle"),
        ("web", "nonsense", 1, "expected one of exits, exits-later"),
        ("web", "shop:exits", 1, "unknown program shop"),
    ],
)
def test_broken_programs_print_a_reason_and_exit(tmp_path: Path, program: str, word: str, code: int, text: str) -> None:
    quick = {"BROKEN_SECONDS": "0.1", "WORKER_SECONDS": "0.1", "CLOCK_SECONDS": "0.1"}
    assert text in output(program, tmp_path, code=code, BROKEN=word, **quick)


@pytest.mark.parametrize(("word", "ends"), [("never-listens", True), ("ignores-stop", False)])
def test_broken_programs_that_keep_running(tmp_path: Path, word: str, ends: bool) -> None:
    with running("web", tmp_path, BROKEN=word) as web:
        wait_for_line(web, "waiting for a lock" if ends else "listening on")
        web.send_signal(signal.SIGTERM)
        if ends:
            assert web.wait(20) == 0
        else:
            with pytest.raises(subprocess.TimeoutExpired):
                web.wait(0.3)


def test_the_worker_collects_payments_and_reports_that_it_is_alive(tmp_path: Path, store: Store) -> None:
    store.create(order())
    assert "not finished a round" in output("worker-alive", tmp_path, code=1)
    with running("worker", tmp_path, WORKER_SECONDS="0.05", PENDING_SECONDS="0") as worker:
        wait_until(lambda: store.counts() == {"paid": 1} and (tmp_path / "alive").exists())
        assert "finished a round" in output("worker-alive", tmp_path)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(20) == 0
    assert "settled 1 payments (revision 7)" in output("settle", tmp_path)
    os.utime(tmp_path / "alive", (0, 0))
    output("worker-alive", tmp_path, code=1)


def test_the_clock_writes_its_start_and_end(tmp_path: Path) -> None:
    with running("clock", tmp_path, CLOCK_SECONDS="0.05") as clock:
        wait_until((tmp_path / "clock.log").exists)
        wait_until(lambda: "tick" in (tmp_path / "clock.log").read_text())
        clock.send_signal(signal.SIGTERM)
        assert clock.wait(20) == 0
    lines = [line.split() for line in (tmp_path / "clock.log").read_text().splitlines()]
    events = [event for _, event, *_ in lines]
    assert (events[0], set(events[1:-1]), events[-1]) == ("start", {"tick"}, "end")
    assert {revision for _, _, revision, _ in lines} == {"7"}


def test_the_small_programs(tmp_path: Path) -> None:
    table = [line for line in output("generate-cron", tmp_path).splitlines() if line and not line.startswith("#")]
    assert (table[0], len(table)) == ("MAILTO=payments@example.com", 4)
    assert output("generate-cron", tmp_path, BROKEN="generate-cron:prints-nothing") == ""
    assert output("whoami", tmp_path) == "7\n"
    assert "payments, revision 7" in output("console", tmp_path)
    assert "applied nothing" in output("migrate", tmp_path)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["3", "--broken", "web:sad"], "unknown fault of bin/web"),
        (["3", "--broken", "shop:exits"], "unknown program shop"),
        (["a b"], "cannot use revision 'a b'"),
        ([], "required: revision"),
    ],
)
def test_build_rejects_invalid_arguments(words: list[str], text: str) -> None:
    done = subprocess.run([APP / "build", *words], capture_output=True, text=True, check=False)
    assert (done.returncode, text in done.stderr) == (2, True)


def test_invalid_settings_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOOT_SECONDS", "soon")
    monkeypatch.setenv("BROKEN", "exits worker:exits,clock:crashes")
    with pytest.raises(SystemExit, match="BOOT_SECONDS='soon' is not a number"):
        settings.number("BOOT_SECONDS", 0.3)
    assert [broken.faults(program) for program in ("web", "clock", "migrate")] == [
        {"exits"},
        {"crashes"},
        set(),
    ]
