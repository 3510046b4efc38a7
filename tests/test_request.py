"""Requests to a model with labels and semantic streams: what is given is known, what is made follows it."""

from __future__ import annotations
