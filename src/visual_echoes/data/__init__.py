"""Training and evaluation data: prepared folders, the token cache, the ready-made sets."""
