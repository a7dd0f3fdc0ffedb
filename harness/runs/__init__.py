# SPDX-License-Identifier: Apache-2.0
"""The files of finished runs, lm-eval's and ours: what they were made with, and when that holds."""
