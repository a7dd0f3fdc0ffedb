# SPDX-License-Identifier: Apache-2.0
"""`dogerm card`: the measured figures in a merged model's README.md."""
