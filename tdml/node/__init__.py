"""A node: its stage of a replica's pipeline, what it trains, and what it keeps of that."""
