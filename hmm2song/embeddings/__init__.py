"""Melody windows -> vectors."""
