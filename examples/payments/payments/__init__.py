"""A small direct-debit API: the example app that Conductor deploys. Standard library only."""
