// SPDX-License-Identifier: Apache-2.0
#include "agent/decide/held_grant.h"

#include <utility>

#include "core/keys/openssl.h"
#include "core/wire/reader.h"
#include "core/wire/writer.h"

namespace latchkey::agent {
namespace {

// Of bytes that we have written ourselves.
ByteView next(wire::Reader& reader) {
    return reader.string(protocol::kHubFrameLimit).value_or(ByteView());
}

template <class Name>
Name next_name(wire::Reader& reader) {
    return Name::parse(as_text(next(reader))).value_or(Name());
}

Bytes pack(const VerifiedGrant& grant) {
    wire::Writer writer;
    writer.string(grant.login.str());
    writer.string(grant.key.str());
    writer.string(grant.user.str());
    writer.string(ByteView(grant.certificate));
    writer.string(ByteView(grant.statement));
    return to_bytes(writer.bytes()); // and no byte of room to grow
}

} // namespace

HeldGrant::HeldGrant(const VerifiedGrant& grant, std::shared_ptr<const Common> common)
    : packed_(pack(grant)),
      common_(std::move(common)),
      issued_at_(grant.issued_at),
      ends_at_(grant.ends_at),
      starts_at_(grant.starts_at),
      serial_(grant.serial) {}

std::string_view HeldGrant::login() const {
    wire::Reader reader(packed_);
    return as_text(next(reader));
}

std::string_view HeldGrant::key() const {
    wire::Reader reader(packed_);
    next(reader);
    return as_text(next(reader));
}

Bytes HeldGrant::digest() const {
    wire::Reader reader(packed_);
    for (int field = 0; field < 3; ++field) next(reader);
    const keys::Sha256 digest = keys::sha256(next(reader));
    return {digest.begin(), digest.end()};
}

VerifiedGrant HeldGrant::facts() const {
    wire::Reader reader(packed_);
    VerifiedGrant grant;
    grant.login = next_name<Login>(reader);
    grant.key = next_name<Fingerprint>(reader);
    grant.user = next_name<UserName>(reader);
    grant.ca = common_->ca;
    grant.issued_at = issued_at_;
    grant.ends_at = ends_at_;
    grant.starts_at = starts_at_;
    grant.serial = serial_;
    grant.sudo = common_->sudo;
    return grant;
}

VerifiedGrant HeldGrant::whole() const {
    VerifiedGrant grant = facts();
    wire::Reader reader(packed_);
    for (int field = 0; field < 3; ++field) next(reader);
    grant.certificate = to_bytes(next(reader));
    grant.statement = to_bytes(next(reader));
    grant.digest = digest();
    grant.lines = common_->lines;
    return grant;
}

} // namespace latchkey::agent
