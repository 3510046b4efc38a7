"""Training of the four parts: image VQGAN, audio VQGAN, vocoder, transformer."""
