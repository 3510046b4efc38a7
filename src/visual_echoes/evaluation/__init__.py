"""Evaluation: judges trained on real data, metrics, reports."""
