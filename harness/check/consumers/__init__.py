# SPDX-License-Identifier: Apache-2.0
"""Who takes a reward model as it lies in its folder: trainers and servers, one declaration each."""
