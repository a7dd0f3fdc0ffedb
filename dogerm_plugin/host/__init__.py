# SPDX-License-Identifier: Apache-2.0
"""What stands in for mergekit's loaders, executor and writer."""
