"""Models on disk: model folders, run folders, the hub, published checkpoints."""
