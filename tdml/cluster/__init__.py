"""The fleet of processes: replicas whose nodes are reached by RPC, and who takes their slots."""
