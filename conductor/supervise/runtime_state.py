"""Whether passes succeed, and whether the runtime may have restarted since the latest one."""

from conductor.supervise.log import SupervisorLog, identity, sentence


class RuntimeState:
    """`may_have_restarted` is set by any thread. `waiting_for` is why no pass succeeds."""

    def __init__(self, log: SupervisorLog) -> None:
        self._log = log
        self._failure: object = None
        self.waiting_for = ""
        self.may_have_restarted = True

    def failed(self, error: BaseException) -> None:
        """Record that a pass failed. Nothing is known about replicas then, so nothing is done."""
        self.may_have_restarted = True
        failure = identity(error)
        if self._failure != failure:
            self._failure = failure
            self.waiting_for = sentence(error)
            self._log.warn(f"the last pass failed: {self.waiting_for}")

    def begin_pass(self) -> bool:
        """Return True when the runtime may have restarted before the pass that begins now.

        A restart during the pass belongs to the next one, because the list of containers may be from before the restart.
        """
        restarted, self.may_have_restarted = self.may_have_restarted, False
        return restarted

    def answered(self) -> None:
        """Record that a pass succeeded."""
        if self.waiting_for:
            self._failure, self.waiting_for = None, ""
            self._log.info("the last pass succeeded")
