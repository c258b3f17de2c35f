"""Files of nginx's configuration that changed after its workers started."""

from pathlib import Path

from conductor.traffic.reload.edits import edited


def test_files_and_directories_that_changed_later(tmp_path: Path) -> None:
    """Times of changes cannot be set, so the workers start before or after them."""
    (tmp_path / "sites").mkdir()
    texts = {"nginx.conf": "include sites/*; include mime.types;", "mime.types": "types { }", "sites/a": "# a"}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    dump = "".join(f"# configuration file {tmp_path / name}:\n{text}\n\n" for name, text in texts.items())
    every = [*(str(tmp_path / name) for name in texts), str(tmp_path / "sites")]
    made = (tmp_path / "sites" / "a").stat().st_ctime
    assert edited(dump, made - 60) == tuple(every)
    assert edited(dump, made + 60) == ()
    (tmp_path / "mime.types").unlink()
    assert edited(dump, made - 60) == tuple(one for one in every if not one.endswith("mime.types"))
