// SPDX-License-Identifier: Apache-2.0
#pragma once
// What every Prometheus client tells of its process, under the usual names, read from /proc at each scrape;
// and which build this is.

#include <string>

#include "broker/metrics/registry.h"

namespace latchkey::metrics {

void add_process(Registry& registry);
void add_build(Registry& registry, const std::string& version);

} // namespace latchkey::metrics
