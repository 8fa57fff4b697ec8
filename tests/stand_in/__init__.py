"""A stand-in for GPUs: a device of torch's that lies in host memory and computes there, so with the
same bits.

What it shares with a GPU is what goes wrong most easily where no GPU is at hand: its tensors are of
another device, an operation on tensors of both devices fails, and gloo does not move them.
"""
