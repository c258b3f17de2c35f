"""strace shows how an upgrade writes its files: write, fsync, rename, fsync of the directory, before anything else is renamed."""

import re
from pathlib import Path

from tests.faults.campaign import Campaign
from tests.faults.scenarios import SCENARIOS

CALL = re.compile(r'^(\d+) +(write|fsync|rename)\((?:\d+<([^>]+)>|"([^"]+)", "([^"]+)")', re.MULTILINE)


def test_a_file_is_on_disk_before_its_rename_and_its_name_before_the_next(images: None) -> None:
    with Campaign(SCENARIOS["upgrade of a web service"], "reload") as campaign:
        trace = campaign.traced(("write", "fsync", "rename"))
        state, include_dir = campaign.host.state_dir, campaign.host.nginx.include_dir
    calls = [(pid, name, Path(open_file or old), Path(new)) for pid, name, open_file, old, new in CALL.findall(trace)]
    renames = [n for n, one in enumerate(calls) if one[1] == "rename" and one[3].is_relative_to(state.parent)]
    for number in renames:
        pid, _, old, new = calls[number]
        own = [one for one in calls[:number] if one[2] == old]
        empty = [] if new.name == "announce" else ["write"]
        assert [one[1] for one in own[-2:]] == [*empty, "fsync"], f"{new}: {own}"
        after = next(one for one in calls[number + 1 :] if one[0] == pid and one[1] != "write")
        assert after[1:3] == ("fsync", new.parent), f"{new}: {after}"
    written = {calls[number][3] for number in renames}
    assert {
        state / "journal" / "web.json", state / "services" / "web.json", state / "addresses.json", state / "traffic.json",
        include_dir / "web.conf",
    } <= written  # fmt: skip
    history = [one[1] for one in calls if one[2] == state / "history.jsonl"]
    assert history == ["write", "fsync"]
