# SPDX-License-Identifier: Apache-2.0
"""Merge methods: each one's formula, and what it declares of its parameters and models."""
