// SPDX-License-Identifier: Apache-2.0
#include "core/protocol/codec.h"

namespace latchkey::protocol {

Status Decoder::finish() {
    LK_CHECK(status_);
    return reader_.expect_end();
}

void Decoder::get(Bytes& value) {
    next([&] {
        auto view = reader_.string(kHubFrameLimit);
        if (view) {
            value = to_bytes(*view);
        } else {
            note(std::move(view).error());
        }
    });
}

void Decoder::get(SecretBytes& value) {
    next([&] {
        auto view = reader_.string(kLocalFrameLimit);
        if (view) {
            value = SecretBytes(*view);
        } else {
            note(std::move(view).error());
        }
    });
}

void Decoder::get(Micros& value) {
    std::uint64_t raw = 0;
    get(raw);
    if (status_ && raw > static_cast<std::uint64_t>(INT64_MAX)) {
        note(Error{Code::kMalformed, "time beyond its range", {}});
        return;
    }
    value = {static_cast<std::int64_t>(raw)};
}

Status check_extensions(const Extensions& extensions) {
    for (const Extension& extension : extensions) {
        if (!extension.name.empty() && extension.name.front() == '!') {
            return fail(Code::kUnsupported, "a critical extension that this version does not know",
                        "update the older side");
        }
    }
    return {};
}

} // namespace latchkey::protocol
