// SPDX-License-Identifier: Apache-2.0
#include "broker/metrics/registry.h"

#include <charconv>
#include <cmath>

namespace latchkey::metrics {
namespace {

std::string escaped(std::string_view text, bool is_label) {
    std::string out;
    for (const char c : text) {
        if (c == '\n') {
            out += "\\n";
            continue;
        }
        if (c == '\\' || (is_label && c == '"')) out += '\\';
        out += c;
    }
    return out;
}

std::string number(double value) {
    if (std::isnan(value)) return "NaN";
    if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
    char text[40];
    const auto written = std::to_chars(text, text + sizeof text, value);
    return std::string(text, written.ptr);
}

std::string braces(const Labels& labels) {
    if (labels.empty()) return {};
    std::string out;
    for (const auto& [name, value] : labels) {
        out += out.empty() ? "{" : ",";
        out += name + "=\"" + escaped(value, true) + "\"";
    }
    return out + "}";
}

void write_histogram(std::string& text, const std::string& name, const Histogram& histogram,
                     const Labels& labels) {
    const auto counts = histogram.buckets();
    std::uint64_t below = 0;
    for (std::size_t i = 0; i < counts.size(); ++i) {
        below += counts[i];
        Labels with_bound = labels;
        with_bound.emplace_back("le", i < histogram.bounds().size() ? number(histogram.bounds()[i]) : "+Inf");
        text += name + "_bucket" + braces(with_bound) + " " + std::to_string(below) + "\n";
    }
    text += name + "_sum" + braces(labels) + " " + number(histogram.sum()) + "\n";
    text += name + "_count" + braces(labels) + " " + std::to_string(below) + "\n";
}

} // namespace

void Registry::add_sample(const std::string& name, const std::string& help, std::string_view type,
                          Write write) {
    Family& family = families_[name];
    family.help = help;
    family.type = type;
    family.samples.push_back(std::move(write));
}

void Registry::add(const std::string& name, const std::string& help, const Counter& counter, Labels labels) {
    add_sample(name, help, "counter",
               [&counter, braced = braces(labels)](std::string& text, const std::string& sample) {
                   text += sample + braced + " " + std::to_string(counter.value()) + "\n";
               });
}

void Registry::add(const std::string& name, const std::string& help, const Gauge& gauge, Labels labels) {
    add_sample(name, help, "gauge",
               [&gauge, braced = braces(labels)](std::string& text, const std::string& sample) {
                   text += sample + braced + " " + std::to_string(gauge.value()) + "\n";
               });
}

void Registry::add(const std::string& name, const std::string& help, const Histogram& histogram,
                   Labels labels) {
    add_sample(name, help, "histogram",
               [&histogram, labels = std::move(labels)](std::string& text, const std::string& sample) {
                   write_histogram(text, sample, histogram, labels);
               });
}

void Registry::add_counter(const std::string& name, const std::string& help, Read read, Labels labels) {
    add_sample(
        name, help, "counter",
        [read = std::move(read), braced = braces(labels)](std::string& text, const std::string& sample) {
            text += sample + braced + " " + number(read()) + "\n";
        });
}

void Registry::add_gauge(const std::string& name, const std::string& help, Read read, Labels labels) {
    add_sample(
        name, help, "gauge",
        [read = std::move(read), braced = braces(labels)](std::string& text, const std::string& sample) {
            text += sample + braced + " " + number(read()) + "\n";
        });
}

std::string Registry::render() const {
    std::string text;
    for (const auto& [name, family] : families_) {
        text += "# HELP " + name + " " + escaped(family.help, false) + "\n# TYPE " + name + " ";
        text += family.type;
        text += "\n";
        for (const Write& write : family.samples) write(text, name);
    }
    return text;
}

} // namespace latchkey::metrics
