"""What is wanted: the definitions file, read into frozen, typed values. Knows nothing of Docker or nginx."""
