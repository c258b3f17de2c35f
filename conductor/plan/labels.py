"""The labels of containers and networks, by which alone Conductor recognises what it created (pure).

A container also has to have the name in its label `NAME`: the image that `docker commit` makes of a container has the labels
of the container, and each container of that image inherits them.
"""

INSTANCE = "conductor.instance"
NAME = "conductor.name"
SERVICE = "conductor.service"
REVISION = "conductor.revision"
KIND = "conductor.kind"
DEFINITION = "conductor.definition"
RELEASE = "conductor.release"
CHANGE = "conductor.change"
ADDRESS = "conductor.address"
JOB = "conductor.job"
DEADLINE = "conductor.deadline"
