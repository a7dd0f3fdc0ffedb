# SPDX-License-Identifier: Apache-2.0
"""`dogerm check`: what a file of rows holds, and what a task would make of it."""
