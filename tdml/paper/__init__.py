"""The paper's experiments: which runs they are, playing them, and what came of them."""
