# SPDX-License-Identifier: Apache-2.0
"""Choosing merge parameters on some rows and proving the gain on others."""
