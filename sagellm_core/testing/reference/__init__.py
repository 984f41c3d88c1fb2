"""What tiny models compute, in float64 and in the plainest way: no cache, no batch, no torch.

``layers`` are the formulas, ``decoder`` and ``encoder`` put them together, ``sampling`` is what
happens to logits before the choice, and ``tolerance`` says how far a device may be off.
"""
