"""The published networks that the field's figures are defined on, small and with the published tensors' names.

Weights come from a file of the user's or from the hub, never with this package. Each network is held to the reference
implementation's numbers in `tests/metrics/networks`.
"""
