"""Tokenizers whose positions hold several codes, each level saying what those before left over."""
