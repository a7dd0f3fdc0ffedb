# SPDX-License-Identifier: Apache-2.0
"""One merge from recipe to output, on disk or in memory."""
