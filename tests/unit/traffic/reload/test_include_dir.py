"""The include directory: foreign files stay, and a file that vanishes is no error."""

import stat
from pathlib import Path

import pytest

from conductor.definitions.host import Host, HostNginx
from conductor.errors import ConductorError
from conductor.traffic.nginx import Nginx
from conductor.traffic.reload.include_dir import IncludeDir, services_of
from conductor.traffic.render import HEADER, INCLUDES, OWN_FILE, Renderer, file_name
from conductor.traffic.status_server import StatusServer

NAMES = (file_name("web"), *INCLUDES, OWN_FILE)


@pytest.fixture
def renderer(tmp_path: Path) -> Renderer:
    host = Host(runtime_dir=str(tmp_path / "run"), nginx=HostNginx(include_dir=str(tmp_path / "included")))
    return Renderer(host)


@pytest.fixture
def directory(tmp_path: Path, renderer: Renderer) -> IncludeDir:
    """An include directory with a colleague's file."""
    host = HostNginx(include_dir=str(tmp_path / "included"), binary="/bin/false")
    made = IncludeDir(host, renderer, Nginx(host, StatusServer(renderer.status_socket, renderer.runtime)))
    made.make_directories()
    (made.path / "theirs.conf").write_text("# theirs\n")
    return made


def candidate(directory: IncludeDir, renderer: Renderer, text: str | None) -> dict[str, str]:
    """Return the directory with `text` as the file of `web`."""
    return renderer.candidate(directory.present(), {file_name("web"): None if text is None else HEADER + text})


def test_the_files_present_are_all_but_directories_and_hidden_ones(directory: IncludeDir) -> None:
    (directory.path / ".web.conf.new").write_text("half")
    (directory.path / "snippets").mkdir()
    (directory.path / "bytes.conf").write_bytes(b"\xff")
    assert directory.present() == {"theirs.conf": "# theirs\n", "bytes.conf": "\udcff"}


def test_a_file_that_vanishes_while_the_directory_is_read_is_skipped_and_the_others_are_kept(
    directory: IncludeDir,
) -> None:
    """A link to a missing file is listed, and cannot be opened: as a file that was removed in between."""
    (directory.path / "another.conf").write_text("# another\n")
    (directory.path / "vanished.conf").symlink_to(directory.path / "absent")
    assert directory.present() == {"theirs.conf": "# theirs\n", "another.conf": "# another\n"}
    assert directory.read("vanished.conf") is None


def test_a_missing_directory_has_no_files(directory: IncludeDir) -> None:
    (directory.path / "theirs.conf").unlink()
    directory.path.rmdir()
    assert directory.present() == {}
    assert directory.read("web.conf") is None


def test_a_directory_that_cannot_be_read_is_an_error_with_its_name(directory: IncludeDir) -> None:
    (directory.path / "theirs.conf").unlink()
    directory.path.rmdir()
    directory.path.write_text("a file")
    with pytest.raises(ConductorError) as failed:
        directory.present()
    assert failed.value.sentence.startswith(f"cannot read {directory.path}: ")


def test_place_writes_conductors_files_and_returns_the_changed_names(directory: IncludeDir, renderer: Renderer) -> None:
    first = candidate(directory, renderer, "one")
    assert directory.place(first, NAMES) == ("location.inc", "server.inc", "web.conf", OWN_FILE)
    assert directory.present() == first
    assert directory.place(first, NAMES) == ()
    assert directory.place(candidate(directory, renderer, "two"), NAMES) == ("web.conf", OWN_FILE)
    assert stat.S_IMODE((directory.path / "web.conf").stat().st_mode) == 0o644


def test_place_removes_a_file_that_the_candidate_does_not_have(directory: IncludeDir, renderer: Renderer) -> None:
    directory.place(candidate(directory, renderer, "one"), NAMES)
    assert directory.place(candidate(directory, renderer, None), NAMES) == ("web.conf", OWN_FILE)
    assert set(directory.present()) == {"theirs.conf", *INCLUDES, OWN_FILE}


