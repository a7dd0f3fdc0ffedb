# SPDX-License-Identifier: Apache-2.0
"""From rows, in whatever form people keep them, to conversations."""
