"""The rehearsal: what the ranks will do is done once before they start, and all that is done twice
is compared.

A worker's round must be a function of weights, seeds and samples alone: audits, exact resuming and
the cross-check rest on it.
"""
