"""The network: its definition and its inference form."""
