"""`conductor supervise`: the loop that systemd keeps running, and `pause`, `resume` and `status` for people."""

from conductor.commands.supervise.loop import group
from conductor.commands.supervise.pause import command as pause
from conductor.commands.supervise.resume import command as resume
from conductor.commands.supervise.status import command as status

__all__ = ["group"]

for command in (pause, resume, status):
    group.add_command(command)
