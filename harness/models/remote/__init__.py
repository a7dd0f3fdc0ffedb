# SPDX-License-Identifier: Apache-2.0
"""Rewards of a model that a server has loaded: what it is asked, and what it may answer."""
