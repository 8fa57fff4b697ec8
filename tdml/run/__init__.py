"""A run's life: how its ranks start, what they become, and how they end."""
