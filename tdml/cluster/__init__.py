"""The cluster: who is who, how they find each other, and how the coordinator reaches a replica."""
