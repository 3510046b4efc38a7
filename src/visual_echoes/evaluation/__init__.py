"""Evaluation: what backbones say of a model's items or of files, as one report."""
