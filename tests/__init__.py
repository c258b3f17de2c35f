import signal

# A script ignores SIGINT for what it starts in the background, and Conductor keeps that. Tests send SIGINT.
signal.signal(signal.SIGINT, signal.default_int_handler)
