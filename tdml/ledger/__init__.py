"""The ledger: an append-only chain of signed statements about a run."""
