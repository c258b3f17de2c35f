"""The status page and the metrics: a process that reads one file and answers GET requests. Nothing in it can act."""
