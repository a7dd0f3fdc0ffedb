# SPDX-License-Identifier: Apache-2.0
"""The words that users type after `dogerm`, one file each."""
