"""Pretrained networks: their files, what they read, and what they make of it."""
