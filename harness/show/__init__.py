# SPDX-License-Identifier: Apache-2.0
"""What was measured, as people read it: text, pages, Markdown, pictures, model cards."""
