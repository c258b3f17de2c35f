"""The progress of a pull, from messages as Docker 20.10 sends them."""

from conductor.runtime.docker.pull_progress import MIB, PullProgress
from conductor.runtime.docker.shapes import ProgressDetail, PullMessage
from tests.fakes.runtime import FakeClock


def message(layer: str, status: str, current: int = 0, total: int = 0) -> PullMessage:
    return PullMessage(id=layer, status=status, progress_detail=ProgressDetail(current, total))


def test_layers_bytes_and_rate() -> None:
    clock = FakeClock()
    pulled = PullProgress(clock.monotonic)
    pulled.add(PullMessage(status="Pulling from shop/app", id="r2"))
    assert pulled.text == ""
    pulled.add(message("a", "Already exists"))
    for layer in ("b", "c"):
        pulled.add(message(layer, "Pulling fs layer"))
    assert pulled.text == "1 of 3 layers"
    pulled.add(message("b", "Downloading", 0, 10 * MIB))
    clock.advance(2.0)
    pulled.add(message("b", "Downloading", 4 * MIB, 10 * MIB))
    pulled.add(message("c", "Downloading", 1 * MIB, 2 * MIB))
    assert pulled.text == "1 of 3 layers, 5.0 of 12.0 MiB, 2.5 MiB/s"
    pulled.add(message("c", "Download complete"))
    pulled.add(message("b", "Extracting", 1, 10 * MIB))
    pulled.add(message("c", "Pull complete"))
    pulled.add(PullMessage(status="Digest: sha256:1"))
    assert pulled.text == "2 of 3 layers, 12.0 of 12.0 MiB, 6.0 MiB/s"


def test_a_layer_that_is_tried_again() -> None:
    pulled = PullProgress(FakeClock().monotonic)
    pulled.add(message("a", "Pulling fs layer"))
    pulled.add(message("a", "Retrying in 5 seconds"))
    assert pulled.text == "0 of 1 layers (Retrying in 5 seconds)"
    pulled.add(message("a", "Pull complete"))
    assert pulled.text == "1 of 1 layers"


def test_a_download_of_unknown_size_has_no_bytes() -> None:
    pulled = PullProgress(FakeClock().monotonic)
    pulled.add(PullMessage(id="a", status="Downloading"))
    assert pulled.text == "0 of 1 layers"
