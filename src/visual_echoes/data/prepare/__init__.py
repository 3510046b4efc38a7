"""Preparing data: any folder or list of videos, or of images and sounds, to a manifest of clips and their tokens."""

from visual_echoes.data.prepare.candidates import Reason
from visual_echoes.data.prepare.run import Engine, Form, Settings, Summary, prepare

__all__ = ["Engine", "Form", "Reason", "Settings", "Summary", "prepare"]
