# SPDX-License-Identifier: Apache-2.0
"""The rows of the table that tests/bench/run prints. See README.md one folder up."""
