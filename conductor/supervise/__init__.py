"""`conductor supervise`: the right number of healthy containers, for ever."""
