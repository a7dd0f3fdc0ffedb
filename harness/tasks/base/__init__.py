# SPDX-License-Identifier: Apache-2.0
"""What all tasks share: candidates, own data, sections, metrics."""
