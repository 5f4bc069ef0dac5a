"""Offline: how a collection of songs is put together before it becomes a catalog."""
