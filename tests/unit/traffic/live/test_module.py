"""What is reported about nginx's Lua module."""

from pathlib import Path

import pytest

from conductor.definitions.host import Host, HostNginx
from conductor.traffic.live.module import explained, require_libraries, uncounted
from conductor.traffic.nginx import Nginx
from conductor.traffic.port import TrafficRefused
from conductor.traffic.reload.include_dir import IncludeDir
from conductor.traffic.render import Renderer
from conductor.traffic.status_server import StatusServer


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ('[emerg] unknown directive "lua_shared_dict" in x.conf:1', "apt-get install libnginx-mod-http-lua"),
        ('[emerg] dlopen() "x.so" failed (x.so: undefined symbol: ndk_set_var_value)', "libnginx-mod-http-ndk"),
        ('[emerg] lua_shared_dict "conductor_peers" is already defined as "conductor_peers"', "rename your own"),
        ('[emerg] the size 2 of shared memory zone "conductor_peers" conflicts with', "rename your own"),
        ("[emerg] 12#12: is duplicate in x.conf:1", "server blocks"),
        ("[emerg] something else in /etc/nginx/conductor.d/_conductor.conf:1", "as before"),
    ],
)
def test_the_hint(line: str, hint: str) -> None:
    refused = explained(TrafficRefused("nginx rejects its configuration: x", "as before", (f"nginx: {line}",)))
    assert hint in (refused.hint or "")
    assert refused.sentence == "nginx rejects its configuration: x"


def test_a_log_by_lua_of_the_operator() -> None:
    block = "http { log_by_lua_block { x() } }"
    dump = f"# configuration file /x.conf:\n{block}\n# configuration file /c/_conductor.conf:\n{block}\n"
    [warning] = uncounted(dump)
    assert "/x.conf" in warning
    assert "finish()" in warning
    assert uncounted("# configuration file /x.conf:\nhttp { }\n") == ()


def test_another_command_does_not_remove_the_configuration_that_nginx_is_about_to_read(tmp_path: Path) -> None:
    """Each command removes the drafts of killed processes before it checks its own."""
    host = Host(runtime_dir=str(tmp_path / "run"), nginx=HostNginx(include_dir=str(tmp_path / "included")))
    renderer = Renderer(host)

    class SlowNginx(Nginx):
        """While it starts, another command begins."""

        def complaint(self, config: Path) -> str:
            directory.make_directories()
            return "" if config.exists() else f"nginx: [emerg] open() {config} failed"

    nginx = SlowNginx(host.nginx, StatusServer(renderer.status_socket, renderer.runtime))
    directory = IncludeDir(host.nginx, renderer, nginx)
    directory.make_directories()
    require_libraries(nginx, "", directory.drafts)
    assert list(directory.drafts.iterdir()) == []
