"""The structure of uploads, read without decoding anything (standard library only)."""
