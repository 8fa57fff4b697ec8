"""The fleet of processes: replicas whose nodes are reached by RPC, and the nodes in their slots."""
