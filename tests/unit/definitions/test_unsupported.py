import pytest

from conductor.definitions.load import restore
from conductor.definitions.model import Host, HostNginx
from conductor.definitions.unsupported import refuse_unsupported, unsupported
from conductor.errors import UsageError

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
def test_unsupported_keys_of_a_service(written: dict[str, object], keys: tuple[str, ...]) -> None:
    definition = restore("a", written)
    assert unsupported(definition) == unsupported(definition.service) == keys


def test_unsupported_keys_of_the_host() -> None:
    assert unsupported(Host()) == ()
    assert unsupported(Host(nginx=HostNginx(cutover="live"))) == ("nginx.cutover: live",)


def test_the_sentence() -> None:
    refuse_unsupported(Host(), restore("a", WEB))
    with pytest.raises(UsageError) as caught:
        refuse_unsupported(Host(nginx=HostNginx(cutover="live")), restore("a", {**WEB, "notify": ["y"]}))
    assert caught.value.sentence == (
        "cannot use the definition of a: this version does not support nginx.cutover: live, notify"
    )
    assert caught.value.hint == "remove these keys from the definitions file"
