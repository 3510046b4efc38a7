"""Distances, scores and the networks they are measured with."""
