import pytest

from conductor.definitions.load import restore
from conductor.definitions.model import Host, HostNginx
from conductor.definitions.unsupported import unsupported

WEB = {"image": "x", "port": 80, "health": {"path": "/"}, "nginx": {}}


@pytest.mark.parametrize(
    ("written", "keys"),
    [
        (WEB, ()),
        ({"image": "x", "count": 0, "console": ["x"]}, ()),
        ({**WEB, "before_upgrade": {"command": ["x"]}, "notify": ["y"]}, ("notify",)),
        ({**WEB, "order": "stop-first", "health": {"tcp": True}}, ()),
        ({"image": "x", "health": {"none": True}}, ()),
        ({"image": "x", "count": 0, "cron": {"generate": ["x"]}, "health": {"command": ["x"]}}, ()),
    ],
)
def test_keys_whose_feature_comes_later(written: dict[str, object], keys: tuple[str, ...]) -> None:
    definition = restore("a", written)
    assert unsupported(definition) == unsupported(definition.service) == keys


def test_of_the_host() -> None:
    assert unsupported(Host()) == ()
    assert unsupported(Host(nginx=HostNginx(cutover="live"))) == ("nginx.cutover: live",)
