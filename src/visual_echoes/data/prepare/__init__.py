"""Preparing data: any folder or list of videos, or of images and sounds, to a manifest of clips and their tokens."""
