# SPDX-License-Identifier: Apache-2.0
"""What a file of rows is to a task (`dogerm check`), and a model to those that load it."""
