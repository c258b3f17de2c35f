"""A small direct-debit API, the example app that Conductor deploys. It needs only the standard library."""
