"""The vendor's published contract, and what our client and our sandbox say held to it."""
