"""The paper's experiments and open questions, each one command."""
