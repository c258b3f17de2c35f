"""What follows a pass: the reconciliation of all services, or the record of its failure; and what is published."""

from concurrent.futures import Future

from conductor.supervise.observe import HostObservation
from conductor.supervise.publisher import Publisher
from conductor.supervise.reconciler import Reconciler
from conductor.supervise.retries import Retries
from conductor.supervise.runtime_state import RuntimeState
from conductor.supervise.status_file import StatusFile


class PassResults:
    """Takes the result of each pass. `observed` is what the latest successful one saw."""

    def __init__(
        self,
        runtime: RuntimeState,
        reconciler: Reconciler,
        retries: Retries,
        status: StatusFile,
        publisher: Publisher,
    ) -> None:
        self._runtime = runtime
        self._reconciler = reconciler
        self._retries = retries
        self._status = status
        self._publisher = publisher
        self.observed: HostObservation | None = None

    def take(self, result: Future[HostObservation], seconds: float | None = None) -> None:
        """Begin the actions that follow from a pass, and publish the status.

        `seconds` is how long the pass took; None for the only pass of `--once`, which `conductor web` does not show.
        """
        try:
            self.observed = result.result()
        except Exception as error:  # noqa: BLE001 (a failed pass shows nothing about replicas, and a bug must not end the loop)
            self._runtime.failed(error)
        else:
            self._runtime.answered()
            self._reconciler.reconcile(self.observed)
        waiting_for = self._runtime.waiting_for
        status = self._status.publish(self.observed, self._reconciler.decisions, self._retries.states, waiting_for)
        if seconds is not None:
            self._publisher.put(self.observed, status, waiting_for, seconds)

    @property
    def succeeded(self) -> bool:
        """True when the latest pass saw every service."""
        return not self._runtime.waiting_for and self.observed is not None and not self.observed.problems
