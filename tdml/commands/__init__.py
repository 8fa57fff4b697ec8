"""The commands of `tdml`: what they take, and what they print."""
