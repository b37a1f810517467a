// SPDX-License-Identifier: Apache-2.0
#pragma once
// Encodes and decodes the message structs of local.h, hub.h and signer.h. Each struct names its fields once,
// in order, in `fields(archive)`; Encoder and Decoder walk them, so that both directions cannot drift apart.
// Every struct with a kType is a message and ends in its extension list, which the codec adds. Decoding is
// strict: limits, no bytes left.

#include <cstdint>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "core/base/clock.h"
#include "core/base/names.h"
#include "core/base/result.h"
#include "core/base/secret_bytes.h"
#include "core/protocol/frame.h"
#include "core/wire/reader.h"
#include "core/wire/writer.h"

namespace latchkey::protocol {

inline constexpr std::uint32_t kMaxListEntries = 65536;

class Encoder {
public:
    template <class... Fields>
    void operator()(Fields&... fields) {
        (put(fields), ...);
    }
    Bytes take() { return writer_.take(); }

private:
    void put(bool value) { writer_.boolean(value); }
    void put(std::uint8_t value) { writer_.u8(value); }
    void put(std::uint32_t value) { writer_.u32(value); }
    void put(std::uint64_t value) { writer_.u64(value); }
    void put(const std::string& value) { writer_.string(value); }
    void put(const Bytes& value) { writer_.string(value); }
    void put(const SecretBytes& value) { writer_.string(value.view()); }
    void put(Micros value) { writer_.u64(static_cast<std::uint64_t>(value.value)); }
    template <class Tag>
    void put(const Name<Tag>& value) {
        writer_.string(value.str());
    }
    template <class Tag>
    void put(Number<Tag> value) {
        writer_.u64(value.value);
    }
    template <class E>
    requires std::is_enum_v<E>
    void put(E value) { writer_.u8(static_cast<std::uint8_t>(value)); }
    template <class T>
    void put(const std::vector<T>& list) {
        writer_.u32(static_cast<std::uint32_t>(list.size()));
        for (const T& entry : list) put(entry);
    }
    template <class T>
    requires requires(T& t, Encoder& e) { t.fields(e); }
    void put(const T& nested) { const_cast<T&>(nested).fields(*this); } // fields() serves both directions
    void put(const Extension& extension) {
        writer_.string(extension.name);
        writer_.string(extension.value);
    }

    wire::Writer writer_;
};

class Decoder {
public:
    explicit Decoder(ByteView input) : reader_(input) {}

    template <class... Fields>
    void operator()(Fields&... fields) {
        (get(fields), ...);
    }
    // After all fields: the first failure, or kMalformed where bytes are left.
    Status finish();

private:
    template <class T, class U>
    void take(Result<T> result, U& into) {
        if (!result) {
            note(std::move(result).error());
            return;
        }
        into = static_cast<U>(*std::move(result));
    }
    void note(Error error) {
        if (status_) status_ = fail(std::move(error));
    }
    template <class Read>
    void next(Read read) {
        if (status_) read();
    }

    void get(bool& value) {
        next([&] { take(reader_.boolean(), value); });
    }
    void get(std::uint8_t& value) {
        next([&] { take(reader_.u8(), value); });
    }
    void get(std::uint32_t& value) {
        next([&] { take(reader_.u32(), value); });
    }
    void get(std::uint64_t& value) {
        next([&] { take(reader_.u64(), value); });
    }
    void get(std::string& value) {
        next([&] { take(reader_.text(kHubFrameLimit), value); });
    }
    void get(Bytes& value);
    void get(SecretBytes& value);
    void get(Micros& value);
    void get(Extension& extension) { (*this)(extension.name, extension.value); }
    template <class Tag>
    void get(Name<Tag>& value) { // empty on the wire is "none"
        std::string text;
        get(text);
        if (!status_ || text.empty()) return;
        take(Name<Tag>::parse(text), value);
    }
    template <class Tag>
    void get(Number<Tag>& value) {
        get(value.value);
    }
    template <class E>
    requires std::is_enum_v<E>
    void get(E& value) { // no enum of ours has a valid 0; each declares kLast
        std::uint8_t raw = 0;
        get(raw);
        if (!status_) return;
        if (raw == 0 || raw > static_cast<std::uint8_t>(E::kLast)) {
            note(Error{Code::kMalformed, "enumeration value out of range", {}});
            return;
        }
        value = static_cast<E>(raw);
    }
    template <class T>
    void get(std::vector<T>& list) {
        std::uint32_t count = 0;
        get(count);
        if (status_ && (count > kMaxListEntries || count > reader_.rest().size())) {
            note(Error{Code::kTooLarge, "list of " + std::to_string(count) + " entries", {}});
        }
        list.clear();
        for (std::uint32_t i = 0; status_ && i < count; ++i) {
            T entry{};
            get(entry);
            list.push_back(std::move(entry));
        }
    }
    template <class T>
    requires requires(T& t, Decoder& d) { t.fields(d); }
    void get(T& nested) { nested.fields(*this); }

    wire::Reader reader_;
    Status status_;
};

// kUnsupported where a critical extension ('!…') is not one of ours; none is defined yet.
Status check_extensions(const Extensions& extensions);

template <class Message>
Bytes encode(const Message& message) {
    Encoder encoder;
    auto& mutable_message = const_cast<Message&>(message); // fields() serves both directions
    mutable_message.fields(encoder);
    encoder(mutable_message.extensions);
    return encode_frame(Message::kType, encoder.take());
}

template <class Message>
Result<Message> decode(const Frame& frame) {
    if (frame.type != Message::kType) {
        return fail(Code::kMalformed, "message of type " + std::to_string(static_cast<int>(frame.type)) +
                                          " where " + std::to_string(static_cast<int>(Message::kType)) +
                                          " was due");
    }
    Message message;
    Decoder decoder(frame.fields);
    message.fields(decoder);
    decoder(message.extensions);
    LK_CHECK(decoder.finish());
    LK_CHECK(check_extensions(message.extensions));
    return message;
}

} // namespace latchkey::protocol
