"""From files to conversations."""
