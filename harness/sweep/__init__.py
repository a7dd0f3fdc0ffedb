"""`dogerm sweep`: choose λ on some rows, prove it on others, with one model in memory."""
