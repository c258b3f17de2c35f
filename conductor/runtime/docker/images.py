"""The images of one daemon: found, pulled and removed."""

import contextlib
import errno
import os
from collections.abc import Callable

from conductor.clock import Clock
from conductor.errors import ConductorError
from conductor.plan.garbage import LocalImage
from conductor.plan.release import Image
from conductor.runtime.docker import responses
from conductor.runtime.docker.background import in_background
from conductor.runtime.docker.credentials import INDEX, credentials, login_command, registry
from conductor.runtime.docker.pull_progress import PullProgress
from conductor.runtime.docker.sdk import Sdk, messages
from conductor.runtime.docker.shapes import InspectedImage, ListedContainer, ListedImage, PullMessage, WithId, read

TICK_SECONDS = 0.1  # between two progress calls of a silent pull, which may raise to stop it
_SPACE_HINT = "free up space on the disk that holds Docker's images (conductor gc; docker system df shows what uses the space), then run the command again"


class Images:
    """The part of `DockerRuntime` that concerns images."""

    def __init__(self, sdk: Sdk, clock: Clock) -> None:
        self._sdk = sdk
        self._clock = clock

    def find(self, reference: str) -> Image | None:
        """Return the local image, or None."""
        with self._sdk.errors(f"cannot inspect image {reference}"):
            try:
                found = read(self._sdk.api.inspect_image(reference), InspectedImage)
                return responses.image(self._sdk.dialect.image(found), reference)
            except self._sdk.image_not_found:
                return None

    def pull(self, reference: str, progress: Callable[[str], None]) -> Image:
        """Pull an image and return it. Read the stream here: the SDK's own `pull` ignores errors inside it (docker-py#2286)."""
        pulled = PullProgress(self._clock.monotonic)
        name, at, tag = reference.partition("@")  # a digest stands where a tag does
        if not at:
            name, _, tag = reference.rpartition(":")
        with self._sdk.errors(f"cannot pull image {reference}", hint=_pull_hint(reference)):
            api, auth = self._sdk.api, credentials(name, self._clock.monotonic, lambda: progress(pulled.text))
            stream = in_background(
                lambda: messages(api.pull(name, tag=tag, stream=True, decode=True, auth_config=auth), PullMessage),
                TICK_SECONDS,
            )
            for message in stream:
                if message is not None:
                    if message.error is not None:
                        raise _pull_error(reference, message.error)
                    pulled.add(message)
                progress(pulled.text)
        found = self.find(reference)
        if found is None:
            raise ConductorError(f"cannot find image {reference} after pulling it", _pull_hint(reference))
        return found

    def check_credentials(self, image: str) -> None:
        """Read the caller's Docker configuration as a pull does; raise when that fails."""
        credentials(image, self._clock.monotonic, lambda: None)

    def local(self) -> tuple[LocalImage, ...]:
        """Return all images, intermediate ones included: one of them may be built on a pulled image. Two list calls."""
        with self._sdk.errors("cannot list images"):
            images = read(self._sdk.api.images(all=True), list[ListedImage])
            containers = read(self._sdk.api.containers(all=True), list[ListedContainer])
            return responses.local_images(list(map(self._sdk.dialect.image, images)), containers)

    def remove(self, reference: str, image_id: str) -> None:
        """Remove an image's name if it still names this image. Not forced: the daemon then refuses to remove an image that a
        container uses. Unnamed parents stay as well."""
        try:
            with self._sdk.errors(f"cannot remove image {reference}"), contextlib.suppress(self._sdk.image_not_found):
                if read(self._sdk.api.inspect_image(reference), WithId).id == image_id:
                    self._sdk.api.remove_image(reference, force=False, noprune=True)
        except ConductorError:
            if self.find(reference) is not None:
                raise


def _pull_hint(reference: str) -> str:
    check = f"check the image's name, the revision and the registry's credentials ({login_command(reference)})"
    return (
        f"if the image is not in a registry, build or load it on this host; otherwise {check}"
        if registry(reference) == INDEX
        else check
    )


def _pull_error(reference: str, text: str) -> ConductorError:
    """Return the error of a message in a pull's stream.

    The daemon has no code for a full disk: only the kernel's own words for ENOSPC inside the text tell it apart.
    """
    hint = _SPACE_HINT if os.strerror(errno.ENOSPC).lower() in text.lower() else _pull_hint(reference)
    return ConductorError(f"cannot pull image {reference}: {text}", hint)
