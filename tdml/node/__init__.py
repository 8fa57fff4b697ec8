"""Training: the pipeline of a replica, the inner and the outer optimizer, checkpoints."""
