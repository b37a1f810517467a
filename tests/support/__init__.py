# SPDX-License-Identifier: Apache-2.0
"""The harness of the end-to-end tests: brokers, VMs, people with keys and codes. See README.md beside it."""
