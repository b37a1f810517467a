// SPDX-License-Identifier: Apache-2.0
#include "agent/run/reports.h"

#include <sys/random.h>

#include <algorithm>

#include "agent/log/log.h"
#include "core/keys/openssl.h"

namespace latchkey::agent {
namespace {

// 63 bits, never 0.
std::uint64_t id_of(ByteView bytes) {
    std::uint64_t id = 0;
    for (const std::uint8_t byte : bytes.first(sizeof id)) id = (id << 8) | byte;
    id &= INT64_MAX;
    return id == 0 ? 1 : id;
}

std::uint64_t random_id() {
    std::array<std::uint8_t, sizeof(std::uint64_t)> bytes{};
    if (::getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) return 1;
    return id_of(bytes);
}

} // namespace

void Reports::add(std::string kind, std::string text) {
    const bool waits = std::ranges::any_of(
        waiting_, [&](const auto& report) { return report.kind == kind && report.text == text; });
    if (waits) return;
    protocol::Report report;
    report.id = random_id();
    report.kind = std::move(kind);
    report.time = state_.broker_clock.now();
    report.text = std::move(text);
    add(std::move(report));
}

void Reports::add(const protocol::BreakGlassUse& use) {
    const std::string line = protocol::encode_use(use);
    protocol::Report report;
    report.id = id_of(keys::sha256(as_bytes(line)));
    report.kind = "break-glass";
    // Its moment by our wall clock; the broker's time may not have been known then.
    report.time = state_.broker_clock.is_known() ? use.at + state_.broker_clock.offset() : use.at;
    report.text = "account " + use.login.str() + " was used by " + use.service +
                  (use.from.empty() ? " on the machine" : " from " + use.from);
    const bool waits = std::ranges::find(waiting_, report.id, &protocol::Report::id) != waiting_.end();
    if (!waits) add(std::move(report));
}

void Reports::add(protocol::Report report) {
    log_warn("report kind=" + report.kind + " text=" + report.text);
    if (waiting_.size() == kMaxReports) {
        log_error("drop report kind=" + waiting_.front().kind + " text=" + waiting_.front().text);
        waiting_.erase(waiting_.begin());
    }
    if (is_online_) hub_.send(protocol::encode(report));
    waiting_.push_back(std::move(report));
    if (changed_) changed_();
}

void Reports::recorded(std::uint64_t id) {
    const auto gone = std::erase_if(waiting_, [id](const auto& report) { return report.id == id; });
    if (gone > 0 && changed_) changed_();
}

void Reports::go_online() {
    is_online_ = true;
    for (const protocol::Report& report : waiting_) hub_.send(protocol::encode(report));
}

Bytes Reports::encode() const {
    protocol::Encoder encoder;
    encoder(waiting_);
    return encoder.take();
}

Status Reports::restore(ByteView encoded) {
    std::vector<protocol::Report> held;
    protocol::Decoder decoder(encoded);
    decoder(held);
    LK_CHECK(decoder.finish());
    waiting_ = std::move(held);
    return {};
}

} // namespace latchkey::agent
