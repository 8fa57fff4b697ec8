"""What work is paid: policies, accounts and the statement of a run."""
