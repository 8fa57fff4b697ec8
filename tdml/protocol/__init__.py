"""What the coordinator and the nodes say to each other, who signs it, and by what names they go."""
