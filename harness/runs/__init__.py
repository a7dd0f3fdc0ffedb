# SPDX-License-Identifier: Apache-2.0
"""Files of results, lm-eval's and this project's: read, kept and known again."""
