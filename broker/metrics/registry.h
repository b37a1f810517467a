// SPDX-License-Identifier: Apache-2.0
#pragma once
// Names for what the rooms count, and the text that Prometheus reads (exposition format 0.0.4). A family has
// one name, help and type, and a sample for each set of labels. Rooms register before the first render() and
// outlive the last; names and labels are ours, so that no value of a label comes from a stranger. Registering
// is one thread's; render() may come from another.

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "broker/metrics/metric.h"

namespace latchkey::metrics {

inline constexpr std::string_view kContentType = "text/plain; version=0.0.4; charset=utf-8";

using Labels = std::vector<std::pair<std::string, std::string>>;

class Registry {
public:
    void add(const std::string& name, const std::string& help, const Counter& counter, Labels labels = {});
    void add(const std::string& name, const std::string& help, const Gauge& gauge, Labels labels = {});
    void add(const std::string& name, const std::string& help, const Histogram& histogram,
             Labels labels = {});
    // Asked at each render(), on its thread; must not block for long.
    using Read = std::function<double()>;
    void add_counter(const std::string& name, const std::string& help, Read read, Labels labels = {});
    void add_gauge(const std::string& name, const std::string& help, Read read, Labels labels = {});

    std::string render() const;

private:
    using Write = std::function<void(std::string& text, const std::string& name)>;
    struct Family {
        std::string help;
        std::string_view type;
        std::vector<Write> samples;
    };
    void add_sample(const std::string& name, const std::string& help, std::string_view type, Write write);

    std::map<std::string, Family> families_;
};

} // namespace latchkey::metrics
