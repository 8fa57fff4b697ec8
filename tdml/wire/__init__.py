"""How bytes travel: messages, their signatures, and the connections that carry them."""
