"""Which manager of a fleet acts: its `supervise` holds a lease that all managers share."""

import threading
from typing import Final

from conductor.plan.lease import LeaseLostError
from conductor.state.fleet.leases import Leases

SUPERVISION: Final = "fleet.supervision"  # an object; no service id contains a dot


class SupervisionLease:
    """Taken for the first action, and kept until nothing is left to do: so one process decides about delays between attempts, and
    an idle fleet writes nothing. `held`: this process acts, by what it knows. Safe to use from any thread."""

    def __init__(self, leases: Leases) -> None:
        self._leases = leases
        self._lock = threading.Lock()
        self.held = False

    def take(self) -> bool:
        """Return whether this process may act now. One that was away for long may have lost the lease."""
        with self._lock:
            if self.held:
                try:
                    self._leases.write(SUPERVISION, {})
                except LeaseLostError:
                    self._leases.release(SUPERVISION)
                    self.held = False
                else:
                    return True
            self.held = self._leases.take(SUPERVISION) is None
            return self.held

    def release(self) -> None:
        """Let another manager act next."""
        with self._lock:
            if self.held:
                self.held = False
                self._leases.release(SUPERVISION)
