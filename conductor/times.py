"""Times and durations as people read them, in one format everywhere. Files and JSON have the exact values."""

_UNITS = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))


def time_text(stamp: str) -> str:
    """Return a time stamp (RFC 3339, UTC) in whole seconds: `2026-01-31T08:00:00Z`, as options accept it."""
    whole, point, _ = stamp.partition(".")
    return f"{whole}Z" if point else stamp


def duration_text(seconds: float) -> str:
    """Return `0.041s`, `4.12s`, `41.2s`, `4m10s` or `1h5m`, without zeros at the end."""
    if seconds < 59.95:
        digits = 3 if seconds < 0.0995 else 2 if seconds < 9.995 else 1
        return f"{f'{seconds:.{digits}f}'.rstrip('0').rstrip('.')}s"
    left = round(seconds)
    parts: list[tuple[int, str]] = []
    for unit, size in _UNITS:
        if left >= size or parts:
            parts.append((left // size, unit))
            left %= size
    return "".join(f"{number}{unit}" for number, unit in parts[:2] if number)
