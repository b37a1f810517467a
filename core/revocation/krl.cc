// SPDX-License-Identifier: Apache-2.0
#include "core/revocation/krl.h"

#include <algorithm>

#include "core/wire/writer.h"

namespace latchkey::revocation {
namespace {

constexpr std::uint64_t kMagic = 0x5353484b524c0a00; // "SSHKRL\n\0"
constexpr std::uint32_t kFormat = 1;
constexpr std::uint8_t kSectionCertificates = 1;
constexpr std::uint8_t kSectionSha256 = 5;
constexpr std::uint8_t kSerialList = 0x20;
constexpr std::uint8_t kSerialRange = 0x21;
constexpr std::size_t kShortestRange = 3; // two serials are smaller in a list

void flush_list(wire::Writer& out, wire::Writer& list) {
    if (list.bytes().empty()) return;
    out.u8(kSerialList);
    out.string(list.bytes());
    list.take();
}

// Sorted, unique serials -> subsections: runs as ranges, the rest in lists between them.
Bytes serial_sections(const std::vector<std::uint64_t>& serials) {
    wire::Writer out;
    wire::Writer list;
    out.reserve(serials.size() * 8 + 64);
    for (std::size_t first = 0; first < serials.size();) {
        std::size_t last = first;
        while (last + 1 < serials.size() && serials[last + 1] == serials[last] + 1) ++last;
        if (last - first + 1 >= kShortestRange) {
            flush_list(out, list);
            out.u8(kSerialRange);
            out.u32(16);
            out.u64(serials[first]);
            out.u64(serials[last]);
        } else {
            for (std::size_t i = first; i <= last; ++i) list.u64(serials[i]);
        }
        first = last + 1;
    }
    flush_list(out, list);
    return out.take();
}

void write_certificates(wire::Writer& out, ByteView ca, ByteView sections) {
    out.u8(kSectionCertificates);
    out.u32(static_cast<std::uint32_t>(4 + ca.size() + 4 + sections.size()));
    out.string(ca);
    out.string(""); // reserved
    out.raw(sections);
}

} // namespace

Bytes encode_krl(const KrlContent& content) {
    wire::Writer out;
    out.u64(kMagic);
    out.u32(kFormat);
    out.u64(content.version);
    out.u64(static_cast<std::uint64_t>(std::max<std::int64_t>(content.made_at.seconds(), 0)));
    out.u64(0); // flags
    out.string("");
    out.string(content.comment);

    std::vector<std::uint64_t> serials;
    serials.reserve(content.serials.size());
    for (const Serial serial : content.serials) {
        if (serial.value != 0) serials.push_back(serial.value); // sshd refuses a list with serial 0
    }
    std::ranges::sort(serials);
    serials.erase(std::unique(serials.begin(), serials.end()), serials.end());
    if (!serials.empty()) {
        const Bytes sections = serial_sections(serials);
        for (const keys::PublicKey& ca : content.cas) write_certificates(out, ca.blob(), sections);
        if (content.cas.empty()) write_certificates(out, {}, sections); // of any CA
    }

    std::vector<Bytes> digests;
    for (const Fingerprint& key : content.keys) {
        if (auto digest = from_base64(std::string_view(key.str()).substr(7), Padding::kWithout))
            digests.push_back(std::move(*digest));
    }
    std::ranges::sort(digests);
    digests.erase(std::unique(digests.begin(), digests.end()), digests.end());
    if (!digests.empty()) {
        out.u8(kSectionSha256);
        out.u32(static_cast<std::uint32_t>(digests.size() * (4 + 32)));
        for (const Bytes& digest : digests) out.string(digest);
    }
    return out.take();
}

} // namespace latchkey::revocation
