"""examples/nginx/shop.conf with other paths and ports in a real nginx, under TLS requests during upgrades."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.commands import ROOT
from tests.support.host import TestHost
from tests.support.tls_clients import TlsClients

BLOCK = ROOT / "examples" / "nginx" / "shop.conf"
NAME = "shop.example.com"


class Shop(NamedTuple):
    """The host, its ports, and the certificate that clients trust."""

    host: TestHost
    plain: int
    tls: int
    certificate: Path


@pytest.fixture(scope="module")
def shop(images: None) -> Iterator[Shop]:
    with TestHost() as host:
        made = Shop(host, host.port("plain"), host.port("tls"), host.directory / "shop.pem")
        make_certificate(made.certificate, host.directory / "shop.key")
        host.define({"shop_web": {"nginx": {"upstream": "shop", "server": None}}})
        host.conductor("nginx", "install", check=True)
        host.nginx.add_server("shop", placed(made))
        tested = host.nginx.test()
        assert tested.returncode == 0, tested.stderr
        before = host.nginx.workers()
        host.nginx.reload()
        host.wait_for(lambda: (now := host.nginx.workers()) and not now & before, "new nginx workers")
        yield made


def make_certificate(certificate: Path, key: Path) -> None:
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    words += ["-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}", "-days", "2"]
    subprocess.run([*words, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)


def placed(shop: Shop) -> str:
    """Return the server block with the test nginx's paths and ports; assert that it contains each original."""
    text = BLOCK.read_text()
    for original, replacement in {
        "listen 80;": f"listen 127.0.0.1:{shop.plain};",
        "listen 443 ssl http2;": f"listen 127.0.0.1:{shop.tls} ssl http2;",
        f"/etc/ssl/certs/{NAME}.pem": str(shop.certificate),
        f"/etc/ssl/private/{NAME}.key": str(shop.certificate.with_suffix(".key")),
        "/var/log/nginx/": f"{shop.host.nginx.directory}/",
        "/etc/nginx/conductor.d/": f"{shop.host.nginx.include_dir}/",
    }.items():
        assert original in text
        text = text.replace(original, replacement)
    return text


def curl(shop: Shop, *words: str, port: int) -> str:
    """Return the response's HTTP version, status and redirect URL."""
    options = ["--silent", "--output", "/dev/null", "--write-out", "%{http_version} %{http_code} %{redirect_url}"]
    resolve = ["--noproxy", "*", "--resolve", f"{NAME}:{port}:127.0.0.1", "--cacert", str(shop.certificate)]
    return subprocess.run(["curl", *options, *resolve, *words], capture_output=True, text=True, check=True).stdout


def test_before_the_first_deploy_it_returns_503_and_redirects_to_tls(shop: Shop) -> None:
    assert curl(shop, f"https://{NAME}:{shop.tls}/", port=shop.tls).split()[1] == "503"
    assert curl(shop, f"http://{NAME}:{shop.plain}/a?b=c", port=shop.plain) == f"1.1 308 https://{NAME}/a?b=c"


def test_upgrades_lose_no_request_over_tls(shop: Shop) -> None:
    shop.host.upgrade("r1", "shop_web", check=True)
    assert curl(shop, "--http2", f"https://{NAME}:{shop.tls}/", port=shop.tls).split() == ["2", "200"]
    with TlsClients(NAME, shop.tls, shop.certificate) as clients:
        for revision in ("r2", "r3"):
            shop.host.upgrade(revision, "shop_web", check=True)
            shop.host.wait_for(lambda: clients.revisions[revision] > 50, f"responses of {revision}")  # noqa: B023
    assert clients.lost == []
    assert list(clients.revisions) == ["r1", "r2", "r3"]
    log, responses = shop.host.nginx.directory / "shop.access.log", sum(clients.revisions.values())
    shop.host.wait_for(
        lambda: log.read_text().count('"POST / HTTP/1.1" 200') == responses, f"{responses} lines in the log"
    )
