"""What a written file says about where it comes from, and proofs of it."""
