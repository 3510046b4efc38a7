"""Published checkpoints of other projects as networks and model folders of ours.

Read are VQGANs of taming-transformers, SpecVQGAN and MAGE, MAGE's transformer, HiFi-GAN generators, and SpecVQGAN's
MelGAN. Files are
untrusted: nothing in them is run, and whatever does not fit is refused before a network is built.
"""

from visual_echoes.checkpoints.convert.folder import Converted, MelChoice, convert_checkpoint
from visual_echoes.checkpoints.convert.networks import read_hifigan, read_melgan, read_vqgan

__all__ = ["Converted", "MelChoice", "convert_checkpoint", "read_hifigan", "read_melgan", "read_vqgan"]
