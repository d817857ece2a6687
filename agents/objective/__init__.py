"""The mathematics of learning: tensors in, tensors out, no state.

`advantage` says how much better a token was than expected, `loss` turns that into something to
minimise, `kl` measures the distance from the start model.
"""
