"""nginx's Lua module: whether it works, and what to do when nginx refuses a configuration because of it.

`nginx -t` accepts a configuration without the Lua libraries that the module needs, but nginx cannot load it.
"""

import os
import stat
from pathlib import Path, PurePosixPath

from conductor.errors import ConductorError
from conductor.traffic import grammar
from conductor.traffic.nginx import Nginx
from conductor.traffic.port import TrafficRefused
from conductor.traffic.references import OWN_FILE

_PROBE = """{modules}
daemon off;
master_process off;
pid {pid};
error_log stderr;
events {{}}
http {{
    {paths}
    init_by_lua_block {{ require "ngx.balancer" os.exit(0) }}
}}
"""
_HINTS = {
    'unknown directive "lua_shared_dict"': "apt-get install libnginx-mod-http-lua   (or set host.nginx.cutover: reload)",
    "ndk_": "apt-get install --reinstall libnginx-mod-http-ndk   (nginx must load it before its Lua module)",
    '"conductor_': "rename your own lua_shared_dict",
    ": is duplicate in ": "move log_by_lua from http {} into your server blocks",
}
FINISH = 'package.loaded["conductor.live"].finish()'


def require_libraries(nginx: Nginx, dump: str, drafts: Path) -> None:
    """Raise if nginx cannot run Lua code. It is started with the modules and the Lua paths of `dump`, and ends at once."""
    import tempfile

    found = grammar.of_dump(dump), grammar.everywhere(dump)
    modules = _lines(found[0], "load_module")
    paths = _lines(found[1], "lua_package_path", "lua_package_cpath")
    name = f"{os.getpid()}-"  # otherwise another command takes it for a draft of a killed process, and removes it
    with tempfile.TemporaryDirectory(prefix=name, dir=drafts if drafts.is_dir() else None) as draft:
        config = Path(draft, "nginx.conf")
        config.write_text(_PROBE.format(modules=modules, paths=paths, pid=Path(draft, "pid")))
        lines = tuple(line.strip() for line in nginx.complaint(config).splitlines())
    if lines and "unknown directive" not in lines[0]:  # the module is loaded by option -g
        raise TrafficRefused(
            f"nginx cannot run Lua code: {lines[0].partition('] ')[2] or lines[0]}",
            "apt-get install --reinstall lua-resty-core lua-resty-lrucache",
            lines[1:10],
        )


def require_readable(include_dir: Path) -> None:
    """Raise if nginx's workers, which are another user, cannot read the Lua file in this directory."""
    for path in (include_dir, *include_dir.parents):
        if not path.stat().st_mode & stat.S_IXOTH:
            raise TrafficRefused(
                f"nginx's workers cannot read {include_dir}: they have no permission to enter {path}",
                f"chmod o+x {path}",
            )


def _lines(directives: list[grammar.Directive], *names: str) -> str:
    return "\n".join(f'{one.name} "{one.arguments[0]}";' for one in directives if one.name in names and one.arguments)


def explained(refused: TrafficRefused) -> ConductorError:
    """Return nginx's refusal with what to do about its Lua module."""
    lines = "\n".join(refused.details)
    hint = next((hint for sign, hint in _HINTS.items() if sign in lines), refused.hint)
    return TrafficRefused(refused.sentence, hint, refused.details)


def uncounted(dump: str) -> tuple[str, ...]:
    """Return a warning for each file with a `log_by_lua`, which replaces the one that counts the end of a request."""
    found = dict.fromkeys(one.path for one in grammar.everywhere(dump) if one.name.startswith("log_by_lua"))
    return tuple(
        f"each drain takes about a second longer: log_by_lua in {path} replaces Conductor's; call {FINISH} there"
        for path in found
        if PurePosixPath(path).name != OWN_FILE
    )
