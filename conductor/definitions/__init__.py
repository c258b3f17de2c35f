"""The definitions file as frozen, typed values. Nothing in here depends on Docker or nginx."""
