"""What the model is compared with, on the same tokens: an autoregressive transformer and retrieval."""
