# SPDX-License-Identifier: Apache-2.0
"""From a set of rows to a file of the same rows with their rewards: `dogerm score`."""
