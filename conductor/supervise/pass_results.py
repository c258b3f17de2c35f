"""What follows a pass: the reconciliation of all services, or waiting for Docker; and the published status."""

from concurrent.futures import Future

from conductor.supervise.observe import HostObservation
from conductor.supervise.reconciler import Reconciler
from conductor.supervise.retries import Retries
from conductor.supervise.runtime_state import RuntimeState
from conductor.supervise.status_file import StatusFile


class PassResults:
    """Takes the result of each pass. `observed` is what the latest successful one saw."""

    def __init__(self, runtime: RuntimeState, reconciler: Reconciler, retries: Retries, status: StatusFile) -> None:
        self._runtime = runtime
        self._reconciler = reconciler
        self._retries = retries
        self._status = status
        self.observed: HostObservation | None = None

    def take(self, result: Future[HostObservation]) -> None:
        """Begin the actions that follow from a pass, and publish the status."""
        try:
            self.observed = result.result()
        except Exception as error:  # noqa: BLE001 (a failed pass shows nothing about replicas, and a bug must not end the loop)
            self._runtime.failed(error)
        else:
            self._reconciler.reconcile(self.observed, runtime_restarted=self._runtime.answered())
        self._status.publish(self.observed, self._reconciler.decisions, self._retries.states, self._runtime.waiting_for)

    @property
    def succeeded(self) -> bool:
        """True when the latest pass saw every service."""
        return not self._runtime.waiting_for and self.observed is not None and not self.observed.problems
