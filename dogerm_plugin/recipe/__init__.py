# SPDX-License-Identifier: Apache-2.0
"""A recipe: its keys and values, its models, its groups of tensors."""
