"""One verb per file: read, plan, run, report."""