def test_a_colleagues_edit_after_the_directory_was_read_survives(directory: IncludeDir, renderer: Renderer) -> None:
    read = candidate(directory, renderer, "one")
    (directory.path / "theirs.conf").write_text("# edited\n")
    (directory.path / "new.conf").write_text("# new\n")
    directory.place(read, NAMES)
    assert directory.read("theirs.conf") == "# edited\n"
    assert directory.read("new.conf") == "# new\n"


def test_a_colleagues_file_removed_after_the_directory_was_read_stays_removed(
    directory: IncludeDir, renderer: Renderer
) -> None:
    read = candidate(directory, renderer, "one")
    (directory.path / "theirs.conf").unlink()
    directory.place(read, NAMES)
    assert directory.read("theirs.conf") is None


def test_a_foreign_file_named_like_a_service_is_not_overwritten(directory: IncludeDir, renderer: Renderer) -> None:
    (directory.path / "web.conf").write_text("# theirs\n")
    with pytest.raises(ConductorError) as refused:
        candidate(directory, renderer, "one")
    assert str(directory.path / "web.conf") in refused.value.sentence
    assert directory.read("web.conf") == "# theirs\n"


def test_temporary_files_of_killed_writers_are_removed(directory: IncludeDir) -> None:
    (directory.path / ".web.conf.new").write_text(HEADER + "half")
    directory.sweep()
    assert [path.name for path in directory.path.iterdir()] == ["theirs.conf"]


def test_drafts_of_killed_processes_are_removed(directory: IncludeDir, renderer: Renderer) -> None:
    drafts = renderer.status_socket.parent / "drafts"
    for name in ("1-living", f"{2**22 + 1}-killed"):
        (drafts / name).mkdir()
    directory.make_directories()
    assert [path.name for path in drafts.iterdir()] == ["1-living"]


def test_nginx_workers_can_enter_all_directories_but_that_of_the_sockets(
    directory: IncludeDir, renderer: Renderer
) -> None:
    paths = (directory.path, renderer.flag.parent, renderer.status_socket.parent)
    assert [stat.S_IMODE(path.stat().st_mode) for path in paths] == [0o755, 0o755, 0o700]


def test_services_are_those_with_a_file_of_conductors() -> None:
    present = {
        "web.conf": HEADER,
        "theirs.conf": "#\n",
        OWN_FILE: HEADER,
        "server.inc": HEADER,
        "api.conf": f"{HEADER}x",
    }
    assert services_of(present) == ("web", "api")


def test_links_stay_links_in_a_draft(directory: IncludeDir, renderer: Renderer, tmp_path: Path) -> None:
    """Relative links and links to missing files included: the draft is mounted over the directory."""
    directory.place(candidate(directory, renderer, "one"), NAMES)
    for name, target in (("relative.conf", "theirs.conf"), ("dangling.conf", "absent"), ("web.conf", "theirs.conf")):
        (directory.path / name).unlink(missing_ok=True)
        (directory.path / name).symlink_to(target)
    (tmp_path / "draft").mkdir()
    drafted = directory._drafted(tmp_path / "draft", {**directory.present(), "web.conf": HEADER}, {})
    found = {
        path.name: str(path.readlink()) if path.is_symlink() else None for path in drafted[directory.path].iterdir()
    }
    assert found == {
        "relative.conf": "theirs.conf", "dangling.conf": "absent", "theirs.conf": None, "web.conf": None,
        **dict.fromkeys((*INCLUDES, OWN_FILE)),
    }  # fmt: skip


def test_a_temporary_file_of_another_program_stays(directory: IncludeDir) -> None:
    (directory.path / ".theirs.conf.new").write_text("# theirs, not yet saved\n")
    (directory.path / ".web.conf.new").write_text(HEADER + "half")
    directory.sweep()
    assert sorted(path.name for path in directory.path.iterdir()) == [".theirs.conf.new", "theirs.conf"]
