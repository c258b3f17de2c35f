"""The progress of a pull as text: layers, bytes and rate (pure but for the clock)."""

from collections.abc import Callable

from conductor.runtime.docker.shapes import PullMessage

MIB = 2**20
_PRESENT = {"Already exists", "Pull complete"}
_DOWNLOADED = {"Download complete", "Extracting", *_PRESENT}
_RETRYING = "Retrying in "  # followed by the seconds
_KNOWN = {"Pulling fs layer", "Waiting", "Downloading", "Verifying Checksum", *_DOWNLOADED}


class PullProgress:
    """`text` is as of the last message, and empty until the daemon has named a layer. `monotonic` returns seconds."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._layers: dict[str, str] = {}  # the latest status of each
        self._bytes: dict[str, tuple[int, int]] = {}  # received and expected, of the layers that are downloaded
        self._began: float | None = None
        self.text = ""

    def add(self, message: PullMessage) -> None:
        """Add a message of the stream. Messages about the whole image are ignored."""
        layer, status, detail = message.id, message.status or "", message.progress_detail
        if layer is None or not (status in _KNOWN or status.startswith(_RETRYING)):
            return
        self._layers[layer] = status
        if status == "Downloading" and detail and detail.total:
            self._began = self._monotonic() if self._began is None else self._began
            self._bytes[layer] = (detail.current, detail.total)
        elif status in _DOWNLOADED and layer in self._bytes:
            self._bytes[layer] = (self._bytes[layer][1],) * 2
        self.text = self._summary()

    def _summary(self) -> str:
        present = sum(status in _PRESENT for status in self._layers.values())
        text = f"{present} of {len(self._layers)} layers"
        if self._began is not None:
            received, expected = (sum(numbers) for numbers in zip(*self._bytes.values(), strict=True))
            text += f", {received / MIB:.1f} of {expected / MIB:.1f} MiB"
            if (seconds := self._monotonic() - self._began) > 0:
                text += f", {received / MIB / seconds:.1f} MiB/s"
        retrying = next((status for status in self._layers.values() if status.startswith(_RETRYING)), "")
        return text + (f" ({retrying})" if retrying else "")
