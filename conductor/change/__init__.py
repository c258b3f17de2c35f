"""A change of what runs, from its intent in the journal to its last line in the history."""
