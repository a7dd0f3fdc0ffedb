"""RMB: helpfulness and harmlessness, by pairs and as one response against all others."""
