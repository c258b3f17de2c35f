"""A Docker registry on 127.0.0.1 that lacks something: no image at all, or a manifest whose layers are not there."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DIGEST = f"sha256:{'0' * 64}"


class Registry:
    """`address` is what an image's name begins with; `manifest` says whether every tag has one."""

    def __init__(self) -> None:
        self.manifest = False

    def __enter__(self) -> "Registry":
        registry = self

        class Handler(_Handler):
            has_manifests = property(lambda _: registry.manifest)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    has_manifests: Any

    def do_GET(self) -> None:
        """The few requests of a pull."""
        if self.path == "/v2/":
            self._answer(200, {})
        elif "/manifests/" in self.path and self.has_manifests:
            part = {"size": 10, "digest": DIGEST}
            layer = {"mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip", **part}
            config = {"mediaType": "application/vnd.docker.container.image.v1+json", **part}
            self._answer(
                200, {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]}, MANIFEST
            )
        else:
            kind = "MANIFEST" if "/manifests/" in self.path else "BLOB"
            self._answer(404, {"errors": [{"code": f"{kind}_UNKNOWN", "message": f"{kind.lower()} unknown"}]})

    do_HEAD = do_GET  # noqa: N815 (the name that http.server looks for)

    def _answer(self, status: int, content: dict[str, Any], kind: str = "application/json") -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Docker-Distribution-Api-Version", "registry/2.0")
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""
