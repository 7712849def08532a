"""Owns the looks of a plan: text, JSON and the review surfaces; pure, prints nothing."""
