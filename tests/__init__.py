import signal

# A script ignores SIGINT for a command in the background, and Conductor then ignores SIGINT too. Tests send SIGINT.
signal.signal(signal.SIGINT, signal.default_int_handler)
