# SPDX-License-Identifier: Apache-2.0
"""The files of a checkpoint as they lie on the disk, and how they are read."""
